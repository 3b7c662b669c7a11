"""Which noise is derived from one seed under which number: `fold(seed, stream)`.

Streams of one seed never meet as long as each use has a number of its own here. Below a stream,
numbers count training steps, epochs or refinement steps.

>>> from tf_savae.core import seeds
>>> seeds.fold(7, NoiseStream.TRAINING).shape.as_list()
[2]
"""

import enum

__all__ = ["NoiseStream"]


class NoiseStream(enum.IntEnum):
    """The numbers that a model's or a run's seed is folded with.

    >>> len(set(NoiseStream)) == len(NoiseStream.__members__)
    True
    """

    TRAINING = 0  # The model's seed: noise of a training step.
    EVALUATION = 1  # The model's seed: noise of validation and evaluation.
    SAMPLES = 2  # The run's seed: what TensorBoard shows drawn.
    FIGURES = 3  # The run's seed: the refinement that TensorBoard follows.
    KERAS_LAYERS = 1000  # A pass's seed: 1000 + i is the i-th seed generator of the user's layers.
