"""A user's families, priors, likelihoods and layers: what is missing is named before training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from keras_models import FEATURES, LATENT, data, dense_decoder, dense_encoder, dense_model

import tf_savae
from tf_savae import evaluation, networks
from tf_savae.networks import DistributionDecoder
from tf_savae.probability.posterior_mean import posterior_mean
from tf_savae.svi import refine

tfd, tfb = tfp.distributions, tfp.bijectors


class _Family(tf_savae.Family):
    """Two parameters [B, Z], from which a function makes the distribution."""

    def __init__(self, make):
        self._make = make

    def parameter_shapes(self, latent_size):
        return ([latent_size], [latent_size])

    def distribution(self, parameters):
        return self._make(*parameters)


def _normal(mean, log_scale):
    return tfd.Independent(tfd.Normal(mean, tf.exp(log_scale)), 1)


def _affine(mean, log_scale):
    """A flow that is the diagonal Gaussian."""
    base = tfd.Independent(tfd.Normal(tf.zeros_like(mean), 1.0), 1)
    flow = tfb.Chain([tfb.Shift(mean), tfb.ScaleMatvecDiag(tf.exp(log_scale))])
    return tfd.TransformedDistribution(base, flow)


def _autoregressive(mean, log_scale):
    """An inverse autoregressive flow: each code's shift depends on the code before it."""

    def shift_and_log_scale(z, **options):
        before = tf.concat([tf.zeros_like(z[..., :1]), z[..., :-1]], axis=-1)
        return 0.5 * tf.tanh(before), tf.zeros_like(z)

    flow = tfb.Invert(tfb.MaskedAutoregressiveFlow(shift_and_log_scale))
    return tfd.TransformedDistribution(_normal(mean, log_scale), flow)


@pytest.mark.parametrize(("objective", "make"), [("vae", _affine), ("savae", _autoregressive)])
def test_a_family_of_flows_trains_and_answers(objective, make):
    model = dense_model(objective, model={"family": _Family(make)})
    model.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    x = data(8)
    losses = model.fit(x, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.5
    assert model.predict(x, verbose=0).shape == (8, LATENT)
    assert model.reconstruct(x, mean=True).shape == (8, FEATURES)
    assert np.isfinite(model.log_likelihood(x, samples=3)).all()
    bounds = evaluation.evaluate_bounds(model, tf.data.Dataset.from_tensors(x))
    assert bounds.mean.shape == (8, LATENT)


def test_an_affine_flow_is_the_gaussian_that_it_is():
    """The same parameters and noise give the same z and density."""
    x = data(4)
    models = [dense_model("vae", model={"family": _Family(make)}) for make in (_affine, _normal)]
    posteriors = [model.infer(x) for model in models]
    z = [posterior.sample(seed=[0, 1]) for posterior in posteriors]
    np.testing.assert_allclose(*z, rtol=1e-5)
    np.testing.assert_allclose(*(p.log_prob(z[0]) for p in posteriors), rtol=1e-5)


def test_the_mean_of_a_family_without_one():
    """E[sigmoid(z)] by 100 samples, the same whatever else is in the batch."""
    locations = tf.constant([[0.0, 1.0], [-1.0, 2.0], [3.0, 0.5]])

    def mean(loc):
        return posterior_mean(tfd.TransformedDistribution(_normal(loc, loc * 0), tfb.Sigmoid()))

    draws = tfd.Normal(locations, 1.0).sample(200_000, seed=[0, 1])
    np.testing.assert_allclose(mean(locations), tf.reduce_mean(tf.sigmoid(draws), 0), atol=0.06)
    np.testing.assert_array_equal(mean(locations)[:1], mean(locations[:1]))


def _mixture(mean, log_scale):
    parts = tfd.Independent(tfd.Normal(tf.stack([mean, mean + 1], 1), 1.0), 1)
    return tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros([len(mean), 2])), parts)


class _NoDensity(tfd.Distribution):
    def __init__(self, mean):
        self._mean = mean
        super().__init__(tf.float32, tfd.FULLY_REPARAMETERIZED, False, True, name="NoDensity")

    def _sample_n(self, n, seed=None):
        return self._mean[None] + tf.random.stateless_normal([n, *self._mean.shape], seed)

    def _batch_shape(self):
        return self._mean.shape[:1]

    def _event_shape(self):
        return self._mean.shape[1:]


