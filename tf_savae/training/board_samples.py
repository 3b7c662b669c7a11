"""TensorBoard: what the model writes or draws at the end of each epoch."""

import numpy as np

from tf_savae import generation
from tf_savae.core import seeds, validation
from tf_savae.models import NonFiniteError, SemiAmortizedVAE
from tf_savae.training.board import Board

__all__ = ["BoardSamples"]

_STREAM = 2  # Of noise: 0 and 1 are the model's own, of training and evaluation.
_BATCH = 32  # Rows at a time; of no effect on what is drawn.


class BoardSamples(Board):
    """Samples from the prior, and the same validation examples reconstructed after each epoch.

    Models without a latent code sample only. Reconstructions are decoded from the mean of the
    refined posterior. What epoch e draws is a function of the weights and (seed, e): a resumed run
    shows what the uninterrupted one would. No random state that training uses is touched.

    Args:
      logs: folder of the event files.
      view: `TextView` or `ImageView`: which examples, and how to show them.
      count: how many samples, and how many reconstructions.
      seed: int, the run's.

    Raises:
      ValueError: count is no integer of at least 1.
    """

    def __init__(self, logs, view, count, seed=0):
        super().__init__(logs)
        self._view, self._count = view, validation.positive_int("count", count)
        self._seed = seeds.fold(seed, _STREAM)
        self._examples = view.examples(count)

    def entries(self, epoch):
        view = self._view
        sampling, rebuilding = seeds.split(seeds.fold(self._seed, epoch), 2)
        batch = min(self._count, _BATCH)
        drawn = generation.sample(
            self.model, self._count, sampling, batch_size=batch, **view.sampling
        )
        yield "samples", view.samples(_sound(drawn, "samples").x, epoch)
        if not isinstance(self.model, SemiAmortizedVAE):
            return
        x = self._examples
        settings = {"mean": True, "batch_size": min(len(x), batch), **view.decoding}
        rebuilt = generation.reconstruct(self.model, x, rebuilding, **settings)
        shown = view.pairs(x, _sound(rebuilt, "reconstructions").x, epoch)
        yield "reconstructions", shown


def _sound(drawn, what):
    """`Drawn`, unless NaN went into it: ids and pixels drawn from NaN look like any others."""
    if not np.isfinite(drawn.z).all():
        raise NonFiniteError(f"the latent codes of the {what} hold NaN or infinite numbers")
    return drawn
