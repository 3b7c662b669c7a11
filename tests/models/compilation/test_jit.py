"""One XLA program a shape: no tracing and no compilation once training runs."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_models import data, dense_model

from tf_savae.models.compilation import jit

SCRIPT = """
import keras, numpy as np, tensorflow as tf
import keras_models
made = keras_models.text_model("savae", hvp={hvp!r}, model={{"beta": 0.5}})
made.compile(keras.optimizers.Adam(0.01), jit_compile=True)
def batches():
    for length in (5, 6, 5, 6, 5, 6):
        yield keras_models.tokens(2, length), np.array([1.0, 0.0], "float32")
signature = (tf.TensorSpec([2, None], tf.int32), tf.TensorSpec([2]))
dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
dataset = dataset.map(lambda x, w: (x, None, w))
traces, step = [], made.train_step
made.train_step = lambda batch: traces.append(1) or step(batch)
history = made.fit(dataset, epochs=2, verbose=0).history
assert np.all(np.isfinite(history["loss"])), history
print("traces", len(traces))
"""


@pytest.mark.slow
@pytest.mark.parametrize("hvp", ["forward_over_reverse", "reverse_over_reverse"])
def test_text_of_two_lengths_compiles_twice(hvp, tmp_path):
    """T unknown when traced; twelve steps with changing weights, two lengths, two programs."""
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[2] / "helpers"), *filter(None, sys.path)]
        ),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(hvp=hvp)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "traces 1" in done.stdout
    modules = {path.name for path in tmp_path.glob("*multi_step*before_optimizations.txt")}
    modules |= {path.name for path in tmp_path.glob("*one_step*before_optimizations.txt")}
    assert len(modules) == 2, sorted(modules)


def test_xla_repeats_itself():
    histories = []
    for _ in range(2):
        model = dense_model(steps=2)
        model.compile(keras.optimizers.SGD(0.1), jit_compile=True)
        histories.append(model.fit(data(), epochs=3, verbose=0, shuffle=False).history["loss"])
    assert histories[0] == histories[1]
    assert np.all(np.isfinite(histories[0]))


def test_auto_chooses_by_layers_and_machine(monkeypatch):
    dense, convolution = keras.layers.Dense(2), keras.layers.Conv2DTranspose(2, 3)
    assert jit.resolve_jit_compile("auto", [dense]) is True
    assert jit.resolve_jit_compile("auto", [dense, convolution]) is False
    monkeypatch.setattr(jit, "accelerators", lambda: ["GPU:0"])
    assert jit.resolve_jit_compile("auto", [convolution]) is True
