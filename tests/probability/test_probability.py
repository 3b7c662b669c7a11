"""Families, ELBO terms and KL weights against NumPy, in float64 where numbers matter."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tf_savae import probability as p

tfd = tfp.distributions
RNG = np.random.default_rng(0)
BATCH, LATENT = 3, 4
GAUSSIANS, NAMES = [p.DiagonalGaussian(), p.FullCovarianceGaussian()], ["diagonal", "full"]


def diagonal_parameters():
    return tuple(tf.constant(0.7 * RNG.normal(size=(BATCH, LATENT))) for _ in range(2))


def full_parameters():
    sizes = (LATENT, LATENT * (LATENT + 1) // 2)
    return tuple(tf.constant(0.5 * RNG.normal(size=(BATCH, size))) for size in sizes)


def gaussian_kl(mean, covariance, prior_mean, prior_covariance):
    """KL between two multivariate normals, the textbook formula in NumPy."""
    inverse = np.linalg.inv(prior_covariance)
    gap = prior_mean - mean
    log_dets = np.linalg.slogdet(prior_covariance)[1] - np.linalg.slogdet(covariance)[1]
    return 0.5 * (np.trace(inverse @ covariance) + gap @ inverse @ gap - len(mean) + log_dets)


# --- families ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", GAUSSIANS, ids=NAMES)
def test_zero_parameters_are_the_standard_normal(family):
    q = family.distribution(family.zeros(BATCH, LATENT, tf.float64))
    assert q.batch_shape == [BATCH] and q.event_shape == [LATENT]
    kl = p.kl_divergence(q, p.standard_normal(LATENT, tf.float64), None)
    assert kl.numpy() == pytest.approx(0.0, abs=1e-15)


def test_diagonal_gaussian():
    mean, log_variance = diagonal_parameters()
    q = p.DiagonalGaussian().distribution((mean, log_variance))
    assert np.array_equal(q.mean(), mean)
    assert q.variance().numpy() == pytest.approx(np.exp(log_variance), rel=1e-14)


def test_full_covariance_gaussian():
    mean, scale = full_parameters()
    q = p.FullCovarianceGaussian().distribution((mean, scale))
    covariance = q.covariance().numpy()
    lower = np.linalg.cholesky(covariance)
    assert np.array_equal(q.mean(), mean)
    # The packed triangle holds L's off-diagonal entries and the logarithms of its diagonal.
    inner = np.sort(
        np.concatenate(
            [lower[:, *np.tril_indices(LATENT, -1)], np.log(np.diagonal(lower, axis1=1, axis2=2))],
            axis=1,
        )
    )
    assert inner == pytest.approx(np.sort(scale.numpy()), rel=1e-12)


@pytest.mark.parametrize(("family", "count"), list(zip(GAUSSIANS, [8, 14], strict=True)), ids=NAMES)
def test_unpacking_an_encoder_output(family, count):
    assert family.parameter_count(LATENT) == count
    flat = RNG.normal(size=(BATCH, count))
    parts = family.unpack(tf.constant(flat), LATENT)
    assert isinstance(parts, tuple)
    assert np.concatenate([part.numpy() for part in parts], axis=1) == pytest.approx(flat)
    zeros = family.zeros(tf.constant(BATCH), LATENT)
    assert [z.shape for z in zeros] == [part.shape for part in parts]


def test_unpacking_the_wrong_width():
    with pytest.raises(ValueError, match=r"DiagonalGaussian: .*\[B, 8\] for .*\[3, 6\]"):
        p.DiagonalGaussian().unpack(tf.zeros([3, 6]), 4)


@pytest.mark.parametrize("family", GAUSSIANS, ids=NAMES)
def test_parameters_of_the_wrong_shape(family):
    with pytest.raises(ValueError, match=r"parameters: expected \(mean \[B, Z\], .*got shapes"):
        family.distribution(tf.zeros([2, 4]))


class FixedScale(p.Family):
    """A user's own family in a few lines, with one parameter."""

    def parameter_shapes(self, latent_size):
        return [latent_size]

    def distribution(self, parameters):
        return tfd.Independent(tfd.Normal(parameters, 0.5 * tf.ones_like(parameters)), 1)


