"""Callbacks that `fit` adds: stop on NaN, warn of unstable refinement or a weak encoder."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tf_savae.core import validation

__all__ = [
    "NoEmptyPass",
    "NonFiniteError",
    "StopOnNonFinite",
    "TooManySkippedError",
    "WarnOfInstability",
    "warn_of_monitors",
]


_NOTABLE = 0.002  # Fraction of the bound: a smaller increase may be noise.
_LARGE_GAIN = 0.1  # Fraction of the bound: a larger gain by refinement indicates a weak encoder.
_WEAK_SIGNAL = 0.3  # Cosine, mean over examples.
_IN_A_ROW = 3  # Batches: this many consecutive ones are not due to single outliers.
_AHEAD = [10**n for n in range(7)]  # Training steps at which a schedule is evaluated in advance.
_EFFECTS = {
    keras.callbacks.EarlyStopping: "stops training early",
    keras.callbacks.ReduceLROnPlateau: "lowers the learning rate early",
    keras.callbacks.ModelCheckpoint: "selects the weights of an early epoch as the best",
}


class NonFiniteError(ArithmeticError):
    """Raised if losses or gradients are NaN or infinite too often.

    >>> issubclass(NonFiniteError, ArithmeticError)
    True
    """


class TooManySkippedError(NonFiniteError):
    """Raised by `StopOnNonFinite`; the batches were skipped, so the weights are finite."""


class NoEmptyPass(keras.callbacks.Callback):
    """Raises ValueError if an epoch or evaluation has no batch; Keras would report a loss of 0.

    Keras calls `on_batch_begin` before it reads the batch, so that only ends of batches are
    counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trained = self._others = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._trained = False

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._trained = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        _refuse_none(self._trained, "x: expected at least one batch in each epoch")

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._others = False

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._others = True

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        _refuse_none(self._others, "expected at least one batch in each evaluation")

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._others = False

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._others = True

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        _refuse_none(self._others, "x: expected at least one batch")


