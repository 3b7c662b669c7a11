"""What is fuzzed: for each reader, how cases are made and how one is read and judged.

A target is a function of a folder for its files; it returns (strategy of cases, check). A check
returns None if the file was read, or a word for what else became of it; it raises `Refused` from a
documented error; it raises anything else if the reader failed.
"""

import dataclasses
import gzip
import io
import json
import lzma
import shutil
import zipfile

import keras
import numpy as np
import scipy.io
import tensorflow as tf
from fuzz_mutations import (
    Refused,
    as_json,
    byte_changes,
    changed_bytes,
    changed_json,
    json_changes,
    rezipped,
)
from hypothesis import strategies as st

from tf_savae.data import TextCorpus, Vocabulary, load_images, read_lines
from tf_savae.tasks import IMAGE_CONFIGS, ORACLE_CONFIGS, TEXT_CONFIGS
from tf_savae.tasks.text.model import build_model
from tf_savae.training.finished_run import _record
from tf_savae.training.storage.checkpoints import Checkpoints
from tf_savae.training.storage.json_files import digest
from tf_savae.training.storage.safe_load import load_model_file
from tf_savae.training.storage.snapshots import Snapshots
from tf_savae.training.storage.workdir import Workdir

__all__ = ["CASES", "TARGETS"]

# Of the full run; what is slow to read gets fewer.
CASES = {
    "text": 3000,
    "vocabulary": 2000,
    "images": 3000,
    "mat": 120,
    "run_json": 1500,
    "settings": 1000,
    "snapshot": 1000,
    "state": 300,
    "model_file": 400,
    "model_config": 300,
    "model_weights": 100,
}

_LINES = "the cat sat\n\nein B\u00e4r <unk> </s>\n" + "w " * 30 + "\n"


def _written(path, content):
    path.write_bytes(content)
    return path


def _refusal(error, path):
    """`error` as a `Refused`, if its words name the file or what was wrong; else itself."""
    words = str(error).lower()
    if "expected" in words or str(path).lower() in words or path.name in words:
        raise Refused from error
    raise error


