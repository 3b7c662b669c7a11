"""Columns of .csv, .tsv and .jsonl files as text."""

import gzip
import json

import pytest

from tf_savae.data import read_lines

CSV = 'title,text\nOne,"a cat, a dog"\nTwo,"first line\nsecond ""line"""\nThree,\n'
ROWS = [{"title": "One", "text": "a cat"}, {"title": "Two", "text": None}, {"text": "a dog\nsat"}]
JSONL = "\n\n".join(json.dumps(row) for row in ROWS)


def _write(folder, name, content):
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.csv.gz"])
def test_csv(tmp_path, name):
    path = _write(tmp_path, name, CSV)
    lines, report = read_lines(path)
    assert lines == ["a cat, a dog", 'first line second "line"']
    assert (report.lines, report.empty) == (3, 1)
    assert read_lines(f"{path}@title")[0] == ["One", "Two", "Three"]
    assert read_lines(f"{path}@title")[1].source == f"{path}@title"


def test_tsv_with_one_column_needs_no_name(tmp_path):
    assert read_lines(_write(tmp_path, "a.tsv", "\ufeffreview\r\na, b\r\n"))[0] == ["a, b"]
    path = _write(tmp_path, "b.tsv", "x\ttext\n1\ta b\n")
    assert read_lines(path)[0] == ["a b"]


def test_json_lines(tmp_path):
    path = _write(tmp_path, "a.jsonl", JSONL)
    lines, report = read_lines(path)
    assert lines == ["a cat", "a dog sat"] and (report.lines, report.empty) == (3, 1)
    assert read_lines(f"{path}@title")[0] == ["One", "Two"]


def test_a_file_whose_name_has_an_at_sign(tmp_path):
    assert read_lines(_write(tmp_path, "a@text.csv", "text\na b\n"))[0] == ["a b"]


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "", "expected a column 'text', got the columns x, y. Name one, as"),
        ("a.csv", "x,y\n1,2\n", "@z", "expected a column 'z', got the columns x, y."),
        (
            "a.csv",
            "x,text\n1,2,3\n",
            "",
            "expected 2 cells in each row, as in the header, got 3",
        ),
        ("a.csv", 'x,text\n1,"2\n', "", "expected a valid table, got line"),
        ("a.csv", "", "", "expected a column 'text', got the columns none"),
        (
            "a.jsonl",
            '{"text": "a"}\n{"text"\n',
            "",
            "expected one JSON object per line, got line 2: Exp",
        ),
        ("a.jsonl", "[1]\n", "", "expected one JSON object per line, got list in line 1"),
        ("a.jsonl", '{"text": 3}\n', "", "expected text in column 'text', got int in line 1"),
        ("a.jsonl", '{"a": "b", "c": "d"}\n', "", "expected a column 'text', got the columns a, c"),
        ("a.jsonl", "", "", "is empty: expected at least one line of text"),
        ("a.csv", "PAR1\x00\x00", "", "contains a Parquet table"),
    ],
)
def test_what_is_no_such_table(tmp_path, name, content, column, message):
    path = _write(tmp_path, name, content)
    with pytest.raises(ValueError, match=message):
        read_lines(f"{path}{column}")


def test_a_column_of_no_table(tmp_path):
    path = _write(tmp_path, "a.txt", "a b\n")
    with pytest.raises(FileNotFoundError, match="or FILE@COLUMN of a .csv, .tsv or .jsonl table"):
        read_lines(f"{path}@text")
