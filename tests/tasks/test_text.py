"""Training on text end to end: six systems, kill -9 and resume, refusals, the command line."""

import dataclasses
import json
import math
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import text_runs

from tf_savae import tasks, training
from tf_savae.tasks.text import task
from tf_savae.training.callbacks import is_finished
from tf_savae.training.learning_rate import learning_rate_rule
from tf_savae.training.storage.checkpoints import Checkpoints
from tf_savae.training.storage.workdir import Workdir

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "train_text.py"
SYSTEMS = ["autoregressive", "vae", "svi", "vae_svi", "vae_svi_kl", "savae"]
# 60 lines in batches of 8 are 8 steps an epoch; with a checkpoint every 3 steps the run killed at
# step 13 has its last one at step 12, in the middle of epoch 2. K is 0 in epoch 1 and 2 after it.
LONG = {
    "epochs": 3,
    "checkpoint_every": 3,
    "svi_schedule": "0:0,1:2",
    "svi_rule": "learned_update",
    "amortized_weight": 0.3,
    "path_weight": 0.5,
}
KILLED_AT = 13
KILLER = """
import os, signal, sys
from tf_savae.training import callbacks
original = callbacks.RunState.on_train_batch_end
def and_die(self, batch, logs=None):
    original(self, batch, logs)
    if self._step == %d:
        os.kill(os.getpid(), signal.SIGKILL)
callbacks.RunState.on_train_batch_end = and_die
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def finished(texts, tmp_path_factory):
    """An uninterrupted SA-VAE run: (its workdir, its report)."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, tasks.train_and_evaluate(text_runs.config(texts, **LONG), workdir)


def _command(texts, workdir, **changes):
    flags = text_runs.settings(texts, **changes)
    return ["--config=tiny", f"--workdir={workdir}", *(f"--{k}={v}" for k, v in flags.items())]


def _weights(workdir):
    return keras.saving.load_model(workdir / "model.keras").get_weights()


