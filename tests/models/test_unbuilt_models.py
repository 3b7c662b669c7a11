"""`build`, and what a model that was built from a shape remembers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_encoder, dense_model, text_model, tokens

from tf_savae import evaluation, generation


def test_weights_of_a_shape_are_those_of_data():
    """The same numbers: initializers are asked in the same order."""
    built = dense_model("vae")
    built.build((None, 6))
    called = compiled(dense_model("vae"), data())
    for one, other in zip(built.weights, called.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_that_cannot_be_built_is_not_built():
    encoder = keras.Sequential([keras.Input([6]), keras.layers.Dense(4)])
    model = dense_model("vae", encoder=encoder)
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 6"):
        model.build((None, 7))
    assert not model.built
    model.build((None, 6))
    assert model.infer(data()).mean().shape == (4, 2)


def test_build_guesses_dtypes_and_data_tell_them(tmp_path):
    """A file has what the model has seen, or was told."""
    model = text_model("vae")
    model.build((None, None))
    model.compile(jit_compile=False)
    assert model.data_spec == ([None], "int32")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = tokens(4).astype("int64")
    codes = [m.predict(x, verbose=0) for m in (again, model)]
    np.testing.assert_allclose(codes[0], codes[1], rtol=1e-5)
    assert model.data_spec == ([7], "int64")


def test_built_twice_and_after_data():
    model = compiled(dense_model("vae"), data())
    before = model.get_weights()
    model.build((None, 6))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_evaluations_and_drawings_of_a_model_without_weights():
    """Those that have data make the weights, outside of what they trace; the others say so."""
    x = data()
    model = dense_model("vae", encoder=dense_encoder())
    code = np.zeros([2, 2], "float32")
    with pytest.raises(ValueError, match="generate: expected a model with weights, got one that"):
        generation.decode(model, code)
    answers = [
        evaluation.importance_weighted_nll(model, tf.data.Dataset.from_tensors(x), samples=3),
        evaluation.importance_weighted_nll(model, tf.data.Dataset.from_tensors(x), samples=3),
    ]
    assert model.built
    np.testing.assert_array_equal(*answers)
    assert generation.decode(model, code).x.shape == (2, 6)
