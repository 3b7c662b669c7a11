"""The folder of a run: one owner, one process, files whole or not at all."""

import json
import os

import pytest

from tf_savae.training.storage.json_files import write_whole
from tf_savae.training.storage.workdir import Workdir

OWNER = {"configuration": {"units": 8, "system": "vae"}, "data": {"train": "abc"}}


@pytest.fixture
def run(tmp_path):
    folder = Workdir(tmp_path / "a" / "run")
    folder.claim(OWNER)
    folder.release()
    return folder.path


def test_a_new_folder_is_made_and_claimed(run):
    assert json.loads((run / "run.json").read_text()) == OWNER


def test_its_owner_may_come_back(run):
    folder = Workdir(run)
    for name, theirs in OWNER.items():
        assert folder.check(name, theirs) is None  # Neither refused
    assert json.loads((run / "run.json").read_text()) == OWNER  # nor changed.


def test_others_are_told_what_differs(run):
    folder = Workdir(run)
    with pytest.raises(ValueError, match="different configuration") as error:
        folder.check("configuration", {"units": 9, "system": "vae", "latent_size": 2})
    message = str(error.value)
    assert "units: 8 there, 9 now" in message
    assert "latent_size: None there, 2 now" in message
    assert "system" not in message and "nothing was changed" in message


def test_a_claim_does_not_replace_another(run):
    Workdir(run).claim({"configuration": {"units": 9}})
    assert json.loads((run / "run.json").read_text()) == OWNER


def test_foreign_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"contains files but no run \(thesis.txt\)"):
        Workdir(tmp_path).check("configuration", OWNER["configuration"])


def test_one_process_at_a_time(run):
    held = Workdir(run)
    with pytest.raises(ValueError, match="another process is training in it"):
        Workdir(run)
    held.release()
    Workdir(run)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="expected a folder that can be created and written, got"):
        Workdir(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="PermissionError"):
        Workdir(tmp_path)


def test_a_damaged_run_file_is_named(run):
    (run / "run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json: expected JSON"):
        Workdir(run).check("configuration", {})


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "history.json"
    write_whole(path, "old")

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new, and cut sho")
    assert path.read_text() == "old"
