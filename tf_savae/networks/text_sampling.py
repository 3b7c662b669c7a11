"""Sample text from a text decoder: ancestral sampling, greedy decoding and beam search."""

import numpy as np
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.tokens import PAD, START
from tf_savae.core.typing import MixedIn, Seed, TensorLike
from tf_savae.samplers.beam import beam_search
from tf_savae.samplers.decoding import choice_by_row, decode_tokens, likeliest

__all__ = ["SamplesText"]

_NO_WORDS = (PAD, START)  # <pad> and <s>, which never occur as words.


class SamplesText(MixedIn):
    """Mixin of `TextDecoder` that implements sampling."""

    # `sample` accepts one seed per row, so that rows can be sampled in a batch.
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
        """Samples rows of token ids, int32 [B, length + 1].

        Rows start with <s> and have <pad> after </s>; neither is sampled as a word.

        Args:
          z: [B, Z]; [B, 0] without latent variables.
          seed: int or stateless seed [2], from which the seeds of rows are derived; or [B, 2], one
            seed per row. The noise of a row does not depend on B.
          length: maximum number of sampled tokens T; longer rows are truncated.
          temperature, top_k, top_p: for decoding "sample", as in `choice_by_row`.
          decoding: "sample", "greedy" or "beam" (the best row found by `beam_search`).
          beam_size, length_penalty: for decoding "beam".

        Raises:
          ValueError: an argument is out of its range, or belongs to another decoding.
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
        """Finds the most probable rows for z [B, Z] and their log p; see `beam.beam_search`.

        Returns:
          (int32 [B, W, length + 1], float32 [B, W] nats), best first.
        """
        width = validation.positive_int("beam_size", beam_size)
        length = validation.positive_int("length", length)
        step, state = self._stepper(tf.repeat(z, width, axis=0))
        rows = tf.shape(z)[0]
        return beam_search(step, state, rows, length, width, length_penalty, _NO_WORDS)

    def _stepper(self, z):
        """Returns a function (int32 tokens [B], state) -> (logits [B, V], state), and a state."""
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
    """Raises ValueError if a setting of decoding `wanted` is given with another decoding."""
    for name, is_given in given.items():
        if np.any(is_given) and decoding != wanted:
            raise ValueError(
                f'{name}: expected decoding="{wanted}", got decoding="{decoding}". '
                f"Leave {name} out."
            )
