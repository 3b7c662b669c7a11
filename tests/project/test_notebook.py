"""The notebook runs from its first cell to its last, in a kernel of its own, and draws."""

from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "docs" / "notebooks"


@pytest.mark.e2e
def test_array_to_pictures(tmp_path):
    """With one epoch instead of 25, and fewer steps: compiling them is what takes time."""
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient: pip install '.[test]'")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install '.[test]'")
    notebook = nbformat.read(NOTEBOOKS / "array_to_pictures.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (training,) = [cell for cell in code if "EPOCHS = 25" in cell.source]
    training.source = training.source.replace("EPOCHS = 25", "EPOCHS = 1")
    for cell in code:
        cell.source = cell.source.replace("steps=(0, 1, 2, 5, 10)", "steps=(0, 1)")
        cell.source = cell.source.replace("steps=5,", "steps=1,")
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert "bound " in printed and "importance-weighted NLL" in printed
