"""Folders of pictures: nothing is left out, and no .png file is read as something else."""

import numpy as np
import pytest
import tensorflow as tf

from tf_savae.data import ImageSet, load_images

Image = pytest.importorskip("PIL.Image")

GREY = np.array([[0, 200], [100, 30]], np.uint8)


def _save(path, picture, **options):
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(path, "PNG", **options)


def _levels(folder):
    return load_images(folder)["all"].levels.tolist()


def test_suffixes_in_any_case(tmp_path):
    (tmp_path / "below").mkdir()
    _save(tmp_path / "a.png", GREY)
    _save(tmp_path / "b.PNG", GREY + 1)
    _save(tmp_path / "below" / "c.Png", GREY + 2)
    (tmp_path / "._a.png").write_bytes(b"what macOS keeps beside a file")
    (tmp_path / "labels.csv").write_text("1,2,3")
    assert _levels(tmp_path) == [GREY.tolist(), (GREY + 1).tolist(), (GREY + 2).tolist()]
    np.save(tmp_path / "x.npy", np.stack([GREY, GREY]))
    (tmp_path / "x.npy").rename(tmp_path / "x.NPY")
    assert load_images(tmp_path / "x.NPY")["all"].levels.shape == (2, 2, 2)


@pytest.mark.parametrize("name", ["b.webp", "b.BMP", "below/b.gif", "b.tif", "b.npz"])
def test_what_would_be_left_out_is_an_error(tmp_path, name):
    (tmp_path / "below").mkdir()
    (tmp_path / name).write_bytes(b"a picture")
    kind = name[name.index("b.") + 1 :]
    message = f"only .jpg or .png images, got also 1 files of type {kind}, such as .*{name}, which"
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path)
    _save(tmp_path / "a.png", GREY)
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path)


def test_pictures_beside_binarised_mnist(tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / f"binarized_mnist_{part}.amat").write_text("0 1 1 0\n")
    assert set(load_images(tmp_path)) == {"train", "valid", "test"}
    _save(tmp_path / "a.png", GREY)
    with pytest.raises(
        ValueError, match="expected only .amat images, got also 1 files of type .png"
    ):
        load_images(tmp_path)


def _rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _clear(mode):
    picture = Image.fromarray(GREY).convert(mode)
    picture.putalpha(Image.fromarray(np.array([[255, 255], [0, 255]], np.uint8)))
    return picture


COLOUR = np.stack([GREY, GREY, GREY[::-1]], axis=2)
TRANSPARENT = "expected opaque pixels, got 1 transparent ones of 4, whose grey level depends on"
WRONG = {
    "alpha": (_clear("RGBA"), {}, TRANSPARENT),
    "grey alpha": (_clear("LA"), {}, TRANSPARENT),
    "transparent level": (GREY, {"transparency": 100}, TRANSPARENT),
    "transparent palette": (Image.fromarray(GREY).convert("P"), {"transparency": 100}, TRANSPARENT),
    "colour": (
        COLOUR,
        {},
        "expected greyscale or black-and-white pixels, got colours. Convert the",
    ),
    "coloured palette": (
        Image.fromarray(COLOUR).quantize(4),
        {},
        "expected greyscale or black-and-white pixels, got colours",
    ),
    "16 bits": (
        GREY.astype(np.uint16),
        {},
        "expected at most 8 bits per channel, got 16, of which",
    ),
    "turned": (GREY, {"exif": _rotated()}, "expected .*got an image whose EXIF data rotate"),
    "animated": (
        GREY,
        {"save_all": True, "append_images": [Image.fromarray(GREY + 1)]},
        "expected a single image, got an animation",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_be_read_as_something_else(tmp_path, kind):
    picture, options, message = WRONG[kind]
    _save(tmp_path / "a.png", picture, **options)
    with pytest.raises(ValueError, match=f"a.png: {message}"):
        load_images(tmp_path)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_pictures_in_any_mode(tmp_path, mode):
    _save(tmp_path / "a.png", Image.fromarray(GREY).convert(mode))
    assert _levels(tmp_path) == [GREY.tolist()]


def test_one_bit_and_upright_pictures(tmp_path):
    black = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 1
    _save(tmp_path / "a.png", black.convert("1"))
    _save(tmp_path / "b.png", black, exif=exif)
    assert _levels(tmp_path) == [[[0, 1], [1, 0]]] * 2


def test_order_of_axes():
    images = np.random.default_rng(0).integers(256, size=[5, 3, 3], dtype=np.uint8)
    for array in (images, images[:, None], images[..., None], tf.constant(images)):
        np.testing.assert_array_equal(ImageSet.of(array, "x").levels, images)
    with pytest.raises(ValueError, match=r"one-channel images .* got shape \[5, 3, 3, 3\]"):
        ImageSet.of(np.stack([images] * 3, axis=1), "x")
