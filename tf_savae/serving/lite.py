"""`export_lite`: export the encoder to TF Lite for mobile and embedded devices."""

import os
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.typing import PathLike
from tf_savae.models import SemiAmortizedVAE
from tf_savae.serving.inputs import SharedInputs
from tf_savae.serving.limits import Limits
from tf_savae.serving.signatures import parameter_names

__all__ = ["export_lite"]


def export_lite(
    model: SemiAmortizedVAE, path: PathLike, *, rows: int = 1, length: int | None = None
) -> Path:
    """Writes the encoder, q(z; lambda_0) without refinement (K = 0), as a TF Lite file.

    The file has one signature, `encode`, which maps `x` to the family's parameters (`mean`,
    `log_variance`). It uses only TF Lite's built-in operations. Shapes are fixed, since the
    converter supports recurrences with fixed shapes only. The program does not validate x.

    Args:
      model: a built model with an encoder, whose examples are one tensor.
      path: path of the file, which must not exist.
      rows: B.
      length: T of the token rows of a text model, including special tokens and padding; None for
        other models.

    Returns:
      The `Path` of the file.

    Raises:
      ValueError: the model is not built or has no encoder, `length` is missing or not applicable,
        the file exists or cannot be written, or the converter does not support the encoder.

    >>> import tf_savae
    >>> encoder = keras.Sequential([keras.layers.Dense(4)])
    >>> decoder = tf_savae.DistributionDecoder(keras.layers.Dense(3))
    >>> model = tf_savae.SemiAmortizedVAE(encoder, decoder, latent_size=2)
    >>> model.build((None, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = export_lite(model, Path(folder) / "encoder.tflite")
    ...     file.stat().st_size < 10_000
    True
    """
    if not isinstance(model, SemiAmortizedVAE) or model.encoder is None:
        raise ValueError("model: expected a SemiAmortizedVAE with an encoder, got one without.")
    if not model.built or model.data_spec is None:
        raise ValueError(
            "model: expected a built model, got one without weights. Call fit, call the model on "
            "one batch, or load a trained model."
        )
    inputs = SharedInputs(model, Limits())
    spec = _spec(inputs, rows, length)
    path = Path(path)
    if path.exists():
        raise ValueError(f"path: {path} exists and is not overwritten. Use another path.")
    content = _converted(model, spec, parameter_names(model, inputs))
    incoming = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        incoming.write_bytes(content)
        os.link(incoming, path)  # Fails if the file was created meanwhile.
    except OSError as error:
        raise ValueError(
            f"path: {path} could not be written: {type(error).__name__}: {error.strerror}."
        ) from error
    finally:
        incoming.unlink(missing_ok=True)
    return path


def _spec(inputs, rows, length):
    """Returns the fully defined `tf.TensorSpec` of x."""
    x = inputs.x()
    sizes = [validation.positive_int("rows", rows), *x.shape[1:]]
    if length is None and None in sizes:
        raise ValueError("length: expected the length of the rows of x, got None.")
    if length is not None and None not in sizes:
        raise ValueError(f"length: expected None, as rows of x have a fixed shape, got {length!r}.")
    if length is not None:
        length = validation.positive_int("length", length)
    return tf.TensorSpec([length if size is None else size for size in sizes], x.dtype, "x")


def _converted(model, spec, names):
    def encode(x):
        return dict(zip(names, tf.nest.flatten(model.encoded_parameters(x)), strict=True))

    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("encode", encode, [spec])
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["encode"])
        try:
            return converter.convert()
        except Exception as error:  # ConverterError is not a public class.
            last = str(error).strip().splitlines()[-1:]
            raise ValueError(
                "model: expected an encoder that the TF Lite converter supports, got "
                f"{type(model.encoder).__name__}: {' '.join(last)[:200]}"
            ) from error
