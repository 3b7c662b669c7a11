"""Measure signal and noise of the encoder's gradient over batches."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.evaluation.dataset_pass import check_latent
from tf_savae.models.compilation.trace_cache import compiled_for
from tf_savae.objectives import OBJECTIVES, Objective, as_objective
from tf_savae.svi.objective import dense

__all__ = ["GradientNoise", "gradient_noise"]


class GradientNoise(NamedTuple):
    """Signal and noise of the encoder's gradient over batches; nats per unit of a weight."""

    signal: float  # Norm of the mean gradient, corrected for noise.
    noise: float  # Root mean square distance of a batch's gradient from the mean.
    cosine: float  # Cosine of the mean gradient and that of objective "vae".
    norms: Any  # [batches]: norm of each batch's gradient.

    @property
    def ratio(self) -> float:
        """Noise divided by signal for one batch; far above 1, the gradient is mostly noise."""
        return self.noise / self.signal if self.signal else float("inf")


def gradient_noise(
    model: keras.Model,
    dataset: tf.data.Dataset,
    objectives: Sequence[str | Objective] = ("vae", "savae"),
    seed: int = 0,
) -> dict[str, GradientNoise]:
    """Measures signal and noise of the encoder's gradient for each objective.

    The weights are not changed. Every batch has its own data and noise of z, as in training (KL
    weight 1, dropout on, the refinement's last K, the model's own weights of the loss). If
    refinement compensates for a poor encoder, the gradient of "savae" has a small signal, or a
    small cosine with that of "vae", the gradient of the ELBO at lambda_0.

    Args:
      model: a compiled `SemiAmortizedVAE` with an encoder and weights.
      dataset: finite `tf.data.Dataset` of batches of x of one size; at least 2 of them.
      objectives: names among "vae", "vae_svi", "vae_svi_exact", "vae_svi_kl" and "savae", or custom
        `Objective`s.
      seed: int; batch i draws its noise from (seed, i).

    Returns:
      {name of the objective: `GradientNoise`}.

    Raises:
      ValueError: an objective is unknown, has no encoder or does not fit the model, batches have
        sample weights, or there are fewer than 2 batches.

    >>> import keras
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> model.compile(jit_compile=False)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([6, 3])).batch(2)
    >>> found = gradient_noise(model, data, objectives=["vae"])
    >>> round(found["vae"].cosine, 3)
    1.0
    """
    check_latent(model)
    if model.encoder is None:
        raise ValueError(
            f"model: expected a model with an encoder, got objective {model.objective.name!r}, "
            "which has none."
        )
    chosen = [_checked(objective, model) for objective in objectives]
    names = [objective.name for objective in chosen]
    plain = as_objective("vae")
    function = compiled_for(model, lambda x, seed: _gradients(model, x, seed, [plain, *chosen]))
    gradients = []
    for index, batch in enumerate(dataset):
        x, _, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if weights is not None:
            raise ValueError(
                "dataset: expected batches without sample weights, since the gradient is that of "
                "the unweighted batch mean; got sample weights. Leave them out."
            )
        model.ensure_built(x)
        found = function(x, seeds.fold(seed, index))
        gradients.append([g.numpy().astype(np.float64) for g in found])
    if len(gradients) < 2:
        raise ValueError(f"dataset: expected at least 2 batches, got {len(gradients)}.")
    stacks = [np.stack(parts) for parts in zip(*gradients, strict=True)]
    return {n: _summary(s, stacks[0]) for n, s in zip(names, stacks[1:], strict=True)}


def _checked(objective, model):
    """Returns the `Objective` of a name; raises ValueError if the model cannot be trained by it."""
    if isinstance(objective, Objective):
        objective = as_objective(objective)
        if not objective.uses_encoder:
            raise ValueError(
                f"objectives: expected objectives with an encoder, got {objective.name!r}. Leave "
                "it out."
            )
    else:
        known = [name for name, made in OBJECTIVES.items() if made.uses_encoder]
        objective = as_objective(validation.choice("objectives", objective, known))
    if objective.crosses_refinement and not model.refinement.current_adjoint().crosses:
        raise ValueError(
            f'objectives: "{objective.name}" needs gradients through refinement, got a model with '
            'adjoint="stop". Use another adjoint.'
        )
    return objective


def _gradients(model, x, seed, objectives):
    """Returns the encoder's gradient of the batch mean of each objective, flat [P]."""
    found = []
    variables = [v.value for v in model.encoder.trainable_variables]
    for objective in objectives:
        with tf.GradientTape() as tape:
            batch_objective = _batch_objective(model, x, seed, objective)
            loss = tf.reduce_mean(objective.loss(batch_objective).loss)
        gradients = dense(tape.gradient(loss, variables), variables)
        found.append(tf.concat([tf.reshape(g, [-1]) for g in gradients], 0))
    return found


def _batch_objective(model, x, seed, objective):
    """Returns the `BatchObjective` used for training by `objective`."""
    steps = model.refinement.last_steps if objective.refines else 0
    batch_objective = model.batch_objective(
        x, seed, training=True, steps=steps, free_bits=model.free_bits
    )
    return dataclasses.replace(batch_objective, loss_weights=model.loss_weights_of(objective))


def _summary(gradients, plain):
    """Returns the `GradientNoise` of gradients [N, P]; `plain` are those of objective "vae"."""
    count = len(gradients)
    mean, other = gradients.mean(0), plain.mean(0)
    noise2 = ((gradients - mean) ** 2).sum(1).sum() / (count - 1)
    signal2 = max((mean**2).sum() - noise2 / count, 0.0)
    size = np.linalg.norm(mean) * np.linalg.norm(other)
    cosine = float(mean @ other / size) if size else 0.0
    norms = np.linalg.norm(gradients, axis=1)
    return GradientNoise(float(np.sqrt(signal2)), float(np.sqrt(noise2)), cosine, norms)
