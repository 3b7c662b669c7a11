"""Damaged checkpoints, full disks, folders that take nothing, two trainers, links that lead out."""

import json
import os
import resource
import signal
import stat
import time

import numpy as np
import pytest
import tensorflow as tf

from tf_savae.data import Vocabulary
from tf_savae.training.storage import snapshots, workdir
from tf_savae.training.storage.json_files import inside, read_json, write_whole
from tf_savae.training.storage.snapshots import Snapshots
from tf_savae.training.storage.workdir import Workdir


@pytest.fixture
def series(tmp_path):
    """Three snapshots of a variable that holds 1, 2 and 3, and the variable, which holds 0."""
    variable = tf.Variable(tf.zeros([500]))
    found = Snapshots(tmp_path / "checkpoints", tf.train.Checkpoint(values=[variable]), keep=3)
    for value in (1.0, 2.0, 3.0):
        variable.assign(tf.fill([500], value))
        found.write()
    variable.assign(tf.zeros([500]))
    return found, variable


def _value(variable):
    values = variable.numpy()
    assert np.all(values == values[0])
    return float(values[0])


def _flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _shorten(path):
    path.write_bytes(path.read_bytes()[:-9])


_DATA = "ckpt-3.data-00000-of-00001"


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (_DATA, _flip_a_bit, f"the checksum of {_DATA} does not match"),
        (_DATA, _shorten, f"{_DATA} has 2,098 bytes, expected 2,107"),
        (_DATA, os.unlink, f"there is no {_DATA}"),
        ("ckpt-3.index", _flip_a_bit, "the checksum of ckpt-3.index does not match"),
        ("ckpt-3.json", _shorten, "expected JSON"),
        ("ckpt-3.json", lambda p: p.write_text("[]"), "TypeError"),
        ("ckpt-3.json", lambda p: p.write_text("[" * 100_000), "expected JSON, got maximum recurs"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_aloud(series, caplog, name, damage, message):
    found, variable = series
    damage(found.folder / name)
    assert found.read() and _value(variable) == 2.0
    assert "ckpt-3 is damaged" in caplog.text and message in caplog.text
    assert "using the previous one" in caplog.text


def test_a_checkpoint_without_its_manifest_is_none(series):
    """What a process leaves that is killed before the last write."""
    found, variable = series
    (found.folder / "ckpt-3.json").unlink()
    assert found.read() and _value(variable) == 2.0
    found.write()
    assert found.numbers() == [3, 2, 1] and found.read()


def test_no_checkpoint_is_whole(series):
    found, variable = series
    for number in found.numbers():
        _flip_a_bit(found.folder / f"ckpt-{number}.index")
    with pytest.raises(
        ValueError, match="expected a complete checkpoint .*got none: .*ckpt-1 is dam"
    ):
        found.read()
    assert _value(variable) == 0.0


def test_only_the_newest_are_kept_and_nothing_beside_them(series):
    found, _ = series
    found.write()
    assert found.numbers() == [4, 3, 2]
    names = {f"ckpt-{n}{end}" for n in (2, 3, 4) for end in (".json", ".index", _DATA[6:])}
    assert {entry.name for entry in found.folder.iterdir()} == names


def test_a_checkpoint_of_another_model_is_an_error_and_not_passed_over(series):
    found, _ = series
    other = Snapshots(found.folder, tf.train.Checkpoint(values=[tf.Variable(tf.zeros([3]))]), 3)
    with pytest.raises(ValueError, match="ckpt-3: expected one that matches this model"):
        other.read()


@pytest.fixture
def full_disk():
    """No file may grow beyond 1 KB: what TensorFlow and Python see is a failing write."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_checkpoints_before(series, full_disk):
    found, variable = series
    before = sorted(entry.name for entry in found.folder.iterdir())
    with pytest.raises(
        OSError, match="ckpt-4: could not be written .*Free disk space .* run the same"
    ):
        found.write()
    assert sorted(entry.name for entry in found.folder.iterdir()) == before
    assert found.read() and _value(variable) == 3.0


def test_a_disk_that_is_full_only_for_the_manifest(series, monkeypatch):
    found, _ = series

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots, "write_whole", full)
    with pytest.raises(OSError, match="No space left on device"):
        found.write()
    assert found.numbers() == [3, 2, 1] and not list(found.folder.glob("ckpt-4*"))


def test_a_full_disk_leaves_the_text_file_that_was_there(tmp_path, full_disk):
    path = tmp_path / "history.json"
    write_whole(path, "old")
    with pytest.raises(
        OSError, match="history.json: could not be written .*The previous file was kept"
    ):
        write_whole(path, "new" * 1000)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_what_a_failed_write_began_is_removed(tmp_path):
    """Whatever ended it: here a text that is none, not a fault of the disk."""
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "history.json", "\udc80")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["open", "fsync"])
def test_a_folder_that_cannot_be_synced(tmp_path, monkeypatch, name):
    """One that may be written and not read, or on a network: the file is in force all the same."""
    real = getattr(os, name)

    def only_files(path, *args):
        if stat.S_ISDIR(os.stat(path).st_mode):
            raise OSError(22, "Invalid argument")
        return real(path, *args)

    monkeypatch.setattr(os, name, only_files)
    write_whole(tmp_path / "run.json", "{}")
    assert (tmp_path / "run.json").read_text() == "{}"


def test_a_full_disk_is_seen_before_long_work(tmp_path, full_disk):
    with pytest.raises(ValueError, match="can be created and written, got OSError: File too large"):
        Workdir(tmp_path / "run")


def test_a_folder_that_takes_no_new_file_is_seen_before_long_work(tmp_path, monkeypatch):
    """As on a file system mounted read-only, which no permission of root's gets around."""

    def read_only(path, mode):
        raise OSError(30, "Read-only file system")

    Workdir(tmp_path).release()
    monkeypatch.setattr(workdir, "open", read_only, raising=False)
    with pytest.raises(ValueError, match="and written, got OSError: Read-only file system"):
        Workdir(tmp_path)


def test_kill_9_lets_go_of_the_folder(tmp_path):
    """Another process holds it, and is killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        held = Workdir(tmp_path)
        os.write(writing, b"x" if held else b"")
        time.sleep(600)
        os._exit(0)
    try:
        assert os.read(reading, 1) == b"x"
        with pytest.raises(ValueError, match="another process is training in it"):
            Workdir(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    Workdir(tmp_path).release()


def test_what_killed_writers_left_is_cleared_and_nothing_else(tmp_path):
    for name in (".history.json.123.tmp", ".77.keras", ".notes.tmp"):
        (tmp_path / name).write_text("half")
    Workdir(tmp_path).release()
    assert len(list(tmp_path.iterdir())) == 4  # Not yet a run's folder: nothing is touched.
    (tmp_path / ".vocabulary.txt.7.tmp").write_text("half")
    (tmp_path / ".run.json.7.tmp").symlink_to(tmp_path / "gone")
    write_whole(tmp_path / "run.json", "{}")
    Workdir(tmp_path).release()
    assert {p.name for p in tmp_path.iterdir()} == {"run.json", ".lock", ".notes.tmp"}


# Links and contents made by others.


def test_links_that_lead_out_are_refused(tmp_path, series):
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = tmp_path / "secret.json"
    secret.write_text('{"configuration": {}}')
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoints").symlink_to(outside)
    (run / "run.json").symlink_to(secret)
    (run / "inner").mkdir()
    (run / "within").symlink_to(run / "inner")
    folder = Workdir(run)
    for name in ("checkpoints", "run.json", "../secret.json", "/etc/passwd"):
        with pytest.raises(ValueError, match="expected no links to other folders"):
            folder / name
    with pytest.raises(ValueError, match="points to .*secret.json"):
        folder.check("configuration", {})
    assert folder / "within" == run / "within"
    (run / "round").symlink_to(run / "round")
    with pytest.raises(ValueError, match="round"):
        inside(run, "round")
    folder.release()
    found, variable = series
    (found.folder / "ckpt-3.index").rename(outside / "taken")
    (found.folder / "ckpt-3.index").symlink_to(outside / "taken")
    assert found.read() and _value(variable) == 2.0


def test_the_lock_is_no_way_to_empty_a_file(tmp_path):
    victim = tmp_path / "precious"
    victim.write_text("years of work")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(victim)
    with pytest.raises(ValueError, match="can be created and written"):
        Workdir(run)
    assert victim.read_text() == "years of work"


@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_place_of_an_unfinished_file_is_never_written_through(tmp_path, there):
    """A shared folder may hold one for every process id."""
    victim = tmp_path / "precious"
    if there:
        victim.write_text("years of work")
    run = tmp_path / "run"
    run.mkdir()
    for name in ("probe", "run.json", "vocabulary.txt"):
        (run / f".{name}.{os.getpid()}.tmp").symlink_to(victim)
    folder = Workdir(run)
    folder.claim({"configuration": {}})
    Vocabulary(["word"]).save(folder / "vocabulary.txt")
    folder.release()
    assert victim.read_text() == "years of work" if there else not victim.exists()
    assert {p.name for p in run.iterdir()} == {".lock", "run.json", "vocabulary.txt"}
    assert not any(p.is_symlink() for p in run.iterdir())


def test_a_link_in_place_of_the_file_is_replaced(tmp_path):
    victim = tmp_path / "precious"
    victim.write_text("years of work")
    (tmp_path / "history.json").symlink_to(victim)
    write_whole(tmp_path / "history.json", "new")
    assert victim.read_text() == "years of work"
    assert (tmp_path / "history.json").read_text() == "new"


@pytest.mark.parametrize("content", ["[]", "3", '{"configuration": [1]}', "null"])
def test_a_run_file_that_is_no_record(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(
        ValueError, match="run.json: expected the record of a run|contains files but"
    ):
        Workdir(tmp_path).check("configuration", {"units": 8})


def test_json_of_any_size_and_depth(tmp_path):
    path = tmp_path / "run.json"
    for content in (b"[" * 200_000, b"\xff\xfe", b"1" * 10_000, b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="run.json: expected JSON"):
            read_json(path)
    with open(path, "wb") as handle:
        handle.truncate(2**27)  # Takes no room on the disk.
    with pytest.raises(ValueError, match="134,217,728 bytes, more than the limit of"):
        read_json(path)
    path.write_text(json.dumps({"a": 1}))
    assert read_json(path) == {"a": 1}


def test_checkpoints_of_an_earlier_version_are_not_passed_over(tmp_path):
    """Training from the start would write over them."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    value = tf.Variable(1.0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(value=value), str(folder), 3)
    manager.save()
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(ValueError, match="those of an earlier version"):
        Snapshots(folder, tf.train.Checkpoint(value=value), keep=3).read()
    assert sorted(path.name for path in folder.iterdir()) == before
