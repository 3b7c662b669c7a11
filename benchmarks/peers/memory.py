"""How much memory this process holds and has held at most, in MiB (Linux)."""

from pathlib import Path

__all__ = ["available", "held", "peak"]


def _status(path, name):
    for line in Path(path).read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"{path}: has no {name}; the contest measures memory on Linux only.")


def held():
    """What is held now (VmRSS).

    >>> held() > 1
    True
    """
    return _status("/proc/self/status", "VmRSS")


def peak():
    """The most that was ever held (VmHWM)."""
    return _status("/proc/self/status", "VmHWM")


def available():
    """What the machine could still give."""
    return _status("/proc/meminfo", "MemAvailable")
