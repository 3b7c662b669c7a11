"""The refinement path: ELBO and distance of the variational parameters after each step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.noise_streams import OptimumStream
from tf_savae.core.typing import Nest
from tf_savae.evaluation.dataset_pass import check_latent, one_pass
from tf_savae.evaluation.monte_carlo import average_terms
from tf_savae.models.compilation.trace_cache import compiled_for
from tf_savae.svi.functional_rule import BoundRule
from tf_savae.svi.loop import Settings, stacked_path
from tf_savae.svi.objective import Objective
from tf_savae.svi.per_example import norm

__all__ = ["RefinementPath", "follower", "refinement_path"]


class RefinementPath(NamedTuple):
    """Values along the refinement from lambda_0 to lambda_K; float64, ELBO terms in nats."""

    nll: Any  # [K + 1, N]: -log p(x | z), mean over samples shared by all steps
    kl: Any  # [K + 1, N]
    moved: Any  # [P, K + 1, N]: ||lambda_k - lambda_0|| of each of the family's P tensors
    seen: Any  # [K, N]: the negative ELBO that step k evaluated, with its own noise
    gradient_norm: Any  # [K, N]: norm of the SVI gradient before clipping

    @property
    def bound(self) -> np.ndarray:
        """The negative ELBO, [K + 1, N]."""
        return self.nll + self.kl


def refinement_path(
    model: keras.Model,
    dataset: tf.data.Dataset,
    steps: int | None = None,
    *,
    noises: int = 20,
    seed: int = 0,
    label: str | None = None,
    run: Callable | None = None,
) -> RefinementPath:
    """Records the refinement of each example.

    The ELBO that a step evaluates is noisy, with one sample of z in most models. `nll` and `kl` are
    means over samples that are shared by all steps, so their differences between steps are due to
    the parameters only.

    Args:
      model: a compiled `SemiAmortizedVAE`.
      dataset: finite `tf.data.Dataset` of x, or of (x, y, sample_weight) with weights [B];
        examples of weight 0 are omitted.
      steps: K >= 1; by default that of the refinement layer.
      noises: number of samples of z in each reported ELBO.
      seed: int.
      label: text shown with a progress bar; None for no bar.
      run: compiled `follower(model, steps, noises)`, for repeated calls; its steps and noises are
        then the ones used.

    Raises:
      ValueError: the model has no latent variables, or a number is out of range.

    >>> import keras
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "normal")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([4, 3])).batch(2)
    >>> refinement_path(model, data, steps=3, noises=2).bound.shape
    (4, 4)
    """
    check_latent(model)
    steps = validation.positive_int(
        "steps", model.refinement.last_steps if steps is None else steps
    )
    validation.positive_int("noises", noises)
    run = run or compiled_for(model, follower(model, steps, noises))

    def shown(part):
        bound = part[0] + part[1]
        return {"gain": float(np.mean(bound[:, 0] - bound[:, -1]))}

    nll, kl, moved, seen, gradients = one_pass(
        run, dataset, seed, model=model, label=label, shows=shown
    )
    return RefinementPath(nll.T, kl.T, np.moveaxis(moved, 0, -1), seen.T, gradients.T)


def follower(model: keras.Model, steps: int, noises: int) -> Callable[[Nest, tf.Tensor], tuple]:
    """Returns a function (x, seed) -> fields of `RefinementPath`, batch first, to be compiled."""
    return lambda x, seed: _followed(model, x, seed, steps, noises)


def _followed(model, x, seed, steps, noises):
    """Returns the fields of `RefinementPath` for one batch, batch first."""
    batch_objective = model.batch_objective(x, seed)
    initial = batch_objective.encode()
    flat, layer = tf.nest.flatten(initial), model.refinement
    objective = Objective(batch_objective.objective, initial, batch_objective.theta, layer.samples)
    rule = BoundRule(layer.rule(initial), initial)
    settings = Settings(
        steps=steps,
        rule=rule,
        weights=rule.weights,
        seed=batch_objective.seed,
    )
    final, path = stacked_path(objective, flat, tf.nest.flatten(batch_objective.theta), settings)
    stacks = [
        tf.concat([stack, last[None]], axis=0)
        for stack, last in zip(path.parameters, final, strict=True)
    ]
    nll, kl = _along(
        batch_objective, initial, stacks, noises, seeds.fold(seed, OptimumStream.REPORT)
    )
    distances = [_distances(stack) for stack in stacks]
    moved = tf.transpose(tf.stack(distances), [2, 0, 1])
    columns = (nll, kl, path.values, path.gradient_norms)
    nll, kl, seen, gradients = (tf.transpose(column) for column in columns)
    return nll, kl, moved, seen, gradients


def _along(batch_objective, initial, stacks, noises, seed):
    """Returns (nll [K + 1, B], kl [K + 1, B]), computed sequentially over the lambda_k."""

    def terms(parameters):
        nest = tf.nest.pack_sequence_as(initial, list(parameters))
        return average_terms(batch_objective, nest, noises, seed)

    signature = (tf.float64, tf.float64)
    return tf.map_fn(terms, tuple(stacks), fn_output_signature=signature, parallel_iterations=1)


def _distances(stack):
    """Returns ||lambda_k - lambda_0||, [K + 1, B], for one tensor's path [K + 1, B, ...]."""
    steps = stack.shape[0]
    rows = tf.reshape(stack - stack[:1], [-1, *stack.shape[2:]])
    return tf.reshape(norm([rows]), [steps, -1])
