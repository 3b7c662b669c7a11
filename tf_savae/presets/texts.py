"""Preset model of a list of strings, with its vocabulary."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from absl import logging

from tf_savae.core import validation
from tf_savae.core.typing import TensorLike
from tf_savae.data import TextCorpus, Vocabulary, pad_rows
from tf_savae.models import SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.networks import TextDecoder, TextEncoder
from tf_savae.presets.arrays import annealing_steps
from tf_savae.probability import linear_kl_weight

__all__ = ["TextModel", "text"]


class TextModel(NamedTuple):
    """A model of token ids, with its vocabulary and training rows.

    >>> made = text(["a cat sat", "a dog"], units=4, latent_size=2)
    >>> made.lines(made.rows(["a dog sat"]))
    ['a dog sat']
    """

    model: SemiAmortizedVAE
    vocabulary: Vocabulary
    x: np.ndarray  # int32 [N, T]: the given texts, encoded by `rows`

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """Encodes texts as rows of ids [N, T] for the model: <s>, words, </s>, padding."""
        return _rows(texts, self.vocabulary)

    def lines(self, rows: TensorLike) -> list[str]:
        """Decodes rows of ids, such as those of `model.sample(n)`, to texts."""
        return [self.vocabulary.decode(row) for row in np.asarray(rows)]


def text(
    texts: Sequence[str],
    *,
    latent_size: int = 16,
    units: int = 64,
    vocabulary_size: int = 10_000,
    steps: int = 5,
    objective: str = "savae",
    seed: int = 0,
) -> TextModel:
    """Returns a compiled model of texts with LSTMs, and its vocabulary.

    `made.model.fit(made.x)` trains the result `made`. Words are separated by whitespace. In
    training, 30% of the decoder's input words are dropped (word dropout), so that the decoder uses
    the latent variables. The KL weight increases from 0.1 to 1 during the first five epochs with
    batch size 32.

    Args:
      texts: training texts.
      latent_size: Z.
      units: size of the LSTMs.
      vocabulary_size: largest size of the vocabulary of the most frequent words; other words are
        <unk>.
      steps: K, number of refinement steps; 0 with "vae".
      objective: as for `SemiAmortizedVAE`.
      seed: seed of weights and noise.

    Raises:
      ValueError: there are no texts, a text is not a string or has no words, or an argument is out
        of range.

    >>> made = text(["a cat sat", "a dog"], units=4, latent_size=2)
    >>> made.x.tolist(), made.model.encode(made.x).mean().shape.as_list()
    ([[2, 4, 5, 7, 3], [2, 4, 6, 3, 0]], [2, 2])
    """
    steps = validation.non_negative_int("steps", steps)
    _check(texts)
    vocabulary = Vocabulary.build(texts, max_size=vocabulary_size)
    x = _rows(texts, vocabulary)
    keras.utils.set_random_seed(seed)
    sizes: dict[str, Any] = {
        "embedding_size": max(units // 2, 1),
        "units": units,
        "latent_size": latent_size,
    }
    annealed = annealing_steps(len(x))
    model = SemiAmortizedVAE(
        TextEncoder(len(vocabulary), **sizes),
        TextDecoder(len(vocabulary), **sizes, dropout=0.2, word_dropout=0.3),
        refinement=SemiAmortizedRefinement(steps=steps, step_size=0.1, hvp="reverse_over_reverse"),
        objective=objective,
        latent_size=sizes["latent_size"],
        beta=linear_kl_weight(annealed),
        seed=seed,
    )
    model.compile(keras.optimizers.Adam(4e-3), jit_compile=False)
    model(x[:1])
    logging.info(
        "presets.text: %d texts of at most %d words, vocabulary %d: latent size %d, LSTMs of %d, "
        "K = %d, KL weight 0.1 to 1 in %d training steps",
        len(x),
        x.shape[1] - 2,
        len(vocabulary),
        latent_size,
        units,
        model.inference_steps,
        annealed,
    )
    return TextModel(model, vocabulary, x)


def _check(texts):
    if isinstance(texts, str) or not all(isinstance(line, str) for line in texts):
        raise ValueError("texts: expected a list of strings, got other items in it.")
    empty = [number for number, line in enumerate(texts) if not line.split()]
    if empty or not len(texts):
        got = f"none in text {empty[0]}" if empty else "no texts"
        raise ValueError(f"texts: expected at least one word in each, got {got}.")


def _rows(texts, vocabulary):
    _check(texts)
    corpus = TextCorpus.encode(texts, vocabulary)
    return pad_rows(corpus.sequences, len(corpus), int(corpus.lengths.max()))
