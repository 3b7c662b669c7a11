"""A user's Keras decoder with dropout, batch normalisation, recurrence, frozen or shared layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import (
    OBJECTIVES,
    compiled,
    data,
    dense_model,
    relative_error,
    step_gradients,
)

from tf_savae.networks import Decoder, DistributionDecoder, PureEncoder

LAYERS = keras.layers


def _decoder(*layers):
    return DistributionDecoder(keras.Sequential(list(layers)), "normal")


def _images(dropout):
    return [
        LAYERS.Dense(8),
        LAYERS.Reshape([2, 2, 2]),
        dropout,
        LAYERS.Conv2DTranspose(3, 2, activation="tanh"),
        LAYERS.Flatten(),
        LAYERS.Dense(6),
    ]


DECODERS = {
    "dropout": lambda: _decoder(LAYERS.Dense(5), LAYERS.Dropout(0.4), LAYERS.Dense(6)),
    "two_dropouts": lambda: _decoder(
        LAYERS.Dropout(0.3), LAYERS.Dense(5, "tanh"), LAYERS.Dropout(0.4), LAYERS.Dense(6)
    ),
    "batch_norm": lambda: _decoder(
        LAYERS.Dense(5), LAYERS.BatchNormalization(), LAYERS.Activation("tanh"), LAYERS.Dense(6)
    ),
    "spectral_norm": lambda: _decoder(
        LAYERS.SpectralNormalization(LAYERS.Dense(5, "tanh")), LAYERS.Dense(6)
    ),
    "convolution": lambda: _decoder(*_images(LAYERS.SpatialDropout2D(0.4))),
    "lstm": lambda: _decoder(
        LAYERS.RepeatVector(2), LAYERS.LSTM(3, use_cudnn=False), LAYERS.Dense(6)
    ),
}


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_exact_equals_unrolled(float64, name):
    """The backward pass replays the very masks of the forward pass."""
    x = data(3)
    gradients = []
    for adjoint in ("exact", "unrolled"):
        keras.utils.set_random_seed(0)
        model = dense_model(decoder=DECODERS[name](), adjoint=adjoint, steps=2)
        gradients.append(step_gradients(compiled(model, x), x))
    assert relative_error(*gradients) < 1e-9


def test_statistics_move_once_a_step():
    """Refinement's evaluations leave the moving average alone: one update with momentum 0.9."""
    layer = LAYERS.BatchNormalization(momentum=0.9)
    seen = []

    class Recorded(LAYERS.Layer):
        def call(self, inputs):
            seen.append(inputs)
            return inputs

    x = data(8)
    model = dense_model(decoder=_decoder(LAYERS.Dense(5), Recorded(), layer, LAYERS.Dense(6)))
    compiled(model, x)
    seen.clear()
    model.train_step((tf.constant(x),))
    last = seen[3].numpy()  # After K = 3 steps forward: what the loss at lambda_K was made of.
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * last.mean(0), rtol=1e-4, atol=1e-6)
    before = layer.moving_mean.numpy()
    model.test_step((tf.constant(x),))
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_weights_that_a_layer_sets_are_set(side):
    """The normalised kernel that a step computes with is what the next one, or evaluate, finds."""
    layer = LAYERS.SpectralNormalization(LAYERS.Dense(5, "tanh"))
    parts = {
        "encoder": {"encoder": keras.Sequential([layer, LAYERS.Dense(4)])},
        "decoder": {"decoder": _decoder(layer, LAYERS.Dense(6))},
    }
    x = data(8)
    for rate in (0.0, 0.1):
        model = compiled(dense_model(**parts[side]), x, optimizer=keras.optimizers.SGD(rate))
        vector, kernel = (v.numpy() for v in layer.normalized_weights())
        model.fit(x, batch_size=8, verbose=0)
        np.testing.assert_allclose(layer.vector_u.numpy(), vector, rtol=1e-5)
        moved = np.abs(layer.kernel.numpy() - kernel).max()
        assert moved < 1e-6 if rate == 0.0 else 1e-4 < moved < 0.5  # Then the gradient's step.


def test_weights_that_a_layer_sets_stay_where_a_batch_is_skipped():
    layer = LAYERS.SpectralNormalization(LAYERS.Dense(5, "tanh"))
    model = compiled(dense_model("vae", decoder=_decoder(layer, LAYERS.Dense(6))), data())
    before = layer.kernel.numpy()
    model.train_step((tf.constant(np.full([4, 6], np.nan, "float32")),))
    np.testing.assert_array_equal(layer.kernel.numpy(), before)


def test_encoder_statistics_and_dropout():
    layer = LAYERS.BatchNormalization(momentum=0.9)
    encoder = keras.Sequential([layer, LAYERS.Dropout(0.5), LAYERS.Dense(4)])
    x = data(8)
    model = compiled(dense_model(encoder=encoder), x)
    model.train_step((tf.constant(x),))
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.mean(0), rtol=1e-4, atol=1e-6)


def test_dropout_depends_on_seed_and_step_alone():
    """Two models with one seed take one path, whatever ran in between."""
    x, histories = data(8), []
    for extra in (0, 3):
        encoder = keras.Sequential([LAYERS.Dropout(0.5), LAYERS.Dense(4)])
        model = compiled(dense_model(encoder=encoder, decoder=DECODERS["dropout"]()), x)
        for _ in range(extra):
            model.encoder(x, training=True)
        if not histories:
            start = model.get_weights()
        model.set_weights(start)
        histories.append(model.fit(x, shuffle=False, epochs=2, verbose=0).history["loss"])
    assert histories[0] == histories[1]


