"""Write signatures.json and signatures.md into an export."""

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_savae.serving.signature import Signature

__all__ = ["describe", "write_documentation"]


def describe(signature: Signature, function: Any) -> dict[str, Any]:
    """Returns the documentation of one signature as JSON types.

    Args:
      signature: `Signature`.
      function: the `tf.function` that was exported for the signature.
    """
    answers = function.get_concrete_function().structured_outputs
    return {
        "about": signature.about,
        "inputs": {
            i.name: {"dtype": tf.as_dtype(i.dtype).name, "shape": i.shape, "about": i.about}
            for i in signature.inputs
        },
        "outputs": {
            o.name: {
                "dtype": answers[o.name].dtype.name,
                "shape": _shape(answers[o.name]),
                "unit": o.unit,
                "about": o.about,
            }
            for o in signature.outputs
        },
    }


def _shape(tensor):
    return None if tensor.shape.rank is None else tensor.shape.as_list()


def write_documentation(
    folder: Path, facts: dict[str, Any], signatures: dict[str, dict[str, Any]]
) -> None:
    """Writes signatures.json and signatures.md into `folder`.

    Args:
      folder: `Path` of the folder.
      facts: dict of facts about all signatures.
      signatures: {name: result of `describe`}.
    """
    content = {**facts, "signatures": signatures}
    (folder / "signatures.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    (folder / "signatures.md").write_text(_markdown(facts, signatures), "utf-8")


def _markdown(facts, signatures):
    lines = ["# Signatures", "", "B is the number of examples. Every input is required.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    for name, parts in signatures.items():
        lines += ["", f"## {name}", "", parts["about"], ""]
        lines += ["| | name | dtype | shape | unit | meaning |", "|---|---|---|---|---|---|"]
        for kind in ("inputs", "outputs"):
            lines += [_row(kind[:-1], n, entry) for n, entry in parts[kind].items()]
    return "\n".join(lines) + "\n"


def _row(kind, name, entry):
    shape = "any"
    if entry["shape"] is not None:
        sizes = ["B" if i == 0 and n is None else n or "any" for i, n in enumerate(entry["shape"])]
        shape = f"[{', '.join(map(str, sizes))}]"
    cells = [kind, f"`{name}`", entry["dtype"], shape, entry.get("unit", ""), entry["about"]]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
