"""Callbacks that watch the loss while the KL weight is annealed: a trap, named before training."""

import keras
import tensorflow as tf
from absl import logging

__all__ = ["warn_of_monitors"]

_AHEAD = [10**n for n in range(7)]  # Training steps at which a schedule is asked what is to come.
_EFFECTS = {
    keras.callbacks.EarlyStopping: "stops training early",
    keras.callbacks.ReduceLROnPlateau: "lowers the learning rate early",
    keras.callbacks.ModelCheckpoint: "takes the weights of an early epoch for the best",
}


def warn_of_monitors(callbacks, beta_at, step):
    """Warns once of Keras callbacks that choose by a loss that rises with the KL weight.

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
        "%s: it watches %r, which holds the KL weight times the KL and rises while the weight is "
        "annealed, whatever the model learns. Watch the bound instead: monitor='val_bound', "
        "mode='min'; and let EarlyStopping begin when annealing is over, with start_from_epoch.",
        ", ".join(names),
        found[0][0].monitor,
    )


def _effect(callback):
    """What a callback does wrongly where the loss rises; None for any other callback."""
    if getattr(callback, "monitor", None) not in ("loss", "val_loss"):
        return None
    if getattr(callback, "start_from_epoch", 0) or not getattr(callback, "save_best_only", True):
        return None
    return next((effect for kind, effect in _EFFECTS.items() if isinstance(callback, kind)), None)


def _rises(beta_at, step):
    now, *later = (float(beta_at(tf.constant(step + n))) for n in [0, *_AHEAD])
    return max(later) > now + 1e-6
