"""TensorBoard beside scalars: samples, reconstructions, figures; what they show and disturb."""

import json
from types import SimpleNamespace

import image_runs
import keras
import keras_models
import numpy as np
import pytest
import tensorflow as tf
import text_runs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tf_savae import generation, tasks
from tf_savae.tasks.image.data import load_image_sets
from tf_savae.tasks.image.model import build_image_model
from tf_savae.tasks.image.view import ImageView
from tf_savae.tasks.text import task
from tf_savae.tasks.text.view import TextView
from tf_savae.training import callbacks, tensorboard
from tf_savae.training.storage.workdir import Workdir
from tf_savae.training.tensorboard import BoardFigures, BoardSamples, boards

# 60 lines in batches of 8 are 8 steps an epoch; step 13 is in the middle of epoch 2, and the last
# checkpoint before it is that of step 12.
KILLED_AT = 13
CHANGES = {"system": "vae_svi", "epochs": 2, "checkpoint_every": 3, "board_samples": 3}


class Killed(BaseException):
    """Passes every `except Exception`, as a signal does."""


@pytest.fixture(scope="module")
def shown(texts, tmp_path_factory):
    """(workdir of a run, [(epoch, epochs in the checkpoint when it was shown)])."""
    workdir, seen = tmp_path_factory.mktemp("shown") / "run", []
    original = tensorboard.Board.on_epoch_end

    def watched(self, epoch, logs=None):
        seen.append((epoch, _epochs_saved(workdir)))
        original(self, epoch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorboard.Board, "on_epoch_end", watched)
        tasks.train_and_evaluate(text_runs.config(texts, **CHANGES), workdir)
    return workdir, seen


def _epochs_saved(workdir):
    newest = max((workdir / "checkpoints").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    reader = tf.train.load_checkpoint(str(newest.with_suffix("")))
    state = reader.get_tensor("state/.ATTRIBUTES/VARIABLE_VALUE")
    return len(json.loads(state)["history"])


def _events(workdir, run):
    """{tag: {step: [strings of the event]}} of one run in TensorBoard's folder."""
    logs = EventAccumulator(str(workdir / "tensorboard" / run), {"tensors": 0})
    logs.Reload()
    return {
        tag: {event.step: list(event.tensor_proto.string_val) for event in logs.Tensors(tag)}
        for tag in logs.Tags()["tensors"]
    }


def _callback(logs, view, model, seed=0):
    callback = BoardSamples(logs, view, 2, seed)
    callback.set_model(model)
    return callback


def _lines(strings):
    """A text as it stands in the block of code."""
    lines = strings[0].decode().split("\n")
    assert all(line.startswith("    ") for line in lines)
    return [line[4:] for line in lines]


def _picture(strings):
    """uint8 [H, W, 3]; the event holds width and height as text, then the PNG."""
    width, height, png = strings
    picture = tf.io.decode_png(png, channels=3).numpy()
    assert picture.shape == (int(height), int(width), 3)
    return picture


def _weights(workdir):
    return keras.saving.load_model(workdir / "model.keras").get_weights()


def _same_weights(one, other):
    pairs = list(zip(_weights(one), _weights(other), strict=True))
    assert pairs
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)


# What is shown.


def test_samples_are_texts_of_known_words(shown):
    samples = _events(shown[0], "samples")["samples"]
    assert sorted(samples) == [0, 1]
    words = set((shown[0] / "vocabulary.txt").read_text(encoding="utf-8").split()) | {"<unk>"}
    for strings in samples.values():
        rows = [line.split() for line in _lines(strings)]
        assert [row[0] for row in rows] == ["1", "2", "3"]
        assert any(len(row) > 1 for row in rows) and {w for row in rows for w in row[1:]} <= words
    assert samples[0] != samples[1]


def test_the_same_validation_texts_are_reconstructed_each_epoch(texts, shown):
    rebuilt = _events(shown[0], "samples")["reconstructions"]
    assert sorted(rebuilt) == [0, 1]
    lines = (texts / "valid.txt").read_text(encoding="utf-8").splitlines()
    for strings in rebuilt.values():
        rows = _lines(strings)
        assert rows[0::3] == [f"data   {lines[i]}" for i in (0, 4, 8)]
        assert all(row.startswith("model  ") for row in rows[1::3]) and set(rows[2::3]) == {""}


