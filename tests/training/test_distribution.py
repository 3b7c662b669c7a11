"""Replicas and processes that train together end with the weights of one process.

benchmarks/replicas.py has the longer proof: a run of bin/train_text.py whose workers are killed at
random times, again and again.
"""

import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import text_runs
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras_models import data, dense_model

from tf_savae import tasks, training
from tf_savae.models import keras_distribution
from tf_savae.training import launcher
from tf_savae.training.distribution import ReadOnlyWorkdir, WorkerGroup, worker_group

HERE = Path(__file__).resolve().parents[1] / "helpers"
PACKAGE = str(Path(training.__file__).parents[2])
RUN = {"epochs": 2, "checkpoint_every": 3, "max_train_lines": 40}


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([PACKAGE, str(HERE)])}


@pytest.fixture(scope="module")
def cases():
    """The facts of tests/helpers/distribute_cases.py, which needs two logical devices."""
    done = subprocess.run(
        [sys.executable, str(HERE / "distribute_cases.py")],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_two_replicas_train_as_one_process(cases):
    """Uneven last batch, sample weights, validation, schedule, momentum and clip; float64."""
    facts = cases["refined"]
    assert facts["weights"] < 1e-12 and facts["metrics"] < 1e-5  # Keras' metrics are float32.
    assert facts["moved"] > 1e-2
    assert facts["predict"] < 1e-12


def test_a_batch_that_is_not_finite_on_one_replica_is_skipped_on_all(cases):
    assert cases["refined"]["skipped"] == 1.0
    assert cases["refined"]["moved_by_nan"] == 0.0


def test_dropout_masks_belong_to_rows(cases):
    """Also where the last batch leaves the second replica without any."""
    facts = cases["dropped"]
    assert facts["weights"] < 1e-12 and facts["moved"] > 1e-2


def test_each_replica_has_its_own_xla_program(cases):
    facts = cases["compiled"]
    assert facts["weights"] < 1e-6 and facts["moved"] > 1e-3
    assert facts["programs"] == 2 and facts["xla"]


def test_keras_still_cannot_compile_what_joins_replicas(cases):
    """If this fails, Keras can: `joined_by_graph` in tf_savae/models/keras_strategy.py may go."""
    assert cases["keras_compiles_the_join"]["error"]


def test_keras_still_clips_each_part(cases):
    """If this fails, Keras clips the sum: `sums_beforehand` may go."""
    assert cases["keras_clips_parts"]["moved"] == pytest.approx(2.0)


def test_keras_still_wants_logs_of_shape_1(monkeypatch):
    """If this fails, the `keras_strategy.logs_of` may go (keras issue 20585)."""
    axes = []

    class Strategy:
        def reduce(self, operation, value, axis=None):
            axes.append((operation, axis))

    monkeypatch.setattr(keras_trainer, "_collective_all_reduce_multi_worker", lambda _: True)
    keras_trainer.reduce_per_replica({"loss": tf.constant(1.0)}, Strategy(), "auto")
    assert axes == [("MEAN", 0)]


def test_keras_still_averages_a_batch_to_build_a_model():
    """If this fails, `BoundModel._maybe_symbolic_build` may go (keras issue 20585)."""
    source = inspect.getsource(keras_trainer.TensorFlowTrainer._maybe_symbolic_build)
    assert '"MEAN"' in source and "axis=None" in source


# Several processes.

KILLER = """
import json, os, pathlib, runpy, signal, sys
from tf_savae.training import callbacks
mark, at = pathlib.Path(sys.argv[1]), int(sys.argv[2])
mine = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
original = callbacks.RunState.on_train_batch_end
def and_die(self, batch, logs=None):
    original(self, batch, logs)
    if mine == 1 and self._step == at and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
callbacks.RunState.on_train_batch_end = and_die
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_two_processes_one_of_them_killed_train_as_one(tmp_path, monkeypatch):
    """Validation and the learning-rate rule included; killed in the middle of an epoch."""
    texts = text_runs.write_texts(tmp_path)
    expected = tasks.train_and_evaluate(text_runs.config(texts, **RUN), tmp_path / "one")
    script = HERE.parents[1] / "bin" / "train_text.py"
    settings = text_runs.settings(texts, **RUN, strategy="multiworker")
    flags = ["--config=tiny", f"--workdir={tmp_path / 'two'}"]
    flags += [f"--{name}={value}" for name, value in settings.items()]
    killer = [sys.executable, "-c", KILLER, str(tmp_path / "mark"), "8", str(script)]
    for name, value in _environment().items():
        monkeypatch.setenv(name, value)
    lines = []
    status = launcher.supervise([*killer, *flags], workers=2, say=lines.append)
    assert status == 0, "\n".join(lines[-60:])
    text = "\n".join(lines)
    assert f"ended with {signal.Signals.SIGKILL.name}" in text and "attempt 3" not in text
    assert text.count("resuming at step 6") == 2
    report = json.loads((tmp_path / "two" / "report.json").read_text())
    assert report["replicas"] == 2 and expected["replicas"] == 1
    assert report["test"]["iw_nll"] == pytest.approx(expected["test"]["iw_nll"], rel=1e-6)
    ours, theirs = text_runs.history(tmp_path / "two"), text_runs.history(tmp_path / "one")
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=1e-5, abs=1e-6)
    for mine, other in zip(_weights(tmp_path / "two"), _weights(tmp_path / "one"), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)


def _weights(workdir):
    return keras.saving.load_model(workdir / "model.keras").get_weights()


# Refusals, and what needs no second device.


def test_models_and_optimizers_belong_into_the_scope():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    outside = dense_model("vae")
    outside.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    optimizer = keras.optimizers.SGD(0.1)
    with strategy.scope():
        inside = dense_model("vae")
        with pytest.raises(ValueError, match="optimizer: it was created outside"):
            inside.compile(optimizer)
        with pytest.raises(ValueError, match="the model was created outside"):
            outside.fit(data(), verbose=0)
        with pytest.raises(ValueError, match="steps_per_execution"):
            inside.compile("sgd", steps_per_execution=2)


def test_multiworker_says_what_it_needs(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG"), worker_group("multiworker"):
        pass
    with (
        pytest.raises(ValueError, match="strategy: expected one of none, mirrored"),
        worker_group("two"),
    ):
        pass


def test_the_global_batch_has_to_fit():
    class Three:
        num_replicas_in_sync = 3

    with pytest.raises(ValueError, match="a multiple of the number of replicas, 3, .*got 8"):
        WorkerGroup(Three()).check_batch_size(8)


def test_a_follower_only_reads(tmp_path):
    folder = ReadOnlyWorkdir(tmp_path / "run")
    folder.claim({"configuration": {"a": 1}})
    folder.write_json("report.json", {})
    assert not (tmp_path / "run").exists()
    assert folder.read_json("report.json") is None and not folder.writes


def test_the_number_of_replicas_is_no_part_of_a_run():
    one, two = (text_runs.config(Path("."), strategy=name) for name in ("none", "mirrored"))
    assert one.identity() == two.identity()
    oracle = tasks.ORACLE_CONFIGS["quick"]()
    assert "strategy" not in oracle.identity()


def test_datasets_are_dealt_out_by_rows():
    policies = tf.data.experimental.AutoShardPolicy
    dataset = tf.data.Dataset.from_tensors((data(), None, np.ones(4)))
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        model = dense_model("vae")
    shared = keras_distribution.as_shared(dataset, model)
    assert shared.options().experimental_distribute.auto_shard_policy == policies.DATA
    assert shared.element_spec[1].shape.as_list() == [4, 0]
    own = tf.data.Options()
    own.experimental_distribute.auto_shard_policy = policies.OFF
    kept = keras_distribution.as_shared(dataset.with_options(own), model)
    assert kept.options().experimental_distribute.auto_shard_policy == policies.OFF
    assert keras_distribution.as_shared(dataset, dense_model("vae")) is dataset
