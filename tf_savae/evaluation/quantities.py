"""Labels, units and directions of the reported quantities, for reports, tables and figures.

The keys are the names in JSON reports and in the models' metrics and logs.
"""

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["QUANTITIES", "Quantity", "axis_label", "column_label", "directions", "row_label"]


class Quantity(NamedTuple):
    """The labels, unit and direction of one quantity.

    Attributes:
      label: label of its row in a table.
      unit: per example, such as "nats"; "" for none.
      lower_is_better: None if neither direction is better.
      level: indentation level of its row; parts are below their sum.
      column: header of its column; by default the label.
      axis: label of its axis in a figure, without the unit; by default the label.
    """

    label: str
    unit: str = ""
    lower_is_better: bool | None = None
    level: int = 0
    column: str | None = None
    axis: str | None = None


# In the order of rows.
QUANTITIES = {
    "steps": Quantity("refinement steps K", column="mean K"),
    "bound": Quantity("bound", "nats", True, axis="negative ELBO"),
    "nll": Quantity("NLL term", "nats", True, level=1, axis="negative log likelihood"),
    "kl": Quantity("KL term", "nats", level=1, column="KL", axis="KL"),
    "mutual_information": Quantity("of which mutual information", "nats", level=1),
    "amortized_bound": Quantity("bound before refinement", "nats", True, column="before steps"),
    "gain": Quantity("ELBO gained by refinement", "nats", False, column="ELBO gained"),
    "ppl": Quantity("perplexity of the bound (</s> counted)", "", True),
    "ppl_without_end": Quantity("</s> not counted", "", True, level=1),
    "bits_per_pixel": Quantity("bits per pixel of the bound", "", True),
    "iw_nll": Quantity("importance-weighted NLL", "nats", True, column="IW NLL"),
    "iw_ppl": Quantity("importance-weighted perplexity", "", True),
    "iw_ppl_without_end": Quantity("</s> not counted", "", True, level=1),
    "iw_bits_per_pixel": Quantity("importance-weighted bits per pixel", "", True),
    "effective_samples": Quantity("effective samples (median)", "", False),
    "active_units": Quantity("active units"),
    # Quantities of an inference gap.
    "inference_gap": Quantity("inference gap, log p(x) - ELBO(lambda_0)", "nats", True),
    "approximation_gap": Quantity(
        "approximation gap, log p(x) - ELBO(lambda*)", "nats", True, level=1
    ),
    "amortization_gap": Quantity(
        "amortization gap, ELBO(lambda*) - ELBO(lambda_0)", "nats", True, level=1
    ),
    "recovered": Quantity("of which the K steps recover", "nats", False, level=2),
    "recovered_share": Quantity("share of it", "", False, level=2),
    # Quantities of a training run.
    "epochs": Quantity("epochs (best)"),
    "step_seconds": Quantity("seconds a step (median)", "", True),
    "train_seconds": Quantity("seconds of training", "", True),
    "parameters": Quantity("parameters"),
    "milliseconds": Quantity("milliseconds", "", True, column="ms"),
}


def row_label(name: str, example: str | None = None) -> str:
    """Returns the label of a row, indented by its level.

    Args:
      name: name of the quantity.
      example: name of one example; if given, the label includes the unit.

    >>> row_label("kl"), row_label("bound", "image")
    ('  KL term', 'bound (nats per image)')
    """
    quantity = QUANTITIES[name]
    unit = f" ({quantity.unit} per {example})" if example and quantity.unit else ""
    return "  " * quantity.level + quantity.label + unit


def column_label(name: str) -> str:
    """Returns the header of a column.

    >>> column_label("iw_nll"), column_label("bound")
    ('IW NLL', 'bound')
    """
    quantity = QUANTITIES[name]
    return quantity.column or quantity.label


def axis_label(name: str, example: str) -> str:
    """Returns the label of an axis, with unit and direction; `example` names one example.

    >>> axis_label("bound", "sentence"), axis_label("kl", "image")
    ('negative ELBO (nats per sentence)\\nlower is better', 'KL (nats per image)')
    """
    quantity = QUANTITIES[name]
    label = quantity.axis or quantity.label
    unit = f" ({quantity.unit} per {example})" if quantity.unit else f" per {example}"
    better = {None: "", True: "\nlower is better", False: "\nhigher is better"}
    return label + unit + better[quantity.lower_is_better]


def directions(names: Iterable[str]) -> str:
    """Returns one line that lists the rows for which lower and for which higher is better.

    Rows that are parts of other rows are left out.

    >>> directions(["bound", "kl", "iw_nll", "effective_samples"])
    'lower is better: bound, importance-weighted NLL; higher is better: effective samples'
    """
    parts = []
    for word, wanted in (("lower", True), ("higher", False)):
        rows = [QUANTITIES[name] for name in names]
        rows = [row for row in rows if row.lower_is_better is wanted and not row.level]
        if rows:
            parts.append(f"{word} is better: {', '.join(r.label.split(' (')[0] for r in rows)}")
    return "; ".join(parts)
