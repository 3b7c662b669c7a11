"""Hugging Face datasets by name: read where the library is installed, else refused in words."""

import sys

import numpy as np
import pytest

from tf_savae.data import load_images, load_pictures, read_lines
from tf_savae.data.hf_source import parse
from tf_savae.tasks import TextConfig, train_and_evaluate

TEXTS = {"text": ["a cat", None, "two  dogs"], "label": [0, 1, 0]}


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    return pytest.importorskip("datasets")


def _saved_texts(datasets, folder):
    parts = {name: datasets.Dataset.from_dict(TEXTS) for name in ("train", "test")}
    parts["test"] = datasets.Dataset.from_dict({"text": ["a test"], "label": [1]})
    datasets.DatasetDict(parts).save_to_disk(folder)
    return folder


def test_text_of_a_saved_dataset(datasets, tmp_path):
    folder = _saved_texts(datasets, tmp_path / "texts")
    lines, report = read_lines(f"hf:{folder}")
    assert lines == ["a cat", "two dogs"] and report.source == f"hf:{folder}:train@text"
    assert report.empty == 1
    assert read_lines(f"hf:{folder}:test@text")[0] == ["a test"]
    with pytest.raises(ValueError, match="expected a column of text named 'label', got text among"):
        read_lines(f"hf:{folder}@label")
    with pytest.raises(ValueError, match="the dataset could not be read .*KeyError"):
        read_lines(f"hf:{folder}:validation")


def test_text_of_parquet_files(datasets, tmp_path):
    columns = {"title": ["One", "Two"], "body": ["a cat", "a dog"]}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "a.parquet")
    assert read_lines(f"hf:{tmp_path / 'a.parquet'}@body")[0] == ["a cat", "a dog"]
    with pytest.raises(
        ValueError, match="expected a column of text that can be chosen automatically, got title, b"
    ):
        read_lines(f"hf:{tmp_path / 'a.parquet'}")


def test_images_of_a_saved_dataset(datasets, tmp_path):
    from PIL import Image

    grey = np.arange(200, 224, dtype=np.uint8).reshape(2, 3, 4)
    colour = np.stack([grey, grey, grey // 2], axis=3)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})

    def saved(name, pixels):
        columns = {"image": [Image.fromarray(p) for p in pixels], "label": [0, 1]}
        rows = datasets.Dataset.from_dict(columns, features=features)
        datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / name)
        return f"hf:{tmp_path / name}"

    source = saved("grey", grey)
    parts = load_images(source)
    assert {part: images.levels.tolist() for part, images in parts.items()} == {
        "train": grey.tolist(),
        "test": grey.tolist(),
    }
    source = saved("colour", colour)
    with pytest.raises(
        ValueError, match="expected greyscale or black-and-white pixels, got colours"
    ):
        load_images(source)
    assert np.array_equal(load_pictures(f"{source}:test")["all"], colour)
    small = load_images(f"{source}:train", size=1, grey=True)["all"].levels
    middle = colour[:, :, :3].mean((1, 2))  # [3, 4]: the columns left of the last one.
    assert small[:, 0, 0].tolist() == np.rint(middle @ [0.299, 0.587, 0.114]).tolist()


def test_unknown_names(datasets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match="^hf:no/such: the dataset could not be read .* use a file"
    ):
        read_lines("hf:no/such")


def test_without_the_library(monkeypatch, tmp_path):
    """One sentence that says what to install, before anything is written."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = r"^hf:imdb(:train)?: .* is not installed: pip install 'tf_savae\[hf\]'.$"
    for read in (read_lines, load_images):
        with pytest.raises(ModuleNotFoundError, match=message):
            read("hf:imdb")
    config = TextConfig(train_file="hf:imdb", valid_file="hf:imdb", test_file="hf:imdb")
    with pytest.raises(ModuleNotFoundError, match=message):
        train_and_evaluate(config, tmp_path / "run")


@pytest.mark.parametrize("name", ["hf:", "hf:a b", "hf:a@", "hf:a:", "hf:a,b,c"])
def test_malformed_names(name):
    with pytest.raises(
        ValueError, match=r"expected hf:NAME\[,CONFIG\]\[:SPLIT\]\[@COLUMN\], such as"
    ):
        read_lines(name)


def test_parts_of_a_name():
    assert parse("hf:imdb") == ("imdb", None, None, None)
    assert parse("hf:./a/b.parquet:train[:10%]@a b") == (
        "./a/b.parquet",
        None,
        "train[:10%]",
        "a b",
    )
