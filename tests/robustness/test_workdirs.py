"""Folders of runs that were cut off at a bad moment, or begun by an earlier version."""

import json
import shutil
import types

import pytest
import text_runs

from tf_savae.svi.residuals import memory
from tf_savae.tasks import TextTask, load_run
from tf_savae.tasks.text import task
from tf_savae.training import trainer
from tf_savae.training.distribution import ReadOnlyWorkdir

CHANGES = {"system": "vae", "epochs": 1}


@pytest.fixture(scope="module")
def finished(texts, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "run"
    task.train_and_evaluate(text_runs.config(texts, **CHANGES), workdir)
    return workdir


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(texts, copy):
    (copy / "report.json").unlink()
    for manifest in (copy / "checkpoints").glob("*.json"):
        manifest.unlink()
    before = (copy / "history.json").read_text()
    with pytest.raises(
        ValueError, match="they are missing; training from the start would overwrite"
    ):
        task.train_and_evaluate(text_runs.config(texts, **CHANGES), copy)
    assert (copy / "history.json").read_text() == before


def test_a_run_that_an_earlier_version_began(texts, copy):
    """It has not written down what there was no choice of; it had the default."""
    path = copy / "run.json"
    record = json.loads(path.read_text())
    assert record["configuration"].pop("keep") == "auto"
    path.write_text(json.dumps(record))
    report = task.train_and_evaluate(text_runs.config(texts, **CHANGES), copy)
    assert report == json.loads((copy / "report.json").read_text())
    assert load_run(copy).configuration["keep"] == "none"
    with pytest.raises(ValueError, match="keep: 'none' there, 'all' now"):
        task.train_and_evaluate(text_runs.config(texts, keep="all", **CHANGES), copy)


def test_a_run_cut_off_before_its_vocabulary_was_written(texts, tmp_path, monkeypatch):
    config, workdir = text_runs.config(texts, **CHANGES), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(task, "_save_vocabulary", text_runs.long_work)
        with pytest.raises(AssertionError, match="long work"):
            task.train_and_evaluate(config, workdir)
    assert (workdir / "run.json").exists() and not (workdir / "vocabulary.txt").exists()
    assert task.train_and_evaluate(config, workdir)["epochs"] == 1
    assert (workdir / "vocabulary.txt").exists()


@pytest.mark.parametrize("made", [False, True])
def test_a_worker_that_sees_another_folder_than_the_chief(texts, tmp_path, made):
    workdir = tmp_path / "run"
    if made:
        workdir.mkdir()
    data = types.SimpleNamespace(identity=dict)
    with pytest.raises(ValueError, match="Use a folder that all machines share"):
        trainer._claim(
            text_runs.config(texts, **CHANGES), ReadOnlyWorkdir(workdir), TextTask(), data
        )
    assert not made or not list(workdir.iterdir())


def test_a_run_goes_on_with_what_its_steps_kept(texts, tmp_path, monkeypatch):
    """Chosen once: with less memory free than one step takes, choosing anew would be an error."""
    config = text_runs.config(texts, system="savae", epochs=1, hvp="auto")
    workdir = tmp_path / "run"
    report = task.train_and_evaluate(config, workdir)
    assert report["keep"] == "all"
    (workdir / "report.json").unlink()
    (workdir / "model.keras").unlink()
    monkeypatch.setattr(memory, "free_bytes", lambda: 1)
    assert task.train_and_evaluate(config, workdir)["keep"] == "all"
    assert load_run(workdir).model.refinement.keep == "all"


@pytest.mark.parametrize(
    ("changes", "keep"), [({"adjoint": "unrolled"}, None), ({"keep_budget": 10**9}, "all")]
)
def test_a_run_with_each_kind_of_adjoint_setting(texts, tmp_path, changes, keep):
    """It trains, its model loads, and it resumes."""
    config = text_runs.config(texts, system="savae", epochs=1, hvp="auto", **changes)
    task.train_and_evaluate(config, tmp_path / "run")
    layer = load_run(tmp_path / "run").model.refinement
    assert getattr(layer.current_adjoint(), "residuals", None) == keep
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    record["configuration"]["adjoint_clip_norm"] = 2.0  # As accepted by earlier versions.
    if "adjoint" in changes:
        (tmp_path / "run" / "run.json").write_text(json.dumps(record), "utf-8")
    (tmp_path / "run" / "report.json").unlink()
    (tmp_path / "run" / "model.keras").unlink()
    task.train_and_evaluate(config, tmp_path / "run")
    assert load_run(tmp_path / "run").model.refinement.adjoint == config.adjoint
