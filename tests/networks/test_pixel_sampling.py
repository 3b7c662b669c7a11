"""Images from the Gated PixelCNN: the model's own distribution, and one noise a row."""

import numpy as np
import pytest
import tensorflow as tf
from image_models import SHAPE, all_images, codes, decoder, model

import tf_savae
from tf_savae.networks.pixel_sampling import pixel_noise


def test_cached_features_are_those_of_whole_images(float64):
    """Every drawn pixel is what its noise and the logits of the finished image say."""
    for kernel_sizes in ((5, 3, 3), (3,), (9, 7)):
        net, z = decoder(kernel_sizes=kernel_sizes), codes(5)
        drawn = net.sample(z, seed=4)
        chance = tf.sigmoid(net.logits(drawn, z))
        expected = pixel_noise(4, 5, SHAPE) < tf.cast(chance, tf.float64)
        np.testing.assert_array_equal(drawn[..., 0], tf.cast(expected, tf.float32))
        assert 0 < np.mean(drawn) < 1 and np.ptp(drawn, axis=0).any()


def test_frequencies_are_the_model_s(float64):
    """6,000 images of 2 x 2 against the probabilities of all sixteen; five standard errors."""
    net, x, rows = decoder((2, 2), kernel_sizes=(3, 3)), all_images((2, 2)), 6000
    z = codes(1)
    expected = np.exp(net(x, np.repeat(z, 16, axis=0)))
    drawn = net.sample(np.repeat(z, rows, axis=0), seed=0).numpy()
    index = drawn.reshape(rows, 4).astype(int) @ [8, 4, 2, 1]
    found = np.bincount(index, minlength=16) / rows
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / rows)).all()


def test_a_row_does_not_depend_on_its_batch(float64):
    net, z = decoder(), codes(4)
    whole = net.sample(z, seed=3).numpy()
    np.testing.assert_array_equal(net.sample(z[:1], seed=3), whole[:1])
    own = tf.constant([[1, 5], [2, 5], [3, 5], [4, 5]])
    by_seed = net.sample(z, seed=own).numpy()
    np.testing.assert_array_equal(net.sample(z[2:], seed=own[2:]), by_seed[2:])
    assert (whole != net.sample(z, seed=4).numpy()).any()


def test_compiled_by_xla_too(float64):
    net, z = decoder((2, 3), kernel_sizes=(3, 3)), codes(3)
    expected = net.sample(z, seed=3)
    compiled = tf.function(lambda z: net.sample(z, seed=3), jit_compile=True)
    np.testing.assert_array_equal(compiled(z), expected)


def test_temperature(float64):
    net, z = decoder(), codes(3)
    net(np.zeros([3, *SHAPE, 1]), z)
    net.logit.bias.assign([0.1])  # Without it a fresh network's logits may be exactly 0.
    sharp = net.sample(z, seed=1, temperature=0)
    np.testing.assert_array_equal(sharp[..., 0], net.logits(sharp, z) > 0)
    np.testing.assert_array_equal(net.sample(z, seed=9, temperature=0), sharp)
    np.testing.assert_array_equal(net.sample(z, seed=1, temperature=1e-9), sharp)


def test_temperatures_share_one_graph(float64):
    """Numbers and tensors alike, and what a graph of the user's own computes."""
    net, z = decoder(), codes(3)
    net(np.zeros([3, *SHAPE, 1]), z)
    net.logit.bias.assign([0.1])
    drawn = {t: net.sample(z, seed=1, temperature=t).numpy() for t in (0, 1.0, 3)}
    for temperature, images in drawn.items():
        for tensor in (tf.constant(temperature, tf.float64), tf.Variable(float(temperature))):
            np.testing.assert_array_equal(net.sample(z, seed=1, temperature=tensor), images)
        inside = tf.function(lambda z, t=temperature: net.sample(z, seed=1, temperature=t))
        np.testing.assert_array_equal(inside(z), images)
    (graph,) = net.__dict__["_draws"].values()
    assert graph.experimental_get_tracing_count() == 1
    assert (drawn[0] != drawn[3]).any()


def test_models_generate_at_a_tensor_s_temperature():
    net = tf_savae.AutoregressiveModel(decoder(latent_size=0))
    net(np.zeros([1, *SHAPE, 1], "float32"))
    drawn = net.generate(3, seed=2, temperature=tf.constant(0.5))
    np.testing.assert_array_equal(net.generate(3, seed=2, temperature=0.5), drawn)


def test_samples_follow_the_weights():
    """The graph of the drawing is kept, the weights in it are not."""
    net, z = decoder(), codes(2)
    net.sample(z, seed=0)
    net.logit.bias.assign([50.0])
    assert np.mean(net.sample(z, seed=0)) == 1


@pytest.mark.parametrize("latent", [True, False])
def test_models_generate(latent):
    if latent:
        net = model()
        net.infer(np.zeros([1, *SHAPE, 1], "float32"))
    else:
        net = tf_savae.AutoregressiveModel(decoder(latent_size=0))
        net(np.zeros([1, *SHAPE, 1], "float32"))
    drawn = net.generate(3, seed=2).numpy()
    assert drawn.shape == (3, *SHAPE, 1) and set(np.unique(drawn)) <= {0.0, 1.0}
    np.testing.assert_array_equal(net.generate(3, seed=2), drawn)
