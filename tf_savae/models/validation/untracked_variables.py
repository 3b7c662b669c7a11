"""Find variables of user layers that Keras does not track and would not train."""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import tensorflow as tf

__all__ = ["refuse_unknown", "watched_variables"]


@contextlib.contextmanager
def watched_variables() -> Iterator[list[tf.Variable]]:
    """Context that yields a list of the trainable TensorFlow variables read in its body.

    >>> variable = tf.Variable(1.0)
    >>> with watched_variables() as used:
    ...     doubled = 2.0 * variable
    >>> used[0] is variable
    True
    """
    used: list[tf.Variable] = []
    with tf.GradientTape() as tape:
        yield used
    used += tape.watched_variables()


def refuse_unknown(used: Iterable[tf.Variable], variables: Iterable[keras.Variable]) -> None:
    """Raises ValueError if a used variable does not belong to any of the Keras variables.

    Args:
      used: TensorFlow variables, from `watched_variables`.
      variables: the Keras variables of the model.

    >>> refuse_unknown([], [])
    """
    if tf.distribute.has_strategy():  # There a tape watches component variables.
        return
    known = {id(variable.value) for variable in variables}
    names = [variable.name for variable in used if id(variable) not in known]
    if names:
        raise ValueError(
            f"model: expected all trainable variables to be Keras 3 weights of encoder, decoder or "
            f"prior, got {len(names)} that are not and would not be trained: "
            f"{', '.join(names[:3])}. Add them with add_weight, or by layers of Keras 3 that are "
            "attributes of these (not tf.Variable, nor tf.keras with TF_USE_LEGACY_KERAS=1)."
        )
