"""S samples of z in one call of the decoder: the same numbers and derivatives as S calls."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from executed_products import executed_products

import tf_savae
from tf_savae import networks, svi
from tf_savae.core import batch_shard
from tf_savae.networks.decoder import joins_samples
from tf_savae.networks.functional import PureGenerator
from tf_savae.networks.generator_elbo import GeneratorElbo
from tf_savae.probability import DiagonalGaussian
from tf_savae.probability.codes import draw_codes

SAMPLES = 4


def text():
    decoder = networks.TextDecoder(11, 3, 4, 2, dropout=0.4, initial_scale=0.5, dtype="float64")
    return decoder, tf.constant([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0], [2, 9, 10, 3, 0]])


def oracle():
    return networks.OracleDecoder(11, 4, 2, dtype="float64"), tf.constant([[3, 4], [5, 6], [7, 8]])


def image():
    decoder = networks.PixelCNNDecoder((4, 5), 2, 2, (3, 3), dtype="float64")
    bits = np.random.default_rng(0).random((3, 4, 5, 1)) < 0.5
    return decoder, tf.constant(bits, tf.float64)


def dense():
    layers = [keras.layers.Dense(*sizes, dtype="float64") for sizes in ((5, "tanh"), (6,))]
    decoder = networks.DistributionDecoder(keras.Sequential(layers), "bernoulli", dtype="float64")
    return decoder, tf.constant(np.random.default_rng(0).random((3, 6)) < 0.5, tf.float64)


MODELS = {f.__name__: f for f in (text, oracle, image, dense)}


def problem(make, antithetic=False):
    """(negative ELBO, theta, lambda_0) of a model in training, float64."""
    keras.utils.set_random_seed(0)
    decoder, x = make()
    draw = np.random.default_rng(1)
    initial = tuple(tf.constant(0.5 * draw.normal(size=(3, 2))) for _ in range(2))
    decoder(x, initial[0])
    prior = networks.StandardNormalPrior(2, dtype="float64")
    prior.build()
    generator = PureGenerator(decoder, prior, DiagonalGaussian())
    theta = generator.theta(x, tf.constant([0, 3]), True)
    return GeneratorElbo(generator, training=True, antithetic=antithetic), theta, initial


def one_by_one(elbo):
    """The same objective without its `average`."""
    return lambda parameters, theta, seed: elbo(parameters, theta, seed)


def derivatives(elbo, theta, initial, **options):
    """lambda_K, values of the steps, and gradients in lambda_0 and all of theta."""
    sources = [t for t in tf.nest.flatten([initial, theta]) if t.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        settings = dict(steps=3, step_size=0.1, seed=0, samples=SAMPLES, return_trace=True)
        refined, trace = svi.refine(elbo, initial, theta, **settings, **options)
        total = tf.add_n([tf.reduce_sum(tf.sin(p)) for p in refined])
    gradients = tape.gradient(total, sources, unconnected_gradients="zero")
    return [*refined, trace.negative_elbo, *map(tf.convert_to_tensor, gradients)]


def assert_same(found, expected):
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_numbers_and_derivatives(name):
    """Dropout masks too, in eager mode."""
    elbo, theta, initial = problem(MODELS[name])
    expected = derivatives(one_by_one(elbo), theta, initial, adjoint="unrolled")
    assert_same(derivatives(elbo, theta, initial, adjoint="unrolled"), expected)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("text", {"keep": "all"}),
        ("image", {"keep": "all"}),
        ("dense", {"adjoint": "truncated", "truncate": 2}),
    ],
    ids=str,
)
def test_the_same_derivatives_in_a_graph(name, options):
    elbo, theta, initial = problem(MODELS[name])
    other = options if "adjoint" in options else {"keep": None}
    expected = derivatives(one_by_one(elbo), theta, initial, **other)
    graph = tf.function(lambda: derivatives(elbo, theta, initial, **options), autograph=False)
    assert_same(graph(), expected)


@pytest.mark.e2e
def test_the_same_derivatives_under_xla():
    elbo, theta, initial = problem(dense)
    theta["weights"] = [tf.identity(w) for w in theta["weights"]]

    def run(elbo):  # Both under XLA, whose normal numbers are not those of eager mode.
        return tf.function(
            lambda theta, initial: derivatives(elbo, theta, initial, keep="all"),
            jit_compile=True, autograph=False,
        )(theta, initial)

    assert_same(run(elbo), run(one_by_one(elbo)))


def test_words_of_other_replicas_change_no_dropout():
    """A replica's rows of a global batch have the masks of the whole batch, for each sample."""
    elbo, theta, initial = problem(text)
    noises = [tf.constant([0, n]) for n in range(SAMPLES)]
    with batch_shard.shard_scope(batch_shard.Shard(tf.constant(2), tf.zeros([6]))):
        found = elbo.average(initial, theta, noises)
        expected = tf.add_n([elbo(initial, theta, noise) for noise in noises]) / SAMPLES
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_one_set_of_products_whatever_the_number_of_samples(name):
    """Counted in a graph: S samples execute as many matrix products and convolutions as one."""
    elbo, theta, initial = problem(MODELS[name])
    counts = []
    for samples in (1, SAMPLES):
        noises = [tf.constant([0, n]) for n in range(samples)]
        run = tf.function(lambda noises=noises: elbo.average(initial, theta, noises))
        counts.append(executed_products(run))
    assert counts[0] == counts[1]
    assert counts[0].total() > 0


