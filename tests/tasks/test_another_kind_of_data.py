"""A third kind of data from outside the package: rows of zeros and ones in .npy files."""

import dataclasses
import hashlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_savae import commands, data, networks, tasks, training
from tf_savae.training.build import assemble
from tf_savae.training.config import setting

WIDTH = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowsConfig(training.RunConfig):
    """Files of rows, and how wide the networks are."""

    folder: str = setting("", "with train.npy, valid.npy and test.npy", affects_results=False)
    hidden: int = setting(8, "units of encoder and decoder")


class Rows:
    """The three sets of a run."""

    def __init__(self, folder, batch_size):
        parts = {name: np.load(f"{folder}/{name}.npy") for name in ("train", "valid", "test")}
        self.train, self.valid, self.test = parts.values()
        self._parts, self._size = parts, batch_size

    def steps_per_epoch(self):
        return len(self.train) // self._size

    def stream(self, seed, start_step):
        rows = tf.data.Dataset.from_tensor_slices(self.train)
        rows = rows.shuffle(len(self.train), seed=seed).repeat().batch(self._size)
        return rows.skip(start_step)

    def once(self, rows):
        return tf.data.Dataset.from_tensor_slices(rows).batch(self._size)

    def identity(self):
        return {n: hashlib.sha256(rows.tobytes()).hexdigest() for n, rows in self._parts.items()}

    def facts(self):
        return {"rows": {name: len(rows) for name, rows in self._parts.items()}}

    def measures(self, name, nll):
        return {}


class RowsTask(training.Task):
    """Rows of zeros and ones, with dense networks."""

    kind, unit, configuration = "rows", "row", RowsConfig

    def load(self, config):
        return Rows(config.folder, config.batch_size)

    def build(self, config, data, workdir):
        def encoder():
            inputs = keras.Input([WIDTH])
            hidden = keras.layers.Dense(config.hidden, activation="tanh")(inputs)
            heads = [keras.layers.Dense(config.latent_size)(hidden) for _ in range(2)]
            return keras.Model(inputs, heads)

        def decoder(latent_size):
            layers = [keras.layers.Dense(config.hidden, "tanh"), keras.layers.Dense(WIDTH)]
            return networks.DistributionDecoder(keras.Sequential(layers), "bernoulli")

        return assemble(config, data.steps_per_epoch(), encoder, decoder, tf.zeros([1, WIDTH]))

    def read_split(self, run, config):
        rows = np.load(config.file)
        training.check_digest(run, config, hashlib.sha256(rows.tobytes()).hexdigest())

        def subset(count):
            chosen = rows[data.spread(count, len(rows))]
            return tf.data.Dataset.from_tensor_slices(chosen).batch(config.batch_size or 4)

        return training.Split(len(rows), subset, self.unit)


@pytest.fixture
def rows(tmp_path):
    draw = np.random.default_rng(0)
    for name, count in (("train", 32), ("valid", 8), ("test", 8)):
        np.save(tmp_path / f"{name}.npy", (draw.random((count, WIDTH)) < 0.3).astype("float32"))
    return tmp_path


def test_it_trains_resumes_loads_and_is_evaluated(rows, tmp_path, monkeypatch, capsys):
    config = RowsConfig(
        folder=str(rows), svi_steps=2, latent_size=2, batch_size=8, epochs=2, iw_samples=3,
        board_samples=0, jit_compile="false", kl_anneal_epochs=0,
    )  # fmt: skip
    report = training.run(config, tmp_path / "run", RowsTask())
    assert "savae on 8 test rows" in capsys.readouterr().out
    assert training.run(config, tmp_path / "run", RowsTask()) == report
    monkeypatch.setattr(tasks, "TASKS", [*tasks.TASKS, RowsTask()])
    run = tasks.load_run(tmp_path / "run")
    assert (run.kind, run.configuration["hidden"]) == ("rows", 8)
    settings = {"samples": 3, "gap_examples": 0, "curve_examples": 0}
    found = commands.evaluate_run(
        commands.EvaluateConfig(file=str(rows / "test.npy"), **settings), tmp_path / "run"
    )
    assert (found["examples"], found["unit"]) == (8, "row")
    measured = found["posteriors"]["refined"]["bound"]["mean"]
    assert measured == pytest.approx(report["test"]["bound"], rel=0.1)
    wrong = commands.EvaluateConfig(file=str(rows / "valid.npy"), **settings)
    with pytest.raises(ValueError, match="contains the run's valid data"):
        commands.evaluate_run(wrong, tmp_path / "run")


def test_the_kind_is_asked_of_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the folder of a finished run"):
        tasks.load_run(tmp_path / "nothing")
