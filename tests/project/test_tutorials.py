"""The tutorials run as they stand, at toy size: the numbers in capitals are made small."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_model

from tf_savae import evaluation, svi
from tf_savae.commands import program
from tf_savae.commands.written_files import FILES

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Flags that make the commands of both tutorials run in seconds.
SHORT = ["--config=tiny", "--jit_compile=false", "--svi_steps=1", "--epochs=1"]
TOY = {
    "train-text": [*SHORT, "--max_train_lines=60", "--max_eval_lines=12"],
    "train-image": [*SHORT, "--max_train_images=24", "--max_eval_images=12", "--image_size=7"]
    + ["--board_samples=0"],
    "evaluate": ["--samples=3", "--gap_steps=10", "--gap_noises=2", "--gap_examples=4"]
    + ["--curve_steps=0,1", "--curve_tolerances=0.1", "--curve_noises=2", "--curve_examples=4"],
    "generate": [],
    "analyze": ["--max_examples=4", "--noises=2"],
}


def _python(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def test_own_array(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = _python("tutorial_array.md")
    assert "EPOCHS = 30" in source
    names = {"__name__": "tutorial"}
    exec(compile(source.replace("EPOCHS = 30", "EPOCHS = 1"), "tutorial_array.md", "exec"), names)
    assert (tmp_path / "savae.keras").exists()
    assert len(list((tmp_path / "logs").glob("*/train/events*"))) == 2
    assert names["path"].shape == (7, 64) and set(np.unique(names["new_rows"])) <= {0.0, 1.0}
    printed = capsys.readouterr().out
    assert "savae: bound" in printed and "amortization gap" in printed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_tutorials_savae_is_ahead_of_its_vae(seed, tmp_path, monkeypatch):
    """Bound and importance-weighted NLL on the tutorial's test rows, as it trains them."""
    monkeypatch.chdir(tmp_path)
    parts = _python("tutorial_array.md").split("EPOCHS = 30")
    names = {"__name__": "tutorial"}
    exec(compile(parts[0], "tutorial_array.md", "exec"), names)
    data = tf.data.Dataset.from_tensor_slices(names["test"]).batch(100)
    found = {}
    for objective in ("vae", "savae"):
        model = names["make_model"](objective, seed)
        model.fit(names["train"], epochs=30, batch_size=50, verbose=0)
        bound = evaluation.evaluate_bounds(model, data).bound.mean()
        found[objective] = bound, evaluation.importance_weighted_nll(model, data, 100).mean()
    for ours, theirs in zip(found["savae"], found["vae"], strict=True):
        assert ours < theirs, found


def test_the_guides_rule_refines():
    """The ten-line rule of the guide runs, is differentiated exactly, and lowers the ELBO."""
    names = {"__name__": "guide"}
    exec(compile(_python("guide.md"), "guide.md", "exec"), names)
    rule = names["refinement"].update
    start, goal = tf.zeros([3, 2], tf.float64), tf.ones([2], tf.float64)

    def bowl(parameters, theta, seed):
        return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)

    gradients = []
    for adjoint in ("exact", "unrolled"):
        with tf.GradientTape() as tape:
            tape.watch(start)
            refined = svi.refine(bowl, start, goal, steps=5, update=rule, seed=0, adjoint=adjoint)
            total = tf.reduce_sum(refined**3)
        gradients.append(tape.gradient(total, start).numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-11)
    assert np.all(bowl(refined, goal, 0) < bowl(start, goal, 0))


def test_the_guides_objective_trains():
    names = {"__name__": "guide"}
    exec(compile(_python("guide.md"), "guide.md", "exec"), names)
    model = compiled(dense_model(names["InclusiveKL"]()), data())
    before = [v.numpy() for v in model.trainable_variables]
    history = model.fit(data(), verbose=0).history
    assert history["loss"][0] > history["bound"][0]  # By the KL.
    after = [v.numpy() for v in model.trainable_variables]
    assert not any(np.array_equal(b, a) for b, a in zip(before, after, strict=True))


def _commands(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines]


def _run(command, *more):
    """`tf-savae ...` in this process: starting TensorFlow anew takes seconds."""
    assert command[0] == "tf-savae"
    program.main([*command[1:], *TOY[command[1]], *more])  # SystemExit where it fails.


def _check_files(command, folder, absent=()):
    """A folder holds what the command's table says, and nothing else; results stand in a run's."""
    found = {f"{p.name}/" if p.is_dir() else p.name for p in folder.iterdir()}
    found -= {".lock", "evaluation/", "analysis/"}
    assert found == set(FILES[command]) - set(absent)


def test_own_text(tmp_path, monkeypatch, capsys):
    """In an empty folder: the sentences are the package's."""
    monkeypatch.chdir(tmp_path)
    commands = _commands("tutorial_text.md")
    assert {c[1] for c in commands if c[0] == "tf-savae"} == set(TOY) - {"train-image"}
    for command in commands:
        if command[0] == "tf-savae":
            _run(command, *["--length=6"] * (command[1] == "generate"))
        else:
            assert command == ["tensorboard", "--logdir=savae_run/tensorboard"]
    run = tmp_path / "savae_run"
    for name in ("report.json", "history.csv", "tensorboard", "evaluation", "analysis"):
        assert (run / name).exists(), name
    _check_files("train-text", run)
    _check_files("evaluate", run / "evaluation")
    _check_files("analyze", run / "analysis", ["pixels.png", "pixels.npz"])
    shown = capsys.readouterr().out
    what = FILES["analyze"]["analysis.json"]
    assert re.search(rf"^  savae_run/analysis/analysis\.json +{what}$", shown, re.M)
    assert list((run / "evaluation").glob("*.png")) and list((run / "analysis").glob("*.png"))


def test_images(tmp_path, monkeypatch):
    """In an empty folder: the drawings are the package's."""
    monkeypatch.chdir(tmp_path)
    commands = _commands("tutorial_image.md")
    assert {c[1] for c in commands} == set(TOY) - {"train-text"}
    for command in commands:
        _run(command)
    for name in ("report.json", "history.csv", "evaluation", "analysis"):
        assert (tmp_path / "image_run" / name).exists(), name
    _check_files("train-image", tmp_path / "image_run", ["figures/"])  # --board_samples=0.
    _check_files("evaluate", tmp_path / "image_run" / "evaluation")
    of_texts = ["corpus.png", "corpus.npz", "sentence.png", "sentence.npz"]
    _check_files("analyze", tmp_path / "image_run" / "analysis", of_texts)
    assert (tmp_path / "samples.png").exists() and (tmp_path / "reconstructions.npz").exists()


def test_images_in_python(capsys):
    source = _python("tutorial_image.md")
    assert "EPOCHS, ROWS = 10, 6000" in source
    names = {"__name__": "tutorial"}
    source = source.replace("EPOCHS, ROWS = 10, 6000", "EPOCHS, ROWS = 1, 40")
    exec(compile(source, "tutorial_image.md", "exec"), names)
    assert names["codes"].shape == (40, 16) and names["drawings"].shape == (10, 28, 28, 1)
    pixels = np.asarray(names["pixels"])
    assert pixels.shape == (10, 28, 28, 1) and np.all((pixels > 0) & (pixels < 1))
