"""What an export writes: versions, documentation, warm-up; words in the graph; refusals."""

import json
import os
import re
import stat

import keras_models
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

import tf_savae
from tf_savae.data import Vocabulary
from tf_savae.networks import TextDecoder
from tf_savae.serving import Limits
from tf_savae.serving.graph_vocabulary import GraphVocabulary
from tf_savae.serving.versions import new_version

WORDS = ("the", "cat", "naïve", "日本", "\ufeffmark", "nul\x00", "\ufffd")
VOCABULARY = Vocabulary(WORDS)


@pytest.fixture(scope="module")
def model():
    model = tf_savae.AutoregressiveModel(TextDecoder(len(VOCABULARY), 2, 3, latent_size=0))
    model(tf.constant([[2, 5, 6, 3]]))
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "words"
    return tf_savae.export(model, folder, vocabulary=VOCABULARY, limits=Limits(words=5, rows=4))


def test_documentation_travels_with_it(exported):
    documented = json.loads((exported / "assets.extra" / "signatures.json").read_text("utf-8"))
    served = tf.saved_model.load(exported).signatures
    assert set(documented["signatures"]) == set(served) - {"serving_default"}
    for name, parts in documented["signatures"].items():
        of = served[name]
        kinds = {"inputs": of.structured_input_signature[1], "outputs": of.structured_outputs}
        for kind, specs in kinds.items():
            dtypes = {n: entry["dtype"] for n, entry in parts[kind].items()}
            assert dtypes == {n: spec.dtype.name for n, spec in specs.items()}
            assert all(entry["about"] for entry in parts[kind].values())
    likelihood = documented["signatures"]["log_likelihood"]["outputs"]["log_likelihood_nats"]
    assert (likelihood["unit"], likelihood["shape"]) == ("nats", [None])
    assert documented["limits"] == {"rows": 4, "steps": 100, "samples": 1000, "words": 5}
    assert documented["vocabulary"] == VOCABULARY.fingerprint()
    page = (exported / "assets.extra" / "signatures.md").read_text("utf-8")
    assert "| output | `log_likelihood_nats` | float32 | [B] | nats |" in page


def test_warm_up_requests_are_what_a_server_reads(exported):
    """With the definitions of tensorflow-serving-api; each of them is answered.

    Those that take scalars are not among them: a server that batches could not answer.
    """
    logs = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="tensorflow-serving-api is missing"
    )
    served = tf.saved_model.load(exported).signatures
    path = str(exported / "assets.extra" / "tf_serving_warmup_requests")
    seen = set()
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        log = logs.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "words"
        name = request.model_spec.signature_name
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        assert served[name](**inputs)
        seen.add(name)
    assert seen == {"log_likelihood", "log_likelihood_text"}


@example("\ufeffmark the\x1ccat\x85\u2003<unk> </s> <pad>")
@example("nul\x00 \ufffd \x0b\x0c cat\u3000")
@example("")
@given(st.text(st.sampled_from(" \t\n\u3000\u180e\u200b") | st.characters(codec="utf-8")))
def test_the_words_of_the_graph_are_those_of_the_vocabulary(text):
    graph = GraphVocabulary(VOCABULARY, most=10_000)
    texts = [text, "the cat", f"the {text} naïve"]
    rows = graph.encode(tf.constant(texts)).numpy()
    for row, one in zip(rows.tolist(), texts, strict=True):
        expected = VOCABULARY.encode(one)
        assert row == expected + [0] * (len(row) - len(expected))
    decoded = graph.decode(tf.constant(rows)).numpy()
    assert [d.decode() for d in decoded] == [VOCABULARY.decode(row) for row in rows.tolist()]


def test_decoding_ends_at_the_first_end_mark():
    graph = GraphVocabulary(VOCABULARY, most=5)
    decoded = graph.decode(tf.constant([[2, 4, 3, 5, 0], [2, 0, 1, 8, 6], [2, 3, 0, 0, 0]]))
    assert [d.decode() for d in decoded.numpy()] == ["the", "<unk> \ufeffmark naïve", ""]


def test_versions_are_numbered(model, exported):
    base = exported.parent
    assert exported.name == "1"
    (base / "7").mkdir()
    (base / "notes").mkdir()
    only = ["log_likelihood"]
    assert tf_savae.export(model, base, signatures=only).name == "8"
    assert tf_savae.export(model, base, signatures=only, version=3).name == "3"
    before = (base / "3" / "saved_model.pb").read_bytes()
    with pytest.raises(ValueError, match="version: .*3 exists and is not overwritten"):
        tf_savae.export(model, base, version=3)
    assert (base / "3" / "saved_model.pb").read_bytes() == before
    assert {path.name for path in base.iterdir()} == {"1", "3", "7", "8", "notes"}


