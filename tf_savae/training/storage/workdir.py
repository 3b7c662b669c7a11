"""`Workdir`: the folder of a run, claimed by one configuration and locked by one process."""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tf_savae.core.typing import PathLike
from tf_savae.training.storage.json_files import inside, read_json, write_whole

__all__ = ["Workdir"]

_RUN = "run.json"
_UNFINISHED = re.compile(
    r"\.(probe|(run|report|results|history)\.(json|csv)|vocabulary\.txt)\.\d+\.tmp|\.\d+\.keras"
)


def _opened(path):
    """Opens a file for reading and writing without truncating it or following a link."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "rb+", 0)


class Workdir:
    """The folder of a run, locked by one process at a time.

    Raises:
      ValueError: the folder cannot be created, is not writable, or is locked by another process.
    """

    writes = True  # A `ReadOnlyWorkdir` of another process only reads.

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # The lock is released when the process ends, even after kill -9.
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
            f"workdir {self.path}: expected a folder that can be created and written, got "
            f"{type(error).__name__}: {error.strerror}. Give another --workdir."
        )

    def _check_writing(self):
        """Writes a test file: a lock does not imply that new files can be created."""
        probe = self.path / f".probe.{os.getpid()}.tmp"
        try:
            probe.unlink(missing_ok=True)  # Process ids may repeat in containers.
            with open(probe, "xb") as handle:
                handle.write(b"x" * 4096)
                handle.flush()
                os.fsync(handle.fileno())
        finally:
            probe.unlink(missing_ok=True)
        if (self.path / _RUN).is_file():
            self._remove_unfinished()

    def _remove_unfinished(self):
        """Removes temporary files of processes that were killed while writing."""
        for entry in self.path.iterdir():
            if not _UNFINISHED.fullmatch(entry.name):
                continue
            if entry.is_symlink() or entry.is_file():  # A link itself is removed.
                with contextlib.suppress(OSError):
                    entry.unlink()

    def release(self) -> None:
        """Releases the lock for another process, or for another run in this process."""
        self._lock.close()

    def __truediv__(self, name: str) -> Path:
        """Returns the path of a file or folder of the run; ValueError if it is outside."""
        return inside(self.path, name)

    def read_json(self, name: str) -> Any:
        """Returns the content of a JSON file in the folder, or None if it does not exist."""
        try:
            return read_json(self / name)
        except FileNotFoundError:
            return None

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file atomically."""
        write_whole(self / name, json.dumps(value, indent=2) + "\n")

    def check(
        self,
        kind: str,
        identity: dict[str, Any],
        defaults: dict[str, Any] | None = None,
        unused: Collection[str] = (),
    ) -> None:
        """Checks that the folder is empty or contains the run with the given identity.

        Args:
          kind: the compared key of run.json, such as "configuration" or "data".
          identity: flat dict of values that must be equal.
          defaults: values of keys that earlier versions did not record.
          unused: keys that are not compared.

        Raises:
          ValueError: the folder contains another run (the message lists the differing keys) or
            other files.
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
        compared = [n for n in {**theirs, **identity} if n not in unused]
        names = [n for n in compared if theirs.get(n) != identity.get(n)]
        if names:
            lines = [f"  {n}: {theirs.get(n)!r} there, {identity.get(n)!r} now" for n in names]
            raise ValueError(
                f"workdir {self.path} contains a run (run.json) with different {kind}:\n"
                + "\n".join(lines)
                + "\nUse the same ones to resume it, or another --workdir; nothing was changed."
            )

    def _refuse_foreign_files(self):
        names = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
        if names:
            raise ValueError(
                f"workdir {self.path} contains files but no run ({', '.join(names[:5])}): expected "
                "an empty or new folder, or that of a run to resume. Give another --workdir."
            )

    def claim(self, identity: dict[str, Any]) -> None:
        """Records the identity of the run, a dict of the kinds that `check` compares."""
        if self.read_json(_RUN) is None:
            self.write_json(_RUN, identity)
