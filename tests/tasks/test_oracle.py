"""The oracle experiment end to end at toy size; what it writes, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tf_savae.commands.written_files import FILES
from tf_savae.plots.landscape import plot_landscape
from tf_savae.tasks import ORACLE_CONFIGS, OracleConfig, run_oracle
from tf_savae.tasks.oracle.table import summary, table

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "train_oracle.py"
TOY = {
    "vocabulary_size": 20,
    "units": 8,
    "length": 3,
    "train_points": 200,
    "learned_train_points": 200,
    "validation_points": 50,
    "test_points": 50,
    "steps": 2,
    "learned_steps": 2,
    "learned_samples": 2,
    "learned_svi_samples": 1,
    "oracle_vae_epochs": 1,
    "oracle_savae_epochs": 1,
    "learned_epochs": 1,
    "kl_anneal_epochs": 0,
    "test_draws": 20,
    "iw_samples": 20,
    "prior_samples": 500,
    "landscape_size": 9,
    "landscape_draws": 3,
    "jit_compile": "false",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oracle") / "run"
    return folder, run_oracle(OracleConfig(**TOY), folder, (0,))


def test_results_hold_every_run(finished):
    folder, results = finished
    assert json.loads((folder / "results.json").read_text("utf-8")) == results
    runs = {(run["study"], run["system"]): run for run in results["runs"]}
    systems = ("vae", "vae_svi", "svi", "savae")
    assert set(runs) == {(study, s) for study in ("oracle", "learned") for s in systems}
    assert results["configuration"] == {**OracleConfig(**TOY).identity(), "seeds": [0]}
    assert set(results["versions"]) >= {"tensorflow", "keras", "python"}
    assert results["seconds"] > 0
    for (study, system), run in runs.items():
        test = run["test"]
        assert all(np.isfinite(value) for value in test.values())
        assert test["bound"] == pytest.approx(test["nll"] + test["kl"], rel=1e-4)
        assert ("amortized_bound" in test) == (system in ("vae_svi", "savae"))
        trained = system != "vae_svi" and (study, system) != ("oracle", "svi")
        assert run["epochs"] == trained == len(run["history"].get("bound", []))
        assert ("iw_nll" in test) == (study == "learned" and system != "vae_svi")


def test_bounds_lie_above_the_true_nll(finished):
    _, results = finished
    truth = results["true_nll"][0]
    assert truth["prior"] == pytest.approx(truth["refined_proposal"], abs=0.1)
    oracle = [run["test"]["bound"] for run in results["runs"] if run["study"] == "oracle"]
    assert min(oracle) > truth["prior"]


def test_refinement_at_test_shares_the_vae(finished):
    _, results = finished
    runs = {r["system"]: r["test"] for r in results["runs"] if r["study"] == "oracle"}
    assert runs["vae_svi"]["amortized_bound"] == pytest.approx(runs["vae"]["bound"], abs=0.3)


def test_landscape_files(finished):
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} - {".lock"} == set(FILES["train-oracle"])
    assert (folder / "landscape.png").read_bytes().startswith(b"\x89PNG")
    arrays = np.load(folder / "landscape.npz")
    assert arrays["whole_values"].shape == arrays["near_values"].shape == (9, 9)
    assert [len(arrays[f"{s}_path"]) for s in ("vae", "svi", "savae")] == [1, 3, 3]
    np.testing.assert_array_equal(arrays["svi_path"][0], [0.0, 0.0])  # SVI starts at the prior.
    width = arrays["whole_first"]
    inside = np.concatenate([arrays[f"{s}_path"] for s in ("vae", "svi", "savae")])
    assert width[0] < inside.min() and inside.max() < width[-1]


def test_a_finished_run_is_shown_and_another_is_refused(finished, capsys):
    folder, results = finished
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"}
    assert run_oracle(OracleConfig(**TOY), folder, (0,)) == results
    printed = capsys.readouterr().out
    assert "is finished" in printed and "true NLL" in printed
    with pytest.raises(ValueError, match="steps: 2 there, 3 now"):
        run_oracle(OracleConfig(**{**TOY, "steps": 3}), folder, (0,))
    with pytest.raises(ValueError, match=r"seeds: \[0\] there, \[0, 1\] now"):
        run_oracle(OracleConfig(**TOY), folder, (0, 1))
    after = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"}
    assert after == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="contains files but no run"):
        run_oracle(OracleConfig(**TOY), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock") == ["thesis.tex"]


def test_a_workdir_that_is_a_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ValueError, match="expected a folder that can be created and written"):
        run_oracle(OracleConfig(**TOY), file / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_workdir_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="expected a folder that can be created and written"):
        run_oracle(OracleConfig(**TOY), tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "steps: expected an integer >= 1, got 0"),
        ("oracle_step_size", -1.0, "oracle_step_size: expected a finite number > 0, got -1.0"),
        ("momentum", 1.0, r"momentum: expected a number in \[0, 1\)"),
        ("train_points", 120, "train_points: expected a multiple of batch_size=50"),
        ("landscape_point", 50, "landscape_point: expected at most 49"),
        ("kl_anneal_epochs", 1, "learned_epochs: expected more than kl_anneal_epochs=1"),
        ("study", "none", "study: expected one of both, oracle, learned"),
        ("learned_epochs", 3, "learned_train_points: expected a multiple of learned_epochs"),
        ("learned_rule", "x", "learned_rule: expected one of momentum, learned_update"),
        ("hvp", "guess", "hvp: expected one of auto"),
        ("jit_compile", "yes", "jit_compile: expected one of auto"),
    ],
)
def test_configurations_are_checked(field, value, message):
    with pytest.raises(ValueError, match=message):
        OracleConfig(**{**TOY, field: value})


def test_named_configurations():
    for make in ORACLE_CONFIGS.values():
        assert isinstance(make(), OracleConfig)
    full = ORACLE_CONFIGS["full"]()
    sizes = (full.vocabulary_size, full.units, full.length, full.train_points)
    assert sizes == (1000, 100, 5, 5000)  # The paper's.


def test_the_script_reports_bad_input_in_one_line(tmp_path):
    """A real process: flags are parsed, the message is one line, nothing is trained."""
    (tmp_path / "other").write_text("x")
    command = [sys.executable, str(SCRIPT), f"--workdir={tmp_path}", "--quick", "--seeds=2"]
    source = str(SCRIPT.parent.parent)
    environment = {**os.environ, "PYTHONPATH": source, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("train_oracle.py: workdir") and "contains files but no run" in last
    assert "Traceback" not in done.stderr


def test_summary_over_seeds_and_table():
    def run(seed, bound):
        test = {"bound": bound, "kl": 3.0}
        return {"study": "oracle", "system": "vae", "seed": seed, "test": test}

    oracles = [{"seed": s, "prior": 19.0 + s, "refined_proposal": 19.5 + s} for s in range(2)]
    found = summary([run(0, 21.0), run(1, 23.0)], oracles)
    bound = found["oracle"]["vae"]["bound"]
    assert bound == {"mean": 22.0, "sd": pytest.approx(2**0.5)}
    assert found["true_nll"]["prior"]["mean"] == 19.5
    text = table({**found, "learned": {}, "oracle": {"vae": found["oracle"]["vae"]}})
    assert "22.00 ± 1.41" in text and "19.50 ± 0.71" in text


def test_a_landscape_of_nan_is_no_picture(tmp_path):
    from tf_savae.tasks.oracle.landscape import Landscape, Window

    axis = np.linspace(-1, 1, 3)
    window = Window(axis, axis, np.full([3, 3], np.nan))
    shown = Landscape(np.zeros(2), window, window, {}, {})
    with pytest.raises(ValueError, match="landscape: expected finite numbers"):
        plot_landscape(shown, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
