"""Validates variational families, priors and likelihoods defined by the user."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tf_savae.core import private_keras
from tf_savae.core.typing import Nest
from tf_savae.probability.elbo import kl_divergence
from tf_savae.probability.families import DiagonalGaussian, Family, FullCovarianceGaussian

__all__ = ["check_distribution", "check_family", "check_legacy", "check_prior"]

tfd = tfp.distributions

_KNOWN = (DiagonalGaussian, FullCovarianceGaussian)
_ROWS = 3  # Enough to detect noise shared by examples.


def check_distribution(name: str, value: Any) -> None:
    """Raises TypeError unless `value` is a TFP distribution.

    >>> check_distribution("prior", tfd.Normal(0.0, 1.0))
    """
    if not isinstance(value, tfd.Distribution):
        raise TypeError(
            f"{name}: expected a distribution of TensorFlow Probability (tfp.distributions), got "
            f"{type(value).__module__}.{type(value).__name__}."
        )


def check_family(family: Family, parameters: Nest) -> None:
    """Raises unless a family's distribution is reparameterised and has the right shapes.

    Args:
      family: a `Family`; the built-in families are not checked.
      parameters: its nest of eager tensors [B, ...]; only the first row is used.

    Raises:
      TypeError: not a TFP distribution, or its dtype differs from that of the parameters.
      ValueError: the distribution is not reparameterised, examples share noise, or samples or log
        probabilities do not have shapes [B, Z] and [B].

    >>> check_family(DiagonalGaussian(), (tf.zeros([1, 2]), tf.zeros([1, 2])))
    """
    if type(family) in _KNOWN:
        return
    flat = [tf.repeat(p[:1], _ROWS, axis=0) for p in tf.nest.flatten(parameters)]
    parameters = tf.nest.pack_sequence_as(parameters, flat)
    posterior = family.distribution(parameters)
    check_distribution("family.distribution", posterior)
    z = posterior.sample(seed=tf.constant([0, 1]))
    named = f"family: its {type(posterior).__name__}"
    if z.dtype != flat[0].dtype:
        raise TypeError(
            f"{named} has dtype {z.dtype.name}; expected {flat[0].dtype.name}, that of its "
            "parameters."
        )
    log_prob = _log_prob(named, posterior, z)
    if z.shape.rank != 2 or z.shape[0] != _ROWS or log_prob.shape.as_list() != [_ROWS]:
        raise ValueError(
            f"{named} has samples {z.shape.as_list()} and log probabilities "
            f"{log_prob.shape.as_list()} for {_ROWS} examples; expected [B, Z] and [B]. Make z one "
            "event for each example: tfp.distributions.Independent(distribution, 1), parameters "
            "[B, Z]."
        )
    declared = posterior.reparameterization_type == tfd.FULLY_REPARAMETERIZED
    if not declared or not _has_gradient(family, parameters):
        raise ValueError(
            f"{named} is not reparameterised: the gradient of its samples with respect to the "
            "parameters is None, so neither encoder nor refinement receives gradients of the "
            "likelihood. Use a distribution with reparameterization_type FULLY_REPARAMETERIZED "
            "(a mixture: reparameterize=True)."
        )
    if bool(tf.reduce_all(z[0] == z[1])):
        raise ValueError(
            f"{named} draws the same noise for all examples; expected an independent sample for "
            "each. Give its base distribution the batch shape [B]."
        )


def _has_gradient(family, parameters):
    """Returns whether samples have a gradient with respect to any of the parameters.

    Uses `tf.gradients` in a graph: in `tf.init_scope`, where models are built, no tape records.
    """
    connected: list[bool] = []

    @tf.function(autograph=False)
    def trace(flat):
        posterior = family.distribution(tf.nest.pack_sequence_as(parameters, flat))
        z = posterior.sample(seed=tf.constant([0, 1]))
        connected.extend(g is not None for g in tf.gradients(z, flat))

    trace.get_concrete_function(tf.nest.flatten(parameters))
    return any(connected)


def _log_prob(named, distribution, z):
    try:
        return distribution.log_prob(z)
    except NotImplementedError as error:
        raise ValueError(
            f"{named} has no log_prob ({error}), which the KL divergence needs. Use a distribution "
            "with log_prob; for a flow, a bijector with an inverse and a log determinant."
        ) from error


def check_prior(prior: Any, family: Family, parameters: Nest) -> None:
    """Raises unless a prior is a distribution over the latent variables of a family.

    Args:
      prior: a built `Prior`.
      family: a `Family`.
      parameters: its nest of eager tensors [B, ...].

    Raises:
      TypeError: not a TFP distribution, or its dtype differs from that of the family.
      ValueError: its shape differs from that of the family, or the KL divergence is not finite.

    >>> from tf_savae.networks import StandardNormalPrior
    >>> check_prior(StandardNormalPrior(2), DiagonalGaussian(), [tf.zeros([1, 2])] * 2)
    """
    distribution = prior.distribution()
    check_distribution("prior.distribution", distribution)
    posterior = family.distribution(parameters)
    z = posterior.sample(seed=tf.constant([0, 1]))
    named = f"prior: its {type(distribution).__name__}"
    if distribution.dtype != z.dtype:
        raise TypeError(
            f"{named} has dtype {distribution.dtype}; expected {z.dtype.name}, that of the family."
        )
    shapes = distribution.batch_shape.as_list(), distribution.event_shape.as_list()
    if shapes != ([], z.shape[1:].as_list()):
        raise ValueError(
            f"{named} has batch shape {shapes[0]} and event shape {shapes[1]}; expected [] and "
            f"{z.shape[1:].as_list()}, one event for the whole of z: "
            "tfp.distributions.Independent(distribution, 1)."
        )
    _log_prob(named, distribution, z)
    kl = kl_divergence(posterior, distribution, z)
    if not bool(tf.reduce_all(tf.math.is_finite(kl))):
        raise ValueError(
            f"{named} has a KL divergence that is not finite ({float(kl[0]):.3g} nats) at the "
            f"initial parameters of {type(posterior).__name__}. Expected a prior whose support "
            "contains that of the family; check their supports and scales."
        )


def check_legacy(name: str, part: Any) -> None:
    """Raises TypeError if a Keras layer contains tf_keras layers, which Keras 3 does not track.

    >>> import keras
    >>> check_legacy("encoder", keras.layers.Dense(2))
    """
    layers = private_keras.flatten_layers(part)
    attributes = [value for layer in layers for value in vars(layer).values()]
    for value in [part, *attributes]:
        parts = [value]
        if isinstance(value, dict):
            parts = list(value.values())
        elif isinstance(value, (list, tuple)):
            parts = list(value)
        for inner in parts:
            modules = [kind.__module__ for kind in type(inner).__mro__]
            if any(module.startswith(private_keras.LEGACY) for module in modules):
                raise TypeError(
                    f"{name}: expected layers of Keras 3, got {type(inner).__name__} of tf_keras "
                    "(Keras 2), whose weights would not be trained. Create it with `import keras`, "
                    "or unset TF_USE_LEGACY_KERAS, which makes tf.keras an alias of tf_keras."
                )