def test_texts_are_drawn_by_seed_and_epoch_and_rebuilt_from_the_mean(texts, tmp_path):
    config = text_runs.config(texts, system="vae")
    data = task.load_texts(config)
    model, view = task.build_model(config, data), TextView(config, data)
    callback = _callback(tmp_path, view, model)
    first, second = dict(callback.entries(0)), dict(callback.entries(1))
    assert dict(callback.entries(0)) == first and first["samples"] != second["samples"]
    other = _callback(tmp_path, view, model, seed=1)
    assert dict(other.entries(0))["samples"] != first["samples"]
    # Without refinement neither the mean nor the most probable words depend on any seed.
    z = generation.posterior_means(model, view.examples(2), seed=5)
    rows = generation.decode(model, z, seed=6, length=21, decoding="greedy").x
    expected = [f"model  {data.vocabulary.decode(row)}" for row in rows]
    for entries in (first, second):
        assert _lines([entries["reconstructions"].encode()])[1::3] == expected


def test_figures_hold_the_history_and_the_refinement(shown):
    workdir, _ = shown
    figures = _events(workdir, "figures")
    assert {tag: sorted(steps) for tag, steps in figures.items()} == {
        "history": [0, 1],
        "refinement": [0, 1],
    }
    for steps in figures.values():
        first, second = _picture(steps[0]), _picture(steps[1])
        assert first.std() > 5 and not np.array_equal(first, second)
    newest = tf.io.decode_png((workdir / "figures" / "history.png").read_bytes(), channels=3)
    np.testing.assert_array_equal(newest, _picture(figures["history"][1]))


def test_the_refinement_is_followed_with_the_steps_of_its_epoch(tmp_path):
    """K of a schedule changes between two epochs; the same K is traced once."""
    model, x = keras_models.dense_model(), keras_models.data()
    model(x)
    figures = BoardFigures(tmp_path, tmp_path, list, x)
    figures.set_model(model)
    lengths = []
    for model.refinement.steps in (2, 4, 2):
        lengths.append(len(figures._path().bound))
    assert lengths == [3, 5, 3] and len(figures._followers) == 2


def test_figures_are_drawn_from_the_arrays_beside_them(shown):
    workdir, _ = shown
    rows = json.loads((workdir / "history.json").read_text())
    arrays = np.load(workdir / "figures" / "history.npz")
    for name in ("epoch", "bound", "kl", "val_bound", "val_kl"):
        np.testing.assert_array_equal(arrays[name], [row[name] for row in rows])
    path = np.load(workdir / "figures" / "refinement.npz")
    assert path["nll"].shape == path["kl"].shape == (3, 8)  # K = 2, and a batch of 8.
    assert path["moved"].shape == (2, 3, 8) and (path["moved"][:, 0] == 0).all()
    assert (path["moved"][:, 2] > 0).all() and (path["nll"] > 0).all()
    assert sorted(p.name for p in (workdir / "figures").iterdir()) == [
        f"{name}.{kind}" for name in ("history", "refinement") for kind in ("npz", "png")
    ]


def test_images_are_shown_as_grids(tmp_path):
    image_runs.write_images(tmp_path)
    config = image_runs.config(tmp_path, system="vae", board_samples=4)
    images = load_image_sets(config)
    model, folder = build_image_model(config, images), Workdir(tmp_path / "run")
    state = SimpleNamespace(state={"history": [{"epoch": 1, "bound": 2.0, "kl": 1.0}]})
    for callback in boards(config, folder, ImageView(config, images), state):
        callback.set_model(model)
        callback.on_epoch_end(0)
        callback.on_train_end()
    events = _events(folder.path, "samples")
    assert {tag: list(steps) for tag, steps in events.items()} == {
        "samples": [0],
        "reconstructions": [0],
    }
    samples, rebuilt = (_picture(events[tag][0]) for tag in ("samples", "reconstructions"))
    assert len(rebuilt) == pytest.approx(len(samples), rel=0.1)  # Below a row of real images.
    assert (samples == 0).any() and (rebuilt == 0).any()  # Ink.
    assert list(_events(folder.path, "figures")) == ["history"]  # A VAE refines nothing.


