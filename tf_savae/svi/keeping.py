"""What a refinement step computed and its Hessian-vector product needs again: kept, or made again.

The product at lambda_k repeats much of the step at lambda_k: the same states, the same logits, and,
in the adjoint of its tangents, the very gradients of the step. An operation with hand-written
derivatives asks for a `slot` when it runs and fills it when its gradient is taken; the loop of
steps stores what the slots hold; and in the product the operation asks for it with `replayed`.
Operations are matched by their order, which is the same in every trace of one objective.
"""

import contextlib
import threading

from tf_savae.ground import checks

__all__ = ["LEVELS", "product_for", "recording", "replayed", "replaying", "slot"]

LEVELS = ("states", "all")


class _Slot(dict):
    """What one operation keeps: named tensors. `level` says how much it should keep."""

    def __init__(self, level):
        super().__init__()
        self.level = level


class _Contexts(threading.local):
    def __init__(self):
        self.recording, self.replaying = None, None


_contexts = _Contexts()


class _Recording:
    def __init__(self, level):
        self.level, self.slots = level, []

    def entries(self):
        """One dict of tensors for each operation, in the order in which they ran."""
        return [dict(held) for held in self.slots]


@contextlib.contextmanager
def recording(level):
    """Collects in `slots` what operations keep while a gradient is taken; `level` None: nothing.

    >>> with recording("all") as kept:
    ...     slot()["square"] = 4.0
    >>> kept.entries()
    [{'square': 4.0}]
    """
    before = _contexts.recording
    kept = _Recording(level)
    _contexts.recording = None if level is None else kept
    try:
        yield kept
    finally:
        _contexts.recording = before


def slot():
    """The place of the operation that asks, to be filled with tensors; None: keep nothing."""
    if _contexts.recording is None:
        return None
    held = _Slot(_contexts.recording.level)
    _contexts.recording.slots.append(held)
    return held


@contextlib.contextmanager
def replaying(entries):
    """Hands `entries`, those of a recording, to the operations in their order.

    >>> with replaying([{"square": 4.0}]):
    ...     replayed()
    {'square': 4.0}
    """
    before = _contexts.replaying
    _contexts.replaying = iter(entries) if entries else None
    try:
        yield
    finally:
        _contexts.replaying = before


def replayed():
    """What the operation that asks kept in the step: a dict, empty where nothing was kept."""
    return {} if _contexts.replaying is None else next(_contexts.replaying)


def product_for(keep, adjoint, hvp):
    """The Hessian-vector product to use: `hvp`, or the only one that can use what steps keep.

    Raises:
      ValueError: `keep` is unknown, or there are no such products to keep anything for.

    >>> product_for("states", "exact", "auto")
    'forward_over_reverse'
    """
    if checks.choice("keep", keep, (None, *LEVELS)) is None:
        return hvp
    if adjoint not in ("exact", "truncated") or hvp not in ("auto", "forward_over_reverse"):
        raise ValueError(
            f'keep: is for adjoint "exact" or "truncated" with hvp "forward_over_reverse"; got '
            f"keep={keep!r}, adjoint={adjoint!r}, hvp={hvp!r}. Change those, or leave keep None."
        )
    return "forward_over_reverse"
