#!/usr/bin/env python3
"""Writes train.txt, valid.txt and test.txt: documents of Yahoo answers in pieces of 40 words.

    python docs/experiments/yahoo_pieces.py yahoo40

A piece is 20 to 40 consecutive words of one document. Training and validation have different
documents, those of the validation file (the training file could not be had); the test has 4,000
pieces of the test file. The files are in the folder that TF_SAVAE_DATA names, see BUILD.md.
"""

import itertools
import lzma
import os
import random
import sys
from pathlib import Path

WORDS, LEAST = 40, 20
TRAIN, VALID, TEST = 14_000, 2_000, 4_000


def pieces(lines):
    """A list of pieces for each document; the documents are shuffled."""
    documents = []
    for line in lines:
        words = line.split()
        parts = [words[i : i + WORDS] for i in range(0, len(words), WORDS)]
        documents.append([" ".join(part) for part in parts if len(part) >= LEAST])
    random.Random(0).shuffle(documents)
    return documents


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    read = {}
    for part in ("val", "test"):
        path = Path(os.environ["TF_SAVAE_DATA"]) / f"yahoo/{part}.txt.xz"
        with lzma.open(path, "rt", encoding="utf-8") as file:
            read[part] = pieces(file)
    train, rest = [], iter(read["val"])
    while len(train) < TRAIN:  # Whole documents.
        train += next(rest)
    valid, test = (list(itertools.chain(*documents)) for documents in (rest, read["test"]))
    random.Random(1).shuffle(train)
    random.Random(2).shuffle(valid)
    for name, texts in (("train", train), ("valid", valid[:VALID]), ("test", test[:TEST])):
        (folder / f"{name}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
