"""The vocabulary: which words it keeps, ids there and back, and files that cannot mislead."""

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_savae.data import END, PAD, SPECIALS, START, UNK, Vocabulary

WORDS = st.text(min_size=1, max_size=6).filter(
    lambda word: word.split() == [word] and word not in SPECIALS and _is_utf8(word)
)


def _is_utf8(word):
    return word == word.encode("utf-8", "replace").decode("utf-8")


@pytest.fixture
def vocabulary():
    return Vocabulary(["the", "cat", "sat"])


# Building


def test_ids_of_the_specials_are_frozen():
    assert (PAD, UNK, START, END) == (0, 1, 2, 3)
    assert Vocabulary([]).tokens == SPECIALS == ("<pad>", "<unk>", "<s>", "</s>")


def test_build_orders_by_count_then_by_token():
    vocabulary = Vocabulary.build(["b a é", "Z b a", "b"])
    assert vocabulary.tokens[4:] == ("b", "a", "Z", "é")


def test_build_does_not_depend_on_the_order_of_lines():
    lines = ["x y", "y z", "z w w"]
    assert Vocabulary.build(lines) == Vocabulary.build(reversed(lines))


def test_max_size_counts_the_specials():
    vocabulary = Vocabulary.build(["c c c b b a"], max_size=6)
    assert len(vocabulary) == 6
    assert vocabulary.tokens[4:] == ("c", "b")


def test_min_count_is_inclusive_and_combines_with_max_size():
    lines = ["c c c b b a"]
    assert Vocabulary.build(lines, min_count=2).tokens[4:] == ("c", "b")
    assert Vocabulary.build(lines, max_size=5, min_count=2).tokens[4:] == ("c",)


def test_specials_in_the_text_are_no_word_types():
    vocabulary = Vocabulary.build(["<unk> <unk> a <s> <pad> </s> </s>"], max_size=5)
    assert vocabulary.tokens[4:] == ("a",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_size": 4}, "max_size: expected at least 5, including the 4 special tokens, got 4"),
        ({"min_count": 0}, "min_count: expected an integer >= 1, got 0"),
        ({"min_count": 3}, "at least min_count=3 times, got none among 2 word types"),
    ],
)
def test_build_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary.build(["a a b"], **arguments)


def test_build_from_text_without_words():
    with pytest.raises(ValueError, match="got none among 0 word types"):
        Vocabulary.build(["", "<unk>"])


