"""The text and images that ship with the package: what they hold, and how they are named."""

from importlib import resources

import numpy as np
import pytest

import tf_savae
from tf_savae import data
from tf_savae.data.builtin import make

SIZES = {"train": 6000, "valid": 1000, "test": 1000}


def test_the_files_are_what_the_program_makes():
    """The first rows of a part are those of a larger one's series."""
    found = data.load_sentences()
    for row, text, label in zip(
        make.make_sentences()[:6000], found["train"].x, found["train"].labels, strict=True
    ):
        assert (row["text"], row["topic"]) == (text, found["train"].names[label])
    made = make.make_shapes({"train": 6000})
    train = data.load_shapes()["train"]
    assert np.array_equal(made["train_labels"], train.labels)
    pixels = np.unpackbits(made["train"], axis=1).reshape(-1, 28, 28, 1)
    assert np.array_equal(pixels, train.x)


def test_they_are_small_and_inside_the_package():
    folder = resources.files(tf_savae) / "data" / "builtin"
    sizes = {
        name: len((folder / name).read_bytes()) for name in ("sentences.jsonl.xz", "shapes.npz")
    }
    assert 0 < sum(sizes.values()) < 500_000, sizes


def test_sentences():
    parts = data.load_sentences()
    assert {part: len(found.x) for part, found in parts.items()} == SIZES
    for found in parts.values():
        assert found.labels.shape == (len(found.x),) and set(found.labels) == set(range(8))
        assert all(10 <= len(text.split()) <= 28 for text in found.x)
    words = {word for found in parts.values() for text in found.x for word in text.split()}
    assert len(words) == 347 and all(word.isalpha() and word.islower() for word in words)
    garden = [x for x, y in zip(*parts["test"][:2], strict=True) if y == 0]
    assert parts["test"].names[0] == "garden" and not any("guitar" in x for x in garden)


def test_shapes():
    parts = data.load_shapes()
    assert {part: found.x.shape for part, found in parts.items()} == {
        part: (count, 28, 28, 1) for part, count in SIZES.items()
    }
    train = parts["train"]
    assert train.x.dtype == np.float32 and set(np.unique(train.x)) == {0.0, 1.0}
    assert np.all((train.x.sum((1, 2, 3)) > 15) & (train.x.sum((1, 2, 3)) < 320))
    assert not train.x[:, 0].any() and not train.x[:, :, -1].any()  # All inside of the frame.
    ink = [train.x[train.labels == kind].mean() for kind in range(7)]
    assert ink[0] > 1.5 * ink[5]  # Discs have more of it than crosses.
    assert len(np.unique(train.x.reshape(6000, -1), axis=0)) > 5900


def test_names_of_text():
    lines, report = data.read_lines("builtin:sentences:test")
    assert lines == data.load_sentences()["test"].x and report.source == "builtin:sentences:test"
    assert data.read_lines("builtin:sentences")[1].source == "builtin:sentences:train"


def test_names_of_images():
    parts = data.load_images("builtin:shapes")
    shapes = data.load_shapes()
    for part, images in parts.items():
        assert images.binary and np.array_equal(images.levels[..., None], shapes[part].x)
    assert list(data.load_images("builtin:shapes:valid")) == ["all"]
    small = data.load_images("builtin:shapes:test", size=14)["all"]
    first = shapes["test"].x[0, :, :, 0].reshape(14, 2, 14, 2).mean((1, 3))
    assert small.shape == (14, 14) and np.allclose(small.probabilities([0])[0], first)


@pytest.mark.parametrize(
    ("read", "source", "known"),
    [
        (data.read_lines, "builtin:sentence", "builtin:sentences, the text"),
        (data.read_lines, "builtin:sentences:validation", "builtin:sentences, the text"),
        (data.read_lines, "builtin:shapes", "builtin:sentences, the text"),
        (data.load_images, "builtin:sentences", "builtin:shapes, the images"),
        (data.load_images, "builtin:shapes:all", "builtin:shapes, the images"),
    ],
)
def test_other_names_are_refused(read, source, known):
    with pytest.raises(
        ValueError, match=f"^{source}: expected {known} included in the package, or .*:PART"
    ):
        read(source)
