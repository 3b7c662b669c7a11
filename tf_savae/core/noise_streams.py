"""The registry of noise streams: each is `fold(seed, stream)`.

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

    TRAINING = 0  # Of the model's seed: noise of a training step.
    EVALUATION = 1  # Of the model's seed: noise of validation and evaluation.
    SAMPLES = 2  # Of the run's seed: samples shown in TensorBoard.
    FIGURES = 3  # Of the run's seed: the refinement path shown in TensorBoard.
    KERAS_LAYERS = 1000  # Of a forward pass's seed: 1000 + i is a layer's i-th generator.
