"""A metric from outside the package: a function of the objective's outcome."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import data, dense_model

BITS = np.log(2.0)


@keras.saving.register_keras_serializable("test_own_metrics")
def bits(outcome):
    return outcome.terms.bound / BITS


def _compiled(**metrics):
    model = dense_model()
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=False, metrics=metrics)
    return model


def test_it_is_trained_evaluated_weighted_and_saved(tmp_path):
    model, x = _compiled(bits=bits), data(8)
    weights = np.array([1.0, 0.0] * 4)
    history = model.fit(x, sample_weight=weights, validation_data=x, epochs=2, verbose=0).history
    for prefix in ("", "val_"):
        nats = np.array(history[f"{prefix}bound"])
        np.testing.assert_allclose(history[f"{prefix}bits"], nats / BITS, rtol=1e-6)
    model.save(tmp_path / "model.keras")
    found = keras.models.load_model(tmp_path / "model.keras").evaluate(
        x, verbose=0, return_dict=True
    )
    assert found["bits"] == pytest.approx(found["bound"] / BITS)


def test_another_compile_and_a_changed_setting():
    model, x = _compiled(bits=bits), data(4)
    model.fit(x, verbose=0)
    model.refinement.fall_back = 1  # Which brings a metric of its own.
    history = model.fit(x, verbose=0).history
    assert {"bits", "fell_back"} <= set(history)
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    assert "bits" not in model.fit(x, verbose=0).history


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["accuracy"], "has its own metrics; expected None, or additional ones as {name: func"),
        ({"bound": bits}, "with names other than loss, bound, .*; got 'bound'"),
        ({"bits": "accuracy"}, "got 'bits': 'accuracy'"),
    ],
)
def test_what_cannot_be_one(metrics, message):
    with pytest.raises(ValueError, match=f"^metrics: .*{message}"):
        dense_model().compile("adam", metrics=metrics)


def test_a_mean_of_the_batch_is_none():
    model = _compiled(total=lambda outcome: tf.reduce_mean(outcome.loss))
    with pytest.raises(ValueError, match=r"^metrics: expected 'total' .* shape \[None\], got \[\]"):
        model.fit(data(4), verbose=0)
