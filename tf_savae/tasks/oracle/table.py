"""The results table of the oracle experiment."""

import statistics
from collections.abc import Sequence
from typing import Any

from tf_savae.evaluation.quantities import column_label
from tf_savae.tasks.oracle.systems import LABELS, STUDIES, SYSTEMS, TRAINED

__all__ = ["print_results", "summary", "table", "verdict"]

_COLUMNS = ("bound", "kl", "amortized_bound", "iw_nll")
_TRUE = {"prior": "true NLL", "refined_proposal": "  SA-VAE as proposal"}


def summary(runs: Sequence[dict[str, Any]], oracles: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns averages over seeds: {study: {system: {number: {"mean", "sd"}}}}.

    The key "true_nll" contains the true NLL of the oracles. "sd" is the sample standard deviation,
    or None for one seed.
    """
    tables: dict[str, Any] = {study: {system: {} for system in SYSTEMS} for study in STUDIES}
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


def print_results(results: dict[str, Any]) -> None:
    """Prints the table, the verdicts and the run time."""
    seeds = results["configuration"]["seeds"]
    several = f", mean ± standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else ""
    print(f"\nTest set, nats per sentence{several}")
    print(table(results["summary"]))
    print("\nLower is better, except for KL.")
    for study in STUDIES:
        for number in ("bound", "iw_nll"):
            said = verdict(results["runs"], study, number)
            if said:
                print(f"{study.capitalize()} study: {said}")
    print(f"\n{results['seconds']:,.0f} seconds for {len(seeds)} seed(s)")


def table(numbers: dict[str, Any]) -> str:
    """Returns the summary as a text table.

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


def verdict(runs: Sequence[dict[str, Any]], study: str, number: str) -> str | None:
    """Returns a sentence that compares SA-VAE with the other trained systems.

    It contains the mean difference, and the number of seeds in which SA-VAE is best. The row of the
    VAE that is refined at test time only is not compared: its training is the VAE's.

    Args:
      runs: list of dicts with "study", "system", "seed" and "test", as in results.json.
      study: "oracle" or "learned".
      number: a key of `runs[i]["test"]`, such as "bound": in nats, lower is better.

    Returns:
      The sentence, or None if this number is missing for a system.

    >>> def run(system, bound):
    ...     return {"study": "oracle", "system": system, "seed": 0, "test": {"bound": bound}}
    >>> runs = [run("vae", 21.5), run("svi", 26.0), run("savae", 20.5)]
    >>> verdict(runs, "oracle", "bound")
    'Of the trained systems SA-VAE has the lowest bound, 1.00 nats below VAE, in 1 of 1 seeds.'
    >>> verdict([*runs[:2], run("savae", 21.75)], "oracle", "bound")
    'SA-VAE does not have the lowest bound: it is 0.25 nats above VAE, and lowest in 0 of 1 seeds.'
    """
    found: dict[str, dict[int, float]] = {system: {} for system in TRAINED}
    for run in runs:
        if run["study"] == study and run["system"] in found and number in run["test"]:
            found[run["system"]][run["seed"]] = run["test"][number]
    ours = found.pop("savae")
    if not ours or any(rows.keys() != ours.keys() for rows in found.values()):
        return None
    best = min(found, key=lambda system: statistics.fmean(found[system].values()))
    gap = statistics.fmean(ours.values()) - statistics.fmean(found[best].values())
    wins = sum(ours[seed] < min(rows[seed] for rows in found.values()) for seed in ours)
    name, often = column_label(number), f"in {wins} of {len(ours)} seeds"
    if gap < 0:
        return (
            f"Of the trained systems SA-VAE has the lowest {name}, {-gap:.2f} nats below "
            f"{LABELS[best]}, {often}."
        )
    return (
        f"SA-VAE does not have the lowest {name}: it is {gap:.2f} nats above {LABELS[best]}, and "
        f"lowest {often}."
    )


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
