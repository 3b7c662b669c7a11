"""Sample texts from a text decoder: ancestral sampling, greedy, beam search."""

import numpy as np
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.tokens import PAD, START
from tf_savae.core.typing import MixedIn, Seed, TensorLike
from tf_savae.samplers.beam import beam_search
from tf_savae.samplers.decoding import choice_by_row, decode_tokens, likeliest

__all__ = ["SamplesText"]

_NO_WORDS = (PAD, START)  # <pad> and <s>: the softmax has a place for them, no text does.


class SamplesText(MixedIn):
    """The part of `TextDecoder` that writes texts."""

    # `sample` takes a seed for each row: whoever draws many rows need not draw them one by one.
    seeds_by_row = True

    def sample(
        self,
        z: tf.Tensor,
        seed: Seed | None = None,
        length: int = 50,
        temperature: TensorLike = 1.0,
        top_k: TensorLike = None,
        top_p: TensorLike = None,
        decoding: str = "sample",
        beam_size: int = 5,
        length_penalty: float = 0.6,
    ) -> tf.Tensor:
        """Rows int32 [B, length + 1], <s> first, <pad> after </s>; never <pad> or <s> as a word.

        Args:
          z: [B, Z]; [B, 0] without a latent code.
          seed: int or stateless seed [2], from which row i gets its own noise; or [B, 2], one seed
            for each row. Row i's noise does not depend on B.
          length: T; rows that have not ended by then are cut there.
          temperature, top_k, top_p: of decoding "sample", as in `sampling.choice_by_row`.
          decoding: "sample", "greedy" or "beam" (the best row that `beam_search` finds).
          beam_size, length_penalty: of decoding "beam".

        Raises:
          ValueError: an argument is out of its range, or given for another decoding.
        """
        validation.choice("decoding", decoding, ("sample", "greedy", "beam"))
        length = validation.positive_int("length", length)
        given = {"beam_size": beam_size != 5, "length_penalty": length_penalty != 0.6}
        _refuse("beam", decoding, given)
        warmed = not tf.is_tensor(temperature) and temperature != 1.0
        given = {"temperature": warmed, "top_k": top_k is not None, "top_p": top_p is not None}
        _refuse("sample", decoding, given)
        if decoding == "beam":
            return self.beam_search(z, length, beam_size, length_penalty)[0][:, 0]
        rows = tf.shape(z)[0] if z.shape[0] is None else z.shape[0]
        if decoding == "greedy":
            choose = likeliest(_NO_WORDS)
        else:
            restricted = (temperature, top_k, top_p)
            choose = choice_by_row(seed, rows, length, *restricted, forbidden=_NO_WORDS)
        step, state = self._stepper(z)
        return decode_tokens(step, state, rows, length, choose)

    def beam_search(
        self, z: tf.Tensor, length: int = 50, beam_size: int = 5, length_penalty: float = 0.6
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The most probable rows for z [B, Z], and their log p: see `beam.beam_search`.

        Returns:
          (int32 [B, W, length + 1], float32 [B, W] nats), best first.
        """
        width = validation.positive_int("beam_size", beam_size)
        length = validation.positive_int("length", length)
        step, state = self._stepper(tf.repeat(z, width, axis=0))
        rows = tf.shape(z)[0]
        return beam_search(step, state, rows, length, width, length_penalty, _NO_WORDS)

    def _stepper(self, z):
        """(int32 tokens [B], state) -> (logits [B, V], state), and the state before <s>."""
        rows = tf.shape(z)[0]
        shift, hidden = self._condition(tf.zeros([1, rows, 4 * self.units], self.compute_dtype), z)
        if hidden is None:
            hidden = tf.zeros([rows, self.units], self.compute_dtype)

        def step(tokens, state):
            embedded = tf.reshape(self.embedding(tokens), [-1, self.embedding_size])
            state = self.lstm.step(self.lstm.project(embedded) + shift[0], state)
            return self.softmax(state[0]), state

        return step, (hidden, tf.zeros_like(hidden))


def _refuse(wanted, decoding, given):
    """Raises where a setting of one way of decoding is given to another one."""
    for name, is_given in given.items():
        if np.any(is_given) and decoding != wanted:
            raise ValueError(
                f'{name}: is for decoding="{wanted}", got decoding="{decoding}"; leave it out.'
            )
