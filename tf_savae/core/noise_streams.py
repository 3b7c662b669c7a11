"""The registry of noise streams; the seed of a stream is `fold(seed, stream)`.

Each use of a seed has its own number here, so that different uses draw independent noise. The seed
of a stream is folded again with the training step, the epoch or the refinement step.

>>> from tf_savae.core import seeds
>>> seeds.fold(7, NoiseStream.TRAINING).shape.as_list()
[2]
"""

import enum

__all__ = ["NoiseStream"]


class NoiseStream(enum.IntEnum):
    """The numbers with which the seed of a model or run is folded.

    >>> len(set(NoiseStream)) == len(NoiseStream.__members__)
    True
    """

    TRAINING = 0  # Of the model's seed: noise of a training step.
    EVALUATION = 1  # Of the model's seed: noise of validation and evaluation.
    SAMPLES = 2  # Of the run's seed: samples shown in TensorBoard.
    FIGURES = 3  # Of the run's seed: the refinement path shown in TensorBoard.
    KERAS_LAYERS = 1000  # Of a forward pass's seed: 1000 + i is a layer's i-th generator.
