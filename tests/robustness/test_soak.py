"""Runs that are killed while they write, and restarted: the bits of an uninterrupted run."""

import shutil

import pytest
import soak
import text_runs

from tf_savae import tasks
from tf_savae.models import NonFiniteError, apply_if_finite
from tf_savae.tasks.text import task


class _AtChanges:
    """In place of `random.Random`: kills at given numbers of changes of the run's folder."""

    def __init__(self, *changes):
        self._changes = list(changes)

    def uniform(self, low, high):
        return high

    def random(self):
        return 0.0

    def randint(self, low, high):
        return self._changes.pop(0)


@pytest.mark.slow
def test_two_kills_while_writing_end_with_the_same_bits(tmp_path):
    """programs/soak.py does it 48 times, at random; its result is in programs/results."""
    soak.write_texts(tmp_path)
    options = {"system": "autoregressive"}
    _, expected = soak.one_run("text", tmp_path, tmp_path / "whole", None, 0.0, 0, **options)
    kills, outcome = soak.one_run(
        "text", tmp_path, tmp_path / "killed", _AtChanges(9, 14), 500.0, 2, **options
    )
    assert kills == ["write", "write"]
    assert len(expected) > 10 and soak.same(outcome, expected)
    weights = next(name for name in expected if name.endswith("vars/0"))
    assert not soak.same({**outcome, weights: outcome[weights] + 1e-7}, expected)


def test_batches_in_vain_end_a_run_with_a_checkpoint_of_the_last_good_state(tmp_path, monkeypatch):
    texts = text_runs.write_texts(tmp_path)
    config = text_runs.config(texts, system="autoregressive", epochs=2, checkpoint_every=100)
    models = []
    build, finite = task.build_model, apply_if_finite.all_finite

    def remembered(*arguments):
        models.append(build(*arguments))
        return models[-1]

    def ends_at_step_11(loss, gradients):
        return finite(loss, gradients) & (models[-1].optimizer.iterations < 11)

    monkeypatch.setattr(task, "build_model", remembered)
    monkeypatch.setattr(apply_if_finite, "all_finite", ends_at_step_11)
    with pytest.raises(NonFiniteError, match="last 3 batches in a row.*saved as .*ckpt-") as error:
        tasks.train_and_evaluate(config, tmp_path / "run")
    assert "--skip_limit" in str(error.value)
    assert int(models[-1].optimizer.iterations) == 14
    monkeypatch.setattr(apply_if_finite, "all_finite", finite)
    report = tasks.train_and_evaluate(config, tmp_path / "run")
    assert report["steps"] == 16
    assert [row["skipped"] for row in text_runs.history(tmp_path / "run")] == [0.0, 3.0]
    (tmp_path / "run" / "report.json").unlink()
    shutil.rmtree(tmp_path / "run" / "best")
    with pytest.raises(ValueError, match="weights of the best epoch in its folder best"):
        tasks.train_and_evaluate(config, tmp_path / "run")
