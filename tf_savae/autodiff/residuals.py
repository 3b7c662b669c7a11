"""Saves residuals of a refinement step for reuse in its Hessian-vector product.

The product at lambda_k repeats much of the step at lambda_k: the states, the logits and, in the
adjoint of the tangents, the gradients. An operation with custom derivatives calls `slot` when it
runs, and fills the slot when its gradient is taken. The loop of steps stores the contents of the
slots. In the product, the operation reads them with `replayed`. Operations are matched by their
order, which is the same in every trace of one objective. Therefore each operation calls one of the
two functions exactly once, whether or not it depends on lambda.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import tensorflow as tf

__all__ = ["LEVELS", "recording", "replayed", "replaying", "slot"]

LEVELS = ("states", "all")


class _Slot(dict):
    """The residuals of one operation, named tensors; `level` is the amount to save."""

    def __init__(self, kind, level):
        super().__init__()
        self.kind, self.level = kind, level


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.recording: _Recording | None = None
        self.replaying: list[dict[str, dict[str, Any]]] | None = None


_contexts = _Contexts()


class _Recording:
    def __init__(self, level: str | None) -> None:
        self.level = level
        self.slots: list[_Slot] = []

    def entries(self):
        """Returns {kind: {name: tensor}} of each operation, in the order of execution.

        Raises:
          ValueError: a tensor belongs to the body of a loop or function, and is not accessible.
        """
        here = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        for tensor in tf.nest.flatten([dict(held) for held in self.slots]):
            if tf.is_tensor(tensor) and getattr(tensor, "graph", here) is not here:
                raise ValueError(
                    f"keep={self.level!r}: expected operations with residuals outside of "
                    "tf_savae.svi.scan, tf.while_loop, tf.cond and tf.function, got one inside. "
                    "Move it out, or use keep=None."
                )
        return [{held.kind: dict(held)} for held in self.slots]


@contextlib.contextmanager
def recording(level: str | None) -> Iterator[_Recording]:
    """Context that records the residuals of operations; none are recorded if `level` is None.

    >>> with recording("all") as kept:
    ...     slot("power")["square"] = 4.0
    >>> kept.entries()
    [{'power': {'square': 4.0}}]
    """
    before = _contexts.recording
    kept = _Recording(level)
    _contexts.recording = None if level is None else kept
    try:
        yield kept
    finally:
        _contexts.recording = before


def slot(kind: str) -> _Slot | None:
    """Returns the slot of the calling operation for its residuals, or None if none are recorded.

    Inside `replaying`, an operation without tangents calls this function; its entry is skipped.
    """
    if _contexts.replaying is not None:
        replayed(kind)
    if _contexts.recording is None:
        return None
    held = _Slot(kind, _contexts.recording.level)
    _contexts.recording.slots.append(held)
    return held


@contextlib.contextmanager
def replaying(entries: Sequence[dict[str, dict[str, Any]]] | None) -> Iterator[None]:
    """Context in which `replayed` returns the recorded residuals `entries` in order.

    Raises:
      RuntimeError: the operations differ from the recorded ones.

    >>> with replaying([{"power": {"square": 4.0}}]):
    ...     replayed("power")
    {'square': 4.0}
    """
    before = _contexts.replaying
    _contexts.replaying = left = list(reversed(entries)) if entries else None
    try:
        yield
    finally:
        _contexts.replaying = before
    if left:
        _mismatch(f"{len(left)} operations of the step did not run in its Hessian-vector product")


def replayed(kind: str) -> dict[str, Any]:
    """Returns the residuals recorded for the calling operation, {} if none were recorded."""
    if _contexts.replaying is None:
        return {}
    entry = _contexts.replaying.pop() if _contexts.replaying else {}
    if kind not in entry:
        _mismatch(
            f"a {kind} runs in the Hessian-vector product where the step had "
            f"{list(entry) or 'nothing'}"
        )
    return entry[kind]


def _mismatch(what) -> NoReturn:
    raise RuntimeError(
        f"keep: {what}. Expected an objective that runs the same operations in the same order on "
        "every call. Use keep=None."
    )