def test_pairs_of_images_stand_below_each_other(tmp_path):
    image_runs.write_images(tmp_path)
    config = image_runs.config(tmp_path)
    images = load_image_sets(config)
    view = ImageView(config, images)
    x = view.examples(3)
    np.testing.assert_array_equal(x[1, ..., 0], images.valid.probabilities([4])[0])
    assert view.examples(99).shape == (12, 6, 6, 1)  # All there are.
    same, other = view.pairs(x, x, 0), view.pairs(x, 1 - x, 0)
    rows = np.flatnonzero((same != other).any(axis=(1, 2)))
    assert rows.size and rows.min() > len(same) / 2  # The upper row holds the data in both.


def test_a_model_without_a_code_samples_only(texts, tmp_path):
    config = text_runs.config(texts, system="autoregressive")
    data = task.load_texts(config)
    callback = _callback(tmp_path, TextView(config, data), task.build_model(config, data))
    assert [tag for tag, _ in callback.entries(0)] == ["samples"]


# What is not disturbed.


def test_an_epoch_is_saved_before_it_is_shown(shown):
    assert shown[1] == [(0, 1), (0, 1), (1, 2), (1, 2)]  # Samples and figures of both epochs.


def test_training_is_the_same_with_and_without(texts, shown, tmp_path):
    tasks.train_and_evaluate(text_runs.config(texts, **{**CHANGES, "board_samples": 0}), tmp_path)
    _same_weights(shown[0], tmp_path)
    assert text_runs.history(shown[0]) == text_runs.history(tmp_path)
    assert not (tmp_path / "figures").exists()
    assert sorted(p.name for p in (tmp_path / "tensorboard").iterdir()) == ["train", "validation"]


def test_a_run_that_cannot_draw_and_is_killed_and_resumed(
    texts, shown, tmp_path, monkeypatch, caplog
):
    """Epoch 1 fails to be shown; epoch 2 is interrupted, resumed, and shown as if it had not."""
    config = text_runs.config(texts, **CHANGES)
    original = callbacks.RunState.on_train_batch_end

    def and_die(self, batch, logs=None):
        original(self, batch, logs)
        if self._step == KILLED_AT:
            raise Killed

    def fail(*args, **kwargs):
        raise MemoryError("no room for samples")

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunState, "on_train_batch_end", and_die)
        patch.setattr(tensorboard.generation, "sample", fail)
        with pytest.raises(Killed):
            tasks.train_and_evaluate(config, tmp_path)
    assert "could not show epoch 1 in TensorBoard" in caplog.text
    assert "MemoryError: no room for samples" in caplog.text
    assert _epochs_saved(tmp_path) == 1 and not (tmp_path / "tensorboard" / "samples").exists()

    tasks.train_and_evaluate(config, tmp_path)

    ours, theirs = _events(tmp_path, "samples"), _events(shown[0], "samples")
    for tag in ("samples", "reconstructions"):
        assert ours[tag] == {1: theirs[tag][1]}
    ours, theirs = (np.load(p / "figures" / "refinement.npz") for p in (tmp_path, shown[0]))
    np.testing.assert_array_equal(ours["nll"], theirs["nll"])
    _same_weights(shown[0], tmp_path)


def test_codes_of_nan_are_named_and_not_shown(texts, tmp_path, caplog):
    config = text_runs.config(texts, system="vae")
    data = task.load_texts(config)
    model = task.build_model(config, data)
    weight = model.encoder.trainable_variables[-1]
    weight.assign(tf.fill(weight.shape, float("nan")))
    callback = _callback(tmp_path, TextView(config, data), model)
    callback.on_epoch_end(4)
    callback.on_train_end()
    assert "epoch 5" in caplog.text
    assert "latent variables of the reconstructions contain NaN" in caplog.text
    logs = EventAccumulator(str(tmp_path))
    logs.Reload()
    assert logs.Tags()["tensors"] == ["samples"]


def test_how_many_is_checked_and_does_not_tell_runs_apart(texts):
    with pytest.raises(ValueError, match="board_samples: expected an integer >= 0"):
        text_runs.config(texts, board_samples=-1)
    assert "board_samples" not in text_runs.config(texts).identity()
