"""benchmarks/time_to_bound.py: what it reads off curves, and the PyTorch peer that it trains."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    spec = importlib.util.spec_from_file_location("time_to_bound", FOLDER / "time_to_bound.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _curve(*points):
    names = "seconds", "valid", "bound", "iw_nll"
    return [{"epoch": 1, **dict(zip(names, point, strict=True))} for point in points]


def test_a_curve_is_read_at_its_lowest_validation_bound_until_then(script):
    curve = _curve((1.0, 8.0, 9.0, 8.5), (2.0, 8.5, 7.5, 8.0), (4.0, 6.0, 7.0, 6.0))
    assert script.best_at(curve, [0.5, 1.5, 3.0, 9.0], "bound").tolist() == [9.0, 9.0, 9.0, 7.0]
    assert script.best_at(curve, [0.5, 1.5, 3.0, 9.0], "iw_nll").tolist() == [8.5, 8.5, 8.5, 6.0]


def test_finished_jobs_are_not_run_again(script, tmp_path, monkeypatch):
    """After an interruption the same command goes on."""
    ran = []
    monkeypatch.setattr(script, "JOBS", {"vae": "VAE", "torch savae K=5": "peer"})

    def curve_of(data, seed, job, budget):
        ran.append((data, seed, job))
        if len(ran) == 2:
            raise KeyboardInterrupt
        return _curve((budget, 1.0, 1.0, 1.0))

    monkeypatch.setattr(script, "curve_of", curve_of)
    output, image = tmp_path / "out.jsonl", tmp_path / "out.png"
    flags = ["--data=pairs,oracle", "--budget=3", f"--output={output}", f"--image={image}"]
    with pytest.raises(KeyboardInterrupt):
        script.main(flags)
    script.main(flags)
    peer = ("pairs", 0, "torch savae K=5")
    others = [("oracle", 0, job) for job in ("vae", "torch savae K=5")]
    assert ran == [("pairs", 0, "vae"), peer, peer, *others]
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(d["data"], d["job"], d["budget"]) for d in lines] == [
        ("pairs", "vae", 3.0),
        ("pairs", "torch savae K=5", 3.0),
        ("oracle", "vae", 3.0),
        ("oracle", "torch savae K=5", 3.0),
    ]
    assert image.stat().st_size > 0


def test_jobs_are_some_of_the_known(script, tmp_path, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(script, "curve_of", lambda *asked: ran.append(asked[2]) or _curve((1,) * 4))
    output = f"--output={tmp_path / 'out.jsonl'}"
    script.main(["--data=pairs", "--jobs=vae; vae_svi K=5", output])
    assert ran == ["vae", "vae_svi K=5"]
    with pytest.raises(SystemExit):
        script.main(["--data=pairs", "--jobs=vae;gan", output])
    assert "--jobs: expected some of vae; " in capsys.readouterr().err


@pytest.mark.e2e
def test_the_peer_takes_our_step(script):
    """Loss and gradient of PyTorch's SA-VAE are ours, for the same weights and noise."""
    torch = pytest.importorskip("torch")
    import tensorflow as tf
    from peers.torch_programs.trainer import Trainer, dense

    from tf_savae import svi

    draw = np.random.default_rng(0)
    shapes = [[(8, 5), (5,), (5, 2), (2,), (5, 2), (2,)], [(2, 5), (5,), (5, 8), (8,)]]
    parts = [[draw.normal(size=s).astype("float32") for s in part] for part in shapes]
    x = (draw.random((4, 8)) < 0.5).astype("float32")
    noise = draw.normal(size=(4, 4, 2)).astype("float32")
    study = SimpleNamespace(train=x, batch_size=4, learning_rate=1e-3, anneal_steps=10)
    named = [{str(i): w for i, w in enumerate(part)} for part in parts]
    trainer = Trainer(dense(), *named, 3, 0.1, study)
    trainer.done = 10  # A KL weight of 1.
    loss, *found = trainer.algorithm.run(*trainer.parts, torch.tensor(x), torch.tensor(noise))

    def negative_elbo(lam, theta, seed):
        # The noise of step k is that of its seed; K is that of the final sample.
        step = [tf.reduce_all(seed == tf.constant(s)) for s in seeds_of]
        z = lam[0] + tf.exp(0.5 * lam[1]) * noise[int(np.argmax(step))]
        logits = tf.tanh(z @ theta[0] + theta[1]) @ theta[2] + theta[3]
        nll = tf.nn.sigmoid_cross_entropy_with_logits(x, logits)
        kl = 0.5 * (tf.exp(lam[1]) + lam[0] ** 2 - 1.0 - lam[1])
        return tf.reduce_sum(nll, 1) + tf.reduce_sum(kl, 1)

    from tf_savae.core import seeds

    seeds_of = [seeds.fold(seeds.as_seed(0), k).numpy() for k in range(4)]
    encoder, decoder = ([tf.constant(w) for w in part] for part in parts)
    with tf.GradientTape() as tape:
        tape.watch([encoder, decoder])
        hidden = tf.nn.relu(x @ encoder[0] + encoder[1])
        start = (hidden @ encoder[2] + encoder[3], hidden @ encoder[4] + encoder[5])
        rule = svi.Momentum(0.1, 0.5, clip_norm=5.0)
        refined = svi.refine(
            negative_elbo, start, decoder, steps=3, update=rule, seed=0, adjoint="unrolled"
        )
        value = tf.reduce_mean(negative_elbo(refined, decoder, tf.constant(seeds_of[3])))
    wanted = tape.gradient(value, [encoder, decoder])
    assert float(loss) == pytest.approx(float(value), rel=1e-5)
    for ours, theirs in zip(wanted, found, strict=True):
        for index, gradient in enumerate(ours):
            np.testing.assert_allclose(theirs[str(index)], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.e2e
@pytest.mark.parametrize("data", ["pairs", "oracle"])
def test_the_peer_learns_and_gives_its_weights_back(script, monkeypatch, data):
    """A few steps of PyTorch's SA-VAE, measured by our evaluation with its weights."""
    pytest.importorskip("torch")
    import tensorflow as tf

    experiments = str(FOLDER.parent / "docs" / "experiments")
    monkeypatch.setattr(sys, "path", [experiments, *sys.path])
    study_data = pytest.importorskip("study_data")

    def small(seed, encoder="full"):
        study = made(seed, train=400)
        rows = dict.fromkeys(("train", "valid", "test"), study.train[:200])
        return study._replace(**rows, epoch_steps=4, anneal_steps=1)

    made = study_data.DATA[data]
    monkeypatch.setattr(study_data, "DATA", {data: small})
    for threads in ("intra_op", "inter_op"):  # Fixed since this process ran its first operation.
        name = f"set_{threads}_parallelism_threads"
        monkeypatch.setattr(tf.config.threading, name, lambda count: None)
    curve = script.curve_of(data, 0, "torch savae K=1", budget=0.3)
    assert curve[-1]["bound"] < curve[0]["bound"] - 0.1
