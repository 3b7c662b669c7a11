"""Stages of long computations: prints a line when a stage begins, and tracks its progress."""

import contextlib
import contextvars
import time
from collections.abc import Iterator
from typing import Any

from absl import logging

__all__ = ["detail", "line", "printed", "stage", "under_way"]

_PRINTED = contextvars.ContextVar("printed", default=False)


class _Stage:
    """One stage: its description, start time and progress."""

    def __init__(self, text):
        self.text, self.began, self.detail = text, time.monotonic(), None

    def line(self, now):
        return f"{self.text}: {self.detail or 'still at work'} ({now - self.began:.0f} s)"


_STAGES: list[_Stage] = []


@contextlib.contextmanager
def stage(text: str, *, announced: bool = True) -> Iterator[None]:
    """Context of a long computation: shows `text` immediately; a `Heartbeat` repeats it.

    The line is logged at level INFO, which the commands show. Outside of commands, it is printed
    only during `fit` and `evaluate` with a progress bar.

    Args:
      text: description of the computation.
      announced: whether to show it immediately.

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
    """Sets the progress text of the innermost stage, which `Heartbeat` shows.

    >>> detail("step 3 of 188")
    """
    if _STAGES:
        _STAGES[-1].detail = text


def line(now: float) -> str:
    """Returns a line with the description, progress and elapsed time of the innermost stage.

    Args:
      now: current time in seconds, from `time.monotonic`.

    >>> line(0.0)
    'still at work'
    """
    return _STAGES[-1].line(now) if _STAGES else "still at work"


def under_way() -> bool:
    """Returns whether any stage is active.

    >>> under_way()
    False
    """
    return bool(_STAGES)


@contextlib.contextmanager
def printed(options: dict[str, Any], text: str | None = None) -> Iterator[None]:
    """Context of a Keras method: stages are printed if the method shows a progress bar.

    Args:
      options: the method's keyword arguments; with verbose=0 nothing is printed.
      text: name of a stage that is not announced, since the progress bar shows it.
    """
    token = _PRINTED.set(options.get("verbose", "auto") != 0)
    try:
        with stage(text, announced=False) if text else contextlib.nullcontext():
            yield
    finally:
        _PRINTED.reset(token)
