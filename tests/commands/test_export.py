"""bin/export_model.py: a finished run becomes a SavedModel; what cannot be is said in one line."""

import runpy
import sys
from pathlib import Path

import evaluate_runs
import numpy as np
import pytest
import tensorflow as tf
import text_runs

from tf_savae.commands.written_files import FILES
from tf_savae.data import Vocabulary
from tf_savae.tasks import load_run

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "export_model.py"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    texts = text_runs.write_texts(tmp_path_factory.mktemp("texts"))
    run = tmp_path_factory.mktemp("run") / "run"
    return evaluate_runs.text_run(texts, run, system="autoregressive")


def _run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return ended.value.code


def test_a_run_becomes_a_saved_model(workdir, tmp_path, monkeypatch, capsys, caplog):
    before = text_runs.contents(workdir)
    output = tmp_path / "models" / "baseline"
    flags = [f"--workdir={workdir}", f"--output={output}"]
    assert not _run(monkeypatch, *flags, "--version=3", "--signatures=log_likelihood")
    said = [f"Loading the model of {workdir}", "Tracing 2 signatures", "Writing the SavedModel"]
    assert [record.message for record in caplog.records if record.message in said] == said
    shown = capsys.readouterr().out
    assert "exported autoregressive to" in shown
    assert f"Next: saved_model_cli show --dir={output / '3'} --all" in shown
    written = {f"{p.name}/" if p.is_dir() else p.name for p in (output / "3").iterdir()}
    assert written == set(FILES["export"])
    assert text_runs.contents(workdir) == before
    served = tf.saved_model.load(output / "3").signatures
    assert set(served) == {"log_likelihood", "log_likelihood_text", "serving_default"}
    texts = ["w1 w2 w3", "w4 nowhere"]
    got = served["log_likelihood_text"](text=tf.constant(texts))["log_likelihood_nats"].numpy()
    vocabulary = Vocabulary.load(workdir / "vocabulary.txt")
    model = load_run(workdir).model
    for value, text in zip(got, texts, strict=True):
        wanted = model.log_likelihood([vocabulary.encode(text)]).numpy()
        assert value == pytest.approx(wanted[0], rel=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 20 words"):
        served["log_likelihood_text"](text=tf.constant(["w1 " * 21]))  # Those of the run.
    assert "is not overwritten" in _run(monkeypatch, *flags, "--version=3")


def test_a_run_is_served_with_other_samples_per_step(tmp_path, monkeypatch):
    texts = text_runs.write_texts(tmp_path)
    run = evaluate_runs.text_run(texts, tmp_path / "run", system="vae")
    flags = [f"--workdir={run}", f"--output={tmp_path / 'served'}", "--signatures=posterior"]
    pair = ["--svi_samples=2", "--svi_antithetic", "--steps=3"]
    assert not _run(monkeypatch, *flags, *pair)
    loaded = load_run(run)
    tokens = tf.constant([loaded.vocabulary.encode("w1 w2 w3")])
    single = loaded.model.infer(tokens, steps=3, seed=0).mean()
    loaded.model.refinement.samples, loaded.model.refinement.antithetic = 2, True
    wanted = loaded.model.infer(tokens, steps=3, seed=0).mean()
    served = tf.saved_model.load(tmp_path / "served" / "1").signatures["posterior"]
    np.testing.assert_allclose(served(x=tokens)["mean"], wanted, rtol=1e-5)
    assert np.abs(wanted - single).max() > 1e-4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdir={empty}"], "but it has no run.json"),
        (["--workdir={empty}/none"], "but it does not exist"),
        (["--workdir={run}", "--max_steps=0"], "max_steps: expected an integer >= 1, got 0"),
        (["--workdir={run}", "--svi_samples=2"], "svi_samples: expected a run with latent"),
        (["--workdir={run}", "--svi_antithetic"], "svi_antithetic: expected svi_samples to be"),
        (["--workdir={run}", "--version=-2"], "version: expected an integer >= 0, got -2"),
        (["--workdir={run}", "--signatures=infer"], "expected some of log_likelihood, generate"),
        (["--workdir={run}", "--output={file}"], "expected a folder that can be created"),
    ],
)
def test_what_cannot_be_exported(workdir, tmp_path, monkeypatch, flags, message):
    file = tmp_path / "file"
    file.write_text("")
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "run": workdir, "file": file}
    flags = [f"--output={tmp_path / 'out'}", *(flag.format(**places) for flag in flags)]
    ended = _run(monkeypatch, *flags)
    assert isinstance(ended, str) and message in ended
    assert not (tmp_path / "out" / "1").exists()
