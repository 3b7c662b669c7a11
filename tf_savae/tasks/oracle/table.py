"""The results table of the oracle experiment."""

import statistics

from tf_savae.evaluation.quantities import column_label
from tf_savae.tasks.oracle.systems import LABELS, STUDIES, SYSTEMS

__all__ = ["print_results", "summary", "table"]

_COLUMNS = ("bound", "kl", "amortized_bound", "iw_nll")
_TRUE = {"prior": "true NLL", "refined_proposal": "  SA-VAE as proposal"}


def summary(runs, oracles):
    """{study: {system: {number: {"mean", "sd"}}}} over seeds, and the oracles' true NLL.

    The spread is the sample standard deviation, None for one seed.
    """
    tables = {study: {system: {} for system in SYSTEMS} for study in STUDIES}
    for study, system in ((study, system) for study in STUDIES for system in SYSTEMS):
        tests = [r["test"] for r in runs if (r["study"], r["system"]) == (study, system)]
        for name in tests[0] if tests else ():
            tables[study][system][name] = _spread([test[name] for test in tests])
    names = [name for name in (oracles[0] if oracles else ()) if name != "seed"]
    tables["true_nll"] = {n: _spread([oracle[n] for oracle in oracles]) for n in names}
    return tables


def _spread(values):
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": sd}


def print_results(results):
    """Prints the table, what it means, and how long it took."""
    seeds = results["configuration"]["seeds"]
    several = f", mean ± standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else ""
    print(f"\nTest set, nats per sentence{several}")
    print(table(results["summary"]))
    print(f"\n{results['seconds']:,.0f} seconds for {len(seeds)} seed(s)")


def table(numbers):
    """The summary as text.

    >>> one = {"mean": 21.5, "sd": None}
    >>> true = {"prior": one, "refined_proposal": one}
    >>> print(table({"oracle": {"vae": {"bound": one}}, "learned": {}, "true_nll": true}))
    oracle as generator                bound            KL  before steps
    VAE                                21.50
    true NLL                           21.50
      SA-VAE as proposal               21.50
    """
    blocks = []
    if any(numbers["oracle"].values()):
        block = _block("oracle as generator", numbers["oracle"], _COLUMNS[:3])
        blocks.append(block + [_line(_TRUE[n], [_cell(x)]) for n, x in numbers["true_nll"].items()])
    if any(numbers["learned"].values()):
        blocks.append(_block("learned generator", numbers["learned"], _COLUMNS))
    return "\n\n".join("\n".join(block) for block in blocks)


def _block(title, rows, columns):
    cells = {s: [_cell(row.get(column)) for column in columns] for s, row in rows.items()}
    head = _line(title, [column_label(column) for column in columns])
    return [head, *(_line(LABELS[s], row) for s, row in cells.items())]


def _line(label, cells):
    return f"{label:26}" + "".join(f"{cell:>14}" for cell in cells).rstrip()


def _cell(number):
    if number is None:
        return ""
    sd = "" if number["sd"] is None else f" ± {number['sd']:.2f}"
    return f"{number['mean']:.2f}{sd}"
