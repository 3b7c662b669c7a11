"""The ELBO as a function of the two posterior means of one example (Kim et al. 2018, figure 1)."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.typing import TensorLike
from tf_savae.models.compilation.trace_cache import compiled_for

__all__ = ["Landscape", "Window", "landscape", "refinement_path"]


class Window(NamedTuple):
    """Negative ELBO on a grid, in nats."""

    first: Any  # [G], grid of the mean of z_1
    second: Any  # [G], grid of the mean of z_2
    values: Any  # [G, G], values[i, j] at (first[j], second[i])

    @property
    def optimum(self) -> tuple[np.ndarray, float]:
        """The grid point (z_1, z_2) with the lowest negative ELBO, and this value."""
        row, column = np.unravel_index(np.argmin(self.values), self.values.shape)
        return np.array([self.first[column], self.second[row]]), float(self.values.min())


class Landscape(NamedTuple):
    """The negative-ELBO surface of one test point, with the refinement path of each system."""

    log_variance: Any  # [2], constant on both grids
    whole: Window  # covers all paths
    near: Window  # around the optimum of `whole`
    paths: dict  # system -> means [K + 1, 2]; one row without steps
    ends: dict  # system -> negative ELBO at the end of its path, with its own variances


def landscape(
    models: dict[str, keras.Model], x: TensorLike, *, size: int = 81, draws: int = 20, seed: int = 0
) -> Landscape:
    """Computes the `Landscape` of one example.

    The variances are fixed to the final variances of SA-VAE. The first window covers all paths; the
    second window is a neighbourhood of the optimum.

    Args:
      models: dict of systems "vae", "svi", "savae" to trained models that share one decoder, with
        a diagonal Gaussian family and Z = 2.
      x: the example, one row [1, ...].
      size: G, number of grid points along each axis.
      draws: number of noise samples, which are the same at every grid point, so that the surface
        is smooth.
      seed: int.
    """
    validation.positive_int("size", size)
    draws = validation.positive_int("draws", draws)
    noise = tf.random.stateless_normal([draws, 2], seeds.as_seed(seed))
    traced = {n: refinement_path(m, x, m.inference_steps, seed) for n, m in models.items()}
    paths = {name: means for name, (means, _) in traced.items()}
    surface = _surface(models["savae"], x, noise)
    log_variance = traced["savae"][1][-1]
    whole = _window(surface, _box(paths), log_variance, size)
    near = _window(surface, _around(whole, log_variance), log_variance, size)
    ends = {n: float(surface(m[-1:], v[-1])[0]) for n, (m, v) in traced.items()}
    return Landscape(log_variance, whole, near, paths, ends)


def refinement_path(
    model: keras.Model, x: TensorLike, steps: int | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (means [K + 1, Z], log_variances [K + 1, Z]) at lambda_0 to lambda_K of one example.

    The noise of step k depends on (seed, k), so k steps are the first steps of a run of k + 1.
    """
    steps = model.refinement.last_steps if steps is None else steps

    def run(count):
        batch_objective = model.batch_objective(tf.constant(x), seeds.as_seed(seed))
        initial = batch_objective.encode()
        arguments = (
            batch_objective.objective,
            initial,
            batch_objective.theta,
            batch_objective.seed,
        )
        return model.refinement.refine(*arguments, steps=count, adjoint="stop")

    run = tf.function(run, autograph=False)
    points = [run(tf.constant(count)) for count in range(steps + 1)]
    means, log_variances = zip(*points, strict=True)
    return np.concatenate(means), np.concatenate(log_variances)


def _surface(model, x, noise):
    """Returns the function (means [N, 2], log_variance [2]) -> negative ELBO [N].

    The noise is the same for all means.
    """

    def negative_elbo(means, log_variance):
        rows = tf.repeat(tf.constant(x), tf.shape(means)[0], axis=0)
        generator = model.generator()
        theta = generator.theta(rows, seeds.as_seed(0))
        posterior = model.family.distribution((means, tf.zeros_like(means) + log_variance))
        kl = posterior.kl_divergence(model.prior.distribution())

        def add(total, eps):
            z = means + tf.exp(0.5 * log_variance) * eps
            return total - generator.log_likelihood(z, theta, seeds.as_seed(0))

        totals = tf.scan(add, noise, initializer=tf.zeros_like(kl))
        return totals[-1] / float(len(noise)) + kl

    return compiled_for(model, negative_elbo)


def _window(surface, corners, log_variance, size):
    low, high = corners
    first, second = (np.linspace(low[i], high[i], size, dtype=np.float32) for i in range(2))
    rows = [
        surface(tf.stack([first, tf.fill([size], height)], axis=1), log_variance)
        for height in second
    ]
    return Window(first, second, np.stack([row.numpy() for row in rows]))


def _box(paths):
    """Returns the lower and upper corners of a square around all paths and most of the prior."""
    points = np.concatenate(list(paths.values()))
    reach = max(2.5, 1.15 * float(np.abs(points).max()))
    return np.full(2, -reach), np.full(2, reach)


def _around(whole, log_variance):
    """Returns the corners of a square around the optimum.

    Its half-width is six standard deviations, at most half of that of the whole window.
    """
    deviation = float(np.exp(0.5 * np.max(log_variance)))
    reach = min(6.0 * deviation, 0.5 * float(whole.first[-1]))
    return whole.optimum[0] - reach, whole.optimum[0] + reach