_FAMILIES = {
    "no distribution": (
        lambda m, s: m,
        "^family.distribution: expected a distribution of TensorFl",
    ),
    "not reparameterised": (_mixture, "^family: its MixtureSameFamily is not reparameterised"),
    "no gradient": (lambda m, s: _normal(*map(tf.stop_gradient, (m, s))), "is not reparam"),
    "no event": (
        lambda m, s: tfd.Normal(m, tf.exp(s)),
        "^family: its Normal has samples .3, 2. and",
    ),
    "shared": (
        lambda m, s: tfd.Independent(tfd.Deterministic(m), 1),
        "^family: its Independent draws the same noise for all examples",
    ),
    "one for all": (lambda m, s: _normal(m[0], s[0]), "has samples .2. and log probabilities"),
    "float64": (
        lambda m, s: _normal(tf.cast(m, tf.float64), tf.cast(s, tf.float64)),
        "has dtype float64; expected float32",
    ),
    "no log_prob": (lambda m, s: _NoDensity(m), "^family: its _NoDensity has no log_prob"),
}


@pytest.mark.parametrize("kind", _FAMILIES)
def test_a_family_that_is_none_is_refused_at_construction(kind):
    make, message = _FAMILIES[kind]
    with pytest.raises((TypeError, ValueError), match=message):
        dense_model(model={"family": _Family(make)})


def test_a_function_as_family_is_asked_at_the_first_batch():
    def family(parameters):
        mean, log_scale = tf.split(parameters, 2, axis=1)
        return tfd.Normal(mean, tf.exp(log_scale))

    model = dense_model("vae", model={"family": family})
    with pytest.raises(ValueError, match="^family: its Normal has samples .3, 2. and log"):
        model(data())
    layer = tf_savae.SemiAmortizedRefinement(decoder=dense_decoder(), family=family, steps=1)
    with pytest.raises(ValueError, match="^family: its Normal has samples .3, 2. and log"):
        layer(tf.zeros([4, 2 * LATENT]), tf.constant(data()))


class _Prior(networks.Prior):
    def __init__(self, make):
        super().__init__()
        self._make = make

    def distribution(self):
        return self._make()


def _ones():
    return tf.ones([LATENT])


_PRIORS = {
    "no distribution": (_ones, "^prior.distribution: expected a distribution of TensorFlow"),
    "no event": (lambda: tfd.Normal(_ones(), 1.0), "^prior: its Normal has batch shape .2. and"),
    "other size": (
        lambda: tfd.MultivariateNormalDiag(tf.zeros([3])),
        r"has batch shape \[\] and event shape \[3\]; expected \[\] and \[2\]",
    ),
    "other support": (
        lambda: tfd.Independent(tfd.Uniform(_ones() * 7, _ones() * 8), 1),
        "has a KL divergence that is not finite .* at the initial parameters",
    ),
    "float64": (
        lambda: tfd.MultivariateNormalDiag(tf.zeros([LATENT], tf.float64)),
        "^prior: its MultivariateNormalDiag has dtype .*float64.*; expected float32",
    ),
}


@pytest.mark.parametrize("kind", _PRIORS)
def test_a_prior_that_is_none_is_refused_at_the_first_batch(kind):
    make, message = _PRIORS[kind]
    model = dense_model("vae", model={"prior": _Prior(make)})
    with pytest.raises((TypeError, ValueError), match=message):
        model(data())
    layer = tf_savae.SemiAmortizedRefinement(decoder=dense_decoder(), prior=_Prior(make), steps=1)
    with pytest.raises((TypeError, ValueError), match=message):
        layer([tf.zeros([4, LATENT])] * 2, tf.constant(data()))


@pytest.mark.parametrize("prior", [tfd.Normal(0.0, 1.0), "normal", 3])
def test_priors_of_another_kind(prior):
    for make in (
        lambda: dense_model(model={"prior": prior}),
        lambda: tf_savae.SemiAmortizedRefinement(prior=prior),
    ):
        with pytest.raises(ValueError, match="^prior: expected a tf_savae.networks.Prior, got"):
            make()


