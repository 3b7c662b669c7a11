"""Where Keras or TensorFlow would end in an error of their own, or silently: one sentence."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from keras_models import LATENT, compiled, data, dense_model

import tf_savae

tfd = tfp.distributions


@pytest.mark.parametrize("backend", ["jax", "no_such_backend"])
def test_other_backends_of_keras_are_refused_at_import(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "import tf_savae"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: tf_savae needs Keras' TensorFlow backend, and Keras is set to {backend!r}. "
        "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported, or "
        '"backend": "tensorflow" in ~/.keras/keras.json.'
    )


@pytest.mark.e2e
def test_what_is_used_rarely_is_not_imported():
    """TensorFlow Probability loads all it has where it finds TensorFlow loaded, for a second."""
    rare = ["tensorflow_probability.python.experimental.bayesopt", "tensorflow_datasets"]
    rare += ["scipy.io", "tf_savae.plots"]
    code = f"import sys, tf_savae; print([name for name in {rare} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class _Bicubic(tf_savae.Decoder):
    """Images 2 x 3, resized from 2 x 2: bicubic resizing has no second derivative."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4, activation="tanh")

    def log_prob(self, x, z, seed=None, training=False):
        small = tf.reshape(self.dense(z), [-1, 2, 2, 1])
        mean = tf.image.resize(small, [2, 3], method="bicubic")
        return -tf.reduce_sum((tf.reshape(x, [-1, 2, 3, 1]) - mean) ** 2, axis=[1, 2, 3])


class _GammaFamily(tf_savae.Family):
    def parameter_shapes(self, latent_size):
        return [[latent_size], [latent_size]]

    def distribution(self, parameters):
        concentration, rate = map(tf.exp, parameters)
        return tfd.Independent(tfd.Gamma(concentration, rate), 1)


class _GammaPrior(tf_savae.networks.Prior):
    def distribution(self):
        return tfd.Independent(tfd.Gamma(tf.ones([LATENT]), tf.ones([LATENT])), 1)


def _model(kind, **refinement):
    parts = {"family": _GammaFamily(), "prior": _GammaPrior()} if kind == "gamma" else {}
    decoder = _Bicubic() if kind == "bicubic" else None
    settings = {"steps": 2, "step_size": 0.01, **refinement}
    model = dense_model(decoder=decoder, model=parts, **settings)
    model.compile(keras.optimizers.SGD(0.01), jit_compile=False)
    return model


_OPERATIONS = {"bicubic": "ResizeBicubicGrad", "gamma": "RandomGammaGrad"}


@pytest.mark.parametrize("kind", _OPERATIONS)
@pytest.mark.parametrize(
    "settings",
    [
        {"hvp": "forward_over_reverse"},
        {"hvp": "reverse_over_reverse"},
        {"adjoint": "unrolled"},
    ],
)
def test_an_operation_without_a_second_derivative_is_named(kind, settings):
    message = f"^hvp: TensorFlow has no derivative of the operation {_OPERATIONS[kind]}, and exact"
    with pytest.raises(LookupError, match=f'{message}.*Use hvp="finite_difference"'):
        _model(kind, **settings).fit(data(), verbose=0)


def test_it_is_named_where_both_products_are_measured():
    with pytest.raises(RuntimeError, match='no exact .*use hvp="finite_difference".'):
        _model("bicubic", hvp="auto").fit(data(), verbose=0)


@pytest.mark.parametrize("kind", _OPERATIONS)
def test_finite_differences_work_there(kind):
    model = _model(kind, hvp="finite_difference")
    bounds = model.fit(data(8), epochs=20, verbose=0).history["bound"]
    assert np.isfinite(bounds).all()
    assert np.mean(bounds[-5:]) < np.mean(bounds[:5])


def test_finite_differences_agree_with_the_exact_product_where_there_is_one():
    """To five digits, in float64."""

    def objective(parameters, theta, seed):
        return tf.reduce_sum(tf.tanh(parameters @ theta) ** 2, axis=1)

    start = tf.random.stateless_normal([3, 4], [0, 1], dtype=tf.float64)
    theta = tf.random.stateless_normal([4, 4], [0, 2], dtype=tf.float64)
    gradients = []
    for hvp in ("reverse_over_reverse", "finite_difference"):
        with tf.GradientTape() as tape:
            tape.watch(start)
            refined = tf_savae.svi.refine(
                objective, start, theta, steps=3, step_size=0.05, seed=0, hvp=hvp
            )
            total = tf.reduce_sum(refined**2)
        gradients.append(tape.gradient(total, start).numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-8)


def test_an_operation_without_a_kernel_of_xla_is_named():
    model = _model("bicubic", hvp="finite_difference")
    model.compile("adam", jit_compile=True)
    message = "^jit_compile: XLA cannot compile the operation ResizeBicubic.* here; compile the"
    with pytest.raises(ValueError, match=message):
        model.fit(data(), verbose=0)


@pytest.mark.parametrize(
    ("callback", "effect"),
    [
        (keras.callbacks.EarlyStopping(), "EarlyStopping stops training early: it monitors"),
        (keras.callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau lowers the learning rate early"),
        (
            keras.callbacks.ModelCheckpoint("m.keras", save_best_only=True),
            "ModelCheckpoint selects",
        ),
        (keras.callbacks.ModelCheckpoint("m.keras"), None),
        (keras.callbacks.EarlyStopping("val_bound", mode="min"), None),
        (keras.callbacks.EarlyStopping(start_from_epoch=3), None),
    ],
)
def test_callbacks_that_watch_the_loss_during_annealing(callback, effect, caplog):
    model = compiled(dense_model("vae", model={"beta": tf_savae.linear_kl_weight(100)}), data())
    model.fit(data(), epochs=0, verbose=0, callbacks=[callback])
    assert (effect or "") in caplog.text
    assert ("monitor='val_bound', mode='min'" in caplog.text) == bool(effect)


def test_no_word_of_it_once_the_weight_is_constant(caplog):
    for beta, step in ((0.5, 0), (tf_savae.linear_kl_weight(100), 100)):
        model = compiled(dense_model("vae", model={"beta": beta}), data())
        model.optimizer.iterations.assign(step)
        model.fit(data(), epochs=0, verbose=0, callbacks=[keras.callbacks.EarlyStopping()])
    assert "val_bound" not in caplog.text