@pytest.mark.parametrize("make", [Vocabulary, Vocabulary.build])
def test_one_string_is_not_a_sequence_of_strings(make):
    with pytest.raises(ValueError, match="expected a sequence of .*got"):
        make("the cat")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "a"], "id 5: expected each token once, got 'a' again"),
        (["a", "<s>"], "id 5: expected each token once, got '<s>' again"),
        (["a b"], "id 4: expected one word without whitespace, got 'a b'"),
        ([""], "id 4: expected one word without whitespace, got ''"),
        (["a\u2028"], "id 4: expected one word"),
        ([7], "id 4: expected one word without whitespace, got 7"),
        (["a\udc80"], "lone surrogate"),
    ],
)
def test_words_that_cannot_be(words, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(words)


# Encoding and decoding


def test_encode_marks_start_and_end(vocabulary):
    assert vocabulary.encode(" the  cat\tsat\n") == [START, 4, 5, 6, END]
    assert vocabulary.encode("") == [START, END]


def test_unknown_words_and_literal_specials_become_unk(vocabulary):
    ids = vocabulary.encode("the dog <unk> <s> </s> <pad>")
    assert ids == [START, 4, UNK, UNK, UNK, UNK, UNK, END]


def test_decode_stops_at_the_end_mark_and_drops_the_rest(vocabulary):
    assert vocabulary.decode([START, 4, UNK, END, 5, PAD]) == "the <unk>"
    assert vocabulary.decode([4, PAD, 5]) == "the cat"


@pytest.mark.parametrize("bad", [-1, 7])
def test_decode_refuses_foreign_ids(vocabulary, bad):
    with pytest.raises(ValueError, match=f"id: expected 0 to 6, got {bad}"):
        vocabulary.decode([START, bad])


@given(st.lists(WORDS, min_size=1, max_size=20))
def test_what_was_counted_comes_back(words):
    line = " ".join(words)
    vocabulary = Vocabulary.build([line])
    ids = vocabulary.encode(line)
    assert vocabulary.decode(ids) == line
    assert UNK not in ids
    assert (ids[0], ids[-1], len(ids)) == (START, END, len(words) + 2)


@given(st.lists(st.text(max_size=8), max_size=5))
def test_encode_never_fails_or_forges_a_mark(lines):
    vocabulary = Vocabulary(["a"])
    for line in lines:
        assert set(vocabulary.encode(line)[1:-1]) <= {UNK, 4}


# Identity


def test_equal_vocabularies_are_equal_everywhere(vocabulary):
    same, other = Vocabulary(["the", "cat", "sat"]), Vocabulary(["the", "sat", "cat"])
    assert vocabulary == same
    assert hash(vocabulary) == hash(same)
    assert vocabulary != other
    assert vocabulary != ["the", "cat", "sat"]
    assert vocabulary.fingerprint() == same.fingerprint() != other.fingerprint()


def test_fingerprint_is_the_sha256_of_the_tokens(vocabulary):
    text = "<pad>\n<unk>\n<s>\n</s>\nthe\ncat\nsat"
    assert vocabulary.fingerprint() == hashlib.sha256(text.encode()).hexdigest()


def test_repr_is_short(vocabulary):
    assert repr(vocabulary) == f"Vocabulary(7 tokens, fingerprint {vocabulary.fingerprint()[:12]})"


# Files


def _saved(tmp_path, vocabulary):
    path = tmp_path / "vocabulary.txt"
    vocabulary.save(path)
    return path


def test_save_writes_a_header_and_one_token_a_line(tmp_path, vocabulary):
    lines = _saved(tmp_path, vocabulary).read_text("utf-8").split("\n")
    assert lines[0] == f"tf_savae-vocabulary 1 7 {vocabulary.fingerprint()}"
    assert lines[1:] == ["<pad>", "<unk>", "<s>", "</s>", "the", "cat", "sat", ""]


@given(words=st.lists(WORDS, unique=True, max_size=10))
def test_load_gives_back_what_was_saved(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("vocabulary") / "v.txt"
    Vocabulary(words).save(path)
    assert Vocabulary.load(path) == Vocabulary(words)


def test_load_forgives_windows_line_ends(tmp_path, vocabulary):
    path = _saved(tmp_path, vocabulary)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert Vocabulary.load(path) == vocabulary


def test_save_replaces_the_old_file_and_leaves_nothing_else(tmp_path, vocabulary):
    path = _saved(tmp_path, Vocabulary(["old"]))
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary
    assert os.listdir(tmp_path) == [path.name]


def test_a_failed_save_keeps_the_old_file(tmp_path, vocabulary, monkeypatch):
    path = _saved(tmp_path, vocabulary)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the vocabulary could not be written: .*No space left"):
        Vocabulary(["new"]).save(path)
    assert Vocabulary.load(path) == vocabulary
    assert os.listdir(tmp_path) == [path.name]


def test_save_into_a_missing_folder_or_below_a_file(tmp_path, vocabulary):
    for path in (tmp_path / "none" / "v.txt", _saved(tmp_path, vocabulary) / "v.txt"):
        with pytest.raises(OSError, match="v.txt: the vocabulary could not be written: .*existing"):
            vocabulary.save(path)


def test_load_names_the_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no vocabulary file at .*none.txt: create one"):
        Vocabulary.load(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "tf_savae-vocabulary 1",
            "tf_savae-vocabulary 9",
            "expected vocabulary format 1, got format 9",
        ),
        ("tf_savae-vocabulary 1 7", "the", "expected a vocabulary, whose first line is"),
        (
            "<s>\n",
            "",
            r"expected ids 0 to 3 to be <pad> <unk> <s> </s>, got <pad> <unk> </s> the",
        ),
        ("<pad>\n<unk>", "<unk>\n<pad>", "expected ids 0 to 3 to be"),
        ("sat\n", "", "expected 7 tokens, as stated in its header, got 6"),
        ("sat\n", "sat\ndog\n", "expected 7 tokens, as stated in its header, got 8"),
        ("cat\nsat", "sat\ncat", "its tokens do not match the SHA-256 in its header"),
        (
            "cat\nsat",
            "cat\ncat",
            "damaged vocabulary: id 6: expected each token once, got 'cat' again",
        ),
        ("cat\n", "\n", "damaged vocabulary: id 5: expected one word without whitespace, got ''"),
        ("cat\n", "cat\t12\n", "id 5: expected one word without whitespace"),
    ],
)
def test_load_refuses_a_damaged_file(tmp_path, vocabulary, old, new, message):
    path = _saved(tmp_path, vocabulary)
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


@given(content=st.binary(max_size=200))
def test_load_meets_any_bytes_with_its_own_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("vocabulary") / "v.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not UTF-8 text|expected a vocabulary"):
        Vocabulary.load(path)
