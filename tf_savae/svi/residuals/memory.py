"""The size of the free memory, and sizes as text."""

import re
from pathlib import Path

import tensorflow as tf

from tf_savae.core import private_tensorflow

__all__ = ["free_bytes", "in_words"]

_ROOT = Path("/")


def free_bytes() -> int | None:
    """Returns the bytes that this process may still allocate, on GPUs if present, else in RAM.

    For GPUs it is the limit of TensorFlow's allocator minus its use, the minimum over all GPUs. For
    RAM it is the kernel's estimate of available memory, or less if a control group of the process
    has a lower limit, plus what TensorFlow has freed but keeps for itself. None if it is unknown.

    >>> free_bytes() is None or free_bytes() > 0
    True
    """
    if tf.config.list_logical_devices("GPU"):
        return private_tensorflow.free_gpu_bytes()
    found = [n for n in (_available(_ROOT), *_of_groups(_ROOT)) if n is not None]
    return max(0, min(found)) + _kept_by_tensorflow() if found else None


def _kept_by_tensorflow():
    """Returns the bytes that TensorFlow's CPU allocator holds for later, such as another model's.

    It gives nothing back to the kernel, so it holds at least the most that was ever in use.
    """
    try:
        info = tf.config.experimental.get_memory_info("CPU:0")
    except ValueError:  # An allocator without statistics, as without oneDNN.
        return 0
    return max(0, info["peak"] - info["current"])


def _available(root):
    text = _read(root / "proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _of_groups(root):
    """Yields the bytes left in each control group of the process, of versions 2 and 1."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            folder = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            yield _left(folder.joinpath(*parts[:depth]), *names)


def _left(folder, limit, usage):
    most, used = (_read(folder / name).strip() for name in (limit, usage))
    if not (most.isdigit() and used.isdigit()):
        return None  # No limit ("max"), or no such file.
    # The kernel reclaims inactive file pages on demand.
    cached = re.search(r"^(?:total_)?inactive_file (\d+)", _read(folder / "memory.stat"), re.M)
    return int(most) - int(used) + (int(cached[1]) if cached else 0)


def _read(path):
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def in_words(count: float) -> str:
    """Returns a number of bytes as text with a unit.

    >>> in_words(3 * 2**20), in_words(1536 * 2**20)
    ('3.0 MiB', '1.5 GiB')
    """
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
