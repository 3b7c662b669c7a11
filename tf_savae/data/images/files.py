"""Reads image files: .npz, .npy, MATLAB .mat, and the .amat text files of binarised MNIST."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.data import limits
from tf_savae.data.images.arrays import from_matlab, from_rows

__all__ = ["read_arrays"]

# Field names of each part in common files, in order of preference.
_PARTS = {
    "train": ("train", "x_train", "train_images", "data"),
    "valid": ("valid", "validation", "val", "x_valid", "x_val", "valid_images"),
    "test": ("test", "x_test", "test_images", "testdata"),
}
_MAT_READER = Path(__file__).with_name("mat_reader.py")
_MAT_SECONDS = 600
_SINGLE = ("images", "image", "x", "data")
_BITS = {b"0", b"1", b"00", b"01", b"+0", b"+1", b"-0"}  # Spellings of zero and one in .amat files.


def read_arrays(path: PathLike, field: str | None = None) -> dict[str, np.ndarray]:
    """Returns a file's image arrays: {"train": ..., "test": ...} or {"all": ...}, each [N, H, W].

    Args:
      path: a .npz, .npy, .mat or .amat file.
      field: name of the array to read. If None: the fields named after parts (train, valid, test;
        x_train, x_test; data and testdata), else "images", else the only array that can contain
        images.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged or has another format, the field does not exist, or several
        fields qualify.
      ModuleNotFoundError: scipy is not installed and the file is a .mat file.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: expected a file of images")
    if not path.exists():
        raise FileNotFoundError(
            f"no file at {path}: expected images as .npz, .npy, .mat or .amat, a folder of them, "
            "or tfds:NAME"
        )
    readers = {".npz": _npz, ".npy": _npy, ".mat": _mat, ".amat": _amat}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise ValueError(
            f"{path}: expected a name that ends in {', '.join(readers)}, got {path.suffix!r}"
        )
    fields = readers[suffix](path)
    shaped = from_matlab if suffix == ".mat" else from_rows
    chosen = _chosen(path, fields, field)
    return {part: shaped(fields[name], f"{path}@{name}") for part, name in chosen.items()}


def _npz(path):
    try:
        with zipfile.ZipFile(path) as archive:
            expanded = sum(member.file_size for member in archive.infolist())
        limits.check_expansion(path, expanded, path.stat().st_size)
        with np.load(path, allow_pickle=False) as archive:
            fields = {name: archive[name] for name in archive.files}
        for name, value in fields.items():
            if not isinstance(value, np.ndarray):  # NumPy returns unknown members as bytes.
                raise ValueError(f"{name} is not an array")
        return fields
    except Exception as error:  # noqa: BLE001 NumPy and zipfile raise many types here.
        raise ValueError(f"{path} is not a complete, valid .npz file: {error}") from error


def _npy(path):
    try:
        # Memory-mapped first: a header that declares more data than the file contains then raises
        # an error instead of causing a huge allocation.
        mapped = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(mapped, np.ndarray):
            mapped.close()
            raise ValueError("it is an archive; its name must end in .npz")
        return {"images": np.array(mapped)}
    except Exception as error:  # noqa: BLE001 NumPy raises many types here.
        raise ValueError(f"{path} is not a complete, valid .npy file: {error}") from error


def _mat(path):
    try:
        import scipy.io  # noqa: F401 Imported here: only .mat files need it.
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: reading a .mat file requires scipy: pip install scipy, or save the images as "
            ".npz"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "fields.npz"
        most = (limits.largest(path.stat().st_size) >> 20) + 2048  # Plus memory of Python itself.
        reader = [sys.executable, "-P", str(_MAT_READER), os.fspath(path), str(output), str(most)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                reader, capture_output=True, text=True, env=environment, timeout=_MAT_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"{path}: reading it took more than {_MAT_SECONDS} seconds") from error
        if done.returncode or not output.is_file():
            words = done.stderr.strip() if done.returncode == 1 else "its reader crashed"
            words = words or "its reader failed"
            raise ValueError(f"{path} is not a complete, valid .mat file: {words.splitlines()[-1]}")
        return {name.removeprefix("field_"): value for name, value in _npz(output).items()}


def _amat(path):
    """Reads text of zeros and ones, one image per line, as Larochelle & Murray (2011)."""
    raw = path.read_bytes()
    words = raw.split()
    lines = sum(1 for line in raw.splitlines() if line.strip())
    others = set(words) - _BITS  # Checked before NumPy's fixed width truncates 255 to 25.
    if others:
        raise ValueError(
            f"{path}: expected rows of 0 and 1 separated by spaces, got "
            f"{ascii(min(others)[:20].decode('latin-1'))}. Save greyscale images as .npz."
        )
    rows = np.array(words, dtype="S2").astype(np.uint8)
    if not lines or len(rows) % lines:
        raise ValueError(
            f"{path}: expected rows of equal length, got {len(rows):,} numbers in {lines:,} lines."
        )
    return {"images": rows.reshape(lines, -1)}


def _chosen(path, fields, field):
    """Returns {part: name of its field}."""
    possible = {n: a for n, a in fields.items() if _can_be_images(a)}
    if field is not None:
        if field not in fields:
            raise ValueError(
                f"{path}: expected a field {field!r}, got the fields {_listed(fields)}."
            )
        if field not in possible:
            raise ValueError(
                f"{path}: expected numbers [N, H, W] in field {field!r}, got {fields[field].dtype} "
                f"{list(fields[field].shape)}."
            )
        return {"all": field}
    parts = {part: _first(names, possible) for part, names in _PARTS.items()}
    if parts["train"] and (parts["test"] or parts["valid"]):
        return {part: name for part, name in parts.items() if name}
    single = _first(_SINGLE, possible) or (next(iter(possible)) if len(possible) == 1 else None)
    if single is None:
        raise ValueError(
            f"{path}: expected fields train and test, or one array of images, got "
            f"{_listed(fields)}; select one, as in {path}@{next(iter(fields), 'images')}."
        )
    return {"all": single}


def _first(names, possible):
    return next((name for name in names if name in possible), None)


def _can_be_images(array):
    return array.dtype.kind in "biuf" and array.ndim in (2, 3, 4) and min(array.shape) > 0


def _listed(fields):
    return ", ".join(f"{n} {list(a.shape)}" for n, a in fields.items()) or "nothing"
