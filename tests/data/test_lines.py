"""Reading text: every line is either handed on or counted, and what is no text is refused."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tf_savae.data import read_lines, split_lines

OPENERS = {
    "": open,
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
    ".GZ": gzip.open,
}
FOREIGN = (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"\xfd7zXZ\x00", b"\xff\xd8\xff")


def _write(folder, content, suffix=""):
    path = folder / f"text.txt{suffix}"
    with OPENERS[suffix](path, "wb") as handle:
        handle.write(content)
    return path


@pytest.mark.parametrize("suffix", OPENERS)
def test_plain_and_compressed_files_read_alike(tmp_path, suffix):
    path = _write(tmp_path, "the cat\n  le  chât\t\n".encode(), suffix)
    lines, report = read_lines(path)
    assert lines == ["the cat", "le chât"]
    assert report == (str(path), 2, 2, 4, 0, 0, 0, 200, "truncate", 0)


def test_last_line_needs_no_line_end_and_windows_may_have_two(tmp_path):
    assert read_lines(_write(tmp_path, b"a b\r\nc"))[0] == ["a b", "c"]


def test_byte_order_mark_is_no_word(tmp_path):
    lines, report = read_lines(_write(tmp_path, b"\xef\xbb\xbfa b\n"))
    assert lines == ["a b"]
    assert report.bad_bytes == 0


def test_empty_lines_are_skipped_and_counted(tmp_path):
    lines, report = read_lines(_write(tmp_path, "a\n\n \t \nb\n\u2028\n".encode()))
    assert lines == ["a", "b"]
    assert (report.lines, report.kept, report.empty) == (5, 2, 3)


def test_bad_bytes_are_replaced_one_by_one_and_counted(tmp_path):
    # 0xff never occurs in UTF-8; ed a0 80 would be a surrogate; the last is a real U+FFFD.
    lines, report = read_lines(_write(tmp_path, b"a\xffb \xed\xa0\x80\nok \xef\xbf\xbd\n"))
    assert lines == ["a\ufffdb \ufffd\ufffd\ufffd", "ok \ufffd"]
    assert report.bad_bytes == 4


@pytest.mark.parametrize(
    ("policy", "expected", "words"),
    [("truncate", ["a b c", "a b c", "d"], 7), ("skip", ["a b c", "d"], 4)],
)
def test_long_lines_follow_the_policy_and_are_counted(tmp_path, policy, expected, words):
    path = _write(tmp_path, b"a b c\na b c d e\nd\n")
    lines, report = read_lines(path, max_words=3, long_lines=policy)
    assert lines == expected
    assert (report.lines, report.kept, report.long, report.words) == (3, len(expected), 1, words)


def test_no_limit(tmp_path):
    lines, report = read_lines(_write(tmp_path, b"a " * 1000), max_words=None)
    assert len(lines[0].split()) == 1000
    assert report.long == 0


def test_summary_names_what_happened_and_nothing_else(tmp_path):
    path = _write(tmp_path, b"a b c d\n\nx\xff\n")
    assert read_lines(path)[1].summary() == (
        f"{path}: 3 lines read, 2 kept, 5 words, 1 empty skipped, "
        "1 bytes that are not UTF-8 replaced"
    )
    cut = read_lines(path, max_words=3)[1].summary()
    skipped = read_lines(path, max_words=3, long_lines="skip")[1].summary()
    assert "2 kept, 4 words, 1 empty skipped, 1 over 3 words truncated" in cut
    assert "1 kept, 1 words, 1 empty skipped, 1 over 3 words skipped" in skipped
    good = _write(tmp_path, b"a\n", ".gz")
    assert read_lines(good)[1].summary() == f"{good}: 1 lines read, 1 kept, 1 words"


# What cannot be read


def test_missing_file_and_folder(tmp_path):
    for suffix in OPENERS:
        with pytest.raises(FileNotFoundError, match=f"no file at .*none{suffix}: expected UTF-8"):
            read_lines(tmp_path / f"none{suffix}")
    with pytest.raises(ValueError, match="is a folder: expected a file"):
        read_lines(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_empty_files(tmp_path, suffix):
    with pytest.raises(ValueError, match="text.txt.* is empty: expected at least one line"):
        read_lines(_write(tmp_path, b"", suffix))


def test_no_line_is_left(tmp_path):
    path = _write(tmp_path, b"\n \na b c\n")
    message = (
        ".*: expected at least one usable line; of 3 lines 2 have no words and 1 have more "
        "than max_words=2"
    )
    with pytest.raises(ValueError, match=message):
        read_lines(path, max_words=2, long_lines="skip")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b"words\n", lambda b: b[:20] * 2])
def test_damaged_archives(tmp_path, suffix, damage):
    path = _write(tmp_path, b"a line of text\n" * 50, suffix)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        ValueError, match=f"is not a complete, valid {suffix} file: .*Download it again"
    ):
        read_lines(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"a", mtime=0), "contains gzip data: its name must end in .gz"),
        (lzma.compress(b"a"), "contains xz data: its name must end in .xz"),
        (bz2.compress(b"a"), "contains bzip2 data: its name must end in .bz2"),
        (
            "a".encode("utf-16"),
            "contains UTF-16 text: convert it to UTF-8 with `iconv -f UTF-16 -t",
        ),
        ("a\nb".encode("utf-16-le"), "contains UTF-16 text: .* -f UTF-16LE -t UTF-8"),
        ("a\nb".encode("utf-16-be"), "contains UTF-16 text: .* -f UTF-16BE -t UTF-8"),
        ("a".encode("utf-32"), "contains UTF-32 text: .* -f UTF-32 -t UTF-8"),
        ("a\nb".encode("utf-32-le"), "contains UTF-32 text: .* -f UTF-32LE -t UTF-8"),
        ("a\nb".encode("utf-32-be"), "contains UTF-32 text: .* -f UTF-32BE -t UTF-8"),
        (
            "中文\n".encode("utf-16-le"),
            "got a NUL byte in line 2, as in binary files and UTF-16 text",
        ),
        (b"one\ntwo \0 words\n", "got a NUL byte in line 2"),
        (
            pickle.dumps({"a": 1}),
            "contains a Python pickle: export its text, one document per line",
        ),
        (b"\x28\xb5\x2f\xfd words", "contains Zstandard data .*zst.*: decompress it first"),
        (b"PAR1\x15\x04 words", "contains a Parquet table: export its text"),
        (b"%PDF-1.4\nwords", "contains a PDF document: export its text"),
        (b"\x89PNG\r\n\x1a\n words", "contains a PNG image: expected text"),
        (b"7z\xbc\xaf\x27\x1c words", "contains a 7z archive: extract it"),
        (b"\xff\xd8\xff\xe0 words", "contains a JPEG image: expected text"),
        (b"{\\rtf1 words}", "contains an RTF document: export its text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a Git LFS pointer instead"),
        (b"\xfe\xff\x00a", "contains UTF-16 text"),
    ],
)
def test_files_of_another_kind(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_lines(_write(tmp_path, content))


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "words")


def _tar(path, mode="w"):
    with tarfile.open(path, mode) as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = 6
        archive.addfile(member, io.BytesIO(b"words\n"))


def _database(path):
    with sqlite3.connect(path) as database:
        database.execute("create table words (word text)")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.txt", _zip, "contains a zip archive .*: extract it, and use the text file inside"),
        ("a.txt", _tar, "contains a tar archive: extract it"),
        ("a.tar.gz", lambda path: _tar(path, "w:gz"), "contains a tar archive: extract it"),
        ("a.txt", _database, "contains an SQLite database: export its text, one document per line"),
    ],
)
def test_archives_and_databases(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        read_lines(tmp_path / name)


def test_text_that_begins_like_another_format(tmp_path):
    content = b"PAR1 is a word\nso is BZh9\nPK too\n"
    assert read_lines(_write(tmp_path, content))[0] == content.decode().splitlines()


def test_byte_order_marks_of_files_that_were_joined(tmp_path):
    """They would make another word of the first one of each file."""
    path = _write(tmp_path, b"\xef\xbb\xbf\xef\xbb\xbfthe cat\n\xef\xbb\xbfthe do\xef\xbb\xbfg\n")
    lines, report = read_lines(path)
    assert lines == ["the cat", "the dog"]
    assert report.marks == 3 and report.summary().endswith("3 byte order marks removed")


def test_latin_1(tmp_path):
    french = "été à la plage où même l'hôte âgé rêve\n" * 2
    with pytest.raises(
        ValueError, match="contains 18 bytes that are not UTF-8 and only 0 valid non-ASCII"
    ):
        read_lines(_write(tmp_path, french.encode("latin-1")))
    mixed = french.encode() * 2 + french.encode("latin-1")
    assert read_lines(_write(tmp_path, mixed))[1].bad_bytes == 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_words": 0}, "max_words: expected an integer >= 1, or None for no limit, got 0"),
        ({"long_lines": "drop"}, "long_lines: expected 'truncate' or 'skip', got 'drop'"),
    ],
)
def test_arguments_are_checked_before_the_file(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_lines(tmp_path / "none", **arguments)


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".bz2"])
@given(content=st.binary(max_size=60))
@example(content=b"\xef")
@example(content=b"\xef\xbb\na")
def test_any_bytes_are_read_as_utf8_or_refused(tmp_path_factory, suffix, content):
    path = _write(tmp_path_factory.mktemp("bytes"), content, suffix)
    # An independent reading: cut at line ends first, decode after that.
    rows = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    texts = [row.decode("utf-8", "surrogateescape") for row in rows]
    bad = sum("\udc80" <= c <= "\udcff" for text in texts for c in text)
    kept = [text.split() for text in texts if text.split()]
    foreign = content.startswith(FOREIGN) or b"\0" in content or bad >= 10
    if foreign or not kept:
        with pytest.raises(ValueError, match="empty|usable line|contains|NUL byte"):
            read_lines(path)
        return
    lines, report = read_lines(path)
    assert [len(line.split()) for line in lines] == [len(words) for words in kept]
    assert report.bad_bytes == bad == sum(line.count("\ufffd") for line in lines)
    "".join(lines).encode("utf-8")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
@given(content=st.binary(max_size=60), whole=st.booleans())
def test_any_archive_bytes_meet_our_own_error(tmp_path_factory, suffix, content, whole):
    path = tmp_path_factory.mktemp("bytes") / f"text{suffix}"
    start = {".gz": b"\x1f\x8b\x08\x00", ".xz": b"\xfd7zXZ\x00\x00\x04", ".bz2": b"BZh9"}[suffix]
    path.write_bytes(content if whole else start + content)
    with pytest.raises(ValueError, match=str(path)):
        read_lines(path)


# Splitting

LINES = [f"line {i}" for i in range(30)]


def test_split_by_fractions_counts_and_the_rest():
    assert [len(p) for p in split_lines(LINES, (0.8, 0.1, 0.1))] == [24, 3, 3]
    assert [len(p) for p in split_lines(LINES, (None, 4, 0.1))] == [23, 4, 3]
    assert [len(p) for p in split_lines(LINES, (5, 6))] == [5, 6]
    assert [len(p) for p in split_lines(["x"] * 100, (0.29, None))] == [29, 71]


@given(st.integers(0, 1000), st.integers(1, 15), st.integers(1, 15))
def test_parts_are_disjoint_ordered_and_repeatable(seed, valid, test):
    parts = split_lines(LINES, (None, valid, test), seed=seed)
    numbers = [[LINES.index(line) for line in part] for part in parts]
    assert sorted(sum(numbers, [])) == list(range(30))
    assert all(part == sorted(part) for part in numbers)
    assert parts == split_lines(LINES, (None, valid, test), seed=seed)


def test_seeds_split_differently():
    assert split_lines(LINES, (None, 10), seed=0) != split_lines(LINES, (None, 10), seed=1)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            (20, 11),
            "sizes: expected .* together at most 30 lines, got .20, 11. from sizes .20, 11.",
        ),
        ((30, None), "sizes: expected parts of at least one"),
        ((0.9, 0.2), "together at most 30 lines, got .27, 6. from sizes"),
        ((0.01, None), r"got \[0, 30\]"),
        ((None, None), "sizes: expected at most one None"),
        ((), "got .. from sizes"),
        ((0,), "size: expected a positive int .* got 0"),
        ((-1, None), "got -1"),
        ((1.0,), "a float between 0 and 1 .* got 1.0"),
        ((True,), "got True"),
        (("10",), "got '10'"),
    ],
)
def test_split_says_what_is_wrong(sizes, message):
    with pytest.raises(ValueError, match=message):
        split_lines(LINES, sizes)
