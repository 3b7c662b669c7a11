"""A signature from outside the package: exported, checked and answered beside the others."""

import keras_models
import numpy as np
import pytest
import tensorflow as tf

import tf_savae
from tf_savae import serving


def code_length(model, inputs):
    """How far each example's code lies from the prior's mean."""

    def compute(x):
        mean, _ = model.encoded_parameters(x)
        return {"length": tf.norm(mean, axis=1)}

    answer = (serving.Output("length", "", "the norm of the encoder's mean"),)
    return serving.Signature("code_length", "Norm of lambda_0.", (inputs.x(),), answer, compute)


@pytest.fixture(scope="module")
def model():
    model = keras_models.dense_model()
    model.build((None, keras_models.FEATURES))
    return model


def test_it_is_served_beside_the_others(model, tmp_path):
    served = tf.saved_model.load(tf_savae.export(model, tmp_path, signatures=["elbo", code_length]))
    assert set(served.signatures) == {"elbo", "code_length", "serving_default"}
    x = tf.constant(keras_models.data(3))
    wanted = tf.norm(model.encoded_parameters(x)[0], axis=1)
    np.testing.assert_allclose(served.signatures["code_length"](x=x)["length"], wanted, rtol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError):  # The shared input brings its checks.
        served.signatures["code_length"](x=x * np.nan)


def test_what_cannot_be_one(model, tmp_path):
    for wrong, message in (
        ([lambda m, i: "elbo"], "to return a tf_savae.serving.Signature, got str"),
        ([code_length, code_length], "expected new names for custom signatures, got code_length"),
        (["length"], r"or functions \(model, inputs\) -> Signature; got length"),
    ):
        with pytest.raises(ValueError, match=f"^signatures: .*{message}"):
            tf_savae.export(model, tmp_path / "none", signatures=wrong)
    assert not (tmp_path / "none").exists()
