"""Inputs that are shared by signatures, with bounds, checks and examples."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tf_savae.serving.limits import Limits, text_bytes
from tf_savae.serving.request_checks import (
    closed_rows,
    example_checks,
    reads_text,
    rows_within,
    within,
)
from tf_savae.serving.signature import Input

__all__ = ["SharedInputs"]

_LOWEST, _HIGHEST = 1e-3, 1e3  # Temperatures other than 0.


class SharedInputs:
    """The inputs of one model's signatures.

    Args:
      model: a built model.
      limits: `Limits`.

    Raises:
      ValueError: the model's examples are not one tensor.

    >>> import keras, tf_savae
    >>> network = tf_savae.DistributionDecoder(keras.layers.Dense(4))
    >>> model = tf_savae.SemiAmortizedVAE(None, network, objective="svi", latent_size=2)
    >>> model.build((None, 4))
    >>> inputs = SharedInputs(model, tf_savae.serving.Limits())
    >>> [i.name for i in (inputs.x(), inputs.steps(), inputs.samples(), inputs.seed())]
    ['x', 'steps', 'samples', 'seed']
    """

    def __init__(self, model: keras.Model, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self.takes_text = reads_text(model.decoder)
        shape, dtype = _one_tensor(model.data_spec)
        if self.takes_text:
            shape = [None]
        whole = getattr(model.decoder, "vocabulary_size", None) is not None
        self._shape, self._dtype = shape, tf.int32 if whole else tf.as_dtype(dtype)

    def x(self) -> Input:
        """Returns the input of a batch of examples as tensors."""
        about = "examples in the format of the training data"
        if self.takes_text:
            size, words = self._model.decoder.vocabulary_size, self._limits.words
            about = f"token rows <s> words </s> <pad>, ids 0 to {size - 1}, at most {words} words"
        return Input(
            "x",
            self._dtype,
            [None, *self._shape],
            f"{about}; B from 1 to {self._limits.rows}",
            tuple(example_checks(self._model, self._limits)),
            self._example(),
        )

    def joined_x(self) -> Input:
        """Returns `x` for a signature with no other input, whose requests a server may batch."""
        x = self.x()
        if not self.takes_text:
            return x
        about = f"{x.about}; tokens after </s> are treated as <pad>"
        return dataclasses.replace(x, about=about, prepare=closed_rows)

    def _example(self):
        if self.takes_text:
            return np.array([[2, 1, 3]], np.int32)
        return np.zeros([1, *(2 if n is None else n for n in self._shape)], self._dtype.name)

    def text(self) -> Input:
        """Returns the input of a batch of examples as strings."""
        most = self._limits
        return Input(
            "text",
            tf.string,
            [None],
            f"UTF-8, words separated by spaces, unknown ones become <unk>; at most {most.words} "
            f"words in {text_bytes(most.words)} bytes, B from 1 to {most.rows}",
            (rows_within(most.rows),),
            np.array([b"the"], object),
        )

    def steps(self) -> Input:
        """Returns the input K, the number of refinement steps."""
        most = self._limits.steps
        own = min(getattr(self._model, "inference_steps", 0), most)
        about = f"number of refinement steps K, 0 to {most}; {own} in training"
        return _scalar("steps", about, 0, most, own)

    def samples(self) -> Input:
        """Returns the input S, the number of importance samples."""
        most = self._limits.samples
        return _scalar("samples", f"number of importance samples S, 1 to {most}", 1, most, 1)

    def length(self) -> int:
        """Returns T of `generate`'s and `reconstruct`'s outputs, for decoders that require it."""
        if self.takes_text or self._shape[0] is None:
            return self._limits.words
        return self._shape[0]

    def count(self) -> Input:
        """Returns the input n of `generate`."""
        most = self._limits.rows
        return _scalar("n", f"number of samples, 1 to {most}", 1, most, 1)

    def seed(self) -> Input:
        """Returns the input for the seed of all noise."""
        about = "seed of all noise, any int32; equal seeds give equal outputs"
        return Input("seed", tf.int32, [], about, (), np.int32(0))

    def temperature(self) -> Input:
        """Returns the input for the sampling temperature, which divides token or pixel logits."""

        def known(value):
            possible = (value == 0) | ((value >= _LOWEST) & (value <= _HIGHEST))
            return possible, f"expected 0, or a number from {_LOWEST} to {_HIGHEST}"

        about = f"divides the logits: 0 (the most probable), or {_LOWEST} to {_HIGHEST}"
        return Input("temperature", tf.float32, [], about, (known,), np.float32(1.0))


def _scalar(name, about, low, high, example):
    return Input(name, tf.int32, [], about, (within(low, high),), np.int32(example))


def _one_tensor(spec):
    if isinstance(spec, (list, tuple)) and len(spec) == 2 and isinstance(spec[1], str):
        return list(spec[0]), spec[1]
    raise ValueError(
        f"model: expected one whose examples are one tensor, which signatures call x; got {spec}."
    )