def test_masks_of_several_draws_are_all_different():
    """Keras counts a generator's draws up: the next one's must not be where it arrives."""
    twice, once = LAYERS.Dropout(0.5), LAYERS.Dropout(0.5)

    def network(x):
        return tf.stack([twice(x, training=True), twice(x, training=True), once(x, training=True)])

    class Masks(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.twice, self.once = twice, once

        def call(self, x, training=False):
            return network(x)

    masks = PureEncoder(Masks())(tf.ones([1, 200]), [0, 1], True)[0].numpy()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert 50 < np.sum(masks[one] != masks[other]) < 150


class _Embedding(Decoder):
    """Normalises x before it is compared with the mean."""

    def __init__(self):
        super().__init__()
        self.normalise, self.mean = LAYERS.BatchNormalization(momentum=0.5), LAYERS.Dense(6)

    def prepare(self, x, seed, training=False):
        return self.normalise(x, training=training)

    def log_prob(self, x, z, seed=None, training=False):
        return self.log_prob_prepared(self.prepare(x, seed, training), z)

    def log_prob_prepared(self, prepared, z, seed=None, training=False):
        return -tf.reduce_sum((prepared - self.mean(z)) ** 2, axis=1)


def test_statistics_of_preparing_x_move():
    x = data(8) + 3.0
    model = dense_model(decoder=_Embedding(), steps=2)
    model = compiled(model, x)
    model.fit(x, batch_size=8, epochs=1, verbose=0)
    moved = model.decoder.normalise.moving_mean.numpy()
    np.testing.assert_allclose(moved, 0.5 * x.mean(axis=0), rtol=1e-5)


def test_frozen_layers_are_constants():
    frozen = LAYERS.Dense(5)
    frozen.trainable = False
    x = data()
    model = compiled(dense_model(decoder=_decoder(frozen, LAYERS.Dense(6))), x)
    before, trained = frozen.kernel.numpy(), model.decoder.trainable_variables
    assert len(trained) == 2
    old = [v.numpy() for v in trained]
    model.train_step((tf.constant(x),))
    np.testing.assert_array_equal(frozen.kernel.numpy(), before)
    assert all(np.abs(o - v.numpy()).max() > 0 for o, v in zip(old, trained, strict=True))


def test_frozen_decoder_trains_the_encoder_alone():
    x, decoder = data(), DECODERS["dropout"]()
    decoder.trainable = False
    model = compiled(dense_model(decoder=decoder), x)
    assert model.trainable_variables == model.encoder.trainable_variables
    before = decoder.get_weights()
    model.train_step((tf.constant(x),))
    for old, new in zip(before, decoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_shared_layer_gets_both_gradients(float64):
    """One layer in encoder and decoder: exact equals unrolled, over all paths to it."""
    x, gradients = data(3), []
    for adjoint in ("exact", "unrolled"):
        keras.utils.set_random_seed(0)
        shared = LAYERS.Dense(2, activation="tanh")
        encoder = keras.Sequential([LAYERS.Dense(2), shared, LAYERS.Dense(4)])
        model = dense_model(
            encoder=encoder, decoder=_decoder(shared, LAYERS.Dense(6)), adjoint=adjoint, steps=2
        )
        compiled(model, x)
        assert len(model.trainable_variables) == 8
        gradients.append(step_gradients(model, x))
    assert relative_error(*gradients) < 1e-9


def test_shared_batch_normalisation_is_refused():
    shared = LAYERS.BatchNormalization()
    encoder = keras.Sequential([LAYERS.Dense(2), shared, LAYERS.Dense(4)])
    x = data()
    model = compiled(dense_model(encoder=encoder, decoder=_decoder(shared, LAYERS.Dense(6))), x)
    with pytest.raises(ValueError, match="in both encoder and decoder, .*; expected a sep"):
        model.train_step((tf.constant(x),))


def test_regularisers_count(float64):
    x = data()
    plain = step_gradients(compiled(dense_model(), x), x)
    model = dense_model()
    model.encoder.layers[0].kernel_regularizer = keras.regularizers.L2(0.5)
    compiled(model, x)
    kernel = model.encoder.layers[0].kernel.numpy()
    with_it = step_gradients(model, x)
    np.testing.assert_allclose(with_it[0] - plain[0], kernel, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_that_layers_add_are_part_of_the_loss(float64, objective):
    """Once a batch, from the evaluation at lambda_K: not from those of refinement."""
    x, losses = data(), []
    for rate in (0.0, 0.5):
        layer = LAYERS.Dense(5, activity_regularizer=keras.regularizers.L1(rate))
        model = compiled(dense_model(objective, decoder=_decoder(layer, LAYERS.Dense(6))), x)
        with tf.GradientTape() as tape:
            outcome = model._outcome(tf.constant(x), [0, 1], 1.0, True, None)
            losses.append(sum(outcome.effects.losses))
        gradient = tape.gradient(losses[-1], model.decoder.trainable_variables)
    assert losses[0] == 0.0 and losses[1] > 0.01
    assert gradient[0] is not None and np.abs(gradient[0]).max() > 0
