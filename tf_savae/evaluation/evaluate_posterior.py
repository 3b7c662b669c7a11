"""`EvaluatePosterior`: a callback that evaluates the posterior during `fit`."""

from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.evaluation.bounds import evaluate_bounds
from tf_savae.evaluation.dataset_pass import check_latent
from tf_savae.evaluation.importance import importance_weighting
from tf_savae.evaluation.information import mutual_information
from tf_savae.evaluation.unit_activity import active_units

__all__ = ["EvaluatePosterior"]

_NUMBERS = ("iw_nll", "posterior_kl", "mutual_information", "active_units")


class EvaluatePosterior(keras.callbacks.Callback):
    """A callback of `fit` that evaluates the posterior on a dataset at the end of epochs.

    It adds to the logs quantities that need a pass over the dataset: `{prefix}iw_nll`
    (importance-weighted NLL, nats), `{prefix}posterior_kl` (nats), `{prefix}mutual_information`
    (nats) and `{prefix}active_units`. They are available in History and to all callbacks *after*
    this one in the list: TensorBoard, CSVLogger, EarlyStopping. In epochs without an evaluation
    they are NaN, so that CSVLogger has its columns from the start.

    Args:
      dataset: finite `tf.data.Dataset`, as for `evaluate_bounds`, of at least 2 examples.
      every: epochs from one evaluation to the next; the first is after epoch `every`.
      samples: number of importance samples S.
      steps: K; by default the model's own (0 for a plain VAE); 0 uses the encoder's posterior.
      chunk: importance samples evaluated at once.
      prefix: prefix of the names in the logs.
      seed: int; all evaluations use the same noise.

    Raises:
      ValueError: a number is out of its range; from `fit`, the model has no latent variables.

    >>> import tensorflow as tf
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2,
    ...                                 objective="vae")
    >>> model.compile(jit_compile=False)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.eye(3)).batch(2)
    >>> posterior = EvaluatePosterior(data, samples=5, steps=0)
    >>> history = model.fit(tf.eye(3), epochs=2, verbose=0, callbacks=[posterior])
    >>> len(history.history["val_mutual_information"])
    2
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        every: int = 1,
        samples: int = 50,
        steps: int | None = None,
        chunk: int = 1,
        prefix: str = "val_",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._dataset, self._steps, self._prefix, self._seed = dataset, steps, prefix, seed
        self._every = validation.positive_int("every", every)
        self._samples = validation.positive_int("samples", samples)
        self._chunk = validation.positive_int("chunk", chunk)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Raises ValueError before the first epoch if the model has no latent variables."""
        check_latent(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates if the epoch is due, and adds the results to `logs`."""
        due = (epoch + 1) % self._every == 0
        numbers = self.evaluate() if due else dict.fromkeys(_NUMBERS, float("nan"))
        if logs is not None:
            logs.update({f"{self._prefix}{name}": value for name, value in numbers.items()})

    def evaluate(self) -> dict[str, float]:
        """Returns {name: number} for the model in its current state."""
        model, arguments = self.model, (self._dataset, self._steps, self._seed)
        bounds = evaluate_bounds(model, *arguments)
        weighted = importance_weighting(
            model, self._dataset, self._samples, self._steps, self._seed, chunk=self._chunk
        )
        information = mutual_information(model.family, bounds.parameters, seed=self._seed)
        units = float(active_units(bounds.mean))
        values = (weighted.mean, float(bounds.kl.mean()), information.estimate, units)
        return dict(zip(_NUMBERS, values, strict=True))