def _refuse_none(any_batch, expected):
    if not any_batch:
        raise ValueError(
            f"{expected}, got none. A generator, or a dataset made from one, can be read only "
            "once: provide as many batches as all epochs need, or a dataset that restarts, "
            "tf.data.Dataset.from_generator(function, ...)."
        )


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `NonFiniteError` once too many batches were skipped.

    If loss or gradient is not finite, the train step does not change weights and optimizer, and
    counts the batch in the metric `skipped`. This callback stops training at the third such batch
    in a row, after more than `limit` in an epoch, and at the end of an epoch in which all batches
    were skipped. `keras.callbacks.TerminateOnNaN` would end `fit` normally, and later callbacks
    would still write a checkpoint.

    Keras converts the logs of every batch to numbers before it calls callbacks, so that reading
    them causes no further synchronisation with the device.
    """

    def __init__(self, limit: int = 10) -> None:
        super().__init__()
        self._limit = validation.non_negative_int("skip_limit", limit)
        self._row = self._skipped = self._before = self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._batches = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not self._batches:  # The metrics of a resumed epoch have been restored.
            skipped = self.model._bound_metrics.trackers["skipped"].result()
            self._before = self._skipped = int(skipped)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        new = int((logs or {}).get("skipped", 0)) - self._skipped
        batches, self._batches = batch + 1 - self._batches, batch + 1
        self._skipped += new
        self._row = self._row + new if new == batches else 0
        if not new:
            return
        logging.warning(
            "batch %d of this epoch has a NaN or infinite loss or gradient: it was skipped, as "
            "were %d batches of this epoch so far (metric `skipped`)",
            batch,
            self._skipped,
        )
        if self._row >= _IN_A_ROW:
            self._stop(f"the last {self._row} batches in a row")
        if self._skipped > self._limit:
            self._stop(f"{self._skipped} batches of this epoch (skip_limit={self._limit})")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._batches and self._skipped - self._before >= self._batches:
            self._stop("all batches of this epoch")

    def _stop(self, which):
        raise TooManySkippedError(
            f"{which}: expected finite loss and gradients, got NaN or infinity. Check for NaN in "
            "the data, a learning rate or refinement step_size that is too large, or "
            "half-precision overflow. These batches were skipped: the weights are those of the "
            "last batch that was used."
        )


class WarnOfInstability(keras.callbacks.Callback):
    """Warns, once per fit, if refinement is too unstable to be differentiated."""

    def __init__(self, refinement: Any) -> None:
        super().__init__()
        self._refinement = refinement
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        problems = instabilities(logs or {}, self._refinement)
        if problems and not self._warned:
            self._warned = True
            logging.warning(
                "Refinement is unstable (epoch %d): %s. Its exact derivative is then mostly noise "
                "and training may fail. Remedies: a smaller step_size, a smaller "
                "clip_norm, adjoint_clip_norm, adjoint='truncated', learn_step_size=True, or "
                "slower KL annealing.",
                epoch + 1,
                "; ".join(problems),
            )


class WarnOfIdleEncoder(keras.callbacks.Callback):
    """Warns, once per fit, if refinement compensates for a poor encoder.

    The condition must hold in two consecutive epochs, since every encoder is poor at first.
    """

    def __init__(self) -> None:
        super().__init__()
        self._row = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._row == 2 or not self.model.objective.encoder_crosses:  # Warn once, if at all.
            return
        problem = idle_encoder(logs or {})
        self._row = self._row + 1 if problem else 0
        if self._row == 2:
            logging.warning(
                "The refinement steps compensate for a poor encoder (epoch %d): %s. The encoder's "
                "own posterior then stays poor, and the model is often worse than a VAE. Remedies: "
                "a smaller step_size, fewer steps, amortized_weight=0.3, or a rule whose steps are "
                "learned, update=tf_savae.svi.LearnedUpdate().",
                epoch + 1,
                problem,
            )


def idle_encoder(logs: dict[str, float]) -> str | None:
    """Returns a sentence on metrics that show a poor encoder behind refinement, or None.

    >>> idle_encoder(
    ...     {"amortized_bound": 40.0, "bound": 25.0, "encoder_signal": 0.05, "steps": 5.0})
    'they lower the negative ELBO by 15 nats (60%), and the gradient that reaches the encoder ...'
    """
    if "encoder_signal" not in logs or not logs.get("steps", 1.0):
        return None
    gain, signal = logs["amortized_bound"] - logs["bound"], logs["encoder_signal"]
    share = gain / max(abs(logs["bound"]), 1e-12)
    if share < _LARGE_GAIN or signal > _WEAK_SIGNAL:
        return None
    return (
        f"they lower the negative ELBO by {gain:.3g} nats ({share:.0%}), and the gradient that "
        f"reaches the encoder through them has a cosine of {signal:.2g} with that of its own ELBO"
    )


def instabilities(logs: dict[str, float], refinement: Any) -> list[str]:
    """Returns a list of sentences on an epoch's metrics that show unstable refinement.

    >>> instabilities({"made_worse": 0.6, "refinement_gain": -2.0, "bound": 20.0}, None)
    ['refinement made the objective worse, for 60% of the examples and by 2 nats on average']
    """
    found = []
    worse, loss = logs.get("made_worse", 0.0), -logs.get("refinement_gain", 0.0)
    # The fraction alone is not conclusive: if the gain is small, noise makes half of them worse.
    if worse > 0.4 and loss > _NOTABLE * abs(logs.get("bound", 0.0)):
        found.append(
            f"refinement made the objective worse, for {worse:.0%} of the examples and by "
            f"{loss:.3g} nats on average"
        )
    growth = logs.get("adjoint_growth", 0.0)
    if growth > 10.0:
        found.append(f"the adjoint grows {growth:.3g} times on its way back through the steps")
    if refinement is not None and refinement.largest_step_size() is not None:
        limit = 2.0 * (1.0 + refinement.momentum)
        reach = logs.get("curvature", 0.0) * refinement.largest_step_size()
        if reach > limit:
            found.append(f"step_size times curvature is {reach:.3g}, above the stable {limit:.3g}")
    return found


def warn_of_monitors(
    callbacks: Sequence[keras.callbacks.Callback],
    beta_at: Callable[[tf.Tensor], tf.Tensor],
    step: int,
) -> None:
    """Warns of Keras callbacks that monitor a loss that increases with the KL weight.

    Args:
      callbacks: list of Keras callbacks.
      beta_at: the KL weight as a function of the training step.
      step: training steps taken so far.

    >>> warn_of_monitors([keras.callbacks.History()], lambda step: tf.ones([]), 0)
    """
    found = [(callback, effect) for callback in callbacks if (effect := _effect(callback))]
    if not found or not _rises(beta_at, step):
        return
    names = [f"{type(callback).__name__} {effect}" for callback, effect in found]
    logging.warning(
        "%s: it monitors %r, which includes the KL weight times the KL and increases while the "
        "weight is annealed. Monitor the bound instead: monitor='val_bound', mode='min'; and "
        "start EarlyStopping after annealing, with start_from_epoch.",
        ", ".join(names),
        found[0][0].monitor,
    )


def _effect(callback):
    """Returns the wrong effect of a callback if the loss increases, or None."""
    if getattr(callback, "monitor", None) not in ("loss", "val_loss"):
        return None
    if getattr(callback, "start_from_epoch", 0) or not getattr(callback, "save_best_only", True):
        return None
    return next((effect for kind, effect in _EFFECTS.items() if isinstance(callback, kind)), None)


def _rises(beta_at, step):
    now, *later = (float(beta_at(tf.constant(step + n))) for n in [0, *_AHEAD])
    return max(later) > now + 1e-6
