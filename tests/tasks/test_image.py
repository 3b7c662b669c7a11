"""Training on images end to end: six systems, resume, refusals, the command line."""

import json
import math
import runpy
from pathlib import Path

import image_files
import image_runs
import keras
import numpy as np
import pytest
import text_runs

from tf_savae.tasks.image import task
from tf_savae.tasks.image.config import IMAGE_CONFIGS, ImageConfig
from tf_savae.tasks.image.data import load_image_sets, load_sets
from tf_savae.training import callbacks
from tf_savae.training.distribution import WorkerGroup

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "train_image.py"
OTHERS = ["svi", "vae_svi", "vae_svi_kl"]
# 60 images in batches of 8 are 7 steps an epoch; with a checkpoint every 3 steps the run killed at
# step 11 has its last one at step 9, in the middle of epoch 2.
LONG = {"system": "vae", "checkpoint_every": 3}
KILLED_AT = 11


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return image_runs.write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """An uninterrupted run: (its workdir, its report)."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    config = image_runs.config(images, **LONG)
    return workdir, task.train_and_evaluate_images(config, workdir)


def _command(images, workdir, **changes):
    flags = image_runs.settings(images, **changes)
    return ["--config=tiny", f"--workdir={workdir}", *(f"--{k}={v}" for k, v in flags.items())]


class _Killed(BaseException):
    """Nothing handles it, so nothing is saved on its way: as if the process were killed."""


def test_a_killed_run_ends_with_the_numbers_of_an_uninterrupted_one(
    images, finished, tmp_path, monkeypatch
):
    """Weights, optimizer, moving statistics, order and drawings of images: all go on exactly."""
    workdir, original = tmp_path / "killed", callbacks.RunState.on_train_batch_end

    def and_die(self, batch, logs=None):
        original(self, batch, logs)
        if self._step == KILLED_AT:
            raise _Killed

    with monkeypatch.context() as patched, pytest.raises(_Killed):
        patched.setattr(callbacks.RunState, "on_train_batch_end", and_die)
        task.train_and_evaluate_images(image_runs.config(images, **LONG), workdir)
    assert len(text_runs.history(workdir)) == 1 and not (workdir / "report.json").exists()

    report = task.train_and_evaluate_images(image_runs.config(images, **LONG), workdir)

    uninterrupted, expected = finished
    assert report["steps"] == 14
    assert text_runs.without_clocks(report) == text_runs.without_clocks(expected)
    assert text_runs.history(workdir) == text_runs.history(uninterrupted)
    ours, theirs = (
        keras.saving.load_model(folder / "model.keras").get_weights()
        for folder in (workdir, uninterrupted)
    )
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_report_agrees_with_itself(images, finished):
    workdir, report = finished
    test = report["test"]
    assert json.loads((workdir / "report.json").read_text()) == report
    assert test["bound"] == pytest.approx(test["nll"] + test["kl"], rel=1e-6)
    assert test["kl"] > 0 and test["amortized_bound"] == pytest.approx(test["bound"])
    assert test["iw_nll"] < test["bound"] + 0.5
    assert test["bits_per_pixel"] == pytest.approx(test["bound"] / 36 / math.log(2))
    assert 0 <= test["active_units"] <= 2
    assert report["images"] == {"train": 60, "valid": 12, "test": 12} and report["grey"]
    assert report["step_seconds"] > 0 and report["epochs"] == 2


def test_savae_trains(images, tmp_path, capsys):
    config = image_runs.config(images, system="savae", epochs=1, max_train_images=24)
    report = task.train_and_evaluate_images(config, tmp_path)
    test = report["test"]
    assert report["steps"] == 3 and report["hvp"] == "reverse_over_reverse"
    assert test["amortized_bound"] != test["bound"] and test["bound"] < 36
    row = text_runs.history(tmp_path)[0]
    assert {"bound", "kl", "amortized_bound", "made_worse", "curvature", "val_bound"} <= set(row)
    shown = capsys.readouterr().out
    assert "savae on 12 test images" in shown and "bound (nats per image)" in shown


@pytest.mark.parametrize("system", OTHERS)
def test_every_system_trains(images, tmp_path, system):
    config = image_runs.config(images, system=system, epochs=1, max_train_images=8, svi_steps=1)
    report = task.train_and_evaluate_images(config, tmp_path)
    test = report["test"]
    assert report["system"] == system and test["iw_nll"] < 36  # 36 log 2 = 25: uniform.
    assert ("amortized_bound" in test) == (system != "svi")


def test_a_finished_run_is_not_trained_again(images, finished, monkeypatch, capsys):
    workdir, report = finished
    monkeypatch.setattr(task, "build_image_model", text_runs.long_work)
    before = text_runs.contents(workdir)
    config = image_runs.config(images, **LONG)
    assert task.train_and_evaluate_images(config, workdir) == report
    assert text_runs.contents(workdir) == before
    assert "is finished" in capsys.readouterr().out


# The data.


def test_evaluation_sees_the_same_images_whatever_the_model_s_seed(images):
    first, second = (load_image_sets(image_runs.config(images, seed=s)) for s in (0, 1))
    assert first.identity() == second.identity()
    other = load_image_sets(image_runs.config(images, data_seed=1))
    assert other.identity()["test"] != first.identity()["test"]
    assert other.identity()["train"] == first.identity()["train"]
    assert first.test.binary and not first.train.binary
    (x, _, _) = next(iter(first.stream(0, 0)))
    (y, _, _) = next(iter(second.stream(1, 0)))
    assert (x.numpy() != y.numpy()).any()


def test_one_set_is_split_and_a_configuration_finds_it_again(tmp_path):
    np.save(tmp_path / "all.npy", image_files.grey(40, 6))
    config = image_runs.config(tmp_path, images=str(tmp_path / "all.npy"), max_eval_images=4)
    sets = load_image_sets(config)
    assert [len(s) for s in (sets.train, sets.valid, sets.test)] == [20, 4, 4]
    whole = image_files.grey(40, 6)
    rows = [int(np.flatnonzero((whole == one).all(axis=(1, 2)))[0]) for one in sets.train.levels]
    assert rows == sorted(rows) and rows != list(range(20))
    again = load_sets(config.images, config.identity())
    assert {part: again[part].digest() for part in again} == sets.identity()


def test_images_in_several_places(tmp_path):
    for name, count in (("a", 20), ("b", 6)):
        np.save(tmp_path / f"{name}.npy", image_files.grey(count, 6))
    places = {"images": tmp_path / "a.npy", "test_images": tmp_path / "b.npy"}
    places = {name: str(path) for name, path in places.items()}
    sets = load_image_sets(image_runs.config(tmp_path, **places))
    assert [len(s) for s in (sets.train, sets.valid, sets.test)] == [10, 10, 6]


# Bad input: one clear error each, before any long work.


@pytest.fixture
def no_long_work(monkeypatch):
    monkeypatch.setattr(task, "build_image_model", text_runs.long_work)


def test_another_configuration_is_refused(images, finished, no_long_work):
    workdir, _ = finished
    before = text_runs.contents(workdir)
    config = image_runs.config(images, kernels="5,3", **{**LONG, "system": "savae"})
    with pytest.raises(ValueError, match="different configuration") as error:
        task.train_and_evaluate_images(config, workdir)
    assert "kernels: [3, 3] there, [5, 3] now" in str(error.value)
    assert "system: 'vae' there, 'savae' now" in str(error.value)
    assert text_runs.contents(workdir) == before


def test_other_images_are_refused(finished, tmp_path, no_long_work):
    workdir, _ = finished
    other = image_runs.write_images(tmp_path, seed=1)
    with pytest.raises(ValueError, match=r"(?s)different data:.*  train: '\w+' there"):
        task.train_and_evaluate_images(image_runs.config(other, **LONG), workdir)


class _Built(Exception):
    """In place of a model: what comes before it was passed."""


def _go_on(monkeypatch, images, workdir, replicas, **changes):
    def build(config, sets):
        raise _Built

    monkeypatch.setattr(task, "build_image_model", build)
    monkeypatch.setattr(WorkerGroup, "size", replicas)
    task.train_and_evaluate_images(image_runs.config(images, **{**LONG, **changes}), workdir)


def test_another_number_of_replicas_is_refused_once_a_run_has_trained(
    images, tmp_path, monkeypatch
):
    """Batch normalisation takes its statistics from each replica's rows."""
    record = tmp_path / "run.json"
    for replicas in (4, 1, 2):
        with pytest.raises(_Built):
            _go_on(monkeypatch, images, tmp_path, replicas)
        assert json.loads(record.read_text())["replicas"] == replicas
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-1.json").write_text("{}")
    before = text_runs.contents(tmp_path)
    with pytest.raises(ValueError, match="was trained on 2 replicas, and now there are 4. Expect"):
        _go_on(monkeypatch, images, tmp_path, 4)
    assert text_runs.contents(tmp_path) == before
    with pytest.raises(_Built):
        _go_on(monkeypatch, images, tmp_path, 2)
    (tmp_path / "report.json").write_text("{}")  # Its model is gone, and is made anew by one.
    with pytest.raises(_Built):
        _go_on(monkeypatch, images, tmp_path, 1)


