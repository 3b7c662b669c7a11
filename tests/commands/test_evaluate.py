"""Evaluating a finished run: the whole report, other systems, and every way to give bad input."""

import json
import math
import runpy
import shutil
import sys
import types
from pathlib import Path

import evaluate_runs
import image_files
import image_runs
import keras
import numpy as np
import pytest
import text_runs

from tf_savae import data
from tf_savae.commands.evaluate import run as evaluate
from tf_savae.commands.evaluate.config import EvaluateConfig
from tf_savae.commands.read_split import read_split
from tf_savae.commands.results_folder import Output
from tf_savae.commands.step_samples import set_step_samples
from tf_savae.evaluation import evaluate_bounds
from tf_savae.tasks import ImageTask, load_run
from tf_savae.tasks.image.data import load_image_sets
from tf_savae.training.finished_run import Run

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "evaluate.py"
QUICK = {
    "samples": 5,
    "gap_examples": 6,
    "gap_steps": 10,
    "gap_noises": 5,
    "curve_examples": 6,
    "curve_steps": "0,2",
    "curve_tolerances": "0.01",
    "curve_noises": 5,
}


@pytest.fixture(scope="module")
def workdir(texts, tmp_path_factory):
    return evaluate_runs.text_run(texts, tmp_path_factory.mktemp("run") / "run")


def _config(texts, **changes):
    return EvaluateConfig(**{"file": str(texts / "test.txt"), **QUICK, **changes})


