"""Short forms of adjoints: strings, and arguments for the settings of the objects."""

import dataclasses
import re
from collections.abc import Callable

from tf_savae.autodiff.residuals import LEVELS
from tf_savae.core import validation
from tf_savae.svi.adjoints import (
    RESIDUALS,
    Adjoint,
    Exact,
    Stop,
    TakesProducts,
    Truncated,
    Unrolled,
    refuse_residuals,
)

__all__ = [
    "ADJOINTS",
    "NOT_GIVEN",
    "SHORT_FORMS",
    "as_adjoint",
    "checked_adjoint",
    "short_forms_of",
]

_KINDS = {"exact": Exact, "unrolled": Unrolled, "truncated": Truncated, "stop": Stop}
ADJOINTS = tuple(_KINDS)
# {argument that may be given with a string: the setting of the objects}.
SHORT_FORMS = {
    "hvp": "hvp",
    "keep": "residuals",
    "truncate": "depth",
    "adjoint_clip_norm": "clip_norm",
    "keep_budget": "budget",
}
# Values that count as not given. `keep` differs: its None is a setting, no residuals.
NOT_GIVEN = {**dict.fromkeys(SHORT_FORMS), "keep": "auto"}


def checked_adjoint(adjoint: str | Adjoint) -> str | Adjoint:
    """Returns `adjoint` if it is one of `ADJOINTS` or an `Adjoint`; else raises ValueError.

    >>> checked_adjoint("exact")
    'exact'
    """
    if isinstance(adjoint, Adjoint) or (isinstance(adjoint, str) and adjoint in ADJOINTS):
        return adjoint
    raise ValueError(
        f"adjoint: expected one of {', '.join(ADJOINTS)}, or an object such as svi.Exact(); got "
        f"{adjoint!r}."
    )


def short_forms_of(adjoint: str) -> set[str]:
    """Returns the set of names of the short forms that may be given with a string.

    >>> sorted(short_forms_of("exact")), short_forms_of("stop")
    (['adjoint_clip_norm', 'hvp', 'keep', 'keep_budget'], set())
    """
    checked_adjoint(adjoint)
    settings = {field.name for field in dataclasses.fields(_KINDS[adjoint])}
    return {short for short, own in SHORT_FORMS.items() if own in settings}


def as_adjoint(
    adjoint: str | Adjoint,
    steps: int | None = None,
    *,
    hvp: str | Callable | None = None,
    keep: str | None = "auto",
    truncate: int | None = None,
    adjoint_clip_norm: float | None = None,
    keep_budget: int | None = None,
) -> Adjoint:
    """Returns the adjoint of these arguments: the given object, or one made from short forms.

    Args:
      adjoint: an `Adjoint`, or one of `ADJOINTS`.
      steps: K, or the largest K of a schedule, which limits the depth; None for no limit.
      hvp, keep, truncate, adjoint_clip_norm, keep_budget: short forms of hvp, residuals, depth,
        clip_norm and budget, only with a string; None if not given ("auto" for `keep`, whose None
        keeps nothing).

    Raises:
      ValueError: a setting is out of its range, is given with an object, or is not a setting of the
        adjoint.

    >>> as_adjoint("truncated", truncate=2, hvp="auto")
    Truncated(depth=2, hvp='auto', residuals='auto', clip_norm=None, budget=None)
    """
    short = {
        "hvp": hvp,
        "keep": keep,
        "truncate": truncate,
        "adjoint_clip_norm": adjoint_clip_norm,
        "keep_budget": keep_budget,
    }
    given = {name: value for name, value in short.items() if not _is_missing(name, value)}
    adjoint = checked_adjoint(adjoint)
    if isinstance(adjoint, Adjoint):
        if given:
            _refuse_beside(adjoint, *next(iter(given.items())))
        if steps is not None:
            adjoint.check_steps(steps)
        return adjoint
    try:
        made = _from_short_forms(adjoint, given)
        if steps is not None:
            made.check_steps(steps)
    except ValueError as error:  # It names the object's settings: replace them by the short forms.
        names = {own: short for short, own in SHORT_FORMS.items()}
        settings = rf"\b({'|'.join(names)})(?=[:=])"
        raise ValueError(re.sub(settings, lambda found: names[found[1]], str(error))) from None
    return made


def _is_missing(name, value):
    """Returns whether a short form, of any type, counts as not given."""
    default = NOT_GIVEN[name]
    return value is None if default is None else isinstance(value, str) and value == default


def _from_short_forms(adjoint, given):
    kind = _KINDS[adjoint]
    if kind is not Truncated and "truncate" in given:
        raise ValueError(
            f'truncate: requires adjoint="truncated", got adjoint={adjoint!r}. Use None.'
        )
    settings = {SHORT_FORMS[name]: value for name, value in given.items()}
    if issubclass(kind, TakesProducts):
        return kind(**{"depth": None, **settings}) if kind is Truncated else kind(**settings)
    if validation.choice("keep", given.get("keep"), (None, *RESIDUALS)) in LEVELS:
        refuse_residuals("keep", f"keep={given['keep']!r}, adjoint={adjoint!r}")
    for name, value in given.items():
        if (name, value) == ("hvp", "auto"):  # What layers store if there is none.
            continue
        raise ValueError(
            f'{name}: requires adjoint="exact" or "truncated", got {name}={value!r} with '
            f"adjoint={adjoint!r}, where it has no effect. Use {NOT_GIVEN[name]!r}."
        )
    return kind()


def _refuse_beside(adjoint, name, value):
    own = SHORT_FORMS[name]
    owns = own in {field.name for field in dataclasses.fields(adjoint)}
    remedy = f"Pass {own}={value!r} to it" if owns else "It has no such setting"
    raise ValueError(
        f"{name}: expected None together with adjoint={adjoint!r}, which has its own settings; got "
        f"{value!r}. {remedy}."
    )