def test_variables_that_nothing_would_train():
    shift = tf.Variable(tf.zeros([LATENT]), name="shift")
    prior = _Prior(lambda: tfd.MultivariateNormalDiag(shift))
    family = _Family(lambda mean, log_scale: _normal(mean + shift, log_scale))

    def likelihood(mean):
        return tfd.Normal(mean + shift[0], 1.0)

    for parts in (
        {"model": {"prior": prior}},
        {"model": {"family": family}},
        {"decoder": DistributionDecoder(keras.layers.Dense(FEATURES), likelihood)},
    ):
        with pytest.raises(ValueError, match="^model: expected all trainable variables .* got 1 t"):
            dense_model("vae", **parts)(data())
    layer = tf_savae.SemiAmortizedRefinement(decoder=dense_decoder(), prior=prior, steps=1)
    with pytest.raises(
        ValueError, match="negative_elbo: expected a pure .* reads a trainable tf.Variable outside"
    ):
        layer([tf.zeros([4, LATENT])] * 2, tf.constant(data()))


def test_frozen_layers_are_known():
    decoder = dense_decoder()
    decoder.network.trainable = False
    assert dense_model("vae", decoder=decoder)(data()).shape == (4, LATENT)


class _Holds(tf_savae.Decoder):
    def __init__(self, held):
        super().__init__()
        self.held = held

    def log_prob(self, x, z, seed=None, training=False):
        return -tf.reduce_sum((x - self.held(z)) ** 2, 1)


def test_layers_of_tf_keras_are_refused_at_construction():
    """What tf.keras is under TF_USE_LEGACY_KERAS=1."""
    tf_keras = pytest.importorskip("tf_keras")
    legacy = tf_keras.layers.Dense(FEATURES)
    for name, make in {
        "network": lambda: DistributionDecoder(legacy),
        "decoder": lambda: dense_model(decoder=_Holds(legacy)),
        "encoder": lambda: dense_model(encoder=tf_keras.Sequential([legacy])),
        "prior": lambda: tf_savae.SemiAmortizedRefinement(prior=legacy),
    }.items():
        message = f"^{name}: expected layers of Keras 3, got .* of tf_keras .Keras 2., whose"
        with pytest.raises(TypeError, match=f"{message} weights would not be trained"):
            make()
    for make in (
        lambda: tf_savae.SemiAmortizedRefinement(decoder=_Holds([legacy])),
        lambda: tf_savae.AutoregressiveModel(_Holds({"a": legacy})),
    ):
        with pytest.raises(
            TypeError, match="^decoder: expected layers of Keras 3, got Dense of tf_"
        ):
            make()


def test_likelihoods_and_networks_of_another_kind():
    with pytest.raises(ValueError, match="^network: expected a Keras layer or model, .* got None"):
        DistributionDecoder(None)
    decoder = DistributionDecoder(keras.layers.Dense(FEATURES), lambda mean: mean)
    with pytest.raises(TypeError, match="likelihood: expected a distribution of TensorFlow Pr"):
        decoder(tf.zeros([2, FEATURES]), tf.zeros([2, LATENT]))


def test_fractions_under_a_likelihood_of_whole_numbers():
    """tfd.Bernoulli has dtype int32 unless told: a cast would make zeros of all grey values."""
    decoder = DistributionDecoder(
        keras.layers.Dense(FEATURES), lambda logits: tfd.Bernoulli(logits=logits)
    )
    z = tf.zeros([2, LATENT])
    grey = tf.fill([2, FEATURES], 0.5)
    with pytest.raises(
        ValueError, match="x: expected whole numbers under a likelihood of dtype int32, got 0.5"
    ):
        decoder(grey, z)
    assert decoder(tf.round(grey), z).shape == (2,)


def test_parameter_shapes_as_a_list_of_shapes():
    class Listed(_Family):
        def parameter_shapes(self, latent_size):
            return [[latent_size], [np.int64(latent_size)]]

    model = dense_model("vae", model={"family": Listed(_normal)}, encoder=dense_encoder(4))
    # The first call that builds is made where no tape records.
    assert [p.shape.as_list() for p in model.encoded_parameters(data())] == [[4, 2], [4, 2]]


def test_refine_itself_takes_any_objective():
    """It knows of no distribution: nothing of the above stands in its way."""
    refined = refine(
        lambda p, theta, seed: tf.reduce_sum(p**2, 1),
        tf.ones([2, 2]),
        [],
        steps=1,
        step_size=0.5,
        momentum=0.0,
        seed=0,
        hvp="reverse_over_reverse",
    )
    np.testing.assert_allclose(refined, np.zeros([2, 2]))