def test_own_family():
    family = FixedScale()
    assert family.parameter_count(3) == 3
    assert family.zeros(2, 3).shape == [2, 3]
    assert family.unpack(tf.ones([2, 3]), 3).numpy().tolist() == np.ones([2, 3]).tolist()


class NestedFamily(p.Family):
    """Parameters in a dictionary: a mean and a matrix."""

    def parameter_shapes(self, latent_size):
        return {"mean": [latent_size], "factors": ([latent_size, 2], [])}

    def distribution(self, parameters):
        loc = parameters["mean"]
        return tfd.Independent(tfd.Normal(loc, tf.ones_like(loc)), 1)


def test_parameters_in_any_nest():
    family = NestedFamily()
    assert family.parameter_count(3) == 3 + 6 + 1
    parts = family.unpack(tf.reshape(tf.range(20.0), [2, 10]), 3)
    assert parts["factors"][0].shape == [2, 3, 2] and parts["factors"][1].shape == [2]
    assert parts["mean"].numpy().tolist() == [[7, 8, 9], [17, 18, 19]]  # Sorted, as in tf.nest.
    tf.nest.assert_same_structure(family.zeros(2, 3), parts)


def test_gaussian_parameters_in_a_dictionary_have_no_order():
    with pytest.raises(ValueError, match="expected the pair .* got a dict with keys"):
        p.DiagonalGaussian().distribution({"mean": tf.zeros([1, 2]), "log_variance": None})


def test_as_family():
    assert isinstance(p.as_family(None), p.DiagonalGaussian)
    own = FixedScale()
    assert p.as_family(own) is own
    function = p.as_family(lambda parameters: tfd.Independent(tfd.Normal(parameters, 1.0), 1))
    assert function.distribution(tf.zeros([2, 3])).event_shape == [3]
    with pytest.raises(ValueError, match="a plain function cannot be saved"):
        function.get_config()
    with pytest.raises(ValueError, match="family: expected a tf_savae Family .* got 3"):
        p.as_family(3)


@pytest.mark.parametrize("cls", [p.DiagonalGaussian, p.FullCovarianceGaussian])
def test_families_are_serialised_by_keras(cls):
    config = keras.saving.serialize_keras_object(cls())
    assert config["registered_name"] == f"tf_savae>{cls.__name__}"
    assert type(keras.saving.deserialize_keras_object(config)) is cls
    assert type(p.as_family(config)) is cls


# --- KL and ELBO -------------------------------------------------------------------------------


def shifted_prior():
    return tfd.Independent(
        tfd.Normal(tf.constant([0.5, -1.0, 0.0, 2.0], tf.float64), np.array([1.0, 0.5, 2.0, 1.5])),
        1,
    )


@pytest.mark.parametrize(
    "prior", [p.standard_normal(LATENT, tf.float64), shifted_prior()], ids=["standard", "shifted"]
)
@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_kl_against_numpy(kind, prior):
    if kind == "diagonal":
        q = p.DiagonalGaussian().distribution(diagonal_parameters())
        covariances = [np.diag(v) for v in q.variance().numpy()]
    else:
        q = p.FullCovarianceGaussian().distribution(full_parameters())
        covariances = q.covariance().numpy()
    kl = p.kl_divergence(q, prior, None).numpy()
    prior_covariance = np.diag(prior.variance().numpy())
    for mean, covariance, got in zip(q.mean().numpy(), covariances, kl, strict=True):
        expected = gaussian_kl(mean, covariance, prior.mean().numpy(), prior_covariance)
        assert got == pytest.approx(expected, rel=1e-12)


