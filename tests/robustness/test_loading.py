"""Files made to run code, to read other files, or to fill the memory: refused in plain words."""

import gzip
import io
import json
import lzma
import struct
import threading
import zipfile

import evaluate_runs
import keras
import numpy as np
import pytest
import tensorflow as tf
import text_runs
from fuzz_mutations import rezipped
from keras_models import compiled, data, dense_model

from tf_savae.data import load_images, read_lines
from tf_savae.tasks import load_run
from tf_savae.training.storage import safe_load
from tf_savae.training.storage.safe_load import load_model_file


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    compiled(dense_model("vae"), data()).save(path)
    return path.read_bytes()


def _load(folder, content):
    path = folder / "model.keras"
    path.write_bytes(content)
    return load_model_file(path)


def _with_layer(config, layer):
    config["config"]["encoder"]["config"]["layers"].append(layer)


def _layer(name, module="keras.layers", registered=None, **config):
    return {"class_name": name, "module": module, "registered_name": registered, "config": config}


def _with_full_covariance(config, latent_size):
    family = config["config"]["family"]
    family["registered_name"] = "tf_savae>FullCovarianceGaussian"  # What Keras goes by.
    config["config"].update(objective="svi", encoder=None, latent_size=latent_size)


@keras.saving.register_keras_serializable("test_faults_loading")
class _Negative(keras.layers.Layer):
    """Two negative sizes: their product is one that a file could hold."""

    def build(self, input_shape):
        self.add_weight(shape=(-1, -8), initializer="zeros")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: _with_layer(c, _layer("Lambda", function="code")), "may not contain a Lambda"),
        (
            lambda c: _with_layer(c, _layer("StringLookup", vocabulary="/etc/passwd")),
            "may not contain a StringLookup, which runs code or reads files",
        ),
        (lambda c: _with_layer(c, _layer("TFSMLayer", filepath="/tmp")), "hold a TFSMLayer"),
        (lambda c: _with_layer(c, _layer("system", "os")), "got 'system' of 'os'"),
        (lambda c: _with_layer(c, _layer("Mine", None, "mine>Mine")), "got 'Mine' of 'mine>Mine'"),
        (
            lambda c: c["config"]["encoder"]["config"]["layers"][-1]["config"].update(units=10**10),
            "more than the file can hold",
        ),
        (
            lambda c: c["build_config"].update(data_spec=[[10**6, 10**6], "float32"]),
            "expected a plausible shape of examples",
        ),
        (
            lambda c: c["config"].update(objective="svi", encoder=None, latent_size=2**33),
            "latent_size=8,589,934,592, more than the file can hold",
        ),
        (
            lambda c: _with_layer(c, _layer("STFTSpectrogram", frame_length=2**32)),
            "frame_length=4,294,967,296, more than the file can hold",
        ),
        (lambda c: _with_full_covariance(c, 2**20), "latent_size=1,048,576, more than the file"),
        (lambda c: c["config"].update(latent_size=-3), "latent_size that is an integer >= 0"),
        (lambda c: c["config"]["prior"]["config"].update(latent_size=2.5), "integer >= 0, got 2.5"),
        (
            lambda c: _with_layer(c, _layer("Negative", None, "test_faults_loading>_Negative")),
            r"Cannot convert '\(-1, -8\)' to a shape. Negative dimensions are not allowed",
        ),
    ],
)
def test_configurations_that_want_too_much(tmp_path, saved, change, message):
    def changed(content):
        config = json.loads(content)
        change(config)
        return json.dumps(config).encode()

    with pytest.raises(ValueError, match=message):
        _load(tmp_path, rezipped(saved, "config.json", changed))


def test_an_untouched_file_loads_and_layers_are_as_before(tmp_path, saved):
    before = keras.layers.Layer.add_weight
    assert _load(tmp_path, saved).count_params() > 0
    assert keras.layers.Layer.add_weight is before


def test_variables_are_counted_before_they_are_made_and_in_this_thread_alone():
    """All of them, also where an initializer reads a variable; other threads go on as they did."""
    seeded = keras.initializers.GlorotUniform(keras.random.SeedGenerator(3))
    with safe_load._counted(100):  # 600 numbers, an optimizer's included.
        one = keras.Variable(seeded, (20, 20))
        with pytest.raises(ValueError, match=r"weights of shape \(15, 14\) and more"):
            keras.Variable("zeros", (15, 14))
        thread = threading.Thread(target=lambda: others.append(keras.Variable("zeros", (99, 99))))
        others = []
        thread.start()
        thread.join()
    assert len(others) == 1 and keras.Variable("zeros", (99, 99)).shape == (99, 99)
    assert np.ptp(one.numpy()) > 0 and int(seeded.seed.state.numpy()[1]) == 1
    assert keras.layers.Layer.add_weight.__module__.startswith("keras.")


