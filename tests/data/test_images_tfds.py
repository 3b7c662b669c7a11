"""The package's own TFDS builders on tiny local files, and image sets of TFDS by name."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from image_files import bits, grey, write_amat, write_drawings, write_npz

import tf_savae.data.builders  # noqa: F401 Registers them.
from tf_savae.data import load_images, read_lines


def _load(name, tmp_path):
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "manual")
    return tfds.load(
        name,
        data_dir=tmp_path / "tfds",
        download_and_prepare_kwargs={"download_config": config},
    )


@pytest.fixture
def manual(tmp_path):
    (tmp_path / "manual").mkdir()
    return tmp_path / "manual"


def _rows(dataset, field="image"):
    return sorted(np.asarray(e[field]).ravel().tolist() for e in dataset.as_numpy_iterator())


def test_tfds_lists_them():
    assert {"line_text", "omniglot28", "oracle_words", "static_mnist"} <= set(tfds.list_builders())
    assert tfds.builder_cls("static_mnist").MANUAL_DOWNLOAD_INSTRUCTIONS


def test_static_mnist(manual, tmp_path):
    parts = write_amat(manual, side=28)
    loaded = _load("static_mnist", tmp_path)
    for part, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        assert _rows(loaded[split]) == sorted(parts[part].reshape(-1, 784).tolist())
    again = load_images("tfds:static_mnist", data_dir=tmp_path / "tfds")
    assert {n: len(p) for n, p in again.items()} == {"train": 5, "valid": 3, "test": 4}
    assert again["train"].binary and again["train"].shape == (28, 28)
    test = load_images("tfds:static_mnist:test@image", data_dir=tmp_path / "tfds")
    assert list(test) == ["all"] and len(test["all"]) == 4


def test_static_mnist_from_packed_bits(manual, tmp_path):
    parts = {n: bits(3, 28, s) for s, n in enumerate(("train", "valid", "test"))}
    packed = {n: np.packbits(a.reshape(3, -1), axis=1) for n, a in parts.items()}
    write_npz(manual / "packed.npz", **packed)
    assert _rows(_load("static_mnist", tmp_path)["test"]) == sorted(
        parts["test"].reshape(-1, 784).tolist()
    )


def test_omniglot_from_the_npz(manual, tmp_path):
    images = grey(8, 28)
    write_npz(manual / "omniglot.npz", images=images, char=np.arange(8))
    loaded = _load("omniglot28/area", tmp_path)
    found = _rows(loaded["train"]) + _rows(loaded["test"])
    assert sorted(found) == sorted(images.reshape(8, -1).tolist())
    assert len(_rows(loaded["test"])) == 2


def test_omniglot_from_the_drawings(manual, tmp_path):
    write_drawings(manual)
    expected = load_images(manual)["all"].levels
    loaded = _load("omniglot28/area", tmp_path)
    found = _rows(loaded["train"]) + _rows(loaded["test"])
    assert sorted(found) == sorted(expected.reshape(4, -1).tolist())


def test_omniglot_from_chardata(manual, tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    train, test = grey(3, 28), grey(2, 28, 1)
    columns = {
        n: a.transpose(0, 2, 1).reshape(len(a), -1).T / 255.0
        for n, a in {"data": train, "testdata": test}.items()
    }
    savemat(manual / "chardata.mat", columns)
    loaded = _load("omniglot28/chardata", tmp_path)
    assert _rows(loaded["train"]) == sorted(train.reshape(3, -1).tolist())
    again = load_images("tfds:omniglot28/chardata", data_dir=tmp_path / "tfds")
    assert sorted(again) == ["test", "train"] and not again["test"].binary


def test_lines_of_text(manual, tmp_path):
    (manual / "train.txt").write_text("the cat\na  dog\n\n", encoding="utf-8")
    (manual / "test.txt").write_text("an owl\n", encoding="utf-8")
    loaded = _load("line_text", tmp_path)
    texts = sorted(e["text"].decode() for e in loaded["train"].as_numpy_iterator())
    assert texts == ["a dog", "the cat"] and set(loaded) == {"train", "test"}
    assert read_lines("tfds:line_text:test", data_dir=tmp_path / "tfds")[0] == ["an owl"]


def test_the_oracle_s_words(manual, tmp_path):
    rows = np.arange(12, dtype=np.int32).reshape(4, 3)
    write_npz(manual / "oracle.npz", train=rows, validation=rows[:2], test=rows[:1])
    loaded = _load("oracle_words", tmp_path)
    assert _rows(loaded["train"], "words") == rows.tolist()
    assert _rows(loaded["test"], "words") == rows[:1].tolist()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("static_mnist", "expected .png or .jpg images"),
        ("omniglot28/chardata", "no file at .*chardata.mat"),
        ("line_text", "expected train.txt"),
        ("oracle_words", "oracle.npz"),
    ],
)
def test_missing_files(manual, tmp_path, name, error):
    (manual / "unrelated").touch()
    with pytest.raises((FileNotFoundError, ValueError), match=error):
        _load(name, tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tfds:", "cannot parse the TFDS name 'tfds:': expected tfds:NAME"),
        ("tfds:no_such_images", "TFDS has no dataset 'no_such_images' here"),
        ("tfds:static_mnist:none", "split 'none' .*its splits are .*validation"),
        ("tfds:static_mnist@label", "no image feature 'label': images are image"),
        ("tfds:omniglot28", "'omniglot28' could not be prepared"),
    ],
)
def test_what_is_not_there(manual, tmp_path, source, message):
    write_amat(manual, side=28)
    if "static_mnist" in source:
        _load("static_mnist", tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        load_images(source, data_dir=tmp_path / "tfds")
    assert len(str(error.value)) < 700
