"""What to generate, and how: the settings of `generate`, and which of them go together."""

import dataclasses

from tf_savae.ground import checks

__all__ = ["GenerateConfig"]

_MODES = ("sample", "reconstruct", "interpolate", "traverse")
_DECODINGS = ("greedy", "beam", "sample")
# What only one way of decoding text uses.
_OF_DECODING = {
    "temperature": "sample",
    "top_k": "sample",
    "top_p": "sample",
    "beam_size": "beam",
    "length_penalty": "beam",
}
# What only some modes use.
_OF_MODES = {
    "latent": ("reconstruct",),
    "path": ("interpolate",),
    "rows": ("interpolate", "traverse"),
    "extent": ("traverse",),
    "dimensions": ("traverse",),
    "steps": ("reconstruct", "interpolate", "traverse"),
}


def _setting(kind, text, **kwargs):
    return dataclasses.field(default=None, metadata={"help": text, "type": kind, **kwargs})


@dataclasses.dataclass(frozen=True)
class GenerateConfig:
    """Settings of one call of `generate`; None stands for the default that the help text names.

    Raises:
      ValueError: a setting is out of its range, or means nothing beside the others.

    >>> GenerateConfig(mode="reconstruct", file="test.txt").decoding_or_default()
    'greedy'
    """

    mode: str = _setting(
        str,
        "samples from the prior; reconstructions of the examples in --file; codes between two of "
        "them; changes of one latent dimension at a time around one of them, or around the prior's "
        "mean without --file (default: sample)",
        choices=_MODES,
    )
    n: int = _setting(
        int,
        "how many: samples, first examples of --file, codes on the way, changes per dimension "
        "(default: 10; changes: 7)",
    )
    seed: int = _setting(int, "of all noise; the same seed, the same output (default: 0)")
    file: str = _setting(str, "data, as the run was trained on: text or images")
    output: str = _setting(
        str,
        "file to write, which must not exist: text (default: standard output), or .png for images, "
        "with all arrays in an .npz beside it",
    )
    batch_size: int = _setting(
        int, "rows at a time; decides memory and speed, not what comes out (default: 32)"
    )
    # Text.
    decoding: str = _setting(
        str,
        "how text is decoded (default: sample with --mode=sample, else greedy)",
        choices=_DECODINGS,
    )
    temperature: float = _setting(float, "divides the logits; below 1: surer words (default: 1)")
    top_k: int = _setting(int, "draw from this many most probable words only (default: all)")
    top_p: float = _setting(
        float, "draw from the fewest most probable words with this share only (default: 1)"
    )
    beam_size: int = _setting(int, "sequences that beam search keeps (default: 5)")
    length_penalty: float = _setting(
        float, "exponent of the length normalisation of beams, 0: none (default: 0.6)"
    )
    length: int = _setting(int, "longest text, in words (default: that of the run's training)")
    labels: bool = _setting(bool, "begin each line of text with what it is and a tab")
    # Codes.
    latent: str = _setting(
        str, "what is decoded of each posterior (default: mean)", choices=("mean", "sample")
    )
    steps: int = _setting(int, "K, refinement steps (default: those of the run)")
    path: str = _setting(
        str, "between two codes (default: spherical)", choices=("linear", "spherical")
    )
    rows: str = _setting(
        str,
        "which examples of --file, counted from 1: two to interpolate, one to traverse (default: "
        "the first)",
    )
    extent: float = _setting(float, "largest change of a dimension (default: 3)")
    dimensions: str = _setting(str, "which ones to change, from 0, as in 0,3,5 (default: all)")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and "choices" in field.metadata:
                checks.choice(field.name, value, field.metadata["choices"])
        self._check_ranges()
        self._check_combinations()
        self.row_numbers()
        self.dimension_numbers()

    def _check_ranges(self):
        for name in ("n", "batch_size", "top_k", "beam_size", "length"):
            self._check(checks.positive_int, name)
        for name in ("seed", "steps"):
            self._check(checks.non_negative_int, name)
        for name in ("temperature", "length_penalty"):
            self._check(checks.positive, name, zero=True)
        self._check(checks.positive, "extent")
        if self.top_p is not None and not checks.unit_interval("top_p", self.top_p):
            raise ValueError(f"top_p: expected a number in (0, 1], got {self.top_p!r}.")

    def _check(self, check, name, **kwargs):
        if getattr(self, name) is not None:
            check(name, getattr(self, name), **kwargs)

    def _check_combinations(self):
        mode = self.mode_or_default()
        for name, wanted in _OF_MODES.items():
            if getattr(self, name) is not None and mode not in wanted:
                raise ValueError(
                    f"{name}: means something with mode={' or '.join(wanted)} only, got "
                    f"mode={mode}. Leave it out, or give another --mode."
                )
        if mode == "interpolate" and self.count() < 2:
            raise ValueError(f"n: mode=interpolate expects at least the 2 ends, got {self.n}.")
        if mode in ("reconstruct", "interpolate") and not self.file:
            raise ValueError(f"file: mode={mode} expects data, text or images; got no --file.")
        if mode == "sample" and self.file:
            raise ValueError("file: mode=sample draws from the prior and reads no data.")
        if mode == "traverse" and not self.file and (self.rows or self.steps is not None):
            raise ValueError("file: rows and steps belong to data, got no --file.")

    def mode_or_default(self):
        """The mode, "sample" by default."""
        return self.mode or "sample"

    def decoding_or_default(self):
        """How text is decoded: sampled in mode "sample", else greedily."""
        return self.decoding or ("sample" if self.mode_or_default() == "sample" else "greedy")

    def count(self):
        """n, or its default: how many samples, examples, codes on the way or changes."""
        return self.n or (7 if self.mode_or_default() == "traverse" else 10)

    def row_numbers(self):
        """The examples of --file to use, counted from 0; None for those of the other modes."""
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

    def dimension_numbers(self):
        """The latent dimensions to change; None for all."""
        return None if self.dimensions is None else _integers("dimensions", self.dimensions)

    def text_options(self, longest):
        """The options of a text decoder's `sample`, a dict; `longest` is the default length.

        Raises:
          ValueError: an option means nothing with this way of decoding.
        """
        decoding = self.decoding_or_default()
        for name, wanted in _OF_DECODING.items():
            if getattr(self, name) is not None and wanted != decoding:
                raise ValueError(
                    f"{name}: means something with decoding={wanted} only, got "
                    f"decoding={decoding}. Leave it out, or give --decoding={wanted}."
                )
        return {"length": self.length or longest, "decoding": decoding, **self._given(_OF_DECODING)}

    def image_options(self):
        """The options of an image decoder's `sample`, a dict.

        Raises:
          ValueError: an option belongs to text.
        """
        of_text = {name for name in _OF_DECODING if name != "temperature"}
        wrong = self._given(of_text | {"decoding", "length", "labels"})
        if wrong:
            raise ValueError(f"{', '.join(sorted(wrong))}: for text; this run is one of images.")
        return self._given(["temperature"])

    def _given(self, names):
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


def _integers(name, text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name}: expected numbers as in 1,2, got {text!r}.") from None
