"""Train steps as programs: pure, one program without the host, the same update as `train_step`."""

import doctest
import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu_step  # noqa: E402
from programs import findings, models, package, sizes, stablehlo, tpu  # noqa: E402
from programs.train_step import PureStep  # noqa: E402

needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="NOT TESTED: programs through jaxlib's client; needs jax: pip install 'tf_savae[bench]'",
)
needs_libtpu = pytest.mark.skipif(
    bool(tpu.missing()),
    reason=f"NOT TESTED: compilation for TPUs; {', '.join(tpu.missing())} missing: {tpu.INSTALL}",
)


@pytest.fixture(scope="module")
def lowered():
    return stablehlo.lower("tiny_oracle", 2, "float32")


_MODULES = ["gpu_step", *(f"programs.{n}" for n in ("findings", "models", "sizes", "train_step"))]


@pytest.mark.parametrize("name", [*_MODULES, pytest.param("programs.flops", marks=needs_jax)])
def test_docstring_examples(name):
    failures, count = doctest.testmod(importlib.import_module(name))
    assert count and not failures


# The pure step.


def _both(model):
    """The pure step and the model's own, traced."""
    step = PureStep(model)
    pure = tf.function(lambda state, x: step(state, x), autograph=False)
    return step, pure, tf.function(model.train_step, autograph=False)


def _assert_same(step, state):
    for variable, value in zip(step.variables, state, strict=True):
        np.testing.assert_allclose(
            variable.numpy(), value.numpy(), rtol=1e-6, atol=1e-9, err_msg=variable.path
        )


def _moved(step, before, after):
    pairs = zip(step.names, before, after, strict=True)
    return {name for name, old, new in pairs if not np.array_equal(old.numpy(), new.numpy())}


@pytest.mark.parametrize("name", ["tiny_oracle", "tiny_text"])
def test_the_pure_step_is_the_train_step(name):
    """Weights, slots, counts and metrics, after two steps: the second with slots that are not 0."""
    case = sizes.case_of(name)
    model, x = models.model_of(case, 1, dtype="float64"), models.batch_of(case)
    step, pure, train = _both(model)
    first = state = step.state()
    for _ in range(2):
        loss, state = pure(state, x)
        train(x)
    assert np.isfinite(loss.numpy())
    _assert_same(step, state)
    trained = {v.path for v in [*model.trainable_variables, model.optimizer.iterations]}
    assert trained <= _moved(step, first, state)


def test_statistics_move_and_a_batch_of_nan_is_only_counted():
    case = sizes.case_of("tiny_image")
    model, x = models.model_of(case, 1, dtype="float64"), models.batch_of(case)
    step, pure, train = _both(model)
    first = step.state()
    state = pure(first, x)[1]
    train(x)
    _assert_same(step, state)
    moved = _moved(step, first, state)
    assert any("moving_mean" in name for name in moved)
    assert any("velocity" in name for name in moved)
    bad = tf.fill(x.shape, np.float32("nan"))
    loss, after = pure(state, bad)
    train(bad)
    assert np.isnan(loss.numpy())
    _assert_same(step, after)
    assert _moved(step, state, after) == {model.optimizer.iterations.path, "skipped/total"}


def test_models_that_cannot_be_made_pure_are_refused():
    model = models.model_of(sizes.case_of("tiny_oracle"), 1)
    model.optimizer = keras.optimizers.LossScaleOptimizer(model.optimizer)
    with pytest.raises(ValueError, match="does not scale losses"):
        PureStep(model)


# Its text.


def test_one_program_without_host_and_without_dynamic_shapes(lowered):
    found = findings.of_stablehlo(lowered.text)
    assert found["programs"] == 1
    assert found["host_calls"] == found["custom_calls"] == found["dynamic_shapes"] == []
    assert "?x" not in lowered.text
    assert found["whiles"] >= 1  # One loop forward and one back were not unrolled away.
    assert "HIGHEST" in lowered.text and "precision = [DEFAULT" not in lowered.text


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('%1 = "stablehlo.outfeed"(%0)', "host_calls"),
        ("%1 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%0)", "host_calls"),
        ("%1 = stablehlo.abs %0 : tensor<?xf32>", "dynamic_shapes"),
        (
            "%c = stablehlo.constant dense<3> : tensor<i32>\n"
            "%1 = stablehlo.set_dimension_size %0, %c, dim = 0 : (tensor<4xf32>, tensor<i32>)",
            "dynamic_shapes",
        ),
    ],
)
def test_what_is_wrong_is_found(line, kind):
    assert findings.of_stablehlo(line)[kind]


