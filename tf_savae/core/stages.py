"""Stages of long work: a line when one begins, and further lines while nothing else is shown."""

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

__all__ = ["Heartbeat", "detail", "printed", "stage", "under_way"]

_SILENCE = 8.0  # Seconds without output after which a line is shown.
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
    """Context of work that may take long: shows `text` at once, and `Heartbeat` repeats it.

    The line is logged at level INFO, which the commands show. Elsewhere it is printed by `fit` and
    `evaluate` if they show a progress bar, and not at all otherwise.

    Args:
      text: what is done.
      announced: whether to show it at once.

    >>> with printed({"verbose": 1}), stage("Compiling the training step (K = 5)"):
    ...     pass
    Compiling the training step (K = 5)
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


class Heartbeat:
    """Context in which no ten seconds pass without a line, for programs.

    When nothing was written to standard output and standard error for eight seconds, the innermost
    `stage` is logged with the time that it has taken.

    >>> with Heartbeat():
    ...     print("shown")
    shown
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last = clock, clock()
        self._ended = threading.Event()
        self._at_line_start = True

    def __enter__(self) -> "Heartbeat":
        self._kept = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (s and _Watched(s, self._wrote) for s in self._kept)
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(2.0)  # A thread that writes while Python ends would end it with an error.
        sys.stdout, sys.stderr = self._kept

    def _wrote(self, text):
        self._last = self._clock()
        self._at_line_start = text[-1:] in ("\n", "")

    def _run(self):
        while not self._ended.wait(1.0):
            with contextlib.suppress(OSError, ValueError):  # The stream was closed.
                self.beat()

    def beat(self) -> None:
        """Logs the current stage, if nothing was shown for long."""
        now = self._clock()
        if now - self._last < _SILENCE or self._ended.is_set() or not logging.level_info():
            return
        self._last = now
        if not self._at_line_start:  # A progress bar has not ended its line.
            print(flush=True)
        stages = _STAGES[-1:]
        logging.info("%s", stages[0].line(now) if stages else "still at work")


class _Watched:
    """A stream that reports what is written to it."""

    def __init__(self, stream, report):
        self._stream, self._report = stream, report

    def write(self, text):
        self._report(text)
        return self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)