def test_what_a_subclass_overrides_is_not_passed_by():
    class Halved(networks.TextDecoder):
        def log_prob_prepared(self, prepared, z, seed=None, training=False):
            return 0.5 * super().log_prob_prepared(prepared, z, seed, training)

    class Whole(Halved):
        def log_prob_samples(self, prepared, z, seeds, training=False):
            return 0.5 * super().log_prob_samples(prepared, z, seeds, training)

    sizes = (11, 3, 4, 2)
    kinds = (networks.TextDecoder, Halved, Whole)
    assert [joins_samples(kind(*sizes)) for kind in kinds] == [True, False, True]


def test_networks_with_noise_of_their_own_are_called_for_each_sample():
    """Keras' dropout draws what it drew for one sample after the other."""

    def noisy():
        decoder, x = dense()
        decoder.network.add(keras.layers.Dropout(0.5, dtype="float64"))
        return decoder, x

    elbo, theta, initial = problem(noisy)
    noises = [tf.constant([0, n]) for n in range(SAMPLES)]
    expected = tf.add_n([elbo(initial, theta, noise) for noise in noises]) / SAMPLES
    np.testing.assert_allclose(elbo.average(initial, theta, noises), expected, rtol=1e-12)


def test_wrong_shape_of_a_decoders_own_samples():
    class Summed(networks.DistributionDecoder):
        def log_prob_samples(self, prepared, z, seeds, training=False):
            return tf.reduce_sum(super().log_prob_samples(prepared, z, seeds, training), axis=0)

    def summed():
        decoder, x = dense()
        return Summed(decoder.network, "bernoulli", dtype="float64"), x

    elbo, theta, initial = problem(summed)
    with pytest.raises(ValueError, match=r"log_prob_samples: expected \[2, B\], a row for each"):
        elbo.average(initial, theta, [tf.constant([0, 0]), tf.constant([0, 1])])


def gradient_variance(elbo, theta, initial, samples):
    """The variance over noise of the SVI gradient, summed: (of the mean, of the log variance)."""

    @tf.function(autograph=False)
    def gradient(seed):
        noises = tf.unstack(tf.random.split(seed, samples), num=samples)
        with tf.GradientTape() as tape:
            tape.watch(initial)
            value = elbo.average(initial, theta, noises)
        return tape.gradient(value, initial)

    drawn = [gradient(tf.constant([1, n])) for n in range(50)]
    return [sum(np.var([d[part] for d in drawn], axis=0).ravel()) for part in range(2)]


def linear():
    """A normal likelihood of a linear network: the ELBO is quadratic in z."""
    network = keras.Sequential([keras.layers.Dense(6, dtype="float64")])
    decoder = networks.DistributionDecoder(network, "normal", dtype="float64")
    return decoder, tf.constant(np.random.default_rng(0).normal(size=(3, 6)))


def test_noise_that_one_antithetic_pair_takes_away():
    """Of a quadratic: all in the gradient of the mean."""
    elbo, theta, initial = problem(linear)
    pair = gradient_variance(problem(linear, antithetic=True)[0], theta, initial, 2)
    two = gradient_variance(elbo, theta, initial, 2)
    assert pair[0] < 1e-20 < 1e-3 < two[0]


def test_antithetic_pairs_are_mirrored_at_the_mean():
    """Their average is the mean, and the first of each pair is the seed's own sample."""
    initial = (tf.constant([[1.0, -2.0]]), tf.constant([[0.3, 0.1]]))
    family = DiagonalGaussian()
    posterior = family.distribution(initial)
    codes = draw_codes(family, posterior, [[0, 1], [0, 2], [0, 3], [0, 4]], antithetic=True)
    np.testing.assert_allclose(sum(codes) / 4, initial[0], rtol=1e-6)
    np.testing.assert_allclose(codes[2], posterior.sample(seed=[0, 3]), rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 3}, "samples: expected an even number with antithetic=True, got 3."),
        ({"samples": 1}, "samples: expected an even number with antithetic=True, got 1."),
        ({"samples": 2, "antithetic": "yes"}, "antithetic: expected True or False, got 'yes'."),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError) as error:
        tf_savae.SemiAmortizedRefinement(**{"antithetic": True, **options})
    assert str(error.value) == message


def test_a_family_that_is_not_symmetric_is_refused():
    class Skewed(DiagonalGaussian):
        symmetric = False

    refinement = tf_savae.SemiAmortizedRefinement(steps=1, samples=2, antithetic=True)
    with pytest.raises(ValueError, match="antithetic: expected a family that is symmetric"):
        tf_savae.SemiAmortizedVAE(
            keras.layers.Dense(4), dense()[0], latent_size=2, refinement=refinement, family=Skewed()
        )


@pytest.mark.e2e
def test_a_model_with_antithetic_pairs_trains_infers_and_loads(tmp_path):
    rows = (np.random.default_rng(0).random((8, 6)) < 0.5).astype("float32")
    refinement = tf_savae.SemiAmortizedRefinement(steps=2, samples=2, antithetic=True)
    decoder = networks.DistributionDecoder(keras.Sequential([keras.layers.Dense(6)]), "bernoulli")
    model = tf_savae.SemiAmortizedVAE(
        keras.layers.Dense(4), decoder, latent_size=2, refinement=refinement
    )
    model.compile("sgd", jit_compile=False)
    assert np.isfinite(model.train_on_batch(rows)).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.refinement.antithetic is True
    expected = model.infer(rows).mean()
    np.testing.assert_allclose(loaded.infer(rows).mean(), expected, rtol=1e-6)
    model.refinement.antithetic = False
    assert np.abs(model.infer(rows).mean() - expected).max() > 1e-6
    with pytest.raises(ValueError, match="samples: expected an even number with antithetic=True"):
        loaded.infer(rows, samples=3)
