"""`VAETransformer`: a scikit-learn estimator of `presets.dense`."""

import importlib.util
from typing import Any, Self

import numpy as np

from tf_savae.core import validation
from tf_savae.core.typing import TensorLike
from tf_savae.presets.arrays import annealing_steps, dense
from tf_savae.probability import linear_kl_weight

__all__ = ["VAETransformer"]

_BASES: tuple[type, ...] = ()
if importlib.util.find_spec("sklearn"):  # Methods that pipelines and searches call.
    from sklearn.base import BaseEstimator, TransformerMixin

    _BASES = (TransformerMixin, BaseEstimator)


class VAETransformer(*_BASES):  # type: ignore[misc]
    """Scikit-learn transformer of `presets.dense`: maps rows to posterior means.

    It can be used in a Pipeline.

    Args:
      latent_size, steps, seed: as for `presets.dense`.
      epochs, batch_size: epochs and batch size of training.
      samples: number of samples of the log-likelihood estimate.

    Attributes:
      model_: the fitted `SemiAmortizedVAE`.

    >>> rows = np.eye(8, dtype="float32")
    >>> VAETransformer(epochs=1, steps=1).fit(rows).transform(rows).shape
    (8, 2)
    """

    def __init__(
        self,
        latent_size: int | None = None,
        steps: int = 5,
        epochs: int = 30,
        batch_size: int = 32,
        samples: int = 100,
        seed: int = 0,
    ) -> None:
        self.latent_size, self.steps, self.epochs = latent_size, steps, epochs
        self.batch_size, self.samples, self.seed = batch_size, samples, seed

    def fit(self, X: TensorLike, y: Any = None) -> Self:  # noqa: N803 scikit-learn's names.
        """Builds and trains a new model of rows [N, D]; y is ignored."""
        validation.positive_int("batch_size", self.batch_size)
        validation.positive_int("epochs", self.epochs)
        rows = np.asarray(X)
        self.model_ = dense(rows, latent_size=self.latent_size, steps=self.steps, seed=self.seed)
        self.model_.beta = linear_kl_weight(annealing_steps(len(rows), self.batch_size))
        self.model_.fit(rows, epochs=self.epochs, batch_size=self.batch_size, verbose=0)
        return self

    def transform(self, X: TensorLike) -> np.ndarray:  # noqa: N803
        """Returns the means of the refined posteriors, [N, Z]."""
        return self._fitted().infer(np.asarray(X)).mean().numpy()

    def score_samples(self, X: TensorLike) -> np.ndarray:  # noqa: N803
        """Returns importance-weighted estimates of log p(x), [N], in nats."""
        return self._fitted().log_likelihood(np.asarray(X), self.samples).numpy()

    def score(self, X: TensorLike, y: Any = None) -> float:  # noqa: N803
        """Returns the mean of `score_samples`, which cross-validation searches maximise."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: int = 0) -> np.ndarray:
        """Returns rows [n, D] sampled from the model."""
        return self._fitted().sample(n_samples, seed=random_state).numpy()

    def _fitted(self):
        if not hasattr(self, "model_"):
            raise ValueError("VAETransformer: expected a fitted transformer. Call fit(X) first.")
        return self.model_
