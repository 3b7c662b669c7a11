"""The contest: our adapter, the rules of a round, the table; with peers installed, agreement."""

import doctest
import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from peers import ours, results, rounds, weights  # noqa: E402
from peers.cases import CASES  # noqa: E402
from peers.contenders import contenders_for, is_exact, make  # noqa: E402

import tf_savae  # noqa: E402

_WITHOUT_PEERS = "agreement batches cases contenders floor memory ours results weights"
PEERS = [name for name in ("jax", "torch") if importlib.util.find_spec(name)]
needs_peers = pytest.mark.skipif(
    len(PEERS) < 2, reason="needs torch and jax: pip install tf_savae[bench]"
)


@pytest.mark.parametrize("name", _WITHOUT_PEERS.split())
def test_docstring_examples(name):
    failures, count = doctest.testmod(importlib.import_module(f"peers.{name}"))
    assert not failures
    assert count or name == "cases"


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("tiny")])
def test_every_weight_has_one_name(name):
    case = CASES[name]
    model = ours.model_of(case, 2)
    found = [id(weights.walk(model, n)) for n in weights.names(case)]
    assert len(set(found)) == len(found)
    assert set(found) == {id(v) for v in model.trainable_variables}


def test_the_noise_handed_out_is_the_noise_drawn():
    """The loss of our step, from the noise that the peers receive and nothing else."""
    case = CASES["tiny_oracle"]
    data = ours.prepare(case, 0, dtype="float64")
    contender = ours.Ours(case, 0, "vae", data, "float64")
    loss, gradients = contender.gradients()
    model = contender._model
    mean, log_variance = (np.asarray(p) for p in model.encoded_parameters(data["x"]))
    z = mean + np.exp(0.5 * log_variance) * data["noise"][0]
    kl = 0.5 * np.sum(np.exp(log_variance) + mean**2 - 1.0 - log_variance, axis=1)
    nll = -model.decoder.log_prob(data["x"], z).numpy()
    assert loss == pytest.approx(np.mean(nll + kl), rel=1e-12)
    assert set(gradients) == set(weights.names(case))


class _FakeWorker:
    """A contender that answers at once; what it does is in its method's name."""

    choices = None  # What the builds of ours keep, in order.

    def __init__(self, threads, timeout, checkout=None):
        self._asked = []

    def ask(self, do, **request):
        self._asked.append(do)
        if do == "build":
            self._name = request["contender"]
            if self._name == "torch:unrolled":
                raise rounds.WorkerError("out of memory")
            figures = {"mode": "eager", "compile_seconds": 1.0, "seconds": 0.5, "held_mib": 1.0}
            keeps = next(_FakeWorker.choices) if self._name == "ours:x" else None
            return {**figures, "peak_mib": 3.0, "growth_mib": 2.0, "keeps": keeps}
        if do == "answers":
            off = {"jax:scan": 2e-4, "torch:fd": 2e-2}.get(self._name, 1e-6)
            np.savez(request["path"], weight=np.ones(3) * (1 + off * (self._name != "ours:x")))
        return {"seconds": [0.5, 0.7]} if do == "time" else {}

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


@pytest.fixture
def rows(monkeypatch):
    return _rows(monkeypatch, choices=[None])


def _rows(monkeypatch, choices):
    monkeypatch.setattr(rounds, "Worker", _FakeWorker)
    monkeypatch.setattr(_FakeWorker, "choices", iter(choices))
    names = ("ours:x", "jax:scan", "jax:by_hand", "torch:fd", "torch:unrolled")
    rules, rates = rounds.Rules(threads=1, rounds=3), iter([90.0, 300.0, 100.0])
    event, pace = rounds.Event("tiny_oracle", 3), lambda: {"matmul_gflops": next(rates)}
    return rounds.run(event, names, rules, report=lambda row: None, pace=pace)


def test_no_time_for_who_disagrees(rows):
    ours_row, scan, by_hand, differences, unrolled = rows
    assert "disagrees: weight by 2.0e-04" in scan["problem"] and "median" not in scan
    assert unrolled["problem"] == "out of memory" and "median" not in unrolled
    assert by_hand["runs"] == ours_row["runs"] == 6 and by_hand["median"] == pytest.approx(0.6)
    assert differences["error"] == pytest.approx(2e-2, rel=1e-3) and "median" in differences
    assert {row["matmul_gflops"] for row in rows} == {100.0}  # The median of the rounds.


def test_every_choice_of_the_default_is_named(monkeypatch):
    """With little memory each round starts a new process, whose choice may be another."""
    monkeypatch.setattr(rounds.memory, "available", lambda: 0.0)
    rows = _rows(monkeypatch, choices=["none", "all", "none", "none"])
    assert [row.get("keeps") for row in rows] == [["all", "none"], None, None, None, None]
    assert results.table(rows).endswith("ours:x keeps all or none.\n")


