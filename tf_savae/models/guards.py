"""Callbacks that `fit` always runs: training on NaN stops, unstable refinement is named."""

import math

import keras
from absl import logging

__all__ = ["NonFiniteError", "StopOnNonFinite", "WarnOfInstability"]


_NOTABLE = 0.002  # Share of the bound: a loss below it may be noise.


class NonFiniteError(ArithmeticError):
    """The loss became NaN or infinite.

    >>> issubclass(NonFiniteError, ArithmeticError)
    True
    """


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `NonFiniteError` at the first batch whose running loss is not finite.

    `keras.callbacks.TerminateOnNaN` ends `fit` as if training were done, and later callbacks
    would still write a checkpoint.
    """

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise NonFiniteError(
                f"loss is {loss} after batch {batch} of this epoch. Expected finite numbers: look "
                "for NaN in the data, a learning rate or refinement step_size that is too large, "
                "or half-precision overflow. The weights may be spoilt: restart from a checkpoint."
            )


class WarnOfInstability(keras.callbacks.Callback):
    """Says in plain words, once a fit, when refinement is too unstable to learn through."""

    def __init__(self, refinement):
        super().__init__()
        self._refinement = refinement
        self._said = False

    def on_epoch_end(self, epoch, logs=None):
        problems = instabilities(logs or {}, self._refinement)
        if problems and not self._said:
            self._said = True
            logging.warning(
                "Refinement is unstable (epoch %d): %s. Its exact derivative is then mostly noise "
                "and training may learn nothing. Remedies: a smaller step_size, a smaller "
                "clip_norm, adjoint_clip_norm, adjoint='truncated', learn_step_size=True, or "
                "slower KL annealing.",
                epoch + 1,
                "; ".join(problems),
            )


def instabilities(logs, refinement):
    """What in an epoch's metrics shows unstable refinement, as a list of sentences.

    >>> instabilities({"made_worse": 0.6, "refinement_gain": -2.0, "bound": 20.0}, None)
    ['refinement made the objective worse, for 60% of the examples and by 2 nats on average']
    """
    found = []
    worse, loss = logs.get("made_worse", 0.0), -logs.get("refinement_gain", 0.0)
    # A share alone proves nothing: where there is little to gain, noise makes half of them worse.
    if worse > 0.4 and loss > _NOTABLE * abs(logs.get("bound", 0.0)):
        found.append(
            f"refinement made the objective worse, for {worse:.0%} of the examples and by "
            f"{loss:.3g} nats on average"
        )
    growth = logs.get("adjoint_growth", 0.0)
    if growth > 10.0:
        found.append(f"the adjoint grows {growth:.3g} times on its way back through the steps")
    if refinement is not None:
        limit = 2.0 * (1.0 + refinement.momentum)
        reach = logs.get("curvature", 0.0) * refinement.largest_step_size()
        if reach > limit:
            found.append(
                f"step_size times curvature is {reach:.3g}, above the stable {limit:.3g}"
            )
    return found
