"""Images from every kind of file, their splits and their batches."""

import sys

import numpy as np
import pytest
from image_files import bits, grey, write_amat, write_drawings, write_npz

from tf_savae.data import (
    ImageSet,
    image_batches,
    image_steps_per_epoch,
    image_stream,
    load_images,
    split_images,
)


def _levels(parts):
    return {part: images.levels for part, images in parts.items()}


def _assert_parts(parts, expected):
    assert set(parts) == set(expected)
    for part, array in expected.items():
        np.testing.assert_array_equal(parts[part].levels, array)


# Files.


def test_packed_bits(tmp_path):
    """The form of binarized_mnist_packed.npz: a bit a pixel."""
    parts = {"train": bits(5, 28), "valid": bits(3, 28, 1), "test": bits(4, 28, 2)}
    packed = {n: np.packbits(a.reshape(len(a), -1), axis=1) for n, a in parts.items()}
    assert packed["train"].shape == (5, 98)
    loaded = load_images(write_npz(tmp_path / "mnist.npz", **packed))
    _assert_parts(loaded, parts)
    assert all(images.binary for images in loaded.values())


def test_text_of_binarised_mnist(tmp_path):
    parts = write_amat(tmp_path)
    _assert_parts(load_images(tmp_path), parts)
    _assert_parts(load_images(tmp_path / "binarized_mnist_valid.amat"), {"all": parts["valid"]})


@pytest.mark.parametrize(
    "names",
    [("x_train", "x_test"), ("train", "test"), ("train_images", "test_images")],
)
def test_parts_by_the_usual_names(tmp_path, names):
    fields = {names[0]: grey(5), names[1]: grey(3, seed=1), "y_train": np.arange(5)}
    loaded = load_images(write_npz(tmp_path / "a.npz", **fields))
    _assert_parts(loaded, {"train": fields[names[0]], "test": fields[names[1]]})


def test_one_array_among_labels(tmp_path):
    """The form of omniglot28_area.npz."""
    fields = {"images": grey(6), "char": np.arange(6), "alphabet_names": np.array(["a", "b"])}
    path = write_npz(tmp_path / "a.npz", **fields)
    _assert_parts(load_images(path), {"all": fields["images"]})
    path = write_npz(tmp_path / "b.npz", pictures=fields["images"], other=np.zeros([6]))
    _assert_parts(load_images(path), {"all": fields["images"]})


def test_a_field_by_name(tmp_path):
    fields = {"first": grey(5), "second": grey(3, seed=1)}
    path = write_npz(tmp_path / "a.npz", **fields)
    _assert_parts(load_images(f"{path}@second"), {"all": fields["second"]})
    assert load_images(f"{path}@second")["all"].source == f"{path}@second"


def test_numpy_array(tmp_path):
    np.save(tmp_path / "a.npy", grey(5).reshape(5, 16))
    _assert_parts(load_images(tmp_path / "a.npy"), {"all": grey(5)})


def test_burda_s_matlab_file(tmp_path):
    """Fields data and testdata [784, N], each image by columns, beside its targets."""
    savemat = pytest.importorskip("scipy.io").savemat
    train, test = grey(7, 28) / 255.0, grey(5, 28, 1) / 255.0
    columns = {
        n: a.transpose(0, 2, 1).reshape(len(a), -1).T
        for n, a in {"data": train, "testdata": test}.items()
    }
    savemat(tmp_path / "chardata.mat", {**columns, "target": np.eye(50, 7), "testtarget": [[1.0]]})
    loaded = load_images(tmp_path / "chardata.mat")
    _assert_parts(loaded, {"train": train.astype("f4"), "test": test.astype("f4")})


