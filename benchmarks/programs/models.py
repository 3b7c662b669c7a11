"""The models whose train steps become programs: the contest's cases, with an optimizer each."""

import keras
import tensorflow as tf
from peers import ours
from peers.batches import batch

__all__ = ["batch_of", "model_of"]


def batch_of(case):
    """The case's batch, as tensors.

    >>> from programs.sizes import CASES
    >>> batch_of(CASES["tiny_image"]).shape.as_list()
    [3, 8, 6, 1]
    """
    return tf.constant(batch(case))


def model_of(case, steps, method="exact_forward", dtype="float32"):
    """A built and compiled model with weights from a fixed seed.

    Text trains by SGD with rate 1, as in the paper (section 5.2), the others by Adam; both clip the
    norm of the whole gradient to 5. Arguments are those of `peers.ours.model_of`.

    >>> from programs.sizes import CASES
    >>> model_of(CASES["tiny_text"], 2).refinement.steps
    2
    """
    sgd = case.model == "text"
    optimizer = keras.optimizers.SGD(1.0) if sgd else keras.optimizers.Adam(1e-3)
    optimizer.global_clipnorm = 5.0
    return ours.model_of(case, steps, method, dtype, optimizer)
