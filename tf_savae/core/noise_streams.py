"""The registry of noise streams; the seed of a stream is `fold(seed, stream)`.

Each enumeration has the streams of one seed. Each use has its own number there, so that different
uses draw independent noise. The seed of a stream is folded again with the training step, the epoch
or the refinement step.

>>> from tf_savae.core import seeds
>>> seeds.fold(7, NoiseStream.TRAINING).shape.as_list()
[2]
"""

import enum

__all__ = ["ForwardStream", "NoiseStream", "OptimumStream", "RefinementStream"]


@enum.verify(enum.UNIQUE)
class NoiseStream(enum.IntEnum):
    """Streams of the seed of a model or of a run."""

    TRAINING = 0  # Of the model's seed: noise of a training step.
    EVALUATION = 1  # Of the model's seed: noise of validation and evaluation.
    SAMPLES = 2  # Of the run's seed: samples shown in TensorBoard.
    FIGURES = 3  # Of the run's seed: the refinement path shown in TensorBoard.


@enum.verify(enum.UNIQUE)
class ForwardStream(enum.IntEnum):
    """Streams of the seed of one forward pass."""

    ENCODER = 999
    KERAS_LAYERS = 1000  # 1000 + i is the i-th generator of Keras layers.


@enum.verify(enum.UNIQUE)
class RefinementStream(enum.IntEnum):
    """Streams of the seed of a refinement, in which step k has stream k, counted from 0."""

    COMPARISON = 2**30 + 1  # Of the initial and the refined ELBO; above any step.


@enum.verify(enum.UNIQUE)
class OptimumStream(enum.IntEnum):
    """Streams of the seed of a search for each example's best parameters (lambda*)."""

    STEPS = 1  # Noise of the search.
    COMPARISON = 2  # ELBOs by which the search chooses among its iterates.
    REPORT = 3  # Reported ELBOs, independent of the search.