def test_without_an_encoder_any_number_of_replicas_is_right(images, tmp_path, monkeypatch):
    for replicas in (1, 4):
        with pytest.raises(_Built):
            _go_on(monkeypatch, images, tmp_path, replicas, system="svi")
        (tmp_path / "history.json").write_text("[]")


def test_a_run_of_an_earlier_version_does_not_say_its_replicas(
    images, tmp_path, monkeypatch, caplog
):
    record = tmp_path / "run.json"
    with pytest.raises(_Built):
        _go_on(monkeypatch, images, tmp_path, 1)
    earlier = {k: v for k, v in json.loads(record.read_text()).items() if k != "replicas"}
    record.write_text(json.dumps(earlier))
    (tmp_path / "history.json").write_text("[]")
    with caplog.at_level("WARNING"), pytest.raises(_Built):
        _go_on(monkeypatch, images, tmp_path, 2)
    assert "does not record its number of replicas; it resumes with 2" in caplog.text
    assert json.loads(record.read_text())["replicas"] == 2


@pytest.mark.parametrize("name", ["images", "valid_images", "test_images"])
def test_a_missing_file_is_named(images, tmp_path, no_long_work, name):
    config = image_runs.config(images, **{name: str(tmp_path / "none.npz")})
    with pytest.raises(FileNotFoundError, match=f"{name}: expected .*none.npz"):
        task.train_and_evaluate_images(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arrays", "changes", "message"),
    [
        ({"images": np.full([9, 6, 6], np.nan)}, {}, "expected finite numbers"),
        ({"images": np.zeros([9, 6, 6], int)}, {}, "expected enough images for"),
        ({"images": np.zeros([25, 6, 6], int)}, {}, "at least batch_size=8 images"),
        ({"x": np.zeros([9], int)}, {}, "one array of images, got"),
        ({"images": np.zeros([40, 6, 6], int)}, {"test_images": "b.npz"}, "of one size in all"),
        ({"images": np.zeros([40, 6, 6], int)}, {"test_images": "c.npz"}, "test_images: expected"),
    ],
)
def test_images_that_cannot_be_used(tmp_path, no_long_work, monkeypatch, arrays, changes, message):
    monkeypatch.chdir(tmp_path)
    image_files.write_npz(tmp_path / "images.npz", **arrays)
    image_files.write_npz(tmp_path / "b.npz", images=np.zeros([9, 5, 5], int))
    halves = {"train": np.zeros([9, 6, 6], int), "valid": np.zeros([9, 6, 6], int)}
    image_files.write_npz(tmp_path / "c.npz", **halves)
    with pytest.raises(ValueError, match=message):
        task.train_and_evaluate_images(image_runs.config(tmp_path, **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_no_images_given(tmp_path):
    with pytest.raises(ValueError, match="images: expected a file or folder"):
        task.train_and_evaluate_images(ImageConfig(), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": "gan"}, "system: expected one of autoregressive"),
        ({"kernels": "9,4"}, r"kernels: expected odd integers >= 3, got \(9, 4\)"),
        ({"kernels": "9;4"}, "kernels: expected comma-separated integers, got '9;4'"),
        ({"encoder_channels": "8,0"}, "encoder_channels: expected an integer >= 1, got 0"),
        ({"channels": 0}, "channels: expected an integer >= 1"),
        ({"data_seed": -1}, "data_seed: expected an integer >= 0"),
        ({"valid_size": 0}, "valid_size: expected an integer >= 1"),
        ({"learning_rate": math.nan}, "learning_rate: expected a finite number"),
    ],
)
def test_settings_out_of_range(images, changes, message):
    with pytest.raises(ValueError, match=message):
        image_runs.config(images, **changes)


# The command line.


def test_command_line(images, tmp_path, capsys):
    """In this process: importing TensorFlow again would take longer than the run."""
    script = runpy.run_path(str(SCRIPT), run_name="train_image")
    flags = script["FLAGS"]
    changes = {"system": "autoregressive", "epochs": "1", "max_train_images": "8", "kernels": "5,3"}
    flags(["train_image.py", *_command(images, tmp_path / "run", **changes)])
    script["main"](["train_image.py"])
    assert "autoregressive on 12 test images" in capsys.readouterr().out
    test = json.loads((tmp_path / "run" / "report.json").read_text())["test"]
    assert test["iw_nll"] == test["bound"] < 36 and test["kl"] == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["configuration"]["kernels"] == [5, 3]

    flags.images = str(tmp_path / "none.npz")
    with pytest.raises(SystemExit, match="train_image.py: images: expected a file"):
        script["main"](["train_image.py"])


def test_named_configurations_say_what_they_are():
    for name, make in IMAGE_CONFIGS.items():
        assert make.__doc__.startswith("Kim et al. (2018)")
        assert f"train_image.py --config={name}" in make.__doc__
        assert "Run time" in make.__doc__ and "xpected" in make.__doc__
    paper = IMAGE_CONFIGS["omniglot"]()
    assert paper.kernels == (9, 9, 9, 7, 7, 7, 5, 5, 5, 3, 3, 3)
    assert (paper.batch_size, paper.svi_steps, paper.svi_step_size) == (50, 20, 0.02)
