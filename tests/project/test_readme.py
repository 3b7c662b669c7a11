"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

from tf_savae import data

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def _run(example):
    names = {"__name__": "readme"}
    exec(compile(example, "README.md", "exec"), names)
    return names


@pytest.mark.e2e
def test_own_model_in_25_lines():
    assert len([line for line in EXAMPLES[0].splitlines() if line.strip()]) <= 25
    names = _run(EXAMPLES[0])
    assert names["posterior"].sample(seed=0).shape == (4, 2)
    assert len(names["vae"].history.epoch) == 2


def test_refinement_without_keras():
    refined = _run(EXAMPLES[1])["refined"].numpy()
    assert refined == pytest.approx(1.0, abs=0.05)


def test_commands_of_text_and_images_train_on_what_ships():
    """Their sources are known: the tutorials' tests train on them."""
    commands = re.findall(
        r"^    \.venv/bin/python bin/(train_(?:text|image)\.py .*)$", README, re.M
    )
    places = [re.search(r"--(?:train_file|images)=(\S+)", command)[1] for command in commands]
    assert places == ["builtin:sentences", "builtin:shapes"]
    assert data.load_images(places[1])["train"].shape == (28, 28)
    assert len(data.read_lines(places[0])[0]) == 6000