def test_kl_between_two_full_gaussians():
    q = p.FullCovarianceGaussian().distribution(full_parameters())
    factor = np.tril(RNG.normal(size=(LATENT, LATENT))) + 2 * np.eye(LATENT)
    prior = tfd.MultivariateNormalTriL(tf.ones([LATENT], tf.float64), tf.constant(factor))
    kl = p.kl_divergence(q, prior, None).numpy()
    for b in range(BATCH):
        covariance = q.covariance().numpy()[b]
        expected = gaussian_kl(q.mean().numpy()[b], covariance, np.ones(LATENT), factor @ factor.T)
        assert kl[b] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_kl_derivative_of_the_full_gaussian(jit_compile):
    """The gradient of our closed form against central differences of NumPy's."""
    mean, scale = full_parameters()

    @tf.function(jit_compile=jit_compile)
    def slopes(mean, scale):
        with tf.GradientTape() as tape:
            tape.watch([mean, scale])
            q = p.FullCovarianceGaussian().distribution((mean, scale))
            total = tf.reduce_sum(p.kl_divergence(q, p.standard_normal(LATENT, tf.float64), None))
        return tape.gradient(total, [mean, scale])

    def value(step, direction):
        q = p.FullCovarianceGaussian().distribution((mean, scale + step * direction))
        zeros, eye = np.zeros(LATENT), np.eye(LATENT)
        return sum(
            gaussian_kl(m, c, zeros, eye)
            for m, c in zip(q.mean().numpy(), q.covariance().numpy(), strict=True)
        )

    direction = RNG.normal(size=scale.shape)
    numeric = (value(1e-5, direction) - value(-1e-5, direction)) / 2e-5
    got_mean, got_scale = slopes(mean, scale)
    assert np.sum(got_scale * direction) == pytest.approx(numeric, rel=1e-8)
    assert got_mean.numpy() == pytest.approx(mean.numpy(), rel=1e-12)


def test_kl_of_a_family_without_closed_form_is_a_one_sample_estimate():
    """A mixture posterior: unbiased, and exactly log q(z) - log p(z) for the z given."""
    prior = p.standard_normal(2, tf.float64)
    locs = tf.constant([[[-1.0, 0.0], [1.0, 0.5]]], tf.float64)
    parts = tfd.Independent(tfd.Normal(locs, tf.ones_like(locs)), 1)
    weights = tfd.Categorical(probs=tf.constant([[0.3, 0.7]], tf.float64))
    q = tfd.MixtureSameFamily(weights, parts)
    z = q.sample(20000, seed=[1, 2])
    estimates = p.kl_divergence(q, prior, z).numpy()
    by_hand = (q.log_prob(z) - prior.log_prob(z)).numpy()
    assert np.array_equal(estimates, by_hand)
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-8, 8, 401)]), -1).reshape(-1, 1, 2)
    log_q, log_p = q.log_prob(grid).numpy(), prior.log_prob(grid).numpy()[:, :]
    integral = np.sum(np.exp(log_q) * (log_q - log_p)) * (16 / 400) ** 2
    assert estimates.mean() == pytest.approx(integral, abs=0.03)


def test_elbo_terms_of_a_linear_gaussian_model():
    """At the exact posterior, nll + log q(z) - log p(z) is -log p(x) for every z."""
    log_likelihood, q, prior, log_x = linear_gaussian()
    terms = p.elbo_terms(log_likelihood, q, prior, [0, 1])
    z = q.sample(seed=tf.constant([0, 1]))
    exact = terms.nll + q.log_prob(z) - prior.log_prob(z)
    assert exact.numpy() == pytest.approx(-log_x, rel=1e-12)
    zeros, eye = np.zeros(LATENT), np.eye(LATENT)
    pairs = zip(q.mean().numpy(), q.covariance().numpy(), strict=True)
    assert terms.kl.numpy() == pytest.approx([gaussian_kl(*pair, zeros, eye) for pair in pairs])