def test_matlab_arrays_by_their_shape(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    images = grey(3)
    forms = {
        "cube": np.moveaxis(images, 0, 2),
        "columns": images.transpose(0, 2, 1).reshape(3, 16).T,
        "rows": images.reshape(3, 16),
        "wide": grey(25).transpose(0, 2, 1).reshape(25, 16).T,  # Both 16 and 25 are squares.
    }
    savemat(tmp_path / "a.mat", forms)
    for name in ("cube", "columns", "rows"):
        _assert_parts(load_images(f"{tmp_path / 'a.mat'}@{name}"), {"all": images})
    _assert_parts(load_images(f"{tmp_path / 'a.mat'}@wide"), {"all": grey(25)})


def test_omniglot_s_drawings(tmp_path):
    """Area averages: the ink of the drawing is that of the small image, place by place."""
    drawings = write_drawings(tmp_path)
    loaded = load_images(tmp_path)["all"]
    assert loaded.levels.shape == (4, 28, 28) and loaded.levels.dtype == np.uint8
    edges = np.linspace(0, 105, 29)
    low, high = np.arange(105), np.arange(1, 106)
    shared = np.minimum(high, edges[1:, None]) - np.maximum(low, edges[:-1, None])
    weights = np.maximum(shared, 0) / 3.75
    expected = np.einsum("ih,nhw,jw->nij", weights, 255.0 - drawings, weights)
    np.testing.assert_allclose(loaded.levels, expected, atol=0.51)
    background = load_images(tmp_path / "images_background")["all"]
    np.testing.assert_array_equal(background.levels, loaded.levels[:2])


# What pixels may be.


@pytest.mark.parametrize(
    ("array", "binary", "full"),
    [
        (np.array([[[True, False]]]), True, 1),
        (np.array([[[0, 255]]], np.uint8), True, 1),
        (np.array([[[0.0, 1.0]]]), True, 1),
        (np.array([[[0, 207]]]), False, 255),
        (np.array([[[0, 99]]], np.uint8), False, 255),
        (np.array([[[0.0, 0.5]]]), False, 1),
        (np.array([[[0.0, 128.0]]]), False, 255),
    ],
)
def test_ranges(array, binary, full):
    images = ImageSet.of(array, "x")
    assert (images.binary, images.full) == (binary, full)
    assert images.probabilities([0]).max() == pytest.approx(1 if binary else array.max() / full)


BAD = np.full([2, 4, 4], np.nan)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"images": BAD}, "expected finite numbers, got 32 NaN or infinite pixels out of 32"),
        ({"images": grey(2).astype("i4") - 300}, "expected pixels from 0 to 1 or from 0 to 255"),
        ({"images": grey(2) * 2.0 + 1}, "expected pixels from 0 to 1 or from 0 to 255, got"),
        ({"images": grey(2) % 17}, "got a maximum of 16, which suggests another range"),
        (
            {"images": np.eye(4)[None] * 256 / 255},
            "got a maximum of 1.00392, which suggests another range",
        ),
        ({"images": np.eye(4)[None] * 100}, "got a maximum of 100, which suggests another range"),
        ({"images": np.ones([4, 4, 50])}, r"shape \[4, 4, 50\], which looks like \[H, W, N\]"),
        ({"images": np.zeros([2, 4, 4, 3])}, r"one-channel images .*got shape \[2, 4, 4, 3\]"),
        ({"images": np.zeros([2, 15])}, r"rows of square images, got shape \[2, 15\]"),
        ({"train": grey(2), "test": grey(2, 5)}, "splits with one image size"),
        ({"a": grey(2), "b": grey(2)}, r"got a \[2, 4, 4\], b \[2, 4, 4\]; select one"),
        ({"names": np.array(["a"])}, "expected fields train and test, or one array"),
    ],
)
def test_what_cannot_be_used(tmp_path, fields, message):
    path = write_npz(tmp_path / "a.npz", **fields)
    with pytest.raises(ValueError, match=message) as error:
        load_images(path)
    assert "a.npz" in str(error.value)


def test_no_numbers():
    with pytest.raises(TypeError, match="x: expected numbers, got dtype <U1"):
        ImageSet.of(np.array([[["a"]]]), "x")
    with pytest.raises(ValueError, match="at least one image"):
        ImageSet.of(np.zeros([0, 4, 4]), "x")


