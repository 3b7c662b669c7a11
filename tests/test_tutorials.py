"""The tutorials run as they stand, at toy size: the numbers in capitals are made small."""

import re
from pathlib import Path

import numpy as np

DOCS = Path(__file__).resolve().parent.parent / "docs"


def _python(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def test_own_array(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = _python("tutorial_array.md")
    assert "EPOCHS = 30" in source
    names = {"__name__": "tutorial"}
    exec(compile(source.replace("EPOCHS = 30", "EPOCHS = 1"), "tutorial_array.md", "exec"), names)
    assert (tmp_path / "savae.keras").exists()
    assert len(list((tmp_path / "logs").glob("*/train/events*"))) == 2
    assert names["path"].shape == (7, 64) and set(np.unique(names["new_rows"])) <= {0.0, 1.0}
    printed = capsys.readouterr().out
    assert "savae: bound" in printed and "amortization gap" in printed