def _run_script(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return ended.value.code


@pytest.fixture(scope="module")
def report(texts, workdir):
    return evaluate.evaluate_run(_config(texts), workdir)


def test_the_report_agrees_with_itself(texts, workdir, report):
    assert json.loads((workdir / "evaluation" / "report.json").read_text()) == report
    encoder, refined = report["posteriors"]["encoder"], report["posteriors"]["refined"]
    assert (encoder["steps"], refined["steps"]) == (0, 2)
    for numbers in (encoder, refined):
        parts = numbers["nll"]["mean"] + numbers["kl"]["mean"]
        assert numbers["bound"]["mean"] == pytest.approx(parts)
        assert numbers["iw_nll"]["mean"] < numbers["bound"]["mean"] + 0.5
        assert numbers["mutual_information"]["cap"] == pytest.approx(math.log(12))
        assert 1 <= numbers["effective_samples"] <= 5
        assert 0 <= numbers["active_units"] <= 2
    words = sum(len(line.split()) for line in (texts / "test.txt").read_text().splitlines())
    total = 12 * refined["iw_nll"]["mean"]
    assert refined["iw_ppl"] == pytest.approx(math.exp(total / (words + 12)))
    assert refined["iw_ppl_without_end"] == pytest.approx(math.exp(total / words))
    assert report["examples"] == 12 and report["split"] == "test"


def test_the_parts_of_the_gap_add_up(report):
    gap = {k: v["mean"] for k, v in report["gap"].items() if isinstance(v, dict)}
    parts = gap["approximation_gap"] + gap["amortization_gap"]
    assert gap["inference_gap"] == pytest.approx(parts)
    assert gap["inference_gap"] == pytest.approx(gap["amortized"] - gap["nll"])
    assert report["gap"]["examples"] == 6 and report["gap"]["steps"] == 2


def test_the_curve_has_a_row_for_each_way_to_infer(report):
    rows = report["curve"]
    assert [row["inference"] for row in rows] == ["K=0", "K=2", "until < 0.01 nats, 8 samples"]
    assert rows[0]["gain"]["mean"] == 0.0
    for row in rows:
        assert row["gain"]["mean"] == pytest.approx(rows[0]["bound"] - row["bound"], abs=1e-6)
        assert row["milliseconds"] > 0


def test_refinement_with_other_samples_than_in_training(texts, workdir, report, tmp_path):
    """`svi_samples` and `svi_antithetic` change the refined posterior and nothing else."""
    no_parts = {"gap_examples": 0, "curve_examples": 0}
    pair = _config(texts, svi_samples=2, svi_antithetic=True, **no_parts)
    got = evaluate.evaluate_run(pair, workdir, tmp_path / "pair")["posteriors"]
    assert got["encoder"] == report["posteriors"]["encoder"]
    assert got["refined"]["bound"] != report["posteriors"]["refined"]["bound"]
    run = load_run(workdir)
    run.model.refinement.samples, run.model.refinement.antithetic = 2, True
    bounds = evaluate_bounds(run.model, read_split(run, pair).dataset(), 2, 0)
    assert got["refined"]["bound"]["mean"] == pytest.approx(bounds.bound.mean(), rel=1e-6)


def test_samples_per_step_need_latent_variables_and_a_family_that_has_pairs(texts, workdir):
    run = load_run(workdir)
    skewed = types.SimpleNamespace(symmetric=False)
    model = types.SimpleNamespace(family=skewed, refinement=types.SimpleNamespace())
    asymmetric = types.SimpleNamespace(latent=True, model=model)
    config = _config(texts, svi_samples=2, svi_antithetic=True)
    with pytest.raises(ValueError, match="antithetic: expected a family that is symmetric"):
        set_step_samples(asymmetric, config)
    without = types.SimpleNamespace(latent=False, system="autoregressive")
    with pytest.raises(ValueError, match="svi_samples: expected a run with latent variables"):
        set_step_samples(without, config)
    set_step_samples(run, _config(texts))
    assert (run.model.refinement.samples, run.model.refinement.antithetic) == (1, False)


def test_gap_and_curve_use_examples_spread_over_the_file(texts, workdir):
    split = read_split(load_run(workdir), _config(texts))

    def rows(dataset):
        found = []
        for x, _, weights in dataset:
            found += [tuple(row[row != 0]) for row in x.numpy()[weights.numpy() > 0]]
        return found

    everything = rows(split.dataset())
    assert len(everything) == 12 and rows(split.subset(4)) == everything[::3]


def test_pictures_come_with_their_arrays(workdir, report):
    folder = workdir / "evaluation"
    gap, steps = np.load(folder / "gap.npz"), np.load(folder / "steps.npz")
    assert gap["amortized"].mean() == pytest.approx(report["gap"]["amortized"]["mean"])
    assert (steps["nll"] + steps["kl"]).shape == (3, 6)
    for name in ("gap.png", "steps.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    text = (folder / "report.txt").read_text(encoding="utf-8")
    assert f"{report['posteriors']['refined']['bound']['mean']:,.3f}" in text


def test_another_evaluation_takes_nothing_away(texts, workdir, report, monkeypatch):
    before = text_runs.contents(workdir)
    flags = [f"--workdir={workdir}", f"--file={texts / 'test.txt'}", "--gap_examples=0"]
    flags += ["--curve_examples=0", "--samples=2", "--max_examples=5", "--seed=7"]
    assert not _run_script(monkeypatch, *flags)
    after = text_runs.contents(workdir)
    assert {path: after[path] for path in before} == before
    second = json.loads((workdir / "evaluation-2" / "report.json").read_text())
    assert second["examples"] == 5 and "gap" not in second and "curve" not in second


@pytest.mark.parametrize("system", ["autoregressive", "svi"])
def test_systems_without_an_encoder(texts, tmp_path, system):
    run = evaluate_runs.text_run(texts, tmp_path / "run", system, max_train_lines=16)
    plain = _config(texts, gap_examples=0, curve_examples=0)
    found = evaluate.evaluate_run(plain, run, tmp_path / "out")["posteriors"]
    assert list(found) == {"autoregressive": ["exact"], "svi": ["refined"]}[system]
    model = load_run(run).model
    if system == "autoregressive":
        exact = -np.mean([float(model.log_likelihood(row[None])[0]) for row in _rows(texts, run)])
        assert found["exact"]["nll"]["mean"] == pytest.approx(exact, rel=1e-5)


def _rows(texts, run):
    lines = (texts / "test.txt").read_text().splitlines()
    return [np.array(load_run(run).vocabulary.encode(line), np.int32) for line in lines]


def test_images_by_the_same_command(tmp_path):
    images = image_runs.write_images(tmp_path, counts=(20, 8, 9))
    run = evaluate_runs.image_run(images, tmp_path / "run")
    file = str(images / "images.npz")
    settings = {"curve_examples": 0, "gap_examples": 0, "samples": 4}
    found = evaluate.evaluate_run(_config(tmp_path, file=file, **settings), run)
    assert (found["unit"], found["examples"]) == ("image", 9)
    refined = found["posteriors"]["refined"]
    assert 0 < refined["iw_nll"]["mean"] < refined["bound"]["mean"] + 0.5
    assert "ppl" not in refined
    (tmp_path / "more").mkdir()
    other = image_runs.write_images(tmp_path / "more", counts=(20, 8, 9), seed=1)
    with pytest.raises(ValueError, match="none of the run's splits"):
        evaluate.evaluate_run(_config(tmp_path, file=str(other / "images.npz")), run)


def _run_on_images(folder, **places):
    """A run, without its model, on images of 6 x 6 in several places; and its three sets."""
    np.save(folder / "many.npy", image_files.grey(60, 6))
    np.save(folder / "few.npy", image_files.grey(7, 6, 1))
    np.save(folder / "some.npy", image_files.grey(40, 6, 2))
    parts = {name: image_files.grey(9, 6, n + 3) for n, name in enumerate(("train", "test"))}
    image_files.write_npz(folder / "parts.npz", **parts)
    places = {name: str(folder / place) for name, place in places.items()}
    config = image_runs.config(folder, **places, max_eval_images=6)
    sets = load_image_sets(config)
    return Run(folder, ImageTask(), None, config.identity(), sets.identity(), None), sets, places


@pytest.mark.parametrize(
    "places",
    [
        {},
        {"test_images": "few.npy"},
        {"test_images": "some.npy"},
        {"test_images": "parts.npz"},
        {"valid_images": "few.npy"},
        {"valid_images": "some.npy", "test_images": "parts.npz"},
    ],
)
def test_images_from_several_places_are_found_again(tmp_path, places):
    """Every split, in the file that the training was given for it."""
    run, sets, places = _run_on_images(tmp_path, images="many.npy", **places)
    for part in ("train", "valid", "test"):
        file = places.get(f"{part}_images", places["images"])
        split = read_split(run, _config(tmp_path, file=file, split=part))
        expected = getattr(sets, part)
        assert split.examples == len(expected)
        if part != "train":  # Its grey images are drawn here.
            found = np.concatenate([x[w.numpy() > 0] for x, _, w in split.dataset()])
            np.testing.assert_array_equal(found[..., 0], expected.levels)


def test_images_from_another_place_than_the_split_s_are_refused(tmp_path, monkeypatch):
    run, _, places = _run_on_images(tmp_path, images="many.npy", test_images="few.npy")
    for part, name in (("test", "images"), ("train", "test_images")):
        with pytest.raises(ValueError, match=f"expected the {part} data .* none of the run's"):
            read_split(run, _config(tmp_path, file=places[name], split=part))
    monkeypatch.setattr(data, "load_images", lambda source, **_: {"test": run})
    with pytest.raises(ValueError, match="expected images to train on, got only test"):
        read_split(run, _config(tmp_path, file=places["test_images"], split="train"))


# Bad input: one clear error each, before any long work and before any folder is made.


@pytest.fixture
def no_long_work(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("long work began before the input was checked")

    monkeypatch.setattr(evaluate, "posterior_numbers", fail)


def test_another_split_is_refused(texts, workdir, tmp_path, no_long_work):
    config = _config(texts, file=str(texts / "valid.txt"))
    with pytest.raises(ValueError, match="contains the run's valid data.*--split=other"):
        evaluate.evaluate_run(config, workdir, tmp_path / "out")
    other = text_runs.write_texts(tmp_path, seed=5)
    with pytest.raises(ValueError, match="none of the run's splits"):
        evaluate.evaluate_run(_config(other), workdir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_the_run_does_not_know(texts, workdir, tmp_path):
    other = text_runs.write_texts(tmp_path, counts=(5, 5, 5), seed=5)
    split = read_split(load_run(workdir), _config(other, split="other"))
    rows = [weights.numpy().sum() for _, _, weights in split.dataset()]
    assert split.examples == 5 and sum(rows) == 5


def test_a_folder_with_files_is_refused(texts, workdir, tmp_path, no_long_work):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        evaluate.evaluate_run(_config(texts), workdir, tmp_path)
    with pytest.raises(ValueError, match="expected a folder that can be created"):
        Output(workdir, "evaluation", tmp_path / "mine.txt" / "below")
    assert (tmp_path / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"file": ""}, "since a run does not store its data; got nothing. Give --file"),
        ({"file": "none.txt"}, "file that can be read, got none.txt"),
    ],
)
def test_a_missing_file_is_named(texts, workdir, no_long_work, flags, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluate.evaluate_run(_config(texts, **flags), workdir)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples: expected an integer >= 1, got 0"),
        ({"steps": -2}, r"steps \(-1: as in training\)"),
        ({"split": "testing"}, "split: expected one of train, valid, test, other"),
        ({"curve_steps": "1,x"}, "curve_steps: expected comma-separated numbers"),
        ({"curve_steps": ""}, "curve_steps: expected at least one K"),
        ({"gap_step_size": 0.0}, "gap_step_size: expected a finite number > 0"),
        ({"svi_samples": -1}, "svi_samples: expected an integer >= 0, got -1"),
        ({"svi_samples": 3, "svi_antithetic": True}, "svi_antithetic: expected svi_samples to be"),
        ({"svi_antithetic": True}, "svi_antithetic: .* got svi_samples=0"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        EvaluateConfig(**changes)


def test_the_command_says_it_in_one_line(texts, workdir, tmp_path, monkeypatch):
    flags = [f"--workdir={tmp_path / 'none'}", f"--file={texts / 'test.txt'}"]
    answer = _run_script(monkeypatch, *flags)
    assert answer.startswith("evaluate.py: workdir ") and "but it does not exist" in answer


# Loading a run.


def _damaged(workdir, tmp_path, name, content):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in ("run.json", "vocabulary.txt", "model.keras"):
        shutil.copy(workdir / file, copy)
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    return copy


def test_a_loaded_run_is_what_was_saved(texts, workdir):
    run = load_run(workdir)
    assert (run.kind, run.system, run.latent) == ("text", "savae", True)
    assert run.configuration["units"] == 8 and len(run.vocabulary) == 34
    assert run.model.compiled and run.model.refinement.steps == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", None, "but it has no run.json"),
        ("run.json", b"{", "expected JSON"),
        ("run.json", b'{"configuration": {"seeds": [0]}}', "record of a run with one system"),
        ("vocabulary.txt", None, "no vocabulary file"),
        ("vocabulary.txt", b"words", "expected a vocabulary"),
        ("model.keras", None, "has no model yet"),
        ("model.keras", b"PK", "damaged or different file"),
    ],
)
def test_damaged_runs_are_named(workdir, tmp_path, name, content, message):
    copy = _damaged(workdir, tmp_path, name, content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_run(copy)


def test_a_cut_model_file_is_named(workdir, tmp_path):
    whole = (workdir / "model.keras").read_bytes()
    copy = _damaged(workdir, tmp_path, "model.keras", whole[: len(whole) // 2] + whole[-30:])
    with pytest.raises(ValueError, match="model.keras: expected"):
        load_run(copy)


def test_a_foreign_model_is_refused(workdir, tmp_path):
    copy = _damaged(workdir, tmp_path, "model.keras", None)
    keras.Sequential([keras.layers.Input([2]), keras.layers.Dense(1)]).save(copy / "model.keras")
    with pytest.raises(ValueError, match="SemiAmortizedVAE or AutoregressiveModel, got a Seq"):
        load_run(copy)


def test_the_vocabulary_of_another_run_is_refused(workdir, tmp_path):
    copy = _damaged(workdir, tmp_path, "vocabulary.txt", None)
    load_run(workdir).vocabulary.__class__(["other"]).save(copy / "vocabulary.txt")
    with pytest.raises(ValueError, match="vocabulary that the run was trained with"):
        load_run(copy)


def test_a_bound_that_earlier_versions_took_no_notice_of(workdir, tmp_path):
    record = json.loads((workdir / "run.json").read_text())
    record["configuration"] |= {"adjoint": "unrolled", "adjoint_clip_norm": 2.0}
    copy = _damaged(workdir, tmp_path, "run.json", json.dumps(record).encode())
    assert load_run(copy).configuration["adjoint"] == "unrolled"
