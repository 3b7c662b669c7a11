"""Reads a .mat file in a separate process, since SciPy's C reader crashes on damaged files.

python -P mat_reader.py FILE.mat OUTPUT.npz MEBIBYTES

As a separate program it does not load TensorFlow, and a crash does not end the caller's process.
"""

import resource
import sys
from typing import Any

import numpy as np
import scipy.io

__all__ = ["main"]


def main(path: str, output: str, mebibytes: str) -> None:
    """Writes the numeric arrays of a .mat file as .npz in bounded memory, and prints errors."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = int(mebibytes) * 2**20
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        fields = scipy.io.loadmat(path)
    except NotImplementedError:
        sys.exit("it is a MATLAB 7.3 file (HDF5): save it with '-v7', or as .npz")
    except Exception as error:  # noqa: BLE001 scipy raises many types for damaged files.
        sys.exit(str(error) or type(error).__name__)
    kept: dict[str, Any] = {
        name: value
        for name, value in fields.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and name[:2] != "__"
    }
    np.savez(output, **{f"field_{name}": value for name, value in kept.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
