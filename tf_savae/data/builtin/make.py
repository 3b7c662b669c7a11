"""Generates the data that ship with the package: `python -m tf_savae.data.builtin.make FOLDER`.

`numpy.random.RandomState` draws the same numbers in every version of NumPy, so the files are
reproducible; a test compares them with the shipped ones. Both are under the licence of the package.
"""

import json
import lzma
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tf_savae.data.builtin.drawings import KINDS, drawing
from tf_savae.data.builtin.grammar import TOPICS, sentence

__all__ = ["make_sentences", "make_shapes"]

SIZES = {"train": 6000, "valid": 1000, "test": 1000}
_SEEDS = {"sentences": 1, "shapes": 2}


def make_sentences(counts: dict[str, int] | None = None) -> list[dict[str, str]]:
    """Returns the rows of sentences.jsonl.xz: dicts with the keys part, topic and text.

    Args:
      counts: {part: number of rows}; by default the numbers in the shipped file.

    >>> [row["part"] for row in make_sentences({"train": 2, "test": 1})]
    ['train', 'train', 'test']
    """
    rng = np.random.RandomState(_SEEDS["sentences"])
    rows = []
    for part, count in (counts or SIZES).items():
        for topic in rng.randint(len(TOPICS), size=count):
            text = sentence(TOPICS[topic], rng)
            rows.append({"part": part, "topic": TOPICS[topic], "text": text})
    return rows


def make_shapes(counts: dict[str, int] | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of shapes.npz: packed rows uint8 [N, 98] and labels uint8 [N] per part.

    Args:
      counts: {part: number of rows}; by default the numbers in the shipped file.

    >>> {name: array.shape for name, array in make_shapes({"train": 2}).items()}
    {'train': (2, 98), 'train_labels': (2,)}
    """
    rng = np.random.RandomState(_SEEDS["shapes"])
    arrays = {}
    for part, count in (counts or SIZES).items():
        labels = rng.randint(len(KINDS), size=count).astype(np.uint8)
        pictures = np.stack([drawing(KINDS[label], rng) for label in labels])
        arrays[part] = np.packbits(pictures.reshape(count, -1), axis=1)
        arrays[f"{part}_labels"] = labels
    return arrays


def main(folder):
    """Writes both files into a folder."""
    lines = "".join(json.dumps(row) + "\n" for row in make_sentences())
    (Path(folder) / "sentences.jsonl.xz").write_bytes(lzma.compress(lines.encode(), preset=9))
    arrays: dict[str, Any] = {**make_shapes()}
    np.savez_compressed(Path(folder) / "shapes.npz", **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
