"""Text by TFDS name, on tiny data sets that are built here: nothing is downloaded."""

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_savae.data import Vocabulary, load_corpus, read_lines

DOCUMENTS = {"train": ["the cat", "a \n dog", "", "bad \xff".encode("latin-1")], "test": ["owl"]}


def _info(builder, features):
    features = tfds.features.FeaturesDict(features)
    return tfds.core.DatasetInfo(builder=builder, features=features)


class TinySavaeDocuments(tfds.core.GeneratorBasedBuilder):
    """Documents with a text and, around it, what else a data set may hold."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "number": tfds.features.Scalar(dtype=tf.int64),
            "text": tfds.features.Text(),
            "title": tfds.features.Tensor(shape=(), dtype=tf.string),
            "pair": tfds.features.Translation(("en", "de")),
            "tags": tfds.features.Sequence(tfds.features.Text()),
        }
        return _info(self, features)

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(texts) for name, texts in DOCUMENTS.items()}

    def _generate_examples(self, texts):
        for number, text in enumerate(texts):
            title, pair = f"title {number}", {"en": f"en {number}", "de": f"de {number}"}
            yield (
                number,
                {"number": number, "text": text, "title": title, "pair": pair, "tags": []},
            )


class TinySavaeNumbers(tfds.core.GeneratorBasedBuilder):
    """A data set without any text."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return _info(self, {"number": tfds.features.Scalar(dtype=tf.int64)})

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"number": 0}


class TinySavaeOnly(TinySavaeNumbers):
    """A data set with one text of another name."""

    def _info(self):
        return _info(self, {"label": tfds.features.Text(), "n": tfds.features.Scalar(tf.int64)})

    def _generate_examples(self):
        yield 0, {"label": "found", "n": 1}


class TinySavaeOffline(TinySavaeNumbers):
    """A data set whose source cannot be reached."""

    def _info(self):
        return _info(self, {"only": tfds.features.Text()})

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to host\nand many more lines")


class TinySavaeTwins(TinySavaeNumbers):
    """A data set with two texts, neither named text."""

    def _info(self):
        return _info(self, {"b": tfds.features.Text(), "a": tfds.features.Text()})

    def _generate_examples(self):
        yield 0, {"a": "first", "b": "second"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


def _read(source, data_dir):
    return read_lines(f"tfds:{source}", data_dir=data_dir)


def test_feature_text_of_the_training_split_by_default(data_dir):
    lines, report = _read("tiny_savae_documents", data_dir)
    assert sorted(lines) == ["a dog", "bad \ufffd", "the cat"]
    assert report.source == "tfds:tiny_savae_documents:train@text"
    assert (report.lines, report.kept, report.empty, report.bad_bytes) == (4, 3, 1, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny_savae_documents:test", ["owl"]),
        ("tiny_savae_documents:1.0.0:test", ["owl"]),
        ("tiny_savae_documents:test@title", ["title 0"]),
        ("tiny_savae_documents:test@pair/de", ["de 0"]),
        ("tiny_savae_documents@pair/en", [f"en {i}" for i in range(4)]),
        ("tiny_savae_twins@b", ["second"]),
        ("tiny_savae_documents:test[:100%]+test@text", ["owl", "owl"]),
    ],
)
def test_version_split_and_field_by_name(data_dir, name, expected):
    assert sorted(_read(name, data_dir)[0]) == expected


def test_the_only_text_feature_needs_no_name(data_dir):
    lines, report = _read("tiny_savae_only", data_dir)
    assert (lines, report.source) == (["found"], "tfds:tiny_savae_only:train@label")


def test_order_is_the_same_every_time(data_dir):
    first = _read("tiny_savae_documents@title", data_dir)
    assert first == _read("tiny_savae_documents@title", data_dir)


def test_it_becomes_a_corpus_like_any_file(data_dir):
    source = "tfds:tiny_savae_documents:test"
    corpus = load_corpus(source, Vocabulary(["owl"]), data_dir=data_dir)
    assert [row.tolist() for row in corpus.sequences] == [[2, 4, 3]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "cannot parse the TFDS name 'tfds:': expected tfds:NAME"),
        ("a b", "cannot parse the TFDS name 'tfds:a b'"),
        ("no_such_dataset_at_all", "TFDS has no dataset 'no_such_dataset_at_all' here"),
        ("tiny_savae_documents/none", "TFDS has no dataset 'tiny_savae_documents/none'"),
        ("tiny_savae_documents:9.9.9:test", "TFDS has no dataset 'tiny_savae_documents:9.9.9'"),
        ("tiny_savae_documents:valid", "split 'valid', could not be prepared .*check the split"),
        (
            "tiny_savae_documents@number",
            "no text feature 'number': its text features are pair/de, pair/en, te",
        ),
        (
            "tiny_savae_numbers",
            "'tiny_savae_numbers' has no text feature: its features are .*number",
        ),
        (
            "tiny_savae_twins",
            "several text features: select one of a, b, as in tfds:tiny_.*twins@a",
        ),
        ("tiny_savae_offline", "could not be prepared .ConnectionError: no route to host.; check"),
    ],
)
def test_what_is_not_there(data_dir, name, message):
    with pytest.raises(ValueError, match=message) as caught:
        _read(name, data_dir)
    assert len(str(caught.value)) < 700


def test_a_path_object_is_always_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at .*tfds:x"):
        read_lines(tmp_path / "tfds:x")
