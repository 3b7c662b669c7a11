"""The contest's results: JSON with versions and machine, and the same as a Markdown table."""

import json
import os
import platform
from importlib import metadata
from pathlib import Path

from peers.contenders import is_exact, split

__all__ = ["best", "event_of", "machine", "table", "title", "write"]

_PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "jax", "jaxlib", "torch", "numpy")
_COLUMNS = (
    "contender",
    "mode",
    "ms",
    "quartiles",
    "x ours",
    "x count",
    "compile s",
    "peak MiB",
    "growth MiB",
    "gradient error",
)


def machine(threads):
    """What the figures were measured on."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((n.partition(":")[2].strip() for n in lines if n.startswith("model name")), "")


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def write(path, figures):
    """Writes JSON whole: a reader finds the old file or the new one, never half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def event_of(row):
    """What a row's times may be compared with.

    >>> event_of({"case": "oracle", "kind": "train", "steps": 5, "rows": None})
    ('oracle', 'train', 5, None)
    """
    return tuple(row[name] for name in ("case", "kind", "steps", "rows"))


def best(rows, choose):
    """The fastest row of those whose contender `choose` accepts, or None."""
    timed = [row for row in rows if "median" in row and choose(row["contender"])]
    return min(timed, key=lambda row: row["median"], default=None)


def table(rows):
    """Markdown: one table for each event, and below it how ours stands."""
    events = list(dict.fromkeys(event_of(row) for row in rows))
    return "\n".join(_event_table([r for r in rows if event_of(r) == e], e) for e in events)


def title(event):
    """An event in words.

    >>> title(("text_paper", "infer", 20, 64))
    "text, paper's size, inference, K = 20, batch 64"
    """
    case, kind, steps, batch = event
    case = {"text_paper": "text, paper's size", "text_small": "text, small"}.get(case, case)
    what = "inference" if kind == "infer" else "training step" if steps else "VAE step"
    return f"{case}, {what}, K = {steps}" + (f", batch {batch}" if batch else "")


def _event_table(rows, event):
    ours = best(rows, lambda name: split(name)[0] == "ours")
    lines = [f"### {title(event)}", ""]
    lines += ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    lines += [_line(row, ours) for row in rows]
    return "\n".join([*lines, "", _standing(rows, ours), ""])


def _line(row, ours):
    if "median" not in row:
        problem = row.get("problem", "not timed")
        return f"| {row['contender']} | {problem} |" + " |" * (len(_COLUMNS) - 2)
    ratio = f"{row['median'] / ours['median']:.2f}" if ours else ""
    quartiles = f"{1e3 * row['lower_quartile']:.2f} to {1e3 * row['upper_quartile']:.2f}"
    floor = row.get("counted_seconds")
    cells = [row["contender"], row["mode"], f"{1e3 * row['median']:.2f}", quartiles, ratio]
    cells += [f"{row['median'] / floor:.2f}" if floor else ""]
    cells += [f"{row['compile_seconds']:.1f}", f"{row['peak_mib']:.0f}"]
    cells += [f"{row['growth_mib']:.0f}", f"{row['error']:.1e}"]
    return "| " + " | ".join(cells) + " |"


def _standing(rows, ours):
    """Ours beside the best exact peer and beside finite differences, in one sentence."""
    if ours is None:
        return "Ours has no time."
    peer = best(rows, lambda name: split(name)[0] != "ours" and is_exact(name))
    rough = best(rows, lambda name: not is_exact(name))
    parts = [
        f"{label} {row['contender']} takes {row['median'] / ours['median']:.2f} times as long"
        for label, row in (("the best exact peer", peer), ("finite differences", rough))
        if row
    ]
    parts = parts or ["no peer has a time"]
    found = [f"Best of ours: {'; '.join([ours['contender'], *parts])}."]
    found += [
        f"{row['contender']} keeps {' or '.join(row['keeps'])}." for row in rows if "keeps" in row
    ]
    return " ".join(found)
