"""A corpus: ids, the counts that perplexity divides by, and the published counts of real text."""

import math

import numpy as np
import pytest

from tf_savae.data import TextCorpus, Vocabulary, load_corpus, read_lines


@pytest.fixture
def vocabulary():
    return Vocabulary(["the", "cat", "sat"])


@pytest.fixture
def corpus(vocabulary):
    return TextCorpus.encode(["the cat sat", "the dog </s> <unk>"], vocabulary)


def test_sequences_are_int32_and_marked(corpus):
    assert [row.tolist() for row in corpus.sequences] == [[2, 4, 5, 6, 3], [2, 4, 1, 1, 1, 3]]
    assert {row.dtype for row in corpus.sequences} == {np.dtype(np.int32)}
    assert corpus.lengths.tolist() == [5, 6]
    assert len(corpus) == 2


def test_unknown_and_reserved_words_are_counted(corpus):
    assert (corpus.unknown_words, corpus.reserved_words) == (3, 1)


def test_a_word_that_only_contains_a_mark_is_an_ordinary_word():
    corpus = TextCorpus.encode(["x<s>y"], Vocabulary(["x<s>y"]))
    assert (corpus.unknown_words, corpus.reserved_words) == (0, 0)


def test_corpus_knows_its_vocabulary(corpus, vocabulary):
    assert corpus.fingerprint == vocabulary.fingerprint()


def test_predicted_tokens_with_and_without_end_marks(corpus):
    assert corpus.predicted_tokens() == 7 + 2
    assert corpus.predicted_tokens(end_marks=False) == 7


def test_perplexity_of_a_uniform_model_is_the_number_of_choices(corpus):
    nll = 9 * math.log(7)  # seven words and two end marks, each one of seven
    assert corpus.perplexity(nll) == pytest.approx(7, rel=1e-14)
    assert corpus.perplexity(nll, end_marks=False) == pytest.approx(7 ** (9 / 7), rel=1e-14)


def test_perplexity_of_a_diverged_model_is_infinite(corpus):
    assert corpus.perplexity(1e9) == math.inf


def test_perplexity_of_nothing(vocabulary):
    empty = TextCorpus.encode([""], vocabulary)
    assert empty.perplexity(math.log(3)) == pytest.approx(3)
    with pytest.raises(ValueError, match="at least one predicted token, got only empty lines"):
        empty.perplexity(1.0, end_marks=False)


def test_summary_tells_reading_and_unknown_words(tmp_path, corpus, vocabulary):
    assert corpus.summary() == (
        "2 lines, 7 words, 3 words (42.86%) <unk>, 1 of them written as <pad>, <s> or </s>"
    )
    path = tmp_path / "a.txt"
    path.write_text("the cat\n\nthe cat\n")
    read = load_corpus(path, vocabulary)
    assert read.lines == read_lines(path)[1]
    assert read.summary() == (
        f"{path}: 3 lines read, 2 kept, 4 words, 1 empty skipped, 0 words (0.00%) <unk>"
    )


def test_load_corpus_hands_the_policy_on(tmp_path, vocabulary):
    path = tmp_path / "a.txt"
    path.write_text("the cat sat\nsat\n")
    cut = load_corpus(path, vocabulary, max_words=2)
    skipped = load_corpus(path, vocabulary, max_words=2, long_lines="skip")
    assert [row.tolist() for row in cut.sequences] == [[2, 4, 5, 3], [2, 6, 3]]
    assert [row.tolist() for row in skipped.sequences] == [[2, 6, 3]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "at least one line, got none"),
        ("the cat", "lines: expected a sequence of lines, got one"),
    ],
)
def test_encode_says_what_is_wrong(vocabulary, lines, message):
    with pytest.raises(ValueError, match=message):
        TextCorpus.encode(lines, vocabulary)


def _real(data_dir, name):
    path = data_dir / name
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path


def test_penn_treebank_has_its_published_counts(data_dir):
    lines, report = read_lines(_real(data_dir, "ptb/ptb.train.txt.xz"))
    assert (report.lines, report.kept, report.words) == (42_068, 42_068, 887_521)
    assert (report.empty, report.long, report.bad_bytes) == (0, 0, 0)
    vocabulary = Vocabulary.build(lines)
    assert len(vocabulary) == 9_999 + 3  # its types include <unk>, which is a special here
    corpus = TextCorpus.encode(lines, vocabulary, report)
    assert corpus.predicted_tokens() == 887_521 + 42_068
    assert corpus.unknown_words == sum(line.split().count("<unk>") for line in lines)
    assert vocabulary.decode(corpus.sequences[1]) == lines[1]


def test_penn_treebank_test_text_has_no_word_unseen_in_training(data_dir):
    train, _ = read_lines(_real(data_dir, "ptb/ptb.train.txt.xz"))
    test, report = read_lines(_real(data_dir, "ptb/ptb.test.txt.xz"))
    corpus = TextCorpus.encode(test, Vocabulary.build(train), report)
    assert report.words == 78_669
    assert corpus.unknown_words == sum(line.split().count("<unk>") for line in test)
