"""Losses of power: what is on the disk before what, and finished runs whose model did not last."""

import os
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
import text_runs

from tf_savae.tasks import load_run
from tf_savae.tasks.text import task
from tf_savae.training import trainer
from tf_savae.training.storage.snapshots import Snapshots
from tf_savae.training.storage.workdir import Workdir

CHANGES = {"system": "savae", "epochs": 1, "max_train_lines": 16}


def _watch(patch):
    """The list to which each os.fsync adds an inode from now on, each os.replace a name."""
    seen, fsync, replace = [], os.fsync, os.replace

    def watched_fsync(handle):
        seen.append(os.fstat(handle).st_ino)
        fsync(handle)

    def watched_replace(source, target):
        seen.append(os.path.basename(target))
        replace(source, target)

    patch.setattr(os, "fsync", watched_fsync)
    patch.setattr(os, "replace", watched_replace)
    return seen


@pytest.fixture(scope="module")
def finished(texts, tmp_path_factory):
    """(workdir of a run, what was synced and renamed meanwhile)."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        seen = _watch(patch)
        task.train_and_evaluate(text_runs.config(texts, **CHANGES), workdir)
    return workdir, seen


def test_the_model_is_on_the_disk_before_the_report(finished):
    workdir, seen = finished
    model, report = seen.index("model.keras"), seen.index("report.json")
    assert (workdir / "model.keras").stat().st_ino in seen[:model]
    assert workdir.stat().st_ino in seen[model:report]


def test_the_folder_of_snapshots_lasts_as_long_as_they_do(tmp_path, monkeypatch):
    found = Snapshots(tmp_path / "best", tf.train.Checkpoint(value=tf.Variable(1.0)), keep=1)
    seen = _watch(monkeypatch)
    found.write()
    assert tmp_path.stat().st_ino in seen[: seen.index("ckpt-1.json")]
    seen.clear()
    found.write()
    assert tmp_path.stat().st_ino not in seen and (tmp_path / "best").stat().st_ino in seen


@pytest.mark.parametrize(
    ("content", "word"),
    [(None, "missing"), (b"", "damaged"), (bytes(5000), "damaged"), ("a flipped bit", "damaged")],
)
def test_a_finished_run_without_its_model_gets_it_again(
    texts, finished, tmp_path, monkeypatch, caplog, content, word
):
    whole, _ = finished
    copy = shutil.copytree(whole, tmp_path / "run")
    path = copy / "model.keras"
    if content == "a flipped bit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((FileNotFoundError, ValueError), match="[Rr]un the training command again"):
        load_run(copy)

    monkeypatch.setattr(trainer, "_train_and_report", text_runs.long_work)
    task.train_and_evaluate(text_runs.config(texts, **CHANGES), copy)

    assert f"model.keras is {word}: writing it again" in caplog.text
    ours, theirs = (load_run(folder).model for folder in (copy, whole))
    assert ours.refinement.hvp == theirs.refinement.hvp != "auto"  # Not measured anew.
    for mended, original in zip(_numbers(ours), _numbers(theirs), strict=True):
        np.testing.assert_array_equal(mended, original)
    names = {p.relative_to(copy) for p in copy.rglob("*")}
    assert names == {p.relative_to(whole) for p in whole.rglob("*")}


def _numbers(model):
    """The weights and, from Adam's step on, what the optimizer remembers."""
    return [v.numpy() for v in (*model.variables, *model.optimizer.variables)]


def test_neither_a_model_nor_the_best_weights(texts, finished, tmp_path):
    copy = shutil.copytree(finished[0], tmp_path / "run")
    (copy / "model.keras").unlink()
    shutil.rmtree(copy / "best")
    with pytest.raises(ValueError, match="expected the weights of the best epoch .* are missing"):
        task.train_and_evaluate(text_runs.config(texts, **CHANGES), copy)


def test_the_model_is_not_written_through_a_link(tmp_path):
    victim = tmp_path / "precious"
    victim.write_text("years of work")
    folder = Workdir(tmp_path / "run")
    (folder.path / f".{os.getpid()}.keras").symlink_to(victim)
    trainer._save_model(folder, types.SimpleNamespace(save=lambda path: path.write_text("model")))
    folder.release()
    assert victim.read_text() == "years of work"
    assert (folder.path / "model.keras").read_text() == "model"
