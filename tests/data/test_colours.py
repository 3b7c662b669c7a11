"""JPEG files, colours and sizes: what pictures become before they are data."""

import io

import numpy as np
import pytest

from tf_savae.data import load_images, load_pictures
from tf_savae.data.images.fit import Fit

Image = pytest.importorskip("PIL.Image")

RAMP = np.linspace(0, 255, 16 * 12).reshape(16, 12).astype(np.uint8)
COLOURS = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 90)], axis=2)


def _save(path, pixels, kind="JPEG", **options):
    Image.fromarray(pixels).save(
        path, kind, **({"quality": 95} if kind == "JPEG" else {}), **options
    )
    return path


def _read(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_grey_jpeg(tmp_path, name):
    path = _save(tmp_path / name, RAMP)
    assert np.abs(load_images(tmp_path)["all"].levels[0].astype(int) - _read(path)).max() <= 1


def test_progressive_jpeg_beside_png(tmp_path):
    path = _save(tmp_path / "a.jpg", RAMP, progressive=True)
    _save(tmp_path / "b.png", RAMP, "PNG")
    levels = load_images(tmp_path)["all"].levels.astype(int)
    assert np.abs(levels[0] - _read(path)).max() <= 1 and np.array_equal(levels[1], RAMP)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_colours_are_refused_unless_asked_for(tmp_path, kind):
    path = _save(tmp_path / f"a.{'jpg' if kind == 'JPEG' else 'png'}", COLOURS, kind)
    with pytest.raises(
        ValueError, match=f"^{path}: expected greyscale or black-and-white pixels, got co"
    ):
        load_images(tmp_path)
    brightness = _read(path) @ [0.299, 0.587, 0.114]
    grey = load_images(tmp_path, grey=True)["all"].levels
    assert grey.dtype == np.uint8 and np.abs(grey[0] - brightness).max() < 2
    colours = load_pictures(tmp_path)["all"]
    assert colours.dtype == np.uint8 and np.abs(colours[0].astype(int) - _read(path)).max() <= 3


def test_sizes(tmp_path):
    """The middle square, areas averaged; pictures of several sizes become one set."""
    _save(tmp_path / "a.png", RAMP, "PNG")
    _save(tmp_path / "b.png", np.full([9, 30], 70, np.uint8), "PNG")
    with pytest.raises(
        ValueError, match=r"of one size, \[16, 12\] as the first one, .*--image_size"
    ):
        load_images(tmp_path)
    levels = load_images(tmp_path, size=4)["all"].levels
    expected = np.rint(RAMP[2:14].reshape(4, 3, 4, 3).mean((1, 3)))
    assert np.array_equal(levels[0], expected) and np.all(levels[1] == 70)


def test_a_size_that_does_not_divide():
    """5 pixels to 2: each new one covers two and a half."""
    row = np.arange(5, dtype=np.float32)
    small = Fit(2).one(np.tile(row, [5, 1]), "x")
    assert small[0] == pytest.approx([(0 + 1 + 0.5 * 2) / 2.5, (0.5 * 2 + 3 + 4) / 2.5])
    assert Fit(10).one(np.full([5, 5], 7, np.uint8), "x").tolist() == [[7] * 10] * 10


def test_binary_images_become_shares_of_ink(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(4, dtype=np.uint8)[None])
    images = load_images(tmp_path / "a.npy", size=2)["all"]
    assert not images.binary and images.probabilities([0])[0].tolist() == [[0.5, 0], [0, 0.5]]


def test_arrays_in_colour(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([COLOURS] * 2))
    with pytest.raises(
        ValueError, match=r"got shape \[2, 16, 12, 3\]. Convert colours to greyscale .*--to_g"
    ):
        load_images(tmp_path / "a.npy")
    grey = load_images(tmp_path / "a.npy", grey=True)["all"].levels
    assert np.array_equal(grey[1], np.rint(COLOURS @ np.float32([0.299, 0.587, 0.114])))
    assert np.array_equal(load_pictures(tmp_path / "a.npy")["all"][0], COLOURS)


@pytest.mark.parametrize("turn", range(1, 9))
def test_photographs_are_turned_as_they_say(tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = _save(tmp_path / "a.jpg", RAMP, exif=exif)
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Image.open(path))).astype(int)
    levels = load_images(tmp_path)["all"].levels[0]
    assert levels.shape == upright.shape and np.abs(levels - upright).max() <= 1


def _cut():
    buffer = io.BytesIO()
    Image.fromarray(RAMP).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a complete, valid .jpg image"),
        (_cut()[:200], "is not a complete, valid .jpg image"),
        (_cut()[:-60], "is not a complete, valid .jpg image"),
        (b"\x89PNG\r\n", "is not a complete, valid .jpg image"),
        (
            _cut().replace(b"\xff\xc0", b"\xff\xc9"),
            "expected an 8-bit JPEG image, greyscale or RGB",
        ),
    ],
)
def test_damaged_jpeg(tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path)


def test_a_jpeg_that_would_fill_the_memory(tmp_path):
    content = bytearray(_cut())
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = b"\xff\xff\xff\xff"  # 65,535 x 65,535.
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match="bytes expand to 4,294,836,225 or more"):
        load_images(tmp_path)


@pytest.mark.parametrize(("size", "grey"), [(0, False), (2.5, False), (None, "yes")])
def test_arguments(tmp_path, size, grey):
    with pytest.raises(ValueError, match="^(size|grey): expected"):
        load_images(tmp_path, size=size, grey=grey)