# In a folder, and through jaxlib's client.


def test_a_program_travels_without_its_weights(lowered, tmp_path):
    package.write(tmp_path, "step", lowered, {"case": "tiny_oracle"})
    assert package.names(tmp_path) == ["step"]
    read = package.read(tmp_path, "step")
    assert read.serialized == lowered.serialized and read.expected is None
    given = [*lowered.state, lowered.x]
    assert [(a.shape, a.dtype) for a in read.arguments] == [(a.shape, a.dtype) for a in given]
    np.testing.assert_array_equal(read.arguments[-1], lowered.x)
    (rate,) = [i for i, name in enumerate(lowered.names) if name.endswith("/learning_rate")]
    assert float(read.arguments[rate]) == pytest.approx(1e-3)
    with pytest.raises(FileNotFoundError, match="expected programs"):
        package.names(tmp_path / "nowhere")


@needs_jax
def test_jaxlib_runs_it_as_tensorflow_does(lowered, tmp_path, capsys):
    loss, state = lowered.run()
    counted = sizes.counted_flops("tiny_oracle", 2)
    info = {"case": "tiny_oracle", "steps": 2, "precision": "float32", "counted_flops": counted}
    package.write(tmp_path, "step", lowered, info, [loss, *state])
    arguments = ["--folder", str(tmp_path), "--output", str(tmp_path / "out.json")]
    options = gpu_step.parser().parse_args(["run", *arguments, "--repeats", "2", "--small_rates"])
    (row,) = gpu_step.run(options)
    assert row["error"] < 1e-5
    assert row["loss"] == pytest.approx(float(loss)) != row["last_loss"]  # The state moved on.
    assert 0.99 < row["program_flops"] / counted < 1.05  # It costs what it must, and no more.
    assert "| tiny_oracle | 2 | float32 |" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["rows"] == [row]


def test_a_machine_with_an_accelerator_needs_no_tensorflow():
    """`gpu_step.py run` imports neither TensorFlow nor the package."""
    code = "import gpu_step, sys; print({'tensorflow', 'keras', 'tf_savae'} & {*sys.modules})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# For TPUs.


def _lower(*flags):
    command = [sys.executable, str(BENCHMARKS / "lower.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@needs_libtpu
def test_the_step_compiles_for_a_tpu(tmp_path):
    output = tmp_path / "lower.json"
    done = _lower(f"--output={output}", "--cases=tiny_oracle", "--targets=v5e", "--steps=2")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(output.read_text("utf-8"))["rows"]
    found = row["targets"]["v5e"]
    assert found["programs"] == 1
    assert found["host_calls"] == found["dynamic_shapes"] == []
    assert found["whiles"] >= 1
    assert found["memory_bytes"]["argument"] > row["stablehlo"]["weights_and_slots_bytes"]
    assert 0.99 < found["flops"] / row["counted_flops"] < 1.05


@pytest.mark.skipif(not tpu.missing(), reason="libtpu is here: nothing is missing")
def test_without_libtpu_the_command_says_what_to_install():
    done = _lower("--cases=tiny_oracle")
    assert done.returncode != 0
    assert tpu.INSTALL in " ".join(done.stderr.split() + done.stdout.split())


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match="case: expected one of oracle"):
        sizes.case_of("novel")
    with pytest.raises(ValueError, match="target: expected one of v5e, v6e"):
        tpu.compiled(b"", "v99")
    with pytest.raises(SystemExit, match="precisions: expected some of float32"):
        gpu_step.main(["dump", "--folder=x", "--cases=tiny_oracle", "--precisions=int3"])
