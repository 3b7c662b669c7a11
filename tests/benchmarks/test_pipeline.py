"""benchmarks/pipeline.py: what it calls padding is what the batches hold."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tf_savae import data

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "pipeline.py"


def test_padding_is_that_of_the_batches(tmp_path):
    rng = np.random.default_rng(0)
    lines = [" ".join(["w"] * n) for n in rng.integers(1, 30, size=70)]
    (tmp_path / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.save(tmp_path / "images.npy", np.ones([120, 4, 4]))
    command = [sys.executable, str(SCRIPT), f"--text={tmp_path / 'text.txt'}", "--batches=5"]
    command += [f"--images={tmp_path / 'images.npy'}", "--buckets=1,3", "--batch_size=8"]
    done = subprocess.run(
        [*command, f"--output={tmp_path / 'found.json'}"], capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    corpus = data.TextCorpus.encode(lines, data.Vocabulary.build(lines))
    for row in found["text"]:
        tokens = [
            x.numpy()[:, 1:] for x, _, _ in data.batches(corpus, 8, boundaries=row["lengths"])
        ]
        positions, words = sum(t.size for t in tokens), sum(np.count_nonzero(t) for t in tokens)
        assert row["padding"] == pytest.approx(1.0 - words / positions)
        assert row["ms_a_batch"] > 0.0
    assert found["text"][1]["padding"] < found["text"][0]["padding"]
    assert found["images"]["images"] == 120 and found["images"]["binary"]
