"""Format the report of an evaluation as a table."""

__all__ = ["report_text"]

_ROWS = {
    "steps": "refinement steps K",
    "bound": "negative ELBO",
    "nll": "  NLL term",
    "kl": "  KL term",
    "mutual_information": "  of which mutual information",
    "active_units": "active units",
    "ppl": "perplexity of the bound (</s> counted)",
    "ppl_without_end": "  </s> not counted",
    "iw_nll": "importance-weighted NLL",
    "iw_ppl": "importance-weighted perplexity",
    "iw_ppl_without_end": "  </s> not counted",
    "effective_samples": "effective samples (median)",
}
_GAP = {
    "inference_gap": "inference gap, log p(x) - ELBO(lambda_0)",
    "approximation_gap": "  approximation gap, log p(x) - ELBO(lambda*)",
    "amortization_gap": "  amortization gap, ELBO(lambda*) - ELBO(lambda_0)",
    "recovered": "    of which the K steps recover",
}


def report_text(report):
    """The whole report, a string with line ends."""
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
    for name, label in _ROWS.items():
        cells = [_cell(numbers.get(name)) for numbers in found.values()]
        if any(cells):
            lines.append(f"  {label:40}" + "".join(f"{cell:>20}" for cell in cells))
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
    lines += [f"  {label:58}{_cell(gap[name]):>20}" for name, label in _GAP.items()]
    if gap["recovered_share"] is not None:
        lines.append(f"  {'    share of it':58}{gap['recovered_share']:>20.0%}")
    return lines


def _curve(rows, unit):
    lines = [
        "refinement at test time",
        f"  {'':30}{'mean K':>8}{'ELBO gained':>18}{'-ELBO':>12}{'KL':>9}{'ms / ' + unit:>16}",
    ]
    for row in rows:
        lines.append(
            f"  {row['inference']:30}{row['steps']:>8.1f}{_cell(row['gain']):>18}"
            f"{row['bound']:>12,.3f}{row['kl']:>9.3f}{row['milliseconds']:>16.3f}"
        )
    return lines
