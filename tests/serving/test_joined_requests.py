"""Signatures of examples alone: requests that a server joins are answered as they are apart."""

import json

import image_models
import keras_models
import numpy as np
import pytest
import tensorflow as tf
from serving import answers

import tf_savae
from tf_savae.data import Vocabulary
from tf_savae.serving import Limits, export_lite

pytestmark = pytest.mark.e2e
VOCABULARY = Vocabulary([f"w{i}" for i in range(16)])
ALONE = ["posterior", "score", "encode"]
SETTINGS = answers.FIXED


def _model(kind):
    """A built model and examples of different content."""
    makers = {
        "text": lambda: (keras_models.text_model(), keras_models.tokens(5)),
        "image": lambda: (image_models.model(), image_models.images(4)),
        "array": lambda: (keras_models.dense_model(), keras_models.data(4)),
    }
    model, x = makers[kind]()
    model.ensure_built(tf.constant(x))
    return model, x


def _apart(kind, x):
    """Each row as a client sends it: texts without padding."""
    if kind != "text":
        return [row[None] for row in x]
    return [row[None, : 1 + int(np.argmax(row == 3))] for row in x]


def _joined(requests):
    """As TF Serving joins tensors with pad_variable_length_inputs: filled with their first id."""
    if requests[0].ndim != 2 or requests[0].dtype != np.int32:
        return np.concatenate(requests)
    longest = max(request.shape[1] for request in requests)
    return np.concatenate(
        [
            np.pad(r, [(0, 0), (0, longest - r.shape[1])], constant_values=r.flat[0])
            for r in requests
        ]
    )


@pytest.fixture(scope="module", params=["text", "image", "array"])
def exported(request, tmp_path_factory):
    kind = request.param
    model, x = _model(kind)
    words = {"vocabulary": VOCABULARY} if kind == "text" else {}
    made = tf_savae.export(
        model,
        tmp_path_factory.mktemp("models") / kind,
        limits=answers.LIMITS,
        signatures=ALONE,
        **SETTINGS,
        **words,
    )
    return kind, x, made, tf.saved_model.load(made).signatures


def _agree(got, wanted):
    for output, value in wanted.items():
        np.testing.assert_allclose(got[output], value, rtol=1e-6, atol=1e-6, err_msg=output)


def test_rows_joined_are_rows_apart(exported):
    kind, x, _, served = exported
    requests = _apart(kind, x)
    for name in [*ALONE, "serving_default"]:
        apart = [served[name](x=tf.constant(request)) for request in requests]
        for order in (slice(None), slice(None, None, -1)):
            together = served[name](x=tf.constant(_joined(requests[order])))
            wanted = {o: np.concatenate([a[o] for a in apart[order]]) for o in together}
            _agree(together, wanted)


def test_their_settings_are_documented(exported):
    """That they answer what the full signatures do is tested with the C program."""
    documented = json.loads((exported[2] / "assets.extra" / "signatures.json").read_text("utf-8"))
    assert documented["fixed settings"] == SETTINGS
    assert "K = 5, S = 7, seed = 3" in documented["signatures"]["score"]["about"]


def test_only_what_every_server_can_answer_is_warmed_up(exported):
    """A server that batches refuses scalars, and loads no model whose warm-up it refuses."""
    kind, _, made, _ = exported
    path = str(made / "assets.extra" / "tf_serving_warmup_requests")
    records = b"".join(tf.data.TFRecordDataset(path).as_numpy_iterator())
    assert all(name.encode() in records for name in ALONE)
    assert (b"posterior_text" in records) == (kind == "text")


def test_bad_settings(tmp_path):
    model, _ = _model("array")
    limits = Limits(steps=20, samples=50)
    for settings, message in (
        ({"steps": -1}, "^steps: expected an integer >= 0, got -1.$"),
        ({"steps": 21}, "^steps: expected at most limits.steps=20, got 21. Raise the lim"),
        ({"samples": 0}, "^samples: expected an integer >= 1, got 0.$"),
        ({"samples": 51}, "^samples: expected at most limits.samples=50, got 51."),
        ({"seed": 2**31}, r"^seed: expected an integer below 2\*\*31, got 2147483648.$"),
        ({"seed": 0.5}, "^seed: expected an integer >= 0, got 0.5.$"),
    ):
        with pytest.raises(ValueError, match=message):
            tf_savae.export(model, tmp_path / "none", limits=limits, **settings)
    baseline = tf_savae.AutoregressiveModel(keras_models.TextDecoder(9, 2, 3, latent_size=0))
    baseline(tf.constant([[2, 5, 3]]))
    with pytest.raises(ValueError, match="^steps: expected None for an AutoregressiveModel, which"):
        tf_savae.export(baseline, tmp_path / "none", steps=3)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["text", "image", "array"])
def test_the_encoder_in_tf_lite(kind, tmp_path):
    """Within 1e-5 of Keras; no file is overwritten, and shapes are asked for in one sentence."""
    model, x = _model(kind)
    length = {"length": x.shape[1]} if kind == "text" else {}
    file = export_lite(model, tmp_path / "encoder.tflite", rows=len(x), **length)
    encode = tf.lite.Interpreter(model_content=file.read_bytes()).get_signature_runner("encode")
    got, wanted = encode(x=x), model.encoded_parameters(tf.constant(x))
    assert got.keys() == {"mean", "log_variance"}
    for name, value in zip(("mean", "log_variance"), wanted, strict=True):
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="^path: .*encoder.tflite exists and is not overwritten"):
        export_lite(model, file, **length)
    wrong = {} if length else {"length": 3}
    with pytest.raises(ValueError, match="^length: expected "):
        export_lite(model, tmp_path / "none", **wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.tflite"]
