"""Commands show no line that is not theirs, unless --show_all_logs asks for them."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import import_graph
import pytest
from absl import logging as absl_logging

from tf_savae.commands import quiet_start

PROJECT = Path(__file__).resolve().parents[2]
OWN = {path.name for path in import_graph.package_folder().rglob("*.py")}
LOGGED = re.compile(r"[IWEF]\d{4} [\d:.]+ +\d+ ([\w.]+):\d+\] ")
TRAIN = ["--config=tiny", "--jit_compile=false", "--svi_steps=1", "--epochs=1", "--iw_samples=2"]
TRAIN += ["--train_file=builtin:sentences", "--max_train_lines=16", "--max_eval_lines=8"]
TRAIN += ["--board_samples=0", "--workdir=run"]
STAGES = [
    "] Importing TensorFlow",
    "] Building the model",
    "] Choosing what the refinement steps keep in memory",
    "] Compiling the training step (K = 1): some seconds",
    "] Evaluating the best weights on the test data",
]


def _lines(folder, *command):
    """Standard error of a command that succeeds, in lines."""
    environment = {name: value for name, value in os.environ.items() if name[:6] != "TF_CPP"}
    environment["PYTHONPATH"] = str(import_graph.package_folder().parent)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not LOGGED.search(done.stdout)
    return done.stdout, done.stderr.splitlines()


def _order(lines, wanted):
    """Those of the wanted texts that lines end with, in the order of the lines."""
    return [text for line in lines for text in wanted if line.endswith(text)]


def _foreign(lines):
    found = [(LOGGED.match(line), line) for line in lines]
    return [line for match, line in found if not match or match[1] not in OWN]


@pytest.mark.e2e
def test_a_command_shows_its_own_lines_alone(tmp_path):
    program = str(PROJECT / "tf_savae_command.py")
    out, lines = _lines(tmp_path, program, "train-text", *TRAIN)
    assert _foreign(lines) == [] and any("data.py" in line for line in lines)
    assert _order(lines, STAGES) == STAGES  # A line before each work that has no progress bar.
    assert "\nFiles:\n  run/vocabulary.txt " in out
    assert out.endswith("\nNext: tf-savae evaluate --workdir=run --file=builtin:sentences:test\n")
    # The finished run is reported again, by the script and with all that libraries say.
    again, lines = _lines(tmp_path, str(PROJECT / "bin/train_text.py"), *TRAIN, "--show_all_logs")
    assert any(re.match(r"[EWI]0000 |.*(TensorFlow|oneDNN)", line) for line in _foreign(lines))
    assert again[again.index("Files:") :] == out[out.index("Files:") :]


@pytest.mark.parametrize(
    ("place", "level", "shown"),
    [
        ("site-packages/tensorflow/python/saved_model/builder_impl.py", "INFO", False),
        ("site-packages/tensorflow/python/eager/polymorphic_function.py", "WARNING", False),
        ("site-packages/tensorflow/python/eager/context.py", "ERROR", True),
        ("site-packages/keras/src/callbacks/tensorboard.py", "WARNING", False),
        ("site-packages/tf_savae/training/callbacks.py", "WARNING", True),
    ],
)
def test_of_what_libraries_log_errors_alone_are_shown(place, level, shown):
    quiet_start.start_tensorflow()
    for logger in (absl_logging.get_absl_logger(), logging.getLogger("tensorflow")):
        number = logging.getLevelName(level)
        record = logger.makeRecord(logger.name, number, place, 1, "Assets written", (), None)
        assert bool(logger.filter(record)) is shown