def test_a_field_without_images(tmp_path):
    path = write_npz(tmp_path / "a.npz", images=grey(2), names=np.array(["a"]))
    with pytest.raises(ValueError, match=r"numbers \[N, H, W\] in field 'names', got <U1 \[1\]"):
        load_images(f"{path}@names")


def _damaged(folder):
    whole = write_npz(folder / "whole.npz", images=grey(50, 20)).read_bytes()
    (folder / "cut.npz").write_bytes(whole[:500])
    (folder / "none.npy").write_bytes(b"no array")
    (folder / "bad.amat").write_text("0 1 0\n0 1 x\n")
    (folder / "grey.amat").write_text("0 255 0 128\n1 0 0 1\n")
    (folder / "long.amat").write_text("0 1 0 010\n1 0 0 1\n")
    (folder / "ragged.amat").write_text("0 1 0\n0 1\n")
    (folder / "a.txt").write_text("0")
    (folder / "empty").mkdir()
    (folder / "half").mkdir()
    (folder / "half" / "binarized_mnist_train.amat").write_text("0 1 0 1\n")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.npz", "cut.npz is not a complete, valid .npz file"),
        ("none.npy", "none.npy is not a complete, valid .npy file"),
        ("bad.amat", "expected rows of 0 and 1 separated by spaces, got 'x'"),
        (
            "grey.amat",
            "grey.amat: expected rows of 0 and 1 .*, got '128'. Save greyscale images as",
        ),
        ("long.amat", "expected rows of 0 and 1 separated by spaces, got '010'"),
        ("ragged.amat", "expected rows of equal length, got 5 numbers in 2 lines"),
        ("a.txt", "expected a name that ends in .npz, .npy, .mat, .amat, got '.txt'"),
        ("empty", "expected .png or .jpg images in this folder or its subfolders"),
        ("half", "but test, valid are missing"),
        ("pictures", "a.png is not a complete, valid .png image"),
        ("whole.npz@labels", r"expected a field 'labels', got the fields images \[50, 20, 20\]"),
    ],
)
def test_damaged_files(tmp_path, name, message):
    _damaged(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path / name)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at .*none.npz: expected images as .npz"):
        load_images(tmp_path / "none.npz")


def test_matlab_files_need_scipy(tmp_path, monkeypatch):
    (tmp_path / "a.mat").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scipy, or save the images as"):
        load_images(tmp_path / "a.mat")


def test_damaged_matlab_file(tmp_path):
    pytest.importorskip("scipy.io")
    (tmp_path / "a.mat").write_bytes(b"anything")
    with pytest.raises(ValueError, match="a.mat is not a complete, valid .mat file"):
        load_images(tmp_path / "a.mat")


# Splits.


def test_one_set_becomes_three():
    images = ImageSet.of(grey(20), "x")
    parts = split_images({"all": images}, valid_size=3, test_size=5, seed=1)
    assert {n: len(p) for n, p in parts.items()} == {"train": 12, "valid": 3, "test": 5}
    together = np.concatenate([part.levels for part in parts.values()])
    assert len(np.unique(together, axis=0)) == 20
    again = split_images({"all": images}, valid_size=3, test_size=5, seed=1)
    assert all(again[n].digest() == parts[n].digest() for n in parts)
    other = split_images({"all": images}, valid_size=3, test_size=5, seed=2)
    assert other["test"].digest() != parts["test"].digest()


def test_parts_of_the_source_stay():
    whole = {n: ImageSet.of(grey(8, seed=s), n) for s, n in enumerate(("train", "test"))}
    parts = split_images(whole, valid_size=2, test_size=5)
    assert parts["test"] is whole["test"] and len(parts["train"]) == 6
    whole["valid"] = whole["test"]
    assert split_images(whole, valid_size=2, test_size=5)["train"] is whole["train"]