def test_archives_with_other_members_or_compression(tmp_path, saved):
    file = io.BytesIO(saved)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("../../evil", "x")
    with pytest.raises(ValueError, match="got .*evil"):
        _load(tmp_path, file.getvalue())
    packed = rezipped(saved, "config.json", lambda c: c, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="expected metadata.json uncompressed, got it compressed"):
        _load(tmp_path, packed)
    damaged = bytearray(saved)
    damaged[len(saved) // 2] ^= 1
    with pytest.raises(ValueError, match="checksum of|Bad CRC"):
        _load(tmp_path, bytes(damaged))


def test_a_run_whose_files_lead_elsewhere(tmp_path):
    texts = text_runs.write_texts(tmp_path)
    run = evaluate_runs.text_run(texts, tmp_path / "run", system="vae")
    assert load_run(run).kind == "text"
    for name in ("model.keras", "vocabulary.txt", "run.json"):
        (run / name).rename(tmp_path / name)
        (run / name).symlink_to(tmp_path / name)
        with pytest.raises(ValueError, match="expected no links to other folders"):
            load_run(run)
        (run / name).unlink()
        (tmp_path / name).rename(run / name)
    record = json.loads((run / "run.json").read_text())
    record["configuration"]["max_words"] = "many"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="run.json: .*max_words: expected an integer"):
        load_run(run)


# Bombs.


@pytest.mark.parametrize("opener", [gzip.open, lzma.open])
def test_text_that_expands_without_end(tmp_path, monkeypatch, opener):
    monkeypatch.setattr("tf_savae.data.limits._ALWAYS", 2**22)
    path = tmp_path / ("a.gz" if opener is gzip.open else "a.xz")
    with opener(path, "wb") as file:
        for _ in range(32):
            file.write(b"\0" * 2**20)
    with pytest.raises(ValueError, match="expand to .* far more than text or images do"):
        read_lines(path)


def test_an_archive_of_images_that_expands_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tf_savae.data.limits._ALWAYS", 2**20)
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros([4000, 32, 32], np.uint8))
    with pytest.raises(ValueError, match="expand to 4,096,128"):
        load_images(tmp_path / "a.npz")


def test_a_header_that_promises_more_than_the_file_holds(tmp_path):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"shape": (10**9, 28, 28), "fortran_order": False, "descr": "|u1"}
    )
    (tmp_path / "a.npy").write_bytes(file.getvalue() + b"\0" * 100)
    with pytest.raises(ValueError, match="not a complete, valid .npy file: mmap length is greater"):
        load_images(tmp_path / "a.npy")
    png = bytearray(tf.io.encode_png(np.zeros([2, 2, 1], np.uint8)).numpy())
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(png)
    with pytest.raises(ValueError, match="a.png: its .* bytes expand to 3,600,000,000"):
        load_images(tmp_path / "pictures")


def test_a_folder_of_images_that_expands_without_end(tmp_path, monkeypatch):
    """Each of them may grow into 2**16 bytes, and all of them together may not."""
    monkeypatch.setattr("tf_savae.data.limits._ALWAYS", 2**16)
    png = tf.io.encode_png(np.zeros([200, 200, 1], np.uint8)).numpy()
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png)
        if not number:
            assert load_images(tmp_path)["all"].shape == (200, 200)
    monkeypatch.setattr(tf.io, "decode_png", text_runs.long_work)
    stored = rf"{4 * len(png):,} bytes expand to 160,000"
    with pytest.raises(ValueError, match=rf"{tmp_path.name}: its {stored}"):
        load_images(tmp_path)


def test_another_format_by_the_name_of_png(tmp_path):
    """TensorFlow would decode it, and its size is not where that of a .png stands."""
    (tmp_path / "a.png").write_bytes(tf.io.encode_jpeg(np.zeros([8, 8, 1], np.uint8)).numpy())
    with pytest.raises(ValueError, match="a.png is not a complete, valid .png image"):
        load_images(tmp_path)


def test_arrays_that_hold_pickles(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object))
    np.savez(tmp_path / "b.npz", images=np.array([{"a": 1}], object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(ValueError, match=f"{name} is not a complete, valid"):
            load_images(tmp_path / name)
