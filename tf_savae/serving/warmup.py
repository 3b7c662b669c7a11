"""Write warm-up requests for TF Serving (`tf_serving_warmup_requests`).

The first run of a signature is slow. A server that finds this file runs each of its requests when
it loads the model. The file is a TFRecord of PredictionLog messages. The message definitions are
part of the package tensorflow-serving-api, which is not a dependency: exports would lack the
warm-up file wherever the package is missing, and only eight fields have to be written. A test reads
the file with the package's definitions.
"""

import tensorflow as tf

from tf_savae.core.typing import PathLike, TensorLike

__all__ = ["prediction_log", "write_warmup"]

# Field numbers of tensorflow_serving/apis/{prediction_log,predict,model}.proto.
_LOG_PREDICT, _PREDICT_REQUEST = 6, 1
_REQUEST_MODEL, _REQUEST_INPUTS = 1, 2
_MODEL_NAME, _MODEL_SIGNATURE = 1, 3
_KEY, _VALUE = 1, 2  # Of a map entry.


def write_warmup(
    path: PathLike, model_name: str, requests: dict[str, dict[str, TensorLike]]
) -> None:
    """Writes one record for each request in `requests`, {signature: {input: value}}."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            writer.write(prediction_log(model_name, signature, inputs))


def prediction_log(model_name: str, signature: str, inputs: dict[str, TensorLike]) -> bytes:
    """Returns the serialized PredictionLog of one request.

    Args:
      model_name: name of the model on the server.
      signature: name of the signature.
      inputs: {name: array}.

    >>> prediction_log("m", "encode", {})
    b'2\\x0f\\n\\r\\n\\x0b\\n\\x01m\\x1a\\x06encode'
    """
    model = _field(_MODEL_NAME, model_name.encode()) + _field(_MODEL_SIGNATURE, signature.encode())
    request = _field(_REQUEST_MODEL, model)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        entry = _field(_KEY, name.encode()) + _field(_VALUE, tensor)
        request += _field(_REQUEST_INPUTS, entry)
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number, content):
    """Returns a length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value):
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