@pytest.mark.parametrize("sizes", [(0, 1), (5, 3), (7, 1)])
def test_too_few_images_to_split(sizes):
    images = ImageSet.of(grey(8), "x")
    with pytest.raises(ValueError, match="x: expected enough images for"):
        split_images({"all": images}, valid_size=sizes[0], test_size=sizes[1])


# Batches.


def _taken(dataset, count):
    return [x.numpy() for x, _, _ in dataset.take(count)]


def test_grey_images_are_drawn_anew_each_epoch_and_the_same_when_resumed():
    images = ImageSet.of(np.full([6, 3, 3], 0.4), "x")
    whole = _taken(image_stream(images, 2, seed=3), 7)
    assert all(set(np.unique(x)) <= {0.0, 1.0} for x in whole)
    assert (np.concatenate(whole[:3]) != np.concatenate(whole[3:6])).any()
    for ours, theirs in zip(
        whole[4:], _taken(image_stream(images, 2, seed=3, start_step=4), 3), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert (whole[0] != _taken(image_stream(images, 2, seed=4), 1)[0]).any()


def test_a_pass_takes_each_image_once_in_whole_batches():
    levels = np.eye(9, dtype=np.uint8).reshape(9, 3, 3)
    images = ImageSet.of(levels, "x")
    assert image_steps_per_epoch(images, 4) == 2
    first, second = (
        np.concatenate(p) for p in np.array_split(_taken(image_stream(images, 4), 4), 2)
    )
    assert len(np.unique(first, axis=0)) == len(np.unique(second, axis=0)) == 8
    assert (first != second).any()


def test_drawings_have_the_grey_value_as_mean():
    grey_value = np.linspace(0, 1, 9).reshape(1, 3, 3)
    images = ImageSet.of(np.repeat(grey_value, 4000, axis=0), "x")
    mean = images.binarized(5).levels.mean(axis=0)
    np.testing.assert_allclose(mean, grey_value[0], atol=0.04)
    assert images.binarized(5).digest() == images.binarized(5).digest()
    assert images.binarized(5).digest() != images.binarized(6).digest()
    (x,) = _taken(image_stream(images, 4000), 1)
    np.testing.assert_allclose(x.mean(axis=0)[..., 0], grey_value[0], atol=0.04)


def test_evaluation_batches_keep_order_and_fill_up():
    images = ImageSet.of(bits(5), "x")
    batches = list(image_batches(images, 2))
    x = np.concatenate([x for x, _, _ in batches])
    weights = np.concatenate([w for _, _, w in batches])
    assert len(batches) == 3 and weights.tolist() == [1, 1, 1, 1, 1, 0]
    np.testing.assert_array_equal(x[:5, ..., 0], images.levels)
    assert x.dtype == np.float32 and not x[5].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda s: image_batches(s, 2),
            "expected binary images for evaluation, got greyscale ones",
        ),
        (lambda s: image_batches(s.binarized(0), 0), "batch_size: expected an integer >= 1"),
        (lambda s: image_stream(s, 9), "expected at least batch_size=9 images .*got 4"),
        (lambda s: image_stream(s, 2, start_step=-1), "start_step: expected an integer >= 0"),
        (lambda s: image_stream(s, 2, seed=-1), "seed: expected an integer >= 0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(ImageSet.of(grey(4), "x"))


# Real data.


def test_real_omniglot_and_mnist(data_dir):
    omniglot = load_images(data_dir / "omniglot" / "omniglot28_area.npz")["all"]
    assert len(omniglot) == 32_460 and omniglot.shape == (28, 28) and not omniglot.binary
    assert 0.07 < omniglot.probabilities(slice(0, 500)).mean() < 0.1
    mnist = load_images(data_dir / "mnist_static" / "binarized_mnist_packed.npz")
    assert {n: len(p) for n, p in mnist.items()} == {
        "train": 50_000,
        "valid": 10_000,
        "test": 10_000,
    }
    assert all(part.binary for part in mnist.values())
