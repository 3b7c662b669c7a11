"""The folder of a run: claimed by one configuration, locked by one process."""

import contextlib
import fcntl
import json
import os
import re
from pathlib import Path

from tf_savae.training.storage.json_files import inside, read_json, write_whole

__all__ = ["Workdir"]

_RUN = "run.json"
_UNFINISHED = re.compile(
    r"\.(probe|(run|report|results|history)\.(json|csv)|vocabulary\.txt)\.\d+\.tmp|\.\d+\.keras"
)


def _opened(path):
    """A file of that very folder, opened for writing and left as it is."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "rb+", 0)


class Workdir:
    """A run's folder; only one process at a time may hold it.

    Raises:
      ValueError: the path cannot be a folder, cannot be written, or another process holds it.
    """

    writes = True  # A `ReadOnlyWorkdir` of another process only reads.

    def __init__(self, path):
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Held until the process ends, however it ends: kill -9 lets go of it too.
            self._lock = _opened(self.path / ".lock")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check_writing()
        except BlockingIOError:
            self.release()
            raise ValueError(
                f"workdir {self.path}: another process is training in it. Wait for it, or give "
                "another --workdir."
            ) from None
        except OSError as error:
            self.release()
            raise self._unwritable(error) from error

    def _unwritable(self, error):
        return ValueError(
            f"workdir {self.path}: expected a folder that can be made and written, got "
            f"{type(error).__name__}: {error.strerror}. Give another --workdir."
        )

    def _check_writing(self):
        """A lock can be held in a folder that takes no new file; long work would end there."""
        probe = self.path / f".probe.{os.getpid()}.tmp"
        try:
            probe.unlink(missing_ok=True)  # In a container every process may have the same id.
            with open(probe, "xb") as handle:
                handle.write(b"x" * 4096)
                handle.flush()
                os.fsync(handle.fileno())
        finally:
            probe.unlink(missing_ok=True)
        if (self.path / _RUN).is_file():
            self._remove_unfinished()

    def _remove_unfinished(self):
        """What processes left that were killed while they wrote."""
        for entry in self.path.iterdir():
            if not _UNFINISHED.fullmatch(entry.name):
                continue
            if entry.is_symlink() or entry.is_file():  # A link goes, wherever it leads.
                with contextlib.suppress(OSError):
                    entry.unlink()

    def release(self):
        """Lets another process, or another run of this one, hold the folder."""
        self._lock.close()

    def __truediv__(self, name):
        """The path of a file or folder of the run; one that leads out of it is a ValueError."""
        return inside(self.path, name)

    def read_json(self, name):
        """The content of a JSON file in the folder, or None where there is none."""
        try:
            return read_json(self / name)
        except FileNotFoundError:
            return None

    def write_json(self, name, value):
        """Writes a JSON file atomically."""
        write_whole(self / name, json.dumps(value, indent=2) + "\n")

    def check(self, kind, identity, defaults=None):
        """Refuses the folder if it holds a run whose `kind` of identity is another.

        Args:
          kind: what is compared, such as "configuration" or "data"; the key in run.json.
          identity: flat dict of what must agree.
          defaults: values of what a run begun with an earlier version did not write down.

        Raises:
          ValueError: it holds another run (the differing fields are named), or other files.
        """
        found = self.read_json(_RUN)
        if found is None:
            self._refuse_foreign_files()
            return
        theirs = found.get(kind, {}) if isinstance(found, dict) else None
        if not isinstance(theirs, dict):
            raise ValueError(
                f"{self.path / _RUN}: expected the record of a run, with its {kind}, got something "
                "else. Give another --workdir."
            )
        theirs = {**(defaults or {}), **theirs}
        names = [n for n in {**theirs, **identity} if theirs.get(n) != identity.get(n)]
        if names:
            lines = [f"  {n}: {theirs.get(n)!r} there, {identity.get(n)!r} now" for n in names]
            raise ValueError(
                f"workdir {self.path} holds a run with other {kind}:\n" + "\n".join(lines) + "\n"
                "Expected the same, to resume it, or another --workdir; nothing was changed."
            )

    def _refuse_foreign_files(self):
        names = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
        if names:
            raise ValueError(
                f"workdir {self.path} holds files but no run ({', '.join(names[:5])}): expected "
                "an empty or new folder, or that of a run to resume. Give another --workdir."
            )

    def claim(self, identity):
        """Writes down whose folder this is: a dict of the kinds that `check` compares."""
        if self.read_json(_RUN) is None:
            self.write_json(_RUN, identity)
