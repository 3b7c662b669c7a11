"""The Gated PixelCNN and the residual encoder: causality, normalisation, derivatives, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from executed_products import executed_products
from image_models import LATENT, SHAPE, all_images, codes, decoder, images, model
from keras_models import compiled, step_gradients

import tf_savae
from tf_savae.models.compilation.jit import resolve_jit_compile
from tf_savae.networks import PixelCNNDecoder, ResidualEncoder
from tf_savae.probability import FullCovarianceGaussian


def _jacobians(net, x, z):
    """|d logit / d x| and |d logit / d z| of one image, in one pass: [H W, H, W], [H W, Z]."""
    height, width = net.image_shape
    size = height * width  # A copy of the image for each logit.
    x, z = (tf.constant(np.repeat(part, size, axis=0)) for part in (x, z))
    net(x, z)
    with tf.GradientTape() as tape:
        tape.watch([x, z])
        logits = tf.reshape(net.logits(x, z), [size, size])
        own = tf.linalg.diag_part(logits)
    in_x, in_z = tape.gradient(own, [x, z])
    return np.abs(in_x.numpy()[..., 0]), np.abs(in_z.numpy())


def _sensitivity(shape, kernel_sizes):
    """[H, W, H, W]: how much each logit changes with each pixel, summed over some weights."""
    total = np.zeros([*shape, *shape])
    for seed in range(4):  # A unit that is switched off in one network is on in another.
        net = decoder(shape, channels=4, kernel_sizes=kernel_sizes, seed=seed)
        in_x, _ = _jacobians(net, images(1, shape, seed), codes(1, seed=seed))
        total += in_x.reshape(total.shape)
    return total


@pytest.mark.parametrize(
    ("shape", "kernel_sizes"),
    [((4, 4), (7, 5)), ((3, 5), (9,)), ((4, 1), (5, 3, 3))],
)
def test_each_pixel_sees_all_earlier_ones_and_nothing_else(float64, shape, kernel_sizes):
    """Where the receptive field covers the image: strictly lower triangular, without a hole."""
    size = shape[0] * shape[1]
    seen = _sensitivity(shape, kernel_sizes).reshape(size, size)
    assert not np.triu(seen).any(), "a pixel sees itself or a later one"
    below = np.tril_indices(size, -1)
    holes = [pair for pair in zip(*below, strict=True) if not seen[pair]]
    assert not holes, f"blind spots (pixel, earlier pixel): {holes}"


def test_no_blind_spot_inside_a_small_receptive_field(float64):
    """Three layers of size 3 reach three pixels up, left and right: all of them count."""
    seen = _sensitivity((5, 7), (3, 3, 3))[4, 3] > 0
    expected = np.zeros([5, 7], bool)
    expected[1:4, :] = True  # Rows above, to both sides.
    expected[4, :3] = True
    np.testing.assert_array_equal(seen & expected, expected)
    assert not seen[4, 3:].any()


@pytest.mark.parametrize("latent_size", [0, LATENT])
def test_probabilities_of_all_images_sum_to_one(float64, latent_size):
    net, x = decoder((2, 2), latent_size, kernel_sizes=(3, 3)), all_images((2, 2))
    z = np.repeat(codes(1, latent_size), len(x), axis=0)
    log_prob = net(x, z).numpy()
    assert log_prob.dtype == np.float64 and np.ptp(log_prob) > 0.05
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-12)


def test_every_pixel_sees_the_latent_code(float64):
    nets = [decoder(seed=seed) for seed in range(6)]
    assert sum(_jacobians(net, images(1), codes(1))[1] for net in nets).all()


def test_the_latent_path_is_the_convolution_of_its_maps(float64):
    """What `prepare` turns into one matrix: maps of z beside the image, convolved whole."""
    net, x, z = decoder(), images(3), codes(3)
    net(x, z)
    net.map_bias.assign(np.random.default_rng(0).normal(size=net.map_bias.shape))
    first = net.stack[0]
    maps = tf.reshape(z @ net.to_maps.numpy() + net.map_bias.numpy(), [3, *SHAPE, 4])
    above, left = tf.split(net.from_maps(maps), 2, axis=-1)
    above += first.from_above(x)
    left += first.from_left(x) + first.link(above)
    for ours, plain in zip(net.conditioned(net.prepare(x), z), (above, left), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)


def test_what_is_constant_in_z_is_computed_once():
    net, x, z = decoder(kernel_sizes=(5, 3, 3)), tf.constant(images()), tf.constant(codes())
    net(x, z)
    prepared = net.prepare(x)
    step = tf.function(net.log_prob_prepared).get_concrete_function(prepared, z)
    kinds = [op.type for op in step.graph.get_operations()]
    # Per layer the link, two convolutions and the output; the first has only its output left.
    assert kinds.count("Conv2D") == 1 + 2 * 4 + 2


def test_log_prob_is_the_sum_of_bernoulli_terms():
    net, x, z = decoder(), images(), codes()
    chance = 1 / (1 + np.exp(-net.logits(x, z).numpy().astype("f8")))
    expected = np.log(np.where(x[..., 0] == 1, chance, 1 - chance)).sum(axis=(1, 2))
    np.testing.assert_allclose(net(x, z), expected, rtol=1e-5)


def test_half_precision_ends_in_float32():
    net = decoder(dtype="mixed_bfloat16")
    log_prob = net(images(), codes())
    assert log_prob.dtype == tf.float32
    np.testing.assert_allclose(log_prob, decoder()(images(), codes()), rtol=0.05)


def _gradients(x, eager=False, **settings):
    """Of one training step's loss, in all weights, and what it takes off batch statistics."""
    net = compiled(model(**settings), x)
    before = net.get_weights()
    step_gradients(net, x, eager=eager)
    return [old - new for old, new in zip(before, net.get_weights(), strict=True)]


