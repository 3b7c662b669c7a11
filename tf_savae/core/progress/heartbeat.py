"""Logs the current stage while a program prints nothing else."""

import contextlib
import logging as standard_logging
import sys
import threading
import time
from collections.abc import Callable

from absl import logging

from tf_savae.core.progress import stages

__all__ = ["Heartbeat"]

_SILENCE = 8.0  # Seconds without output after which a line is shown.


class Heartbeat:
    """Context in which a program prints at least one line every ten seconds.

    If nothing was written to standard output or standard error for eight seconds, the innermost
    `stage` is logged with its elapsed time.

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
        self._handler = _Handler(self._logged)
        logging.get_absl_logger().addHandler(self._handler)
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(2.0)  # A thread that writes during interpreter shutdown causes an error.
        logging.get_absl_logger().removeHandler(self._handler)
        sys.stdout, sys.stderr = self._kept

    def _wrote(self, text):
        self._last = self._clock()
        self._at_line_start = text[-1:] in ("\n", "")

    def _logged(self):
        self._last = self._clock()

    def _run(self):
        while not self._ended.wait(1.0):
            with contextlib.suppress(OSError, ValueError):  # The stream was closed.
                self.beat()

    def beat(self) -> None:
        """Logs the current stage if nothing was written for eight seconds."""
        now = self._clock()
        if now - self._last < _SILENCE or self._ended.is_set() or not logging.level_info():
            return
        self._last = now
        if not self._at_line_start:  # A progress bar has not ended its line.
            print(flush=True)
        logging.info("%s", stages.line(now))


class _Handler(standard_logging.Handler):
    """Log handler that reports each record: absl writes to a stream that is not watched."""

    def __init__(self, report):
        super().__init__()
        self._report = report

    def emit(self, record):
        self._report()


class _Watched:
    """Stream that passes all written text to a callback."""

    def __init__(self, stream, report):
        self._stream, self._report = stream, report

    def write(self, text):
        self._report(text)
        return self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)