def linear_gaussian():
    """x = W z + noise: log p(x | z), the exact posterior, the prior and log p(x) in NumPy."""
    weight, x = RNG.normal(size=(5, LATENT)), RNG.normal(size=(BATCH, 5))
    precision = np.eye(LATENT) + weight.T @ weight
    mean = np.linalg.solve(precision, weight.T @ x.T).T
    factor = np.linalg.cholesky(np.linalg.inv(precision))
    q = tfd.MultivariateNormalTriL(tf.constant(mean), tf.constant(np.tile(factor, (BATCH, 1, 1))))

    def log_likelihood(z):
        gap = x - z @ weight.T
        return -0.5 * tf.reduce_sum(gap**2, axis=1) - 2.5 * np.log(2 * np.pi)

    covariance = np.eye(5) + weight @ weight.T
    squares = np.einsum("bi,ij,bj->b", x, np.linalg.inv(covariance), x)
    log_x = -0.5 * (squares + np.linalg.slogdet(covariance)[1] + 5 * np.log(2 * np.pi))
    return log_likelihood, q, p.standard_normal(LATENT, tf.float64), log_x


@pytest.mark.parametrize("samples", [1, 7])
def test_importance_weighting_with_the_exact_posterior(samples):
    """Every weight is p(x) then, whatever the samples."""
    log_likelihood, q, prior, log_x = linear_gaussian()
    estimate = p.importance_weighted_log_likelihood(
        lambda z, seed: log_likelihood(z), q, prior, samples, 3
    )
    assert estimate.numpy() == pytest.approx(log_x, rel=1e-12)


def test_importance_weighting_with_a_wide_proposal():
    """From the prior: a lower bound on average, and log p(x) with many samples."""
    log_likelihood, q, prior, log_x = linear_gaussian()
    zeros = tf.zeros([BATCH, LATENT], tf.float64)
    wide = tfd.Independent(tfd.Normal(q.mean() + zeros, 1.0 + zeros), 1)

    @tf.function
    def estimate(samples, seed):
        return p.importance_weighted_log_likelihood(
            lambda z, _: log_likelihood(z), wide, prior, samples, seed
        )

    few = np.mean([estimate(1, tf.constant([0, s])) for s in range(200)], axis=0)
    assert (few < log_x - 0.2).all()
    assert estimate(20000, tf.constant([0, 0])).numpy() == pytest.approx(log_x, abs=0.05)


def test_importance_weights_far_beyond_the_range_of_exp():
    posterior = p.DiagonalGaussian().distribution((tf.zeros([2, 1]), tf.zeros([2, 1])))
    likelihood = tf.constant([-1e5, 1e5])
    estimate = p.importance_weighted_log_likelihood(
        lambda z, seed: likelihood, posterior, p.standard_normal(1), 10, 0
    )
    assert estimate.dtype == tf.float64
    assert estimate.numpy() == pytest.approx([-1e5, 1e5], rel=1e-6)


def test_importance_weights_of_zero():
    """log p(x | z) of four samples: -inf for all; for all but one; before two of exp(-800)."""
    q = p.DiagonalGaussian().distribution((tf.zeros([3, 1]), tf.zeros([3, 1])))
    none = float("-inf")
    logs = tf.constant([[none] * 4, [none, none, 0.0, none], [none, none, -800.0, -800.0]])
    count = tf.Variable(-1)

    def log_likelihood(z, seed):
        return logs[:, count.assign_add(1)]

    estimate = p.importance_weighted_log_likelihood(log_likelihood, q, p.standard_normal(1), 4, 0)
    expected = [none, np.log(0.25), -800 + np.log(0.5)]
    assert estimate.numpy().tolist() == pytest.approx(expected, rel=1e-12)


def test_importance_sample_count_is_checked():
    with pytest.raises(ValueError, match="samples: expected an integer >= 1, got 0"):
        p.importance_weighted_log_likelihood(None, None, None, 0, 0)