def text(folder):
    """Text files, plain, .gz and .xz: the damage is inside or outside of the compression."""
    openers = {".txt": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
    cases = st.tuples(st.sampled_from(list(openers)), st.booleans(), byte_changes, byte_changes)

    def check(case):
        ending, long_lines, inside, outside = case
        content = openers[ending](changed_bytes(_LINES.encode(), inside))
        path = _written(folder / f"a{ending}", changed_bytes(content, outside))
        try:
            lines, report = read_lines(
                path, max_words=7, long_lines="skip" if long_lines else "truncate"
            )
        except ValueError as error:
            _refusal(error, path)
        assert len(lines) == report.kept and sum(len(x.split()) for x in lines) == report.words
        assert all(0 < len(line.split()) <= 7 for line in lines)
        try:
            vocabulary = Vocabulary.build(lines, max_size=12)
        except ValueError as error:  # No word but <unk>.
            raise Refused from error
        corpus = TextCorpus.encode(lines, vocabulary, report)
        assert max(int(row.max()) for row in corpus.sequences) < len(vocabulary)

    return cases, check


def vocabulary(folder):
    """Vocabulary files: what is read is the vocabulary that was saved, or the file is refused."""
    original = Vocabulary(["the", "cat", "B\u00e4r", "\u200bx"])
    original.save(folder / "saved.txt")
    content = (folder / "saved.txt").read_bytes()
    head, tail = content.split(b"\n", 1)
    cases = st.tuples(st.sampled_from(["all", "head", "tail"]), byte_changes)

    def check(case):
        part, changes = case
        changed = {
            "all": lambda: changed_bytes(content, changes),
            "head": lambda: changed_bytes(head, changes) + b"\n" + tail,
            "tail": lambda: head + b"\n" + changed_bytes(tail, changes),
        }[part]()
        path = _written(folder / "vocabulary.txt", changed)
        try:
            found = Vocabulary.load(path)
        except ValueError as error:
            _refusal(error, path)
        assert found == original

    return cases, check


def _image_files():
    grey = np.random.default_rng(0).integers(256, size=(3, 4, 4), dtype=np.uint8)
    bits = (grey > 127).astype(np.uint8)
    files = {}
    for name, save in (
        ("a.npy", lambda f: np.save(f, grey)),
        ("b.npz", lambda f: np.savez(f, train=bits, test=bits)),
        ("c.npz", lambda f: np.savez_compressed(f, images=grey)),
        ("d.mat", lambda f: scipy.io.savemat(f, {"images": np.moveaxis(grey, 0, 2)})),
        ("e.mat", lambda f: scipy.io.savemat(f, {"data": bits.reshape(3, 16)}, do_compression=1)),
        ("f.npy", lambda f: np.save(f, np.array([{"a": 1}], object))),
    ):
        file = io.BytesIO()
        save(file)
        files[name] = file.getvalue()
    rows = "\n".join(" ".join(map(str, image.ravel())) for image in bits)
    return {**files, "g.amat": rows.encode(), "h.png": tf.io.encode_png(grey[0, ..., None]).numpy()}


def images(folder):
    """Files of images, and a member of an archive inside right checksums."""
    return _images(folder, {n: f for n, f in _image_files().items() if not n.endswith(".mat")})


def mat(folder):
    """MATLAB's files, which a process of its own reads."""
    return _images(folder, {n: f for n, f in _image_files().items() if n.endswith(".mat")})


def _images(folder, files):
    cases = st.tuples(st.sampled_from(sorted(files)), byte_changes, byte_changes)

    def check(case):
        name, outside, inside = case
        content = files[name]
        if name.endswith(".npz"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                member = archive.namelist()[0]
            content = rezipped(content, member, lambda data: changed_bytes(data, inside))
        path = folder / ("pictures" if name.endswith(".png") else name)
        if name.endswith(".png"):
            path.mkdir(exist_ok=True)
            _written(path / name, changed_bytes(content, outside))
        else:
            _written(path, changed_bytes(content, outside))
        try:
            parts = load_images(str(path))
        except (ValueError, TypeError) as error:
            _refusal(error, path)
        for part in parts.values():
            assert len(part) and 0 <= part.probabilities([0]).min() <= 1

    return cases, check


def _record_of(config):
    return {"configuration": config.identity(), "data": {"train": "ab", "vocabulary": "cd"}}


def run_json(folder):
    """run.json, as evaluation and as training read it."""
    records = [_record_of(make()) for make in (TEXT_CONFIGS["tiny"], IMAGE_CONFIGS["tiny"])]
    cases = st.tuples(st.sampled_from(records), st.one_of(json_changes, byte_changes))

    def check(case):
        record, changes = case
        place = folder / "run"
        place.mkdir(exist_ok=True)
        by_bytes = not changes or isinstance(changes[0][0], str)
        if by_bytes:
            content = changed_bytes(json.dumps(record, indent=2).encode(), changes)
        else:
            content = as_json(changed_json(record, changes))
        path = _written(place / "run.json", content)
        workdir = Workdir(place)
        try:
            workdir.check("configuration", record["configuration"])
        except ValueError as error:
            _refusal(error, path)
        finally:
            workdir.release()
        try:
            _record(place)
        except ValueError as error:
            _refusal(error, path)

    return cases, check


def settings(folder):
    """Values of settings: a configuration is made, or one of them is named."""
    del folder
    makers = [m for named in (TEXT_CONFIGS, IMAGE_CONFIGS, ORACLE_CONFIGS) for m in named.values()]
    cases = st.tuples(st.sampled_from(makers), json_changes)

    def check(case):
        make, changes = case
        config = make()
        fields = [field.name for field in dataclasses.fields(config)]
        for place, _, value in changes[:1]:
            name = fields[int(place * (len(fields) - 1))]
            try:
                config = dataclasses.replace(config, **{name: value})
            except (ValueError, TypeError) as error:
                if name in str(error):
                    raise Refused from error
                raise
        json.dumps(config.identity(), allow_nan=False)

    return cases, check


def _variables():
    return [tf.Variable(np.arange(60, dtype=np.float32)), tf.Variable(tf.ones([2, 3]))]


def snapshot(folder):
    """Checkpoints: damaged ones are passed over; forged ones, checksums and all, are refused."""
    saved = Snapshots(folder / "saved", tf.train.Checkpoint(values=_variables()), 2)
    for _ in range(2):
        saved.write()
    names = sorted(path.name for path in saved.folder.iterdir() if path.name.startswith("ckpt-2"))
    cases = st.tuples(st.sampled_from(names), st.booleans(), byte_changes)

    def check(case):
        name, forged, changes = case
        place = folder / "copy"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(saved.folder, place)
        content = (place / name).read_bytes()
        changed = changed_bytes(content, changes)
        _written(place / name, changed)
        manifest = place / "ckpt-2.json"
        if forged and name != manifest.name:
            parts = json.loads(manifest.read_text())
            parts[name.removeprefix("ckpt-2")] = {
                "bytes": len(changed),
                "sha256": digest(place / name),
            }
            manifest.write_text(json.dumps(parts))
        values = _variables()
        for value in values:
            value.assign(tf.zeros_like(value))
        try:
            assert Snapshots(place, tf.train.Checkpoint(values=values), 2).read()
        except ValueError as error:
            _refusal(error, manifest)
        if not forged:
            for value, wanted in zip(values, _variables(), strict=True):
                np.testing.assert_array_equal(value.numpy(), wanted.numpy())
        return "read" if changed == content else "passed over for the one before"

    return cases, check


class _Place:
    """What `Checkpoints` wants of a workdir."""

    writes = True

    def __init__(self, folder):
        self._folder = folder

    def __truediv__(self, name):
        return self._folder / name


def _toy_model():
    config = dataclasses.replace(TEXT_CONFIGS["tiny"](), jit_compile="false")

    class Texts:
        vocabulary = Vocabulary([f"w{i}" for i in range(20)])

        def steps_per_epoch(self):
            return 8

    return build_model(config, Texts())


def state(folder):
    """The state of a run inside its checkpoint."""
    model = _toy_model()
    checkpoints = Checkpoints(_Place(folder), model)
    row = {"epoch": 1, "step": 8, "learning_rate": 1.0, "val_bound": 3.5, "seconds": 9.0}
    row["step_seconds"] = 0.1
    original = {"history": [row, row], "seconds": 3.0, "hvp": "reverse_over_reverse"}

    def check(changes):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        changed = changed_json({**original, "metrics": checkpoints._metrics()}, changes)
        checkpoints._text.assign(as_json(changed))
        checkpoints._latest.write()
        try:
            assert checkpoints.restore()
            checkpoints.restore_metrics(checkpoints.state.get("metrics", {}))
        except ValueError as error:
            _refusal(error, folder / "checkpoints")

    return json_changes, check


def _model_bytes(folder):
    path = folder / "original.keras"
    _toy_model().save(path)
    return path.read_bytes()


def _load(path, content):
    keras.backend.clear_session(free_memory=False)
    try:
        load_model_file(_written(path, content))
    except ValueError as error:
        _refusal(error, path)


def model_file(folder):
    """.keras files with damaged bytes."""
    content = _model_bytes(folder)

    def check(changes):
        _load(folder / "model.keras", changed_bytes(content, changes))

    return byte_changes, check


def model_config(folder):
    """.keras files with another configuration inside right checksums."""
    content = _model_bytes(folder)

    def check(changes):
        def change(data):
            return as_json(changed_json(json.loads(data), changes))

        _load(folder / "model.keras", rezipped(content, "config.json", change))

    return json_changes, check


def model_weights(folder):
    """.keras files with other weights inside right checksums: libhdf5 reads what came."""
    content = _model_bytes(folder)

    def check(changes):
        def change(data):
            return changed_bytes(data, changes)

        _load(folder / "model.keras", rezipped(content, "model.weights.h5", change))

    return byte_changes, check


TARGETS = {
    target.__name__: target
    for target in (
        text, vocabulary, images, mat, run_json, settings, snapshot, state, model_file,
        model_config, model_weights,
    )
}  # fmt: skip
