"""Stages of long work: which lines are shown where, and what a silent program says."""

import io
import logging
import sys

import pytest
from absl import logging as absl_logging

from tf_savae.core.progress import heartbeat, stages


@pytest.fixture
def lines():
    """The lines that are logged."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger, before = absl_logging.get_absl_logger(), absl_logging.get_verbosity()
    logger.addHandler(handler)
    absl_logging.set_verbosity(absl_logging.INFO)
    yield lambda: stream.getvalue().splitlines()
    absl_logging.set_verbosity(before)
    logger.removeHandler(handler)


class Clock:
    """A clock that stands until it is set."""

    now = 100.0

    def __call__(self):
        return self.now


def test_a_silent_program_says_what_it_does(lines, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stages.time, "monotonic", clock)
    with heartbeat.Heartbeat(clock) as heart, stages.stage("Training", announced=False):
        with stages.stage("Compiling the training step (K = 5)"):
            clock.now += 7.0
            heart.beat()  # Not yet.
            clock.now += 1.0
            heart.beat()
            clock.now += 8.0
            heart.beat()
        stages.detail("epoch 1, step 3 of 9")
        print("output")
        clock.now += 7.9
        heart.beat()
        clock.now += 0.1
        heart.beat()
    clock.now += 99.0
    heart.beat()  # It has ended.
    assert lines() == [
        "Compiling the training step (K = 5)",
        "Compiling the training step (K = 5): still at work (8 s)",
        "Compiling the training step (K = 5): still at work (16 s)",
        "Training: epoch 1, step 3 of 9 (24 s)",
    ]


def test_a_log_line_of_ours_counts_as_output(lines):
    clock = Clock()
    with heartbeat.Heartbeat(clock) as heart:
        clock.now += 7.0
        with stages.stage("Compiling"):
            clock.now += 7.0
            heart.beat()
    assert lines() == ["Compiling"]


def test_a_line_does_not_go_into_a_progress_bar(lines, capsys):
    clock = Clock()
    with heartbeat.Heartbeat(clock) as heart:
        sys.stdout.write("3/9 -----")
        clock.now += 8.0
        heart.beat()
        sys.stderr.write("done\n")
        clock.now += 8.0
        heart.beat()
    assert capsys.readouterr().out == "3/9 -----\n" and lines() == ["still at work"] * 2


def test_streams_are_what_they_were():
    kept = sys.stdout, sys.stderr
    with pytest.raises(ValueError, match="own"), heartbeat.Heartbeat():
        assert sys.stdout is not kept[0] and sys.stdout.isatty() == kept[0].isatty()
        raise ValueError("its own")
    assert (sys.stdout, sys.stderr) == kept


@pytest.mark.parametrize(("options", "shown"), [({}, "Tracing\n"), ({"verbose": 0}, "")])
def test_methods_of_keras_print_beside_their_bar(options, shown, capsys, monkeypatch):
    monkeypatch.setattr(stages.logging, "level_info", lambda: False)
    with stages.printed(options, "Training"), stages.stage("Tracing"):
        assert stages.under_way()
    with stages.stage("Tracing"):
        pass
    assert capsys.readouterr().out == shown and not stages.under_way()