def test_weighted_bound():
    terms = p.ElboTerms(tf.constant([1.0, 1.0], tf.float64), tf.constant([0.5, 3.0], tf.float64))
    assert terms.bound.numpy().tolist() == [1.5, 4.0]
    assert terms.weighted(0.1).numpy() == pytest.approx([1.05, 1.3], rel=1e-15)
    assert terms.weighted(tf.constant(0.5)).numpy().tolist() == [1.25, 2.5]
    assert terms.weighted(1.0, free_bits=2.0).numpy().tolist() == [3.0, 4.0]


def test_free_bits_have_no_gradient_below():
    kl = tf.constant([0.5, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(kl)
        total = tf.reduce_sum(p.ElboTerms(tf.zeros([2]), kl).weighted(0.5, free_bits=2.0))
    assert tape.gradient(total, kl).numpy().tolist() == [0.0, 0.5]


# --- KL weights --------------------------------------------------------------------------------


def test_linear_kl_weight():
    weight = p.linear_kl_weight(10, start=0.1, end=1.0)
    got = [float(weight(step)) for step in (0, 5, 10, 1000)]
    assert got == pytest.approx([0.1, 0.55, 1.0, 1.0], rel=1e-6)


def test_cyclical_kl_weight():
    weight = p.CyclicalKLWeight(steps=120, cycles=3, ramp=0.5, start=0.2, end=1.0)
    steps = np.array([0, 10, 20, 39, 40, 50, 60, 79, 80, 100, 120, 10**6])
    got = [float(weight(step)) for step in steps]
    expected = [0.2, 0.6, 1, 1, 0.2, 0.6, 1, 1, 0.2, 1, 1, 1]
    assert got == pytest.approx(expected, rel=1e-6)
    traced = tf.function(weight)
    assert [float(traced(tf.constant(step))) for step in steps] == pytest.approx(expected, rel=1e-6)


def test_cyclical_kl_weight_is_serialised_by_keras():
    weight = p.CyclicalKLWeight(steps=120, cycles=3, ramp=0.25, start=0.2, end=0.9)
    config = keras.saving.serialize_keras_object(weight)
    assert config["registered_name"] == "tf_savae>CyclicalKLWeight"
    loaded = keras.saving.deserialize_keras_object(config)
    assert loaded.get_config() == weight.get_config()
    assert float(loaded(7)) == float(weight(7))


def test_linear_kl_weight_is_serialised_by_keras():
    weight = p.linear_kl_weight(10, start=0.1)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(weight))
    assert float(loaded(3)) == float(weight(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: p.linear_kl_weight(0), "steps: expected an integer >= 1, got 0"),
        (lambda: p.linear_kl_weight(5, start=-1), "start: expected a finite number >= 0, got -1"),
        (lambda: p.CyclicalKLWeight(0), "steps: expected an integer >= 1, got 0"),
        (lambda: p.CyclicalKLWeight(9, cycles=0), "cycles: expected an integer >= 1, got 0"),
        (lambda: p.CyclicalKLWeight(9, ramp=0), r"ramp: expected a number in \(0, 1\], got 0"),
        (lambda: p.CyclicalKLWeight(9, ramp=2), r"ramp: expected a number in \[0, 1\], got 2"),
        (lambda: p.CyclicalKLWeight(9, end=-1), "end: expected a finite number >= 0, got -1"),
        (lambda: p.as_kl_weight(-0.5), "beta: expected a finite number >= 0, got -0.5"),
        (lambda: p.as_kl_weight("much"), "beta: expected a finite number >= 0, got 'much'"),
    ],
)
def test_bad_kl_weights(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_as_kl_weight():
    assert float(p.as_kl_weight(0.25)(3)) == 0.25
    schedule = p.linear_kl_weight(4)
    assert p.as_kl_weight(schedule) is schedule