def test_a_version_is_whole_or_not_there(tmp_path):
    with pytest.raises(RuntimeError, match="power"), new_version(tmp_path) as written:
        (written["path"] / "half").write_text("a")
        assert written["path"].parent == tmp_path  # On one file system, or no rename is whole.
        assert not written["path"].name.isdigit()
        raise RuntimeError("power")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="could not be written: OSError: .*disk full.*removed"):
        with new_version(tmp_path):
            raise OSError(28, "disk full")
    assert not list(tmp_path.iterdir())


def _fsync_of(kind, error, calls):
    """os.fsync that fails for files or for folders, and notes the inodes of what it was given."""
    real = os.fsync

    def fsync(descriptor):
        status = os.fstat(descriptor)
        calls.append(status.st_ino)
        if kind(status.st_mode):
            raise error
        real(descriptor)

    return fsync


def test_a_file_system_that_cannot_sync_folders(tmp_path, monkeypatch):
    """The version is there and whole, so it would be wrong to say that nothing is left of it."""
    calls = []
    monkeypatch.setattr(os, "fsync", _fsync_of(stat.S_ISDIR, OSError(22, "Invalid"), calls))
    with new_version(tmp_path) as written:
        (written["path"] / "variables").mkdir()
        (written["path"] / "variables" / "a").write_text("a")
    assert written["path"] == tmp_path / "1"
    everything = [tmp_path, *tmp_path.rglob("*")]
    assert set(calls) == {path.stat().st_ino for path in everything} and len(everything) == 4
    assert calls[-1] == tmp_path.stat().st_ino  # The name of the version after all that is in it.


def test_a_file_that_cannot_be_synced_is_not_exported(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", _fsync_of(stat.S_ISREG, OSError(5, "Input/output error"), []))
    with pytest.raises(
        ValueError, match="could not be written: .*Input/output.*Its files were removed"
    ):
        with new_version(tmp_path) as written:
            (written["path"] / "a").write_text("a")
    assert not list(tmp_path.iterdir())


def test_of_two_exports_at_once_both_are_kept(tmp_path):
    with new_version(tmp_path) as first, new_version(tmp_path) as second:
        (first["path"] / "a").write_text("first")
        (second["path"] / "a").write_text("second")
    assert {(tmp_path / n / "a").read_text() for n in "12"} == {"first", "second"}
    with pytest.raises(ValueError, match="exists"), new_version(tmp_path, version=9):
        (tmp_path / "9").mkdir()  # Somebody was faster.
        (tmp_path / "9" / "a").write_text("theirs")
    assert (tmp_path / "9" / "a").read_text() == "theirs"


def _file(folder):
    (folder / "file").write_text("")
    return folder / "file"


def _saved_model(folder):
    (folder / "saved_model.pb").write_text("")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_file, "expected a folder that can be created, got FileExistsError"),
        (_saved_model, "got a SavedModel. Use its parent"),
    ],
)
def test_bad_paths(model, tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        tf_savae.export(model, make(tmp_path))


def test_bad_models(model, tmp_path):
    fresh = tf_savae.AutoregressiveModel(TextDecoder(20, 2, 3, latent_size=0))
    with pytest.raises(ValueError, match="expected a built model, got one without weights"):
        tf_savae.export(fresh, tmp_path)
    with pytest.raises(ValueError, match="expected a SemiAmortizedVAE or an .*, got dict"):
        tf_savae.export({}, tmp_path)
    with pytest.raises(ValueError, match="vocabulary: .* of 11 tokens, got one of 5"):
        tf_savae.export(model, tmp_path, vocabulary=Vocabulary(["a"]))
    with pytest.raises(ValueError, match=re.escape("limits: expected tf_savae.serving.Limits(")):
        tf_savae.export(model, tmp_path, limits=5)
    with pytest.raises(ValueError, match="limits.steps: expected an integer >= 1, got 0"):
        Limits(steps=0)
    with pytest.raises(ValueError, match="expected some of log_likelihood, generate, .* got infer"):
        tf_savae.export(model, tmp_path, signatures=["infer"])
    with pytest.raises(ValueError, match="version: expected an integer >= 1, got -1"):
        tf_savae.export(model, tmp_path, version=-1)
    spoilt = keras_models.dense_model()
    spoilt.ensure_built(tf.constant(keras_models.data()))
    spoilt.trainable_variables[0].assign(np.nan * spoilt.trainable_variables[0])
    with pytest.raises(
        ValueError, match="expected finite numbers, got .* Export an earlier checkpoint"
    ):
        tf_savae.export(spoilt, tmp_path)
    with pytest.raises(ValueError, match="of no tokens, got one of 11"):
        spoilt.trainable_variables[0].assign(tf.zeros_like(spoilt.trainable_variables[0]))
        tf_savae.export(spoilt, tmp_path, vocabulary=VOCABULARY)
    assert not list(tmp_path.iterdir())
