"""Load the sentences and shapes that ship with the package."""

import json
import lzma
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_savae.data.builtin.drawings import KINDS, SIDE
from tf_savae.data.builtin.grammar import TOPICS

__all__ = ["PREFIX", "Labelled", "builtin_images", "builtin_lines", "load_sentences", "load_shapes"]

PREFIX = "builtin:"
_PARTS = ("train", "valid", "test")
_FOLDER = Path(__file__).parent


class Labelled(NamedTuple):
    """Examples with a label each, for pictures of the latent space; training does not need them.

    >>> Labelled(["a cat"], np.array([0]), ("animals",)).names[0]
    'animals'
    """

    x: Any  # list of sentences, or float32 images [N, 28, 28, 1] of zeros and ones
    labels: np.ndarray  # int64 [N], numbers of names
    names: tuple[str, ...]


def load_sentences() -> dict[str, Labelled]:
    """English sentences of a small grammar, 10 to 28 words of 347: 6,000, 1,000 and 1,000.

    A topic (the label, one of 8), a time and a mood run through each sentence: what a latent code
    may hold. They ship with the package, under its licence; `tf_savae/data/builtin/make.py` made
    them. Commands know them as builtin:sentences.

    Returns:
      {"train": `Labelled`, "valid": ..., "test": ...}; x is a list of strings.

    >>> test = load_sentences()["test"]
    >>> len(test.x), test.names[:3], test.x[0].split()[0]
    (1000, ('garden', 'kitchen', 'sea'), 'the')
    """
    parts = {part: Labelled([], np.zeros([0], np.int64), TOPICS) for part in _PARTS}
    labels: dict[str, list[int]] = {part: [] for part in _PARTS}
    with lzma.open(_FOLDER / "sentences.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            parts[row["part"]].x.append(row["text"])
            labels[row["part"]].append(TOPICS.index(row["topic"]))
    return {part: found._replace(labels=np.array(labels[part])) for part, found in parts.items()}


def load_shapes() -> dict[str, Labelled]:
    """Binary drawings of 28 x 28 pixels: 6,000, 1,000 and 1,000, of seven kinds (the label).

    Discs, rings, squares, frames, triangles, crosses and stripes, whose place, size, angle and
    stroke vary. They ship with the package, under its licence; `tf_savae/data/builtin/make.py` made
    them. Commands know them as builtin:shapes.

    Returns:
      {"train": `Labelled`, "valid": ..., "test": ...}; x is float32 [N, 28, 28, 1], 0 or 1.

    >>> train = load_shapes()["train"]
    >>> train.x.shape, train.names[train.labels[0]]
    ((6000, 28, 28, 1), 'disc')
    """
    with np.load(_FOLDER / "shapes.npz", allow_pickle=False) as archive:
        return {
            part: Labelled(
                _unpacked(archive[part])[..., None].astype(np.float32),
                archive[f"{part}_labels"].astype(np.int64),
                KINDS,
            )
            for part in _PARTS
        }


def builtin_lines(source: str) -> tuple[str, list[str]]:
    """The name with its part, and the lines, of `builtin:sentences[:PART]`.

    PART is train unless named.

    Raises:
      ValueError: there is no such text, or part of it.
    """
    part = _checked_part(source, "sentences", "text") or "train"
    return f"{PREFIX}sentences:{part}", load_sentences()[part].x


def builtin_images(source: str) -> dict[str, np.ndarray]:
    """The images of `builtin:shapes[:PART]`, uint8 [N, 28, 28] by part, or as {"all": ...} of one.

    Raises:
      ValueError: there are no such images, or part of them.
    """
    part = _checked_part(source, "shapes", "images")
    with np.load(_FOLDER / "shapes.npz", allow_pickle=False) as archive:
        if part:
            return {"all": _unpacked(archive[part])}
        return {name: _unpacked(archive[name]) for name in _PARTS}


def _unpacked(rows):
    return np.unpackbits(rows, axis=1).reshape(-1, SIDE, SIDE)


def _checked_part(source, known, kind):
    name, _, part = source.removeprefix(PREFIX).partition(":")
    if name != known or part not in ("", *_PARTS):
        raise ValueError(
            f"{source}: expected {PREFIX}{known}, the {kind} that come with the package, or "
            f"{PREFIX}{known}:PART with PART one of {', '.join(_PARTS)}."
        )
    return part
