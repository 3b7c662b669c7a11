"""Build the `BatchObjective` of a batch from a model's layers."""

import functools
from typing import Any

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.noise_streams import ForwardStream
from tf_savae.core.typing import Nest, Seed, TensorLike
from tf_savae.models.build import ensure_built_in_graph
from tf_savae.models.row_sampling import family_of_shard
from tf_savae.models.validation.posterior_parameters import check_parameters, is_one_tensor
from tf_savae.networks import Effects, PureEncoder, PureGenerator
from tf_savae.objectives import BatchObjective, RefinementInfo
from tf_savae.probability import Family

__all__ = ["batch_objective", "encoded", "encoded_parameters", "generator", "standardized"]


def encoded_parameters(model: Any, x: Nest, training: bool = False) -> Nest:
    """Returns lambda_0, the encoder's parameters, or the prior's without an encoder.

    The result is a nest of tensors [B, ...]. `encode` returns the distribution with these
    parameters, `refined_parameters` the parameters after K steps.
    """
    x = standardized(model, x)
    ensure_built_in_graph(model, x)
    return encoded(model, x, seeds.as_seed(0), training)[0]


def generator(model: Any, family: Family | None = None) -> PureGenerator:
    """Returns the `PureGenerator` of decoder and prior; create one per traced function."""
    family = family_of_shard(model.family) if family is None else family
    return PureGenerator(model.decoder, model.prior, family)


def batch_objective(
    model: Any,
    x: Nest,
    seed: Seed,
    beta: TensorLike = 1.0,
    training: bool = False,
    probe: tf.Tensor | None = None,
    steps: int | None = None,
    family: Family | None = None,
    free_bits: float = 0.0,
) -> BatchObjective:
    """Returns the `BatchObjective` of one batch; `family` may override sampling.

    `beta` and `free_bits` are those of the training objective; inference maximises the ELBO.
    """
    x = standardized(model, x)
    ensure_built_in_graph(model, x)
    pure = model.generator(family)
    outer, inner = seeds.split(seed, 2)
    steps = model._steps(steps)

    @functools.cache  # One encoder pass per batch.
    def initial():
        return encoded(model, x, seeds.fold(outer, ForwardStream.ENCODER), training)

    def refine(objective, initial, theta, seed, adjoint, path=False):
        if not training:
            adjoint = "stop"
        overrides = {"backward_probe": probe} if adjoint is None else {"adjoint": adjoint}
        overrides["return_trace"] = "path" if path and training else "values"
        return _refined(model, objective, initial, theta, seed, steps, training, overrides)

    return BatchObjective(
        generator=pure,
        theta=pure.theta(x, outer, training),
        encode=lambda: initial()[0],
        encoder_effects=lambda: initial()[1],
        prior_parameters=lambda: _prior_parameters(model, x),
        refine=refine,
        steps=steps,
        beta=beta,
        free_bits=free_bits,
        seed=inner,
        training=training,
        loss_weights=model.loss_weights_of(model.objective),
        antithetic=model.refinement.antithetic,
    )


def standardized(model: Any, x: Nest) -> Nest:
    """Returns x as tensors, with floats cast to the precision of the model's weights."""
    precise = model.variable_dtype

    def standard(leaf):
        leaf = tf.convert_to_tensor(leaf)
        return tf.cast(leaf, precise) if leaf.dtype.is_floating else leaf

    return tf.nest.map_structure(standard, x)


def encoded(model: Any, x: Nest, seed: Seed, training: bool) -> tuple[Nest, Effects]:
    """Returns (lambda_0, the encoder's `Effects`); without an encoder, the prior's parameters."""
    if model.encoder is None:
        return _prior_parameters(model, x), Effects([], [])
    outputs, effects = PureEncoder(model.encoder)(x, seed, training)
    if tf.is_tensor(outputs) and model.latent_size is not None:
        if not is_one_tensor(model.family, model.latent_size):
            outputs = model.family.unpack(outputs, model.latent_size)
    batch = tf.nest.flatten(x)[0].shape[0]
    check_parameters(model.family, outputs, model.latent_size, batch)
    precise = model.variable_dtype
    parameters = tf.nest.map_structure(lambda p: tf.cast(p, precise), outputs)
    return parameters, effects


def _refined(model, objective, initial, theta, seed, steps, training, overrides):
    """Returns (lambda_K, `RefinementInfo`, or None for K = 0)."""
    settings = {"steps": steps, **model._programs.overrides(), **overrides}
    if not steps:
        settings["fall_back"] = 0
    refined, trace, fell_back = model.refinement.refine_or_fall_back(
        objective, initial, theta, seed, **settings
    )
    if not steps:
        return refined, None
    # The loss of validation needs no gradients.
    path = trace.path_objective if training else trace.negative_elbo
    return refined, RefinementInfo(trace.negative_elbo[0], fell_back, trace.initial_gradient, path)


def _prior_parameters(model, x):
    batch = tf.shape(tf.nest.flatten(x)[0])[0]
    return model.family.zeros(batch, model.latent_size, model.variable_dtype)