def test_results_are_read_back_and_shown(rows, tmp_path):
    path = tmp_path / "new" / "contest.json"
    results.write(path, {"machine": results.machine(1), "rows": rows})
    back = json.loads(path.read_text())
    assert back["rows"] == rows
    assert back["machine"]["tensorflow"] and back["machine"]["threads"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["contest.json"]
    text = results.table([{**row, "counted_seconds": 0.25} for row in rows])
    assert "### tiny_oracle, training step, K = 3" in text
    assert "| ours:x | eager | 600.00 | 500.00 to 700.00 | 1.00 | 2.40 |" in text
    assert "best exact peer jax:by_hand takes 1.00 times" in text
    assert "| jax:scan | disagrees: weight by 2.0e-04 |" in text


def test_a_picture_is_drawn(rows, tmp_path):
    from peers.picture import draw

    draw(rows, tmp_path / "contest.png")
    assert (tmp_path / "contest.png").stat().st_size > 5000


def test_unknown_contender_is_refused():
    with pytest.raises(ValueError, match="expected FRAMEWORK:METHOD"):
        make("theano:scan", CASES["tiny_oracle"], 1, {})


# From here on with PyTorch and JAX.


@needs_peers
@pytest.mark.parametrize("name", ["tiny_oracle", "tiny_text", "tiny_image"])
def test_exact_gradients_agree_in_double_precision(name):
    from peers.agreement import largest_error

    case = CASES[name]
    for steps in case.steps:
        data = ours.prepare(case, steps, dtype="float64")
        first, *others = contenders_for("train", steps, case.model)
        loss, reference = make(first, case, steps, data, "float64").gradients()
        for contender in others:
            value, gradients = make(contender, case, steps, data, "float64").gradients()
            error, worst = largest_error(gradients, reference)
            assert value == pytest.approx(loss, rel=1e-12), contender
            assert error < (1e-10 if is_exact(contender) else 0.05), (contender, worst)


@needs_peers
@pytest.mark.parametrize("name", ["tiny_oracle", "tiny_text", "tiny_image"])
def test_refined_posteriors_agree_in_double_precision(name):
    case = CASES[name]
    data = ours.prepare(case, 3, rows=2, dtype="float64")
    names = contenders_for("infer", 3, case.model)
    answers = [make(name, case, 3, data, "float64").infer() for name in names]
    for answer in answers[1:]:
        for part, reference in zip(answer, answers[0], strict=True):
            np.testing.assert_allclose(part, reference, rtol=1e-10, atol=1e-12)


@needs_peers
def test_the_command(tmp_path):
    output = tmp_path / "contest.json"
    flags = ["--cases=tiny_oracle", "--steps=2", "--infer=1", "--infer_steps=2", "--rounds=2"]
    names = "--contenders=ours:exact_forward,jax:by_hand,torch:exact,torch:fd,jax:infer"
    command = [sys.executable, str(BENCHMARKS / "contest.py"), *flags, "--seconds=0.01", names]
    done = subprocess.run(
        [*command, f"--output={output}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert [row["contender"] for row in rows] == [
        "ours:exact_auto",  # The first of the list, the default, is always measured.
        "ours:exact_forward",
        "jax:by_hand",
        "torch:exact",
        "torch:fd",
        "ours:infer",
        "jax:infer",
    ]
    assert all("median" in row for row in rows), rows
    assert rows[0]["keeps"] == ["all"]
    assert output.with_suffix(".png").exists()


@pytest.mark.e2e
def test_another_checkout_takes_part(tmp_path):
    """Its code runs in its processes, under names of its own; the wrong folder is refused."""
    output, checkout = tmp_path / "contest.json", tmp_path / "checkout"
    checkout.mkdir()
    for folder in (BENCHMARKS, Path(tf_savae.__file__).parent):
        shutil.copytree(folder, checkout / folder.name)
    worker = checkout / "benchmarks" / "peers" / "worker.py"
    text = worker.read_text().replace('"mode": peer.mode', '"mode": "of before"')
    worker.write_text(text)
    flags = ["--cases=tiny_oracle", "--steps=2", "--infer=0", "--rounds=1", "--seconds=0.01"]
    command = [sys.executable, str(BENCHMARKS / "contest.py"), *flags, f"--output={output}"]
    names = "--contenders=ours:exact_all,before:exact_all"
    done = subprocess.run(
        [*command, names, f"--before={checkout}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert [(row["contender"], row["mode"]) for row in rows] == [
        ("ours:exact_auto", "XLA"),
        ("ours:exact_all", "XLA"),
        ("before:exact_all", "of before"),
    ]
    assert all("median" in row for row in rows), rows
    refused = subprocess.run(
        [*command, f"--before={tmp_path}"], capture_output=True, text=True, check=False
    )
    assert "--before: expected a checkout of tf_savae" in refused.stderr + refused.stdout


def test_growth_of_curves(tmp_path):
    """Exponents from points, a line for each curve, and a picture; failed points are left out."""
    import growth

    def point(value, **more):
        same = {"axis": "T", "contender": "ours:exact_all", "compile_seconds": 2.0}
        return {**same, "value": value, "ms": 3.0 * value**2, "growth_mib": 7.0, **more}

    rows = [point(10), point(20), point(40), {**point(80), "problem": "out of memory"}]
    shown = growth.table(rows).splitlines()[-1]
    assert shown.startswith("| T | ours:exact_all | 10, 20, 40 | 300, 1,200, 4,800 | 2.0 |")
    growth.draw(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000
    assert growth.BASE.vocabulary == 2000
    assert doctest.testmod(growth) == (0, 1)


def test_a_worker_takes_a_case_by_its_fields():
    from peers import worker

    case = CASES["tiny_oracle"]
    fields = worker.case_of(json.loads(json.dumps(case._asdict())))
    assert worker.case_of("tiny_oracle") is case
    assert (fields.model, fields.vocabulary, fields.step_size) == ("oracle", 12, case.step_size)
