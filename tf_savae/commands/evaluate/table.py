"""Format the report of an evaluation as a table."""

from typing import Any

from tf_savae.evaluation.quantities import QUANTITIES, column_label, directions, row_label

__all__ = ["report_text"]

_GAP = ("inference_gap", "approximation_gap", "amortization_gap", "recovered")


def report_text(report: dict[str, Any]) -> str:
    """Returns the whole report as a string that ends with a newline."""
    unit = report["unit"]
    lines = [
        f"{report['system']} on {report['examples']:,} {unit}s ({report['split']}); "
        f"nats per {unit}, ± standard error over them"
    ]
    lines += _posteriors(report)
    if "gap" in report:
        lines += ["", *_gap(report["gap"], unit)]
    if "curve" in report:
        lines += ["", *_curve(report["curve"], unit)]
    return "\n".join(lines) + "\n"


def _posteriors(report):
    found = report["posteriors"]
    lines = ["", f"{'':42}" + "".join(f"{name:>20}" for name in found)]
    shown = []
    for name in QUANTITIES:
        cells = [_cell(numbers.get(name)) for numbers in found.values()]
        if any(cells):
            shown.append(name)
            lines.append(f"  {row_label(name):40}" + "".join(f"{cell:>20}" for cell in cells))
    better = directions(shown)
    lines += [f"  {better}"] if better else []
    errors = [
        f"{numbers['iw_nll']['monte_carlo_error']:.2g} ({name})"
        for name, numbers in found.items()
        if "iw_nll" in numbers
    ]
    if errors:
        lines.append(
            f"  importance weighting: {report['configuration']['samples']} samples; Monte-Carlo "
            f"standard deviation of its mean {', '.join(errors)} nats"
        )
    return lines


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, dict):
        error = value["standard_error"]
        return f"{value['mean']:,.3f}" + ("" if error is None else f" ± {error:.2g}")
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _gap(gap, unit):
    lines = [f"inference gap of {gap['examples']:,} {unit}s, K = {gap['steps']}"]
    lines += [f"  {row_label(name):58}{_cell(gap[name]):>20}" for name in _GAP]
    if gap["recovered_share"] is not None:
        lines.append(f"  {row_label('recovered_share'):58}{gap['recovered_share']:>20.0%}")
    return lines


def _curve(rows, unit):
    steps, gain, bound, kl = map(column_label, ("steps", "gain", "bound", "kl"))
    time = f"{column_label('milliseconds')} / {unit}"
    lines = [
        "refinement at test time",
        f"  {'':30}{steps:>8}{gain:>18}{bound:>12}{kl:>9}{time:>16}",
    ]
    for row in rows:
        lines.append(
            f"  {row['inference']:30}{row['steps']:>8.1f}{_cell(row['gain']):>18}"
            f"{row['bound']:>12,.3f}{row['kl']:>9.3f}{row['milliseconds']:>16.3f}"
        )
    return lines
