"""Stages of long work: a line when one begins, and what is known of how far it is."""

import contextlib
import contextvars
import time
from collections.abc import Iterator
from typing import Any

from absl import logging

__all__ = ["detail", "line", "printed", "stage", "under_way"]

_PRINTED = contextvars.ContextVar("printed", default=False)


class _Stage:
    """One stage: what it does, when it began, and how far it is."""

    def __init__(self, text):
        self.text, self.began, self.detail = text, time.monotonic(), None

    def line(self, now):
        return f"{self.text}: {self.detail or 'still at work'} ({now - self.began:.0f} s)"


_STAGES: list[_Stage] = []


@contextlib.contextmanager
def stage(text: str, *, announced: bool = True) -> Iterator[None]:
    """Context of work that may take long: shows `text` at once; a `Heartbeat` repeats it.

    The line is logged at level INFO, which the commands show. Elsewhere it is printed by `fit` and
    `evaluate` if they show a progress bar, and not at all otherwise.

    Args:
      text: what is done.
      announced: whether to show it at once.

    >>> with stage("Compiling the training step (K = 5)", announced=False):
    ...     under_way()
    True
    """
    if announced and logging.level_info():
        logging.info("%s", text)
    elif announced and _PRINTED.get():
        print(text, flush=True)
    found = _Stage(text)
    _STAGES.append(found)
    try:
        yield
    finally:
        _STAGES.remove(found)


def detail(text: str) -> None:
    """Says how far the innermost stage is, for `Heartbeat`.

    >>> detail("step 3 of 188")
    """
    if _STAGES:
        _STAGES[-1].detail = text


def line(now: float) -> str:
    """Returns what the innermost stage does, how far it is and how long it has taken.

    Args:
      now: seconds, of `time.monotonic`.

    >>> line(0.0)
    'still at work'
    """
    return _STAGES[-1].line(now) if _STAGES else "still at work"


def under_way() -> bool:
    """Returns whether a stage has begun and not ended.

    >>> under_way()
    False
    """
    return bool(_STAGES)


@contextlib.contextmanager
def printed(options: dict[str, Any], text: str | None = None) -> Iterator[None]:
    """Context of a method of Keras: prints stages where it shows a progress bar.

    Args:
      options: the method's keyword arguments; with verbose=0 nothing is printed.
      text: a stage that is not announced, since the bar shows it.
    """
    token = _PRINTED.set(options.get("verbose", "auto") != 0)
    try:
        with stage(text, announced=False) if text else contextlib.nullcontext():
            yield
    finally:
        _PRINTED.reset(token)