@pytest.mark.slow
def test_exact_gradients_agree(float64):
    """Two Hessian-vector products and autodiff through the stored loop: one total derivative."""
    x = images(3)
    amortized = _gradients(x, eager=True, objective="vae")
    expected = _gradients(x, eager=True, adjoint="unrolled")
    for hvp in ("reverse_over_reverse", "forward_over_reverse"):
        for ours, plain in zip(_gradients(x, hvp=hvp), expected, strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-8, atol=1e-11)
    # Else none of this would show that refinement was differentiated at all.
    assert max(np.abs(a - b).max() for a, b in zip(amortized, expected, strict=True)) > 1e-3


def test_gradients_cost_what_is_counted(float64):
    """In z alone two passes and no gradient of a kernel, in all weights three, per convolution."""
    net, x, z = decoder(kernel_sizes=(5, 3, 3)), images(3), tf.constant(codes(3))
    net(x, z)  # Makes the weights.
    prepared = net.prepare(x)
    kernels = [layer.kernel for layer in net._flatten_layers() if hasattr(layer, "kernel")]

    def value(z):
        return tf.reduce_sum(net.log_prob_prepared(prepared, z))

    def gradient(*sources):
        def run(z):
            with tf.GradientTape() as tape:
                tape.watch(z)
                total = value(z)
            found = tape.gradient(total, [z, *sources])
            return [g for g in found if g is not None]

        return run

    def executed(function):
        counted = executed_products(tf.function(function, autograph=False), z)
        del counted["MatMul"]  # z's share of the first layer.
        return counted

    once, in_z, in_all = executed(value), executed(gradient()), executed(gradient(*kernels))
    assert once.total() == len(kernels) - 4  # Those of `prepare`: x's three, and z's maps.
    assert in_z.total() == 2 * once.total() and not in_z["Conv2DBackpropFilter"]
    assert in_all.total() == 3 * once.total()
    assert in_all["Conv2DBackpropFilter"] == once.total()


def test_encoder_serves_any_family():
    encoder = ResidualEncoder(3, (4,), family=FullCovarianceGaussian())
    parameters = encoder(images(2, (6, 6)))
    posterior = FullCovarianceGaussian().distribution(parameters)
    assert posterior.event_shape.as_list() == [3] and posterior.batch_shape.as_list() == [2]


def test_batch_statistics_move_in_training_only():
    net = model("vae")
    net.compile("sgd", run_eagerly=True)
    x = images(8)
    net.infer(x)
    norm = net.encoder.blocks[0].norms[0]
    before = norm.moving_mean.numpy()
    net.infer(x)
    np.testing.assert_array_equal(norm.moving_mean.numpy(), before)
    net.fit(x, batch_size=8, verbose=0)
    assert np.abs(norm.moving_mean.numpy() - before).max() > 1e-4


def test_inference_is_per_example():
    """Neighbours in the batch change nothing, batch normalisation in the encoder or not."""
    net, x = model(), images(5)
    together, alone = (net.infer(part, steps=0) for part in (x, x[:2]))
    for ours, other in ((together.mean(), alone.mean()), (together.stddev(), alone.stddev())):
        np.testing.assert_allclose(ours[:2], other, rtol=1e-5, atol=1e-6)


def test_saved_and_loaded(tmp_path):
    net, x = model("vae"), images()
    net.compile("adam", run_eagerly=True)
    net.fit(x, batch_size=3, verbose=0)
    net.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.negative_elbo(x, steps=0), net.negative_elbo(x, steps=0))
    np.testing.assert_array_equal(loaded.generate(2, seed=1), net.generate(2, seed=1))


def test_convolutions_are_not_compiled_on_a_cpu():
    if tf.config.list_physical_devices("GPU"):
        assert resolve_jit_compile("auto", [decoder()]) is True
    else:
        assert resolve_jit_compile("auto", [decoder()]) is False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PixelCNNDecoder(28), r"image_shape: expected \(height, width\), got 28"),
        (lambda: PixelCNNDecoder((28, 0)), "image_shape: expected an integer >= 1, got 0"),
        (lambda: PixelCNNDecoder(kernel_sizes=(9, 4)), "kernel_sizes: expected an odd integer"),
        (lambda: PixelCNNDecoder(kernel_sizes=()), "kernel_sizes: expected one odd size per layer"),
        (lambda: PixelCNNDecoder(latent_size=-1), "latent_size: expected an integer >= 0"),
        (lambda: ResidualEncoder(channels=64), "channels: expected one number per block, got 64"),
        (lambda: decoder()(images(2, (4, 4)), codes(2)), r"x: expected images .*\[B, 4, 5, 1\]"),
        (lambda: decoder().sample(codes(2, 3)), r"z: expected \[B, 2\], .*\[2, 3\]"),
        (lambda: decoder().sample(codes(2), temperature=-1), "temperature: expected a finite"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_paper_s_network_by_default():
    net = PixelCNNDecoder()
    assert net.kernel_sizes == (9, 9, 9, 7, 7, 7, 5, 5, 5, 3, 3, 3)
    assert (net.channels, net.latent_size, net.latent_maps) == (32, 32, 4)
    assert ResidualEncoder().channels == (64, 64, 64)
    assert isinstance(net, tf_savae.Decoder)