@pytest.mark.slow
def test_a_killed_run_ends_with_the_numbers_of_an_uninterrupted_one(texts, finished, tmp_path):
    workdir = tmp_path / "killed"
    program = [sys.executable, "-c", KILLER % KILLED_AT, str(SCRIPT)]
    package = str(Path(training.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": package}
    killed = subprocess.run(
        [*program, *_command(texts, workdir, **LONG)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert len(text_runs.history(workdir)) == 1
    assert not (workdir / "report.json").exists()

    report = tasks.train_and_evaluate(text_runs.config(texts, **LONG), workdir)

    uninterrupted, expected = finished
    assert report["steps"] == 24
    assert text_runs.without_clocks(report) == text_runs.without_clocks(expected)
    assert text_runs.history(workdir) == text_runs.history(uninterrupted)
    for ours, theirs in zip(_weights(workdir), _weights(uninterrupted), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_report_agrees_with_itself(texts, finished):
    workdir, report = finished
    test = report["test"]
    assert json.loads((workdir / "report.json").read_text()) == report
    assert test["bound"] == pytest.approx(test["nll"] + test["kl"], rel=1e-6)
    assert test["kl"] > 0 and test["amortized_bound"] > 0
    assert test["iw_nll"] < test["bound"] + 0.5
    assert 0 <= test["active_units"] <= 2
    words = sum(len(line.split()) for line in (texts / "test.txt").read_text().splitlines())
    assert report["test_tokens"] == words + 12
    total = 12 * test["bound"]
    assert test["ppl"] == pytest.approx(math.exp(total / (words + 12)), rel=1e-6)
    assert test["ppl_without_end"] == pytest.approx(math.exp(total / words), rel=1e-6)
    assert report["epochs"] == 3 and report["step_seconds"] > 0


def test_history_is_written_for_people_and_programs(finished):
    workdir, _ = finished
    rows = text_runs.history(workdir)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [8, 16, 24]
    assert {"bound", "kl", "val_bound", "val_kl", "learning_rate"} <= set(rows[0])
    table = (workdir / "history.csv").read_text().splitlines()
    assert len(table) == 4 and table[0].startswith("epoch,step,learning_rate")
    assert list((workdir / "tensorboard").rglob("events.out.tfevents.*"))


def test_a_finished_run_is_not_trained_again(texts, finished, monkeypatch, capsys):
    workdir, report = finished
    monkeypatch.setattr(task, "build_model", text_runs.long_work)
    before = text_runs.contents(workdir)
    assert tasks.train_and_evaluate(text_runs.config(texts, **LONG), workdir) == report
    assert text_runs.contents(workdir) == before
    assert "is finished" in capsys.readouterr().out


@pytest.mark.parametrize("system", [name for name in SYSTEMS if name != "savae"])
def test_every_system_trains(texts, tmp_path, system):
    config = text_runs.config(texts, system=system, epochs=1, max_train_lines=16)
    report = tasks.train_and_evaluate(config, tmp_path)
    test = report["test"]
    assert report["system"] == system and math.isfinite(test["iw_nll"])
    assert 20 < test["ppl"] < 200  # 34 tokens, and two steps away from uniform.
    assert ("amortized_bound" in test) == (system in ("vae", "vae_svi", "vae_svi_kl"))
    if system == "vae":
        assert test["amortized_bound"] == pytest.approx(test["bound"])
    if system == "autoregressive":
        assert test["iw_nll"] == test["bound"] and test["kl"] == 0


def test_longer_texts_of_the_evaluation_leave_training_alone(tmp_path):
    text_runs.write_texts(tmp_path)
    alone = task.load_texts(text_runs.config(tmp_path))
    (tmp_path / "test.txt").write_text("w1 " * 15 + "\n" + "w2\n", encoding="utf-8")
    longer = task.load_texts(text_runs.config(tmp_path))
    assert longer.boundaries == (*alone.boundaries, 17)
    ours, theirs = (next(iter(t.stream(0, 0)))[0] for t in (longer, alone))
    np.testing.assert_array_equal(ours, theirs)
    assert sum(float(w.numpy().sum()) for _, _, w in longer.once(longer.test)) == 2


def test_a_run_may_start_from_another(texts, tmp_path):
    """The networks are the other run's, the optimizer's state is not, and the report says so."""
    vae = text_runs.config(texts, system="vae", epochs=1)
    tasks.train_and_evaluate(vae, tmp_path / "vae")
    begins = {"start_from": str(tmp_path / "vae"), "epochs": 1, "kl_anneal_epochs": 0.0}
    still = text_runs.config(texts, **begins, learning_rate=0.001, min_learning_rate=0.001)
    report = tasks.train_and_evaluate(still, tmp_path / "run")
    assert report["steps"] == 8 and report["start_from"] == str(tmp_path / "vae")
    source, model = (keras.saving.load_model(tmp_path / n / "model.keras") for n in ("vae", "run"))
    for part in ("encoder", "decoder"):
        pairs = zip(getattr(source, part).weights, getattr(model, part).weights, strict=True)
        gaps = [np.abs(a.numpy() - b.numpy()).max() for a, b in pairs]
        assert 0 < max(gaps) < 0.05  # Eight steps of at most 0.001 times a norm of 5.
    with pytest.raises(ValueError, match="different start"):
        tasks.train_and_evaluate(dataclasses.replace(still, start_from=""), tmp_path / "run")
    other = dataclasses.replace(still, units=6)
    with pytest.raises(ValueError, match="start_from: weight .* of the encoder"):
        tasks.train_and_evaluate(other, tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="expected the folder of a finished run"):
        nowhere = dataclasses.replace(still, start_from=str(tmp_path / "nowhere"))
        tasks.train_and_evaluate(nowhere, tmp_path / "another")


def test_only_the_first_lines_are_used(texts):
    limited = task.load_texts(text_runs.config(texts, max_train_lines=9, max_eval_lines=5))
    assert [len(c) for c in (limited.train, limited.valid, limited.test)] == [9, 5, 5]
    whole = task.load_texts(text_runs.config(texts))
    first = whole.vocabulary.decode(whole.train.sequences[8])
    assert limited.vocabulary.decode(limited.train.sequences[8]) == first


# Bad input: one clear error each, before any long work.


@pytest.fixture
def no_long_work(monkeypatch):
    monkeypatch.setattr(task, "build_model", text_runs.long_work)


def test_another_configuration_is_refused(texts, finished, no_long_work):
    workdir, _ = finished
    before = text_runs.contents(workdir)
    plain = {"svi_rule": "momentum", "svi_schedule": "", "amortized_weight": 0, "path_weight": 0}
    config = text_runs.config(texts, units=9, **{**LONG, "system": "vae", **plain})
    with pytest.raises(ValueError, match="different configuration") as error:
        tasks.train_and_evaluate(config, workdir)
    assert "units: 8 there, 9 now" in str(error.value)
    assert "system: 'savae' there, 'vae' now" in str(error.value)
    assert "latent_size" not in str(error.value)
    assert text_runs.contents(workdir) == before


def test_another_text_is_refused(finished, tmp_path, no_long_work):
    workdir, _ = finished
    other = text_runs.write_texts(tmp_path, seed=1)
    with pytest.raises(ValueError, match=r"(?s)different data:.*  train: '\w+' there") as error:
        tasks.train_and_evaluate(text_runs.config(other, **LONG), workdir)
    assert "another --workdir" in str(error.value)


def test_another_vocabulary_beside_the_model_is_refused(texts, finished, tmp_path, no_long_work):
    workdir, _ = finished
    (tmp_path / "run.json").write_bytes((workdir / "run.json").read_bytes())
    task.data.Vocabulary(["other", "words"]).save(tmp_path / "vocabulary.txt")
    with pytest.raises(ValueError, match="vocabulary of the training text"):
        tasks.train_and_evaluate(text_runs.config(texts, **LONG), tmp_path)


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_missing_file_is_named(texts, tmp_path, no_long_work, name):
    config = text_runs.config(texts, **{f"{name}_file": str(tmp_path / "none.txt")})
    with pytest.raises(FileNotFoundError, match=f"{name}_file: .*none.txt"):
        tasks.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_file_given(tmp_path, no_long_work):
    with pytest.raises(ValueError, match="train_file: expected a text file"):
        tasks.train_and_evaluate(tasks.TextConfig(), tmp_path / "run")


def test_an_empty_file_is_named(texts, tmp_path, no_long_work):
    empty = tmp_path / "empty.txt"
    empty.touch()
    config = text_runs.config(texts, valid_file=str(empty))
    with pytest.raises(ValueError, match="empty.txt is empty"):
        tasks.train_and_evaluate(config, tmp_path / "run")


def test_an_unwritable_workdir_is_named(texts, no_long_work):
    below_a_file = texts / "train.txt" / "run"
    with pytest.raises(ValueError, match="can be created and written"):
        tasks.train_and_evaluate(text_runs.config(texts), below_a_file)


def test_divergence_stops_the_run(texts, tmp_path):
    config = text_runs.config(
        texts, system="autoregressive", learning_rate=1e38, clip_norm=0.0, checkpoint_every=1
    )
    with pytest.raises(ArithmeticError, match="learning rate"):
        tasks.train_and_evaluate(config, tmp_path)
    assert not (tmp_path / "report.json").exists() and not (tmp_path / "history.json").exists()


def test_spoilt_weights_are_not_saved(texts, tmp_path):
    config = text_runs.config(texts, system="autoregressive")
    model = task.build_model(config, task.load_texts(config))
    checkpoints = Checkpoints(Workdir(tmp_path), model)
    row = {"step": 8, "val_bound": 7.0, "step_seconds": 0.1, "seconds": 1.0}
    checkpoints.state |= {"history": [row], "seconds": 1.0}
    checkpoints.save()
    model.decoder.softmax.bias.assign_add(np.full([34], np.nan, np.float32))
    with pytest.raises(ArithmeticError, match="bias contains NaN.* it was not saved") as error:
        checkpoints.save()
    said = str(checkpoints.save_last_good(error.value, 8))
    assert "resumes with the same batches" in said and "skip_limit" not in said
    checkpoints.state = {}
    assert checkpoints.restore() and checkpoints.state["history"] == [row]
    assert np.isfinite(model.decoder.softmax.bias.numpy()).all()


def test_a_damaged_checkpoint_is_named(texts, tmp_path):
    config = text_runs.config(texts, system="autoregressive", epochs=1, max_train_lines=16)
    tasks.train_and_evaluate(config, tmp_path)
    (tmp_path / "report.json").unlink()
    for part in (tmp_path / "checkpoints").glob("ckpt-*.index"):
        part.write_bytes(b"no index")
    with pytest.raises(ValueError, match="checkpoints: expected a complete checkpoint .*got none"):
        tasks.train_and_evaluate(config, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": "gan"}, "system: expected one of autoregressive"),
        ({"svi_steps": -1}, "svi_steps: expected an integer >= 0"),
        ({"svi_step_size": -0.1}, "svi_step_size: expected a finite number > 0"),
        ({"batch_size": 0}, "batch_size: expected an integer >= 1"),
        ({"dropout": 1.0}, r"dropout: expected a number in \[0, 1\)"),
        ({"learning_rate": math.nan}, "learning_rate: expected a finite number"),
        ({"vocabulary_size": 4}, "max_size: expected at least 5, including the 4 special tokens"),
        ({"truncate": 1}, "truncate: expected 0 unless adjoint='truncated'"),
        ({"svi_schedule": "0:0,5"}, "svi_schedule: expected EPOCH:K pairs"),
        ({"svi_schedule": "0:0,2:-1"}, "and each K >= 0, such as 0:0,10:5; got '0:0,2:-1'"),
        ({"svi_schedule": "1:2"}, "from epoch 0 on"),
        ({"svi_schedule": "0:1,0:2"}, "svi_schedule: expected EPOCH:K pairs"),
        ({"svi_schedule": "0:0,1e999:2"}, "svi_schedule: expected EPOCH:K pairs"),
        ({"system": "vae", "svi_schedule": "0:1"}, "svi_schedule: expected none with system='vae'"),
        ({"system": "vae_svi_kl", "svi_schedule": "0:0,1:2"}, "svi_steps: expected at least 1"),
        ({"adjoint": "truncated", "truncate": 4, "svi_schedule": "0:0,1:2"}, "truncate: expected"),
        (
            {"svi_rule": "learned_update", "svi_momentum": 0.9},
            "no svi_momentum and no svi_clip_norm",
        ),
        ({"amortized_weight": -0.1}, "amortized_weight: expected a finite number >= 0"),
        ({"system": "svi", "amortized_weight": 0.1}, "amortized_weight: requires system='savae'"),
        ({"system": "vae_svi", "path_weight": 0.1}, "path_weight: requires system='savae' or"),
        ({"system": "vae_svi", "svi_rule": "learned_steps"}, "is trained through refinement"),
        ({"svi_samples": 0}, "svi_samples: expected an integer >= 1"),
        ({"svi_samples": 3, "svi_antithetic": True}, "svi_samples: expected an even number"),
        ({"system": "svi", "start_from": "run"}, "start_from: expected a system with an encoder"),
        ({"adjoint": "unrolled", "adjoint_clip_norm": 2.0}, "adjoint_clip_norm: expected 0 with"),
        ({"system": "vae_svi_kl", "svi_steps": 0}, "svi_steps: expected at least 1 with system"),
    ],
)
def test_settings_out_of_range(texts, tmp_path, no_long_work, changes, message):
    with pytest.raises(ValueError, match=message):
        tasks.train_and_evaluate(text_runs.config(texts, **changes), tmp_path / "run")


# The learning rate.


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ([], (1.0, 0, False)),
        ([5.0, 6.0, 7.0], (1.0, 1, False)),  # Up to epoch 3 nothing starts the halving.
        ([5.0, 4.0, 3.0, 2.0], (1.0, 4, False)),
        ([5.0, 4.0, 3.0, 3.0], (0.5, 3, True)),  # Equal is not better.
        ([5.0, 4.0, 3.0, 3.5, 2.0, 1.0], (0.125, 6, True)),  # Once begun it goes on.
    ],
)
def test_learning_rate_rule(bounds, expected):
    assert tuple(learning_rate_rule(bounds, 1.0, decay_from_epoch=3)) == expected


def test_a_run_ends_with_its_epochs_or_its_learning_rate():
    config = tasks.TextConfig(epochs=9, decay_from_epoch=0, min_learning_rate=0.2)
    rows = [{"val_bound": 1.0}] * 9
    assert [is_finished(rows[:n], config) for n in (1, 2, 3, 4)] == [False, False, False, True]
    patient = tasks.TextConfig(epochs=9, decay_from_epoch=9)
    assert [is_finished(rows[:n], patient) for n in (8, 9)] == [False, True]


# The command line.


def test_command_line(texts, tmp_path, capsys):
    """In this process: importing TensorFlow again would take longer than the run."""
    script = runpy.run_path(str(SCRIPT), run_name="train_text")
    flags = script["FLAGS"]
    changes = {"system": "autoregressive", "epochs": "1", "max_train_lines": "16"}
    flags(["train_text.py", *_command(texts, tmp_path / "run", **changes)])
    script["main"](["train_text.py"])
    shown = capsys.readouterr().out
    assert "autoregressive on 12 test documents" in shown and "perplexity" in shown
    assert json.loads((tmp_path / "run" / "run.json").read_text())["configuration"]["units"] == 8

    flags.train_file = str(tmp_path / "none.txt")
    with pytest.raises(SystemExit, match="train_text.py: train_file: expected a file"):
        script["main"](["train_text.py"])


def test_named_configurations_say_what_they_are():
    for name, make in tasks.TEXT_CONFIGS.items():
        assert make.__doc__.startswith("Kim et al. (2018)")
        assert f"train_text.py --config={name}" in make.__doc__
        assert "Run time" in make.__doc__ and "xpected" in make.__doc__
    paper = tasks.TEXT_CONFIGS["yahoo"]()
    assert (paper.vocabulary_size, paper.units, paper.latent_size) == (20_001, 1024, 32)
