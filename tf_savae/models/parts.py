"""Create the weights of a `SemiAmortizedVAE`'s parts, and check that the parts fit together."""

from typing import Any

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import Nest
from tf_savae.models.objective_builder import encoded, standardized
from tf_savae.models.validation.untracked_variables import refuse_unknown, watched_variables
from tf_savae.networks import StandardNormalPrior
from tf_savae.probability.distribution_checks import check_family, check_prior
from tf_savae.probability.posterior_mean import zero_codes

__all__ = ["make_parts"]


def make_parts(model: Any, x: Nest) -> None:
    """Creates the weights of a `SemiAmortizedVAE`'s parts by calling each on one row of x.

    Raises:
      ValueError: the parts do not fit together, or a weight would not be trained.
    """
    x = tf.nest.map_structure(lambda part: part[:1], standardized(model, x))
    with watched_variables() as used:
        if model.encoder is not None:
            model.encoder(x)  # Outside any scope: the first call creates the weights.
        parameters = encoded(model, x, seeds.as_seed(0), False)[0]
        if tf.executing_eagerly():
            check_family(model.family, parameters)
        posterior = model.family.distribution(parameters)
        _make_prior(model, posterior, parameters)
        if not model.refinement.built:
            model.refinement.build()
        model.refinement.build_rule(parameters)
        # Also if `decoder.built`: a decoder loaded from a file has no weights yet.
        model.decoder(x, zero_codes(posterior, tf.nest.flatten(x)[0].shape[0]))
    refuse_unknown(used, model.variables)


def _make_prior(model, posterior, parameters):
    if model.prior is None:
        model.latent_size = int(posterior.event_shape[0])
        model.prior = StandardNormalPrior(model.latent_size)
    if not model.prior.built:
        model.prior.build()
    if tf.executing_eagerly():
        check_prior(model.prior, model.family, _trial_parameters(model, parameters))


def _trial_parameters(model, parameters):
    """Returns N(0, I) parameters if the family defines them: the encoder's may be extreme."""
    try:
        return model.family.zeros(1, model.latent_size, model.variable_dtype)
    except NotImplementedError:
        return parameters
