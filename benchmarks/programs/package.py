"""Programs in a folder: what `dump` writes on one machine and `run` reads on another. NumPy only.

NAME.stablehlo is the program, NAME.json says what it is and what its arguments are like, and
NAME.npz, where asked for, holds arguments and results of TensorFlow to compare with. Without it
large arguments are drawn at random with the mean and spread that the model's have: a few hundred
kilobytes travel instead of the weights.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers.batches import batch

from programs.sizes import case_of

__all__ = ["Package", "names", "read", "write"]

_SMALL = 64  # Elements up to which an argument is written as it is.


class Package(NamedTuple):
    """A program as read.

    Attributes:
      info: dict: case, steps, precision, method, counted_flops, versions, arguments.
      serialized: bytes, a portable StableHLO artifact.
      arguments: list of arrays, the state and x.
      expected: TensorFlow's results for them, list of arrays, or None.
    """

    info: dict
    serialized: bytes
    arguments: list
    expected: Any


def write(folder, name, program, info, results=None):
    """Writes a program.

    Args:
      folder: is made if need be.
      name: of the files.
      program: `programs.stablehlo.Lowered`.
      info: dict; needs "case", a name in `programs.sizes.CASES`.
      results: TensorFlow's, a list of arrays, to be compared with; None: none are written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.stablehlo").write_bytes(program.serialized)
    pairs = zip(program.names, program.state, strict=True)
    info = {**info, "arguments": [_described(n, value) for n, value in pairs]}
    (folder / f"{name}.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    arrays = folder / f"{name}.npz"
    arrays.unlink(missing_ok=True)
    if results is not None:
        given = {f"argument{i}": v for i, v in enumerate([*program.state, program.x])}
        np.savez(arrays, **given, **{f"result{i}": v for i, v in enumerate(results)})


def _described(name, value):
    known = {"name": name, "shape": list(value.shape), "dtype": str(value.dtype)}
    if value.size <= _SMALL:
        return {**known, "values": value.ravel().tolist()}
    return {**known, "mean": float(value.mean()), "spread": float(value.std())}


def names(folder):
    """The programs of a folder, sorted.

    Raises:
      FileNotFoundError: there are none.
    """
    found = sorted(path.stem for path in Path(folder).glob("*.stablehlo"))
    if not found:
        raise FileNotFoundError(f"{folder}: expected programs (NAME.stablehlo), found none; dump.")
    return found


def read(folder, name):
    """The `Package` of a name."""
    folder = Path(folder)
    info = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    serialized = (folder / f"{name}.stablehlo").read_bytes()
    arrays = folder / f"{name}.npz"
    if arrays.exists():
        with np.load(arrays) as stored:
            arguments, expected = _numbered(stored, "argument"), _numbered(stored, "result")
        return Package(info, serialized, arguments, expected)
    rng = np.random.default_rng(0)
    arguments = [_made(described, rng) for described in info["arguments"]]
    return Package(info, serialized, [*arguments, batch(case_of(info["case"]))], None)


def _numbered(stored, kind):
    return [stored[f"{kind}{i}"] for i in range(sum(key.startswith(kind) for key in stored.files))]


def _made(described, rng):
    shape, dtype = described["shape"], described["dtype"]
    if "values" in described:
        return np.array(described["values"], dtype).reshape(shape)
    drawn = rng.standard_normal(shape, np.float32)
    return (described["mean"] + described["spread"] * drawn).astype(dtype)
