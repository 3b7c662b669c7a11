"""`SemiAmortizedRefinement` in a Keras model of the user's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import FEATURES, data, dense_decoder, dense_model, relative_error, with_product

import tf_savae
from tf_savae import SemiAmortizedRefinement


def _own_model(**options):
    """Encoder -> refinement -> (mean, log-variance), as a functional model."""
    keras.utils.set_random_seed(0)
    settings = with_product(**{"steps": 2, "step_size": 0.1, **options})
    layer = SemiAmortizedRefinement(decoder=dense_decoder(), **settings)
    x = keras.Input([FEATURES])
    hidden = keras.layers.Dense(5, activation="tanh")(x)
    first = [keras.layers.Dense(2)(hidden), keras.layers.Dense(2)(hidden)]
    return keras.Model(x, layer(first, x)), layer


def _loss(model, layer, x):
    """The negative ELBO at the mean of q (no noise), as a user might write it."""
    mean, log_variance = model(x)
    kl = 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_variance) - log_variance - 1.0, axis=1)
    return tf.reduce_mean(kl - layer.decoder(x, mean))


def _gradients(model, layer, x, eager=False):
    def run():
        with tf.GradientTape() as tape:
            loss = _loss(model, layer, x)
        return tape.gradient(loss, model.trainable_variables)

    run = run if eager else tf.function(run, autograph=False)
    return [tf.convert_to_tensor(g).numpy() for g in run()]


def test_gradients_reach_encoder_decoder_and_step_size(float64):
    x = tf.constant(data())
    options = {"learn_step_size": True, "seed": 3}
    model, layer = _own_model(**options)
    assert len(model.trainable_variables) == 6 + 4 + 1
    exact = _gradients(model, layer, x)
    assert all(np.abs(g).max() > 0 for g in exact)
    unrolled = _gradients(*_own_model(**options, adjoint="unrolled"), x, eager=True)
    order = [v.path.split("/")[-1] for v in model.trainable_variables]
    assert "log_step_size" in order
    assert relative_error(exact, unrolled) < 1e-11


def test_weights_exist_before_the_first_call():
    """Of the decoder too, so that an optimizer or a checkpoint sees them at once."""
    model, layer = _own_model()
    assert {id(v) for v in layer.decoder.trainable_variables} <= {id(v) for v in model.weights}
    assert len(layer.decoder.trainable_variables) == 4


def test_custom_training_learns_everything():
    x = tf.constant(data(16))
    model, layer = _own_model(learn_step_size=True)
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(model.trainable_variables)
    before = [v.numpy() for v in model.trainable_variables]

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            mean, _ = model(x, training=True)
            loss = tf.reduce_mean(0.5 * tf.reduce_sum(mean**2, 1) - layer.decoder(x, mean))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    losses = [float(step()) for _ in range(40)]
    assert losses[-1] < losses[0] - 0.5
    pairs = zip(before, model.trainable_variables, strict=True)
    assert min(np.abs(old - v.numpy()).max() for old, v in pairs) > 0


def test_noise_differs_between_training_calls_and_not_otherwise():
    x = tf.constant(data())
    model, _ = _own_model()
    assert np.array_equal(model(x)[0], model(x)[0])
    assert not np.array_equal(model(x, training=True)[0], model(x, training=True)[0])
    twin, _ = _own_model()
    assert np.array_equal(twin(x, training=True)[0], _own_model()[0](x, training=True)[0])


def test_hvp_auto_is_measured_at_the_first_training_call(caplog):
    model, layer = _own_model(hvp="auto", keep=None)
    x = tf.constant(data())
    with caplog.at_level("INFO", logger="absl"):
        model(x)
        assert "hvp='auto'" not in caplog.text
        run = tf.function(lambda x: model(x, training=True), autograph=False)
        run(x), model(x, training=True)
    assert caplog.text.count("hvp='auto' chose") == 1
    assert "products differ" not in caplog.text  # Under init_scope one of them was all zeros.
    assert layer._programs[1]["hvp"] in ("forward_over_reverse", "reverse_over_reverse")


def test_saved_and_loaded(tmp_path):
    x = tf.constant(data())
    model, layer = _own_model(learn_step_size=True, momentum=0.25)
    layer.log_step_size.assign_add([0.3, -0.2])
    model.save(tmp_path / "own.keras")
    loaded = keras.saving.load_model(tmp_path / "own.keras")
    assert np.array_equal(loaded(x)[0], model(x)[0])
    (again,) = [part for part in loaded.layers if isinstance(part, SemiAmortizedRefinement)]
    kept, wanted = again.get_config(), layer.get_config()
    assert kept.pop("decoder") and wanted.pop("decoder")  # Keras adds shapes to a Sequential's.
    assert kept == wanted
    assert np.array_equal(again.log_step_size.numpy(), layer.log_step_size.numpy())


def test_config_round_trip():
    layer = SemiAmortizedRefinement(
        steps=7,
        step_size=[0.1, 0.3],
        momentum=0.2,
        clip_norm=None,
        adjoint="truncated",
        truncate=3,
        adjoint_clip_norm=2.0,
        samples=2,
        hvp="finite_difference",
        family=tf_savae.FullCovarianceGaussian(),
    )
    again = SemiAmortizedRefinement.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert isinstance(again.family, tf_savae.FullCovarianceGaussian)


def test_step_sizes_are_used_one_for_each_tensor():
    """A step size that is next to 0 leaves its tensor where it was."""
    x = tf.constant(data())
    model, layer = _own_model(step_size=[0.2, 1e-12])
    first = keras.Model(model.inputs, [part.output for part in model.layers[2:4]])(x)
    refined = model(x)
    assert np.abs(refined[0] - first[0]).max() > 1e-3
    assert np.allclose(refined[1], first[1], atol=1e-6)
    assert layer.largest_step_size() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps: expected an integer >= 0, got -1"),
        ({"steps": 2.5}, "steps: expected an integer >= 0, got 2.5"),
        ({"step_size": -0.1}, "step_size: expected a finite number >= 0, got -0.1"),
        ({"step_size": float("nan")}, "step_size: expected a finite number"),
        ({"step_size": []}, "step_size: expected at least one number"),
        ({"momentum": 1.0}, r"momentum: expected a number in \[0, 1\)"),
        ({"clip_norm": 0.0}, "clip_norm: expected a finite number > 0 or None"),
        ({"adjoint": "eact"}, "adjoint: expected one of exact"),
        ({"hvp": "fast"}, "hvp: expected one of auto"),
        ({"truncate": 2}, 'truncate: requires adjoint="truncated"'),
        ({"adjoint": "truncated"}, "truncate: expected an integer >= 0, got None"),
        ({"adjoint": "truncated", "truncate": 21}, "truncate: expected at most steps=20, got 21"),
        ({"learn_step_size": True, "step_size": 0}, "expected numbers > 0 with learn_step_size"),
        ({"decoder": keras.layers.Dense(3)}, "decoder: expected a tf_savae.networks.Decoder"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        SemiAmortizedRefinement(**options)


def test_called_without_a_decoder():
    with pytest.raises(ValueError, match="construct it with decoder="):
        SemiAmortizedRefinement()([tf.zeros([2, 2])] * 2, tf.zeros([2, 6]))


def test_too_many_step_sizes():
    with pytest.raises(ValueError, match="one for each of the 2 parameter tensors; got 3"):
        model, _ = _own_model(step_size=[0.1, 0.2, 0.3])
        model(data())


def test_a_layer_with_another_decoder_than_its_model_is_refused():
    other = dense_model().decoder
    with pytest.raises(ValueError, match="refinement: expected one without decoder="):
        tf_savae.SemiAmortizedVAE(
            dense_model().encoder,
            dense_model().decoder,
            latent_size=2,
            refinement=tf_savae.SemiAmortizedRefinement(steps=1, decoder=other),
        )
