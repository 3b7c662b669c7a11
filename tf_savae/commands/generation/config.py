"""Settings of generate.py, with checks of their combinations."""

import dataclasses
from typing import Any

from tf_savae.core import validation
from tf_savae.training.config import setting

__all__ = ["GenerateConfig"]

_MODES = ("sample", "reconstruct", "interpolate", "traverse")
_DECODINGS = ("greedy", "beam", "sample")
# Settings that apply to one decoding method only.
_OF_DECODING = {
    "temperature": "sample",
    "top_k": "sample",
    "top_p": "sample",
    "beam_size": "beam",
    "length_penalty": "beam",
}
# Settings that apply to some modes only.
_OF_MODES = {
    "latent": ("reconstruct",),
    "path": ("interpolate",),
    "rows": ("interpolate", "traverse"),
    "extent": ("traverse",),
    "dimensions": ("traverse",),
    "steps": ("reconstruct", "interpolate", "traverse"),
}


@dataclasses.dataclass(frozen=True)
class GenerateConfig:
    """Settings of one call of `generate`; None means the default stated in the help text.

    Raises:
      ValueError: a setting is out of range, or not applicable in combination with the others.

    >>> GenerateConfig(mode="reconstruct", file="test.txt").decoding_or_default()
    'greedy'
    """

    mode: str = setting(
        None,
        "samples from the prior; reconstructions of the examples in --file; interpolation between "
        "two of them; traversal of single latent dimensions around one of them, or around the "
        "prior mean without --file (default: sample)",
        choices=_MODES,
        group="What to generate",
    )
    n: int = setting(
        None,
        "number of samples, of first examples of --file, of points on the path, or of values per "
        "dimension (default: 10; values: 7)",
    )
    seed: int = setting(None, "seed of all noise; equal seeds give equal output (default: 0)")
    file: str = setting(None, "data in the format of the training data: text or images")
    output: str = setting(
        None,
        "file to write, which must not exist: text (default: standard output), or .png for images, "
        "with all arrays in an .npz next to it",
    )
    batch_size: int = setting(
        None, "batch size; affects memory and speed, not the output (default: 32)"
    )
    decoding: str = setting(
        None,
        "decoding method of text (default: sample with --mode=sample, else greedy)",
        choices=_DECODINGS,
        group="Text",
    )
    temperature: float = setting(
        None, "divides the logits; values below 1 favour probable words (default: 1)"
    )
    top_k: int = setting(None, "sample only from this many most probable words (default: all)")
    top_p: float = setting(
        None,
        "sample only from the fewest most probable words with this total probability (default: 1)",
    )
    beam_size: int = setting(None, "number of beams of beam search (default: 5)")
    length_penalty: float = setting(
        None, "exponent of the length normalisation of beams, 0: none (default: 0.6)"
    )
    length: int = setting(
        None, "maximum length of text, in words (default: that of the run's training)"
    )
    labels: bool = setting(None, "begin each line of text with a label and a tab")
    latent: str = setting(
        None,
        "decode the mean of each posterior, or a sample (default: mean)",
        choices=("mean", "sample"),
        group="Latent variables",
    )
    steps: int = setting(None, "refinement steps (K) (default: those of the run)")
    path: str = setting(
        None,
        "interpolation between latent vectors (default: spherical)",
        choices=("linear", "spherical"),
    )
    rows: str = setting(
        None,
        "numbers of the examples of --file, counted from 1: two to interpolate, one to traverse "
        "(default: the first)",
    )
    extent: float = setting(None, "largest change of a dimension (default: 3)")
    dimensions: str = setting(
        None, "latent dimensions to traverse, from 0, as in 0,3,5 (default: all)"
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and "choices" in field.metadata:
                validation.choice(field.name, value, field.metadata["choices"])
        self._check_ranges()
        self._check_combinations()
        self.row_numbers()
        self.dimension_numbers()

    def _check_ranges(self):
        for name in ("n", "batch_size", "top_k", "beam_size", "length"):
            self._check(validation.positive_int, name)
        for name in ("seed", "steps"):
            self._check(validation.non_negative_int, name)
        for name in ("temperature", "length_penalty"):
            self._check(validation.positive, name, zero=True)
        self._check(validation.positive, "extent")
        if self.top_p is not None and not validation.unit_interval("top_p", self.top_p):
            raise ValueError(f"top_p: expected a number in (0, 1], got {self.top_p!r}.")

    def _check(self, check, name, **kwargs):
        if getattr(self, name) is not None:
            check(name, getattr(self, name), **kwargs)

    def _check_combinations(self):
        mode = self.mode_or_default()
        for name, wanted in _OF_MODES.items():
            if getattr(self, name) is not None and mode not in wanted:
                raise ValueError(
                    f"{name}: requires mode={' or '.join(wanted)}, got mode={mode}. Leave it out, "
                    "or give another --mode."
                )
        if mode == "interpolate" and self.count() < 2:
            raise ValueError(f"n: mode=interpolate expects at least the 2 ends, got {self.n}.")
        if mode in ("reconstruct", "interpolate") and not self.file:
            raise ValueError(f"file: expected text or images with mode={mode}, got no --file.")
        if mode == "sample" and self.file:
            raise ValueError("file: expected none with mode=sample, which samples from the prior.")
        if mode == "traverse" and not self.file and (self.rows or self.steps is not None):
            raise ValueError("file: expected a --file for rows and steps, got none.")

    def mode_or_default(self) -> str:
        """Returns the mode, "sample" by default."""
        return self.mode or "sample"

    def decoding_or_default(self) -> str:
        """Returns the decoding method; by default "sample" in mode "sample", else "greedy"."""
        return self.decoding or ("sample" if self.mode_or_default() == "sample" else "greedy")

    def count(self) -> int:
        """Returns n, or its default: the number of samples, examples, path points or changes."""
        return self.n or (7 if self.mode_or_default() == "traverse" else 10)

    def row_numbers(self) -> list[int] | None:
        """Returns the 0-based indices that `rows` selects; None in modes without `rows`."""
        wanted = {"interpolate": 2, "traverse": 1}.get(self.mode_or_default())
        if wanted is None:
            return None
        if self.rows is None:
            return list(range(wanted))
        numbers = _integers("rows", self.rows)
        if len(numbers) != wanted or min(numbers) < 1:
            raise ValueError(
                f"rows: mode={self.mode} expects {wanted} of the examples, counted from 1, got "
                f"{self.rows!r}."
            )
        return [number - 1 for number in numbers]

    def example_numbers(self, total: int, examples: str) -> list[int]:
        """Returns the 0-based indices of the examples of --file that the mode uses.

        Args:
          total: number of examples in the file.
          examples: description of the examples for the error message, such as "images of a.npz".

        Raises:
          ValueError: `rows` has a number greater than `total`.
        """
        numbers = self.row_numbers()
        if numbers is None:
            numbers = list(range(min(self.count(), total)))
        if max(numbers) >= total:
            raise ValueError(
                f"rows: expected numbers up to the {total:,} {examples}, got {max(numbers) + 1:,}."
            )
        return numbers

    def dimension_numbers(self) -> list[int] | None:
        """Returns the latent dimensions to change, or None for all."""
        return None if self.dimensions is None else _integers("dimensions", self.dimensions)

    def text_options(self, longest: int) -> dict[str, Any]:
        """Returns a dict of options for a text decoder's `sample`; `longest`: default length.

        Raises:
          ValueError: an option is not applicable to the decoding method.
        """
        decoding = self.decoding_or_default()
        for name, wanted in _OF_DECODING.items():
            if getattr(self, name) is not None and wanted != decoding:
                raise ValueError(
                    f"{name}: requires decoding={wanted}, got decoding={decoding}. Leave it out, "
                    f"or give --decoding={wanted}."
                )
        return {"length": self.length or longest, "decoding": decoding, **self._given(_OF_DECODING)}

    def image_options(self) -> dict[str, Any]:
        """Returns a dict of options for an image decoder's `sample`.

        Raises:
          ValueError: an option applies to text only.
        """
        of_text = {name for name in _OF_DECODING if name != "temperature"}
        wrong = self._given(of_text | {"decoding", "length", "labels"})
        if wrong:
            raise ValueError(f"{', '.join(sorted(wrong))}: for text only, got a run on images.")
        return self._given(["temperature"])

    def _given(self, names):
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


def _integers(name, text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name}: expected comma-separated numbers, got {text!r}.") from None
