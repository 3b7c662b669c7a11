"""Decompose the inference gap (Cremer et al. 2018, https://arxiv.org/abs/1801.03558).

    log p(x) - ELBO(lambda_0)  =  [log p(x) - ELBO(lambda*)]  +  [ELBO(lambda*) - ELBO(lambda_0)]
        inference gap                approximation gap               amortization gap

lambda_0 is the encoder's output, lambda* the optimal parameters of the family for one example. The
approximation gap is due to the family, the amortization gap to the encoder. Refinement reduces the
amortization gap: K steps recover ELBO(lambda_K) - ELBO(lambda_0) of it.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae.core import seeds, validation
from tf_savae.core.noise_streams import OptimumStream
from tf_savae.evaluation.dataset_pass import check_latent, one_pass
from tf_savae.evaluation.importance_weights import log_weights_function, weighting_of
from tf_savae.evaluation.local_optimum import Optimisation
from tf_savae.evaluation.monte_carlo import average_bound
from tf_savae.models.compilation.trace_cache import compiled_for

__all__ = ["InferenceGap", "inference_gap"]


class InferenceGap(NamedTuple):
    """The inference gap of each example, in the dataset's order; nats, float64."""

    amortized: Any  # [N]: negative ELBO at lambda_0
    refined: Any  # [N]: negative ELBO at lambda_K
    optimal: Any  # [N]: negative ELBO at lambda*
    nll: Any  # [N]: importance-weighted -log p(x) with q(z; lambda*) as proposal
    spread: Any  # [N]: Monte-Carlo standard deviation of `nll`
    history: Any  # [N, checks + 1]: negative ELBO of the best so far during the optimisation
    steps: Any = None  # K

    @property
    def amortization_gap(self) -> np.ndarray:
        """[N]: ELBO(lambda*) - ELBO(lambda_0)."""
        return self.amortized - self.optimal

    @property
    def recovered(self) -> np.ndarray:
        """[N]: ELBO(lambda_K) - ELBO(lambda_0), the part recovered by K steps."""
        return self.amortized - self.refined

    @property
    def approximation_gap(self) -> np.ndarray:
        """[N]: log p(x) - ELBO(lambda*); biased low by the bias of the estimate of log p(x)."""
        return self.optimal - self.nll

    @property
    def inference_gap(self) -> np.ndarray:
        """[N]: log p(x) - ELBO(lambda_0), the sum of the two gaps."""
        return self.amortized - self.nll

    @property
    def late_gain(self) -> float:
        """Mean ELBO gain of the second half of the search, in nats; near 0 if it has converged."""
        half = self.history.shape[1] // 2
        return float(np.mean(self.history[:, half] - self.history[:, -1]))


def inference_gap(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    steps: int | None = None,
    optimisation_steps: int = 500,
    step_size: float = 0.1,
    samples: int = 500,
    noises: int = 100,
    chunk: int = 1,
    seed: int = 0,
    label: str | None = None,
) -> InferenceGap:
    """Decomposes the inference gap of each example into approximation and amortization gap.

    All ELBOs are means over the same samples of z (common random numbers). These samples are
    independent of those used to find lambda*, which avoids selection bias. Costs about
    3 * optimisation_steps + 13 * noises + samples decoder passes.

    Args:
      model: a compiled `SemiAmortizedVAE`.
      dataset: finite `tf.data.Dataset` of x, or of (x, y, sample_weight) with weights [B];
        examples of weight 0 are left out.
      steps: K; the model's own by default (0 for a plain VAE).
      optimisation_steps, step_size: of the search for lambda*; see `Optimisation`.
      samples: S of the importance-weighted NLL.
      noises: samples of z in each reported ELBO.
      chunk: importance samples evaluated at once.
      seed: int.
      label: text beside progress bars; None shows no bar.

    Returns:
      An `InferenceGap`. A search that has not converged is logged as a warning.

    Raises:
      ValueError: the model has no latent variables, or a number is out of its range.

    >>> import keras
    >>> import tensorflow as tf
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "normal")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> model.compile(jit_compile=False)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([4, 3])).batch(2)
    >>> gap = inference_gap(model, data, steps=1, optimisation_steps=10, samples=5, noises=5)
    >>> np.allclose(gap.inference_gap, gap.approximation_gap + gap.amortization_gap)
    True
    """
    check_latent(model)
    validation.positive_int("noises", noises)
    steps = model.inference_steps if steps is None else validation.non_negative_int("steps", steps)
    optimise = Optimisation(model, optimisation_steps, step_size, judges=noises)
    starts = compiled_for(model, lambda x, seed: _starts(model, x, seed, steps))

    def values(x, starts, best, seed):
        batch_objective = model.batch_objective(x, seed)
        noise = seeds.fold(seed, OptimumStream.REPORT)
        return [average_bound(batch_objective, p, noises, noise) for p in (*starts, best)]

    values = compiled_for(model, values)
    weights = log_weights_function(model, samples, chunk)

    def gaps(x, seed):
        begun = starts(x, seed)
        best = optimise(x, begun, seed)
        noise = seeds.fold(seed, OptimumStream.REPORT)
        weighted = weighting_of(weights(x, best.parameters, noise))
        bounds = values(x, begun, best.parameters, seed)
        return (*bounds, weighted.nll, weighted.spread, best.history.T)

    def shown(part):
        return {"amortization_gap": float(np.mean(part[0] - part[2]))}

    name = label and f"{label}: lambda* by {optimisation_steps} steps"
    columns = one_pass(gaps, dataset, seed, model=model, label=name, shows=shown)
    gap = InferenceGap(*columns)._replace(steps=steps)
    _warn_unfinished(gap)
    return gap


def _starts(model, x, seed, steps):
    """Returns (lambda_0, lambda_K)."""
    batch_objective = model.batch_objective(x, seed, steps=steps)
    initial = batch_objective.encode()
    return initial, batch_objective.refined(initial, adjoint="stop")[0]


def _warn_unfinished(gap):
    if gap.late_gain > max(0.01, 0.05 * float(np.mean(gap.amortization_gap))):
        logging.warning(
            "the search for lambda* gained %.3g nats in its second half: the amortization gap is "
            "larger than reported. Give more optimisation steps, or a larger step size.",
            gap.late_gain,
        )
