"""Analyzing finished runs: what is written, tags that fit or do not, and images."""

import dataclasses
import json
import runpy
import sys
from pathlib import Path

import evaluate_runs
import image_runs
import numpy as np
import pytest
import text_runs

from tf_savae.commands import analyze
from tf_savae.commands.analyze import AnalyzeConfig
from tf_savae.tasks.text import task
from tf_savae.tasks.text.tags import read_tags

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "analyze.py"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Also test.tags: "odd" or "even" for the number of each word."""
    folder = text_runs.write_texts(tmp_path_factory.mktemp("texts"))
    lines = (folder / "test.txt").read_text().splitlines()
    kinds = ("even", "odd")
    tags = [" ".join(kinds[int(word[1:]) % 2] for word in line.split()) for line in lines]
    (folder / "test.tags").write_text("\n".join(tags) + "\n")
    return folder


@pytest.fixture(scope="module")
def workdir(texts, tmp_path_factory):
    return evaluate_runs.text_run(texts, tmp_path_factory.mktemp("run") / "run")


def _config(texts, **changes):
    return AnalyzeConfig(**{"file": str(texts / "test.txt"), "noises": 3, **changes})


@pytest.fixture(scope="module")
def report(texts, workdir):
    return analyze.analyze_run(_config(texts, tags=str(texts / "test.tags")), workdir)


def test_averages_are_those_of_the_saved_tokens(texts, workdir, report):
    folder = workdir / "analysis"
    assert json.loads((folder / "analysis.json").read_text()) == report
    arrays = np.load(folder / "corpus.npz")
    words = [[int(w[1:]) for w in line.split()] for line in open(texts / "test.txt")]
    for part in ("encoder", "decoder"):
        tags = report["saliency"][part]["tag"]
        for name, rest in (("even", 0), ("odd", 1)):
            picked = [
                value
                for row, line in zip(arrays[part], words, strict=True)
                for value, word in zip(row[1:], line, strict=False)
                if word % 2 == rest
            ]
            assert tags[name]["tokens"] == len(picked)
            assert tags[name]["mean"] == pytest.approx(np.mean(picked))
    assert np.isnan(arrays["decoder"][:, 0]).all()
    assert "<s>" not in report["saliency"]["decoder"]["frequency"]
    assert report["saliency"]["encoder"]["frequency"]["<s>"]["tokens"] == 12


def test_pictures_and_their_arrays(texts, workdir, report):
    folder = workdir / "analysis"
    for name in ("sentence", "corpus", "refinement"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    first = open(texts / "test.txt").readline().split()
    assert np.load(folder / "sentence.npz")["words"].tolist() == ["<s>", *first, "</s>"]
    path = np.load(folder / "refinement.npz")
    assert (path["nll"] + path["kl"]).mean(axis=1).tolist() == report["refinement"]["bound"]
    assert 0.0 <= report["refinement"]["made_worse"] <= 1.0


def test_a_run_without_steps_or_encoder(texts, tmp_path):
    run = evaluate_runs.text_run(texts, tmp_path / "run", "svi", max_train_lines=16)
    found = analyze.analyze_run(_config(texts, steps=0, max_examples=3), run)
    assert found["refinement"] is None and list(found["saliency"]) == ["decoder"]
    assert found["examples"] == 3


def test_the_map_of_images(tmp_path):
    images = image_runs.write_images(tmp_path, counts=(20, 8, 9))
    run = evaluate_runs.image_run(images, tmp_path / "run")
    config = AnalyzeConfig(file=str(images / "images.npz"), noises=2, steps=1, example=3)
    found = analyze.analyze_run(config, run)
    arrays = np.load(run / "analysis" / "pixels.npz")
    assert arrays["images"].shape == arrays["saliency"].shape == (9, 6, 6)
    assert found["saliency"]["mean"] == pytest.approx(arrays["saliency"].mean())
    ink = arrays["saliency"][arrays["images"] == 1].mean()
    assert found["saliency"]["of_ink"] == pytest.approx(ink)
    assert (run / "analysis" / "pixels.png").read_bytes().startswith(b"\x89PNG")
    assert len(found["refinement"]["bound"]) == 2
    with pytest.raises(ValueError, match="tags: expected none for a run on images"):
        analyze.analyze_run(dataclasses.replace(config, tags="some.tags"), run)


# Bad input.


@pytest.fixture
def no_long_work(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("long work began before the input was checked")

    monkeypatch.setattr(task, "analyze_text", fail)


def _tag_file(tmp_path, texts, change):
    lines = (texts / "test.tags").read_text().splitlines()
    change(lines)
    path = tmp_path / "wrong.tags"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_line_with_another_number_of_tags_is_named(texts, workdir, tmp_path, no_long_work):
    def lose_one(lines):
        lines[4] = lines[4].rpartition(" ")[0]

    path = _tag_file(tmp_path, texts, lose_one)
    with pytest.raises(ValueError, match="one tag for each of the .* words of line 5 of .*got"):
        analyze.analyze_run(_config(texts, tags=path), workdir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_number_of_lines_is_named(texts, workdir, tmp_path, no_long_work):
    path = _tag_file(tmp_path, texts, lambda lines: lines.pop())
    with pytest.raises(ValueError, match="each of the 12 lines .* got 11 lines"):
        analyze.analyze_run(_config(texts, tags=path), workdir, tmp_path / "out")


def test_tags_follow_their_words_through_long_and_empty_lines(tmp_path):
    (tmp_path / "words").write_text("a b c\n\nd\ne f\n")
    (tmp_path / "tags").write_text("A B C\n\nD\nE F\n")
    files = tmp_path / "tags", tmp_path / "words"
    assert read_tags(*files, max_words=2) == [["A", "B"], ["D"], ["E", "F"]]
    assert read_tags(*files, max_words=2, long_lines="skip", limit=1) == [["D"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"example": 13}, "example: expected a number from 1 to 12"),
        ({"tags": "none.tags"}, "no file at none.tags"),
        ({"file": "none.txt"}, "file that can be read"),
    ],
)
def test_bad_settings_are_named(texts, workdir, no_long_work, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        analyze.analyze_run(_config(texts, **changes), workdir)


def test_a_model_without_a_latent_code_is_refused(texts, tmp_path, monkeypatch):
    run = evaluate_runs.text_run(texts, tmp_path / "run", "autoregressive", max_train_lines=16)
    command = [str(SCRIPT), f"--workdir={run}", f"--file={texts / 'test.txt'}"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="analyze.py: .*latent variables to analyze"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
