"""The folder of one run: claimed by one configuration, written whole or not at all."""

import fcntl
import json
import os
from pathlib import Path

__all__ = ["Workdir", "write_whole"]

_RUN = "run.json"


def write_whole(path, text):
    """Writes a text file that appears whole or not at all, also when the process is killed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


class Workdir:
    """A run's folder; only one process at a time may hold it.

    Raises:
      ValueError: the path cannot be a folder, cannot be written, or another process holds it.
    """

    def __init__(self, path):
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Held until the process ends, however it ends: kill -9 lets go of it too.
            self._lock = open(self.path / ".lock", "w")  # noqa: SIM115
        except OSError as error:
            raise ValueError(
                f"workdir {self.path}: expected a folder that can be made and written, got "
                f"{type(error).__name__}: {error.strerror}. Give another --workdir."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"workdir {self.path}: another process is training in it. Wait for it, or give "
                "another --workdir."
            ) from None

    def release(self):
        """Lets another process, or another run of this one, hold the folder."""
        self._lock.close()

    def __truediv__(self, name):
        return self.path / name

    def read_json(self, name):
        """The content of a JSON file in the folder, or None where there is none."""
        path = self.path / name
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: expected JSON, got {error}. Is it a run's file?") from error

    def write_json(self, name, value):
        """Writes a JSON file whole or not at all."""
        write_whole(self.path / name, json.dumps(value, indent=2) + "\n")

    def check(self, kind, identity):
        """Refuses the folder if it holds a run whose `kind` of identity is another.

        Args:
          kind: what is compared, such as "configuration" or "data"; the key in run.json.
          identity: flat dict of what must agree.

        Raises:
          ValueError: it holds another run (the differing fields are named), or other files.
        """
        found = self.read_json(_RUN)
        if found is None:
            self._refuse_foreign_files()
            return
        theirs = found.get(kind, {})
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
