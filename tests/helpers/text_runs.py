"""Toy texts and toy runs for the tests of text training."""

import dataclasses
import json

import numpy as np

from tf_savae.tasks import TEXT_CONFIGS

# What no two runs share, however equal their numbers.
CLOCKS = {"seconds", "step_seconds", "train_seconds", "test_seconds"}


def write_texts(folder, counts=(60, 12, 12), seed=0):
    """train.txt, valid.txt, test.txt in `folder`: sentences of 3 to 9 words of 30."""
    rng = np.random.default_rng(seed)
    for name, count in zip(("train", "valid", "test"), counts, strict=True):
        lines = [
            " ".join(f"w{i}" for i in rng.integers(30, size=rng.integers(3, 10)))
            for _ in range(count)
        ]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def settings(folder, **changes):
    """The fields that make the "tiny" configuration a run of seconds on texts in `folder`.

    Without samples for TensorBoard, whose tracing takes longer than the run: tests of them ask.
    """
    files = {f"{name}_file": str(folder / f"{name}.txt") for name in ("train", "valid", "test")}
    return {"jit_compile": "false", "board_samples": 0, **files, **changes}


def config(folder, **changes):
    """The `TextConfig` of `settings`."""
    return dataclasses.replace(TEXT_CONFIGS["tiny"](), **settings(folder, **changes))


def without_clocks(value):
    """A nest of JSON without what clocks measured."""
    if isinstance(value, dict):
        return {k: without_clocks(v) for k, v in value.items() if k not in CLOCKS}
    return [without_clocks(v) for v in value] if isinstance(value, list) else value


def history(workdir):
    """The rows of history.json, without what clocks measured."""
    return without_clocks(json.loads((workdir / "history.json").read_text(encoding="utf-8")))


def contents(folder):
    """{path: bytes} of every file in a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def long_work(*args):
    """In place of what builds a model: the input has to be refused before."""
    raise AssertionError("long work began before the input was checked")
