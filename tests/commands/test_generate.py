"""bin/generate.py: what comes out of a finished run, where it goes, and what is refused."""

import dataclasses
import json
import runpy
from pathlib import Path

import image_models
import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from keras_models import compiled, text_model, tokens
from text_runs import contents

import tf_savae
from tf_savae import commands, data, generation
from tf_savae.networks import TextDecoder
from tf_savae.tasks.image.examples import grid_of

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "generate.py"
WORDS = data.Vocabulary([f"w{i}" for i in range(4, 20)])
LINES = ["w4 w9 nobody w5", "w7", "", "w8 w8 w8", "w10 w11 w12 w13 w14 w15 w16 w17"]
KEPT = [line for line in LINES if line]


def _run_folder(folder, model, **configuration):
    folder.mkdir()
    configuration = {"system": "savae", **configuration}
    record = {"configuration": configuration, "data": {}}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    model.save(folder / "model.keras")
    return folder


def _text_folder(folder, model, **configuration):
    settings = {"vocabulary_size": 20, "max_words": 6, "long_lines": "truncate"}
    folder = _run_folder(folder, model, **settings, **configuration)
    WORDS.save(folder / "vocabulary.txt")
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """(folder of a run, its model, a file of text)."""
    folder = tmp_path_factory.mktemp("text")
    model = compiled(text_model("vae"), tokens(4))  # Refines when told to only: fewer traces.
    # Spread out: what is decoded has to depend on z.
    model.decoder.to_hidden.kernel.assign(8.0 * model.decoder.to_hidden.kernel)
    (folder / "some.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return _text_folder(folder / "run", model), model, str(folder / "some.txt")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """(folder of a run on 4 x 5 images, its model, a file of images, the images)."""
    folder = tmp_path_factory.mktemp("pictures")
    x = image_models.images(6)
    model = compiled(image_models.model("vae"), x)
    np.savez(folder / "images.npz", images=x[..., 0])
    return _run_folder(folder / "run", model, channels=8), model, str(folder / "images.npz"), x


def _generate(run, **settings):
    return commands.generate(commands.GenerateConfig(**settings), run)


def _ids(lines):
    return data.pad_rows(
        [np.array(WORDS.encode(" ".join(line.split()[:6]))) for line in lines], len(lines), 8
    )


# Text.


def test_samples_are_those_of_the_model(text, capsys):
    run, model, _ = text
    before = contents(run)
    lines = _generate(run, n=5, seed=3, top_p=0.9)
    rows = model.generate(5, seed=3, length=6, top_p=0.9).numpy()
    assert lines == [WORDS.decode(row) for row in rows] and len(set(lines)) == 5
    assert capsys.readouterr().out == "".join(f"{line}\n" for line in lines)
    assert set(" ".join(lines).split()) <= set(WORDS.tokens) - {"<s>", "</s>", "<pad>"}
    assert _generate(run, n=3, seed=3, top_p=0.9, batch_size=2) == lines[:3]
    assert _generate(run, n=5, seed=4, top_p=0.9) != lines
    assert contents(run) == before


def test_reconstructions_of_a_file(text):
    run, model, file = text
    rows = model.reconstruct(_ids(KEPT), seed=0, mean=True, length=6, decoding="greedy").numpy()
    lines = _generate(run, mode="reconstruct", file=file)
    assert lines == [WORDS.decode(row) for row in rows]
    assert lines[:2] == _generate(run, mode="reconstruct", file=file, n=2)
    settings = {"mode": "reconstruct", "file": file, "seed": 5, "latent": "sample", "steps": 1}
    drawn = _generate(run, **settings, decoding="sample", temperature=0.8, top_k=9, length=4)
    options = {"length": 4, "decoding": "sample", "temperature": 0.8, "top_k": 9}
    rows = model.reconstruct(_ids(KEPT), seed=5, steps=1, **options).numpy()
    assert drawn == [WORDS.decode(row) for row in rows]
    best = _generate(run, **settings, decoding="beam", beam_size=3, length_penalty=1.0)
    options = {"length": 6, "decoding": "beam", "beam_size": 3, "length_penalty": 1.0}
    rows = model.reconstruct(_ids(KEPT), seed=5, steps=1, **options).numpy()
    assert best == [WORDS.decode(row) for row in rows]


def test_interpolation_goes_from_one_example_to_the_other(text):
    run, model, file = text
    lines = _generate(run, mode="interpolate", file=file, rows="4,1", n=5, labels=True, seed=2)
    assert [line.split("\t")[0] for line in lines] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    x = _ids([KEPT[3], KEPT[0]])
    means = generation.posterior_means(model, x, seed=2, batch_size=2)
    z = generation.interpolate(*means, 5, "spherical")
    rows = model.decoder.sample(tf.constant(z), length=6, decoding="greedy").numpy()
    assert [line.split("\t")[1] for line in lines] == [WORDS.decode(row) for row in rows]
    straight = _generate(run, mode="interpolate", file=file, rows="4,1", n=5, path="linear", seed=2)
    assert straight[0] == lines[0].split("\t")[1] and straight[-1] == lines[-1].split("\t")[1]


def test_traversals_change_one_dimension(text):
    run, model, file = text
    lines = _generate(run, mode="traverse", n=3, extent=2.0, labels=True)
    names = [line.split("\t")[0] for line in lines]
    assert names == [f"z{d} {change}" for d in (0, 1) for change in ("-2.00", "+0.00", "+2.00")]
    z = tf.constant([[-2.0, 0], [0, 0], [2, 0], [0, -2], [0, 0], [0, 2]])
    rows = model.decoder.sample(z, length=6, decoding="greedy").numpy()
    assert [line.split("\t")[1] for line in lines] == [WORDS.decode(row) for row in rows]
    around = _generate(run, mode="traverse", file=file, rows="2", n=3, dimensions="1")
    means = generation.posterior_means(model, _ids([KEPT[1]]), batch_size=1)
    rows = model.decoder.sample(tf.constant(means), length=6, decoding="greedy").numpy()
    assert around[1] == WORDS.decode(rows[0]) and len(around) == 3


def test_a_file_is_written_once(text, tmp_path, capsys):
    run, _, _ = text
    lines = _generate(run, n=3, output=str(tmp_path / "out.txt"))
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out.txt").read_text("utf-8").splitlines() == lines
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="out.txt exists and is not overwritten"):
        _generate(run, n=2, output=str(tmp_path / "out.txt"))
    assert contents(tmp_path) == before


def test_a_model_without_a_latent_code_can_sample(tmp_path):
    keras.utils.set_random_seed(0)
    model = tf_savae.AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0))
    compiled(model, tokens(4))
    run = _text_folder(tmp_path / "run", model, **{"system": "autoregressive"})
    rows = model.generate(4, seed=1, length=6).numpy()
    assert _generate(run, n=4, seed=1) == [WORDS.decode(row) for row in rows]
    with pytest.raises(
        ValueError, match="mode: expected sample for the system autoregressive, which has no"
    ):
        _generate(run, mode="traverse")


# Images.


def test_images_become_a_grid_and_arrays(pictures, tmp_path):
    run, model, file, x = pictures
    picture = _generate(run, n=4, seed=3, output=str(tmp_path / "samples.png"))
    with np.load(tmp_path / "samples.npz") as saved:
        np.testing.assert_array_equal(saved["x"], model.generate(4, seed=3))
        assert saved["z"].shape == (4, 2) and saved["labels"][0] == "sample 1"
    shown = tf.io.decode_png(picture.read_bytes()).numpy()
    assert shown.shape[2] >= 3 and shown.std() > 10
    _generate(run, mode="reconstruct", file=file, seed=3, output=str(tmp_path / "again.png"))
    with np.load(tmp_path / "again.npz") as saved:
        np.testing.assert_array_equal(saved["x"], model.reconstruct(x, seed=3, mean=True))
        np.testing.assert_array_equal(saved["data"], x)
    before = contents(tmp_path)
    for name in ("samples.png", "again.png"):
        (tmp_path / name).rename(tmp_path / "moved.png")
        with pytest.raises(ValueError, match=r"\.npz exists and is not overwritten"):
            _generate(run, output=str(tmp_path / name))
        (tmp_path / "moved.png").rename(tmp_path / name)
    assert contents(tmp_path) == before


def test_paths_of_images(pictures, tmp_path):
    run, _, file, x = pictures
    _generate(run, mode="interpolate", file=file, n=3, output=str(tmp_path / "path.png"))
    with np.load(tmp_path / "path.npz") as saved:
        assert saved["x"].shape == (3, 4, 5, 1) and saved["labels"].tolist()[1] == "0.50"
        np.testing.assert_array_equal(saved["data"], x[:2])
    _generate(run, mode="traverse", n=3, seed=4, output=str(tmp_path / "change.png"))
    with np.load(tmp_path / "change.npz") as saved:
        np.testing.assert_array_equal(saved["x"][1], saved["x"][4])  # One code, and one noise.
        assert len({image.tobytes() for image in saved["x"]}) > 2


def test_where_images_stand_in_a_grid():
    pictures = np.arange(12.0)[:, None, None] * np.ones([12, 2, 3])
    samples = grid_of("sample", pictures, [""] * 12, None, "title")
    assert samples.tiles.shape == (2, 10, 2, 3) and samples.row_labels == ["1–10", "11–12"]
    assert samples.tiles[1, 1, 0, 0] == 11 and np.isnan(samples.tiles[1, 2:]).all()
    pairs = grid_of("reconstruct", pictures, [""] * 12, pictures[..., None] + 100, "title")
    assert pairs.row_labels == ["data 1–10", "model 1–10", "data 11–12", "model 11–12"]
    assert pairs.tiles[:, 1, 0, 0].tolist() == [101, 1, 111, 11]
    labels = [f"z{d} {c:+.2f}" for d in (4, 7) for c in range(-2, 4)]
    changes = grid_of("traverse", pictures, labels, None, "title")
    assert changes.row_labels == ["z4", "z7"] and changes.column_labels[0] == "-2.00"
    assert changes.tiles[1, 2, 0, 0] == 8
    ends = grid_of("interpolate", pictures, [""] * 12, pictures[[3, 5], ..., None], "title")
    assert ends.tiles[0, [0, -1], 0, 0].tolist() == [3, 5] and np.isnan(ends.tiles[0, 1:-1]).all()


# Refusals.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "dream"}, "mode: expected one of sample, reconstruct, interpolate, traverse"),
        ({"n": 0}, "n: expected an integer >= 1, got 0"),
        ({"seed": -1}, "seed: expected an integer >= 0"),
        ({"top_p": 0.0}, r"top_p: expected a number in \(0, 1\]"),
        ({"temperature": -1.0}, "temperature: expected a finite number >= 0"),
        ({"mode": "reconstruct"}, "file: expected text or images with mode=reconstruct"),
        ({"file": "a.txt"}, "file: expected none with mode=sample"),
        ({"steps": 3}, "steps: requires mode=reconstruct or interpolate or traverse"),
        ({"mode": "traverse", "rows": "1"}, "file: expected a --file for rows and steps"),
        ({"mode": "interpolate", "file": "a", "rows": "1"}, "expects 2 of the examples"),
        ({"mode": "interpolate", "file": "a", "rows": "0,1"}, "counted from 1, got '0,1'"),
        (
            {"mode": "interpolate", "file": "a", "rows": "a,b"},
            "rows: expected comma-separated numbers",
        ),
        ({"mode": "interpolate", "file": "a", "n": 1}, "n: mode=interpolate expects at least"),
        ({"mode": "traverse", "dimensions": "x"}, "dimensions: expected comma-separated numbers"),
    ],
    ids=str,
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        commands.GenerateConfig(**settings)


def test_what_does_not_fit_a_run_on_text(text, tmp_path):
    run, _, file = text
    cases = {
        "top_k: requires decoding=sample, got decoding=beam": {
            "decoding": "beam",
            "top_k": 3,
        },
        "beam_size: requires decoding=beam": {"beam_size": 3},
        "expected a text file for a run on text, got the image": {
            "output": str(tmp_path / "a.png")
        },
        "in a folder that can be written": {"output": str(tmp_path / "no" / "a.txt")},
        "up to the 4 lines with words of": {"mode": "traverse", "file": file, "rows": "5"},
        "dimensions: expected one or more of 0 to 1, got": {"mode": "traverse", "dimensions": "2"},
        "no file at": {"mode": "reconstruct", "file": str(tmp_path / "none.txt")},
    }
    for message, settings in cases.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            _generate(run, **settings)
    with pytest.raises(FileNotFoundError, match="expected the folder of a finished run"):
        _generate(tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_a_run_on_images(pictures, tmp_path):
    run, _, file, _ = pictures
    output = {"output": str(tmp_path / "a.png")}
    np.savez(tmp_path / "large.npz", images=np.zeros([3, 7, 7]))
    large = {"mode": "reconstruct", "file": str(tmp_path / "large.npz")}
    cases = {
        "expected a .png file for a run on images, got None": {},
        "top_k: for text only, got a run on images": {"top_k": 3, **output},
        r"trained on images of shape \[4, 5, 1\], but those of": {**large, **output},
        "up to the 6 images of": {"mode": "traverse", "file": file, "rows": "7", **output},
    }
    for message, settings in cases.items():
        with pytest.raises(ValueError, match=message):
            _generate(run, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["large.npz"]


# The command line.


@pytest.fixture
def script():
    """The script in this process, where other scripts may have defined flags of these names."""
    names = {"workdir", *(field.name for field in dataclasses.fields(commands.GenerateConfig))}
    for name in names & set(flags.FLAGS):
        delattr(flags.FLAGS, name)
    yield runpy.run_path(str(SCRIPT), run_name="generate")
    for name in names:
        delattr(flags.FLAGS, name)


def test_the_command_line(text, script, capfd):
    """On standard output what was generated, and nothing else."""
    run, _, file = text
    settings = {"mode": "reconstruct", "file": file, "decoding": "beam"}
    script["FLAGS"](
        ["generate.py", f"--workdir={run}", *(f"--{k}={v}" for k, v in settings.items())]
    )
    script["main"](["generate.py"])
    shown, said = capfd.readouterr()
    assert said.endswith(
        f"No file was written.\nNext: tf-savae export --workdir={run} --output=models/savae\n"
    )
    assert shown == "".join(f"{line}\n" for line in _generate(run, **settings))
    script["FLAGS"].rows = "1"
    with pytest.raises(SystemExit, match="generate.py: rows: requires mode=interpol"):
        script["main"](["generate.py"])
