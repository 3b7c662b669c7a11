"""`Snapshots`: snapshots of TensorFlow variables with checksums."""

import contextlib
import os
import re
import shutil
from pathlib import Path

import tensorflow as tf
from absl import logging

from tf_savae.core.atomic_files import sync_file, sync_folder
from tf_savae.training.storage.json_files import digest, inside, read_json, write_whole

__all__ = ["Snapshots"]

_MANIFEST = re.compile(r"ckpt-(\d{1,12})\.json")
_OWN = re.compile(r"\.?ckpt-(\d{1,12})[._].*")
_PARTS = (".index", ".data-00000-of-00001")


class Snapshots:
    """Numbered snapshots in a folder; a snapshot is valid only if its manifest exists.

    The manifest ckpt-N.json is written last and atomically; it contains the size and SHA-256 of
    the files. If the process is killed or the disk is full, files without a manifest remain, which
    are ignored. File names are derived from the number N and never read from a manifest.

    Args:
      folder: path; created by the first `write`.
      checkpoint: `tf.train.Checkpoint` of the saved objects.
      keep: number of newest snapshots to keep.
    """

    def __init__(self, folder: Path, checkpoint: tf.train.Checkpoint, keep: int) -> None:
        self.folder = folder
        self._checkpoint = checkpoint
        self._keep = keep

    def numbers(self) -> list[int]:
        """Returns the numbers of the snapshots, newest first."""
        if not self.folder.is_dir():
            return []
        found = [_MANIFEST.fullmatch(entry.name) for entry in os.scandir(self.folder)]
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def write(self) -> Path:
        """Writes a new snapshot and returns its path without suffix.

        Raises:
          OSError: writing failed; earlier snapshots remain.
        """
        number = max(self.numbers(), default=0) + 1
        prefix = self._path(number, "")
        try:
            self._make()
            self._remove_unfinished()
            self._checkpoint.write(str(prefix))
            sums = {part: self._facts(number, part) for part in _PARTS}
            sync_folder(self.folder)
            self._write_manifest(number, sums)
        except (OSError, tf.errors.OpError) as error:
            with contextlib.suppress(OSError):
                self._remove(number)
                self._remove_unfinished()
            raise OSError(
                f"checkpoint {prefix}: could not be written ({_reason(error)}). The previous "
                "checkpoint was kept. Free disk space or repair the folder, and run the same "
                "command again to resume."
            ) from error
        for old in self.numbers()[self._keep :]:
            self._remove(old)
        return prefix

    def _make(self):
        """Creates the folder and syncs its parent, so that the folder survives a crash."""
        if not self.folder.is_dir():
            self.folder.mkdir()
            sync_folder(self.folder.parent)

    def read(self) -> bool:
        """Restores the newest valid snapshot, and logs which newer ones are damaged.

        Returns:
          Whether a snapshot existed.

        Raises:
          ValueError: all snapshots are damaged, or they belong to another model.
        """
        problems = []
        for number in self.numbers():
            problem = self._problem(number) or self._restore(number)
            if problem is None:
                return True
            problems.append(f"checkpoint {self._path(number, '')} is damaged: {problem}")
            logging.error("%s; using the previous one, if any", problems[-1])
        if problems:
            raise ValueError(
                f"{self.folder}: expected a complete checkpoint that matches this model, got none: "
                f"{'; '.join(problems)}. Restore its files, or delete the workdir to train from "
                "scratch."
            )
        if os.path.lexists(self.folder / "checkpoint"):
            raise ValueError(
                f"{self.folder}: expected checkpoints with checksums, got those of an earlier "
                "version, which this one cannot read. Finish the run with that version, or delete "
                "the workdir to train from scratch."
            )
        return False

    def _path(self, number, part):
        return inside(self.folder, f"ckpt-{number}{part}")

    def _facts(self, number, part):
        path = self._path(number, part)
        sync_file(path)
        return {"bytes": path.stat().st_size, "sha256": digest(path)}

    def _write_manifest(self, number, sums):
        lines = ",\n".join(
            f' "{part}": {{"bytes": {facts["bytes"]}, "sha256": "{facts["sha256"]}"}}'
            for part, facts in sums.items()
        )
        write_whole(self._path(number, ".json"), f"{{\n{lines}\n}}\n")

    def _problem(self, number):
        """Returns a description of the damage to the files of a snapshot, or None."""
        try:
            manifest = read_json(self._path(number, ".json"))
            for part in _PARTS:
                path = self._path(number, part)
                wanted = manifest[part]
                size = path.stat().st_size
                if size != wanted["bytes"]:
                    return f"{path.name} has {size:,} bytes, expected {wanted['bytes']:,}"
                if digest(path) != wanted["sha256"]:
                    return f"the checksum of {path.name} does not match"
        except FileNotFoundError as error:
            return f"{os.path.basename(error.filename)} is missing"
        except (ValueError, TypeError, KeyError, IndexError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _restore(self, number):
        """Restores a snapshot; returns a description of damage found by TensorFlow, or None."""
        prefix = str(self._path(number, ""))
        try:
            self._checkpoint.read(prefix).assert_consumed()
        except (ValueError, AssertionError, TypeError, KeyError) as error:
            raise ValueError(
                f"checkpoint {prefix}: expected one that matches this model, got: {error}. It was "
                "written by another version; delete the workdir to train from scratch."
            ) from error
        except Exception as error:  # noqa: BLE001 TensorFlow raises many types here.
            return _reason(error)
        return None

    def _remove(self, number):
        """Removes a snapshot, its manifest first, so that remaining files are ignored."""
        for part in (".json", *_PARTS):
            with contextlib.suppress(OSError, ValueError):
                self._path(number, part).unlink()

    def _remove_unfinished(self):
        """Removes files of unfinished snapshots and TensorFlow's temporary folders."""
        whole = set(self.numbers())
        for entry in list(os.scandir(self.folder)):
            match = _OWN.fullmatch(entry.name)
            if match and int(match[1]) not in whole:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def _reason(error):
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
