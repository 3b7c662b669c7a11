"""Import TensorFlow without the messages that its libraries print."""

import contextlib
import logging as standard_logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from tf_savae.core.progress.heartbeat import Heartbeat
from tf_savae.core.progress.stages import stage

__all__ = ["start_tensorflow", "started"]

_LIBRARIES = {"keras", "tensorflow", "tensorflow_datasets", "tensorflow_probability"}
_SUPPRESSED = ("Sharding callback duration", "jit_compile='auto' chose")


@contextlib.contextmanager
def started(show_all_logs: bool = False) -> Iterator[None]:
    """Context of a command: imports TensorFlow, and reports progress at least every ten seconds."""
    if hasattr(sys.stdout, "reconfigure"):  # Output to a pipe is block-buffered by default.
        sys.stdout.reconfigure(line_buffering=True)
    with Heartbeat():
        start_tensorflow(show_all_logs)
        yield


def start_tensorflow(show_all_logs: bool = False) -> None:
    """Imports TensorFlow and suppresses the log messages of its libraries.

    From C++ code only fatal messages are shown: errors reach Python as exceptions, and messages of
    level E also report missing processor features, which are not errors. From Python code, errors
    are shown. A TF_CPP_MIN_LOG_LEVEL that the user has set is kept.

    C++ output during the import ignores the log level. It is captured, and only shown if the import
    fails.

    Args:
      show_all_logs: whether to show all messages. TensorFlow is then not imported here.

    >>> start_tensorflow()
    """
    if show_all_logs:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for logger in (logging.get_absl_logger(), standard_logging.getLogger("tensorflow")):
        if _is_ours not in logger.filters:
            logger.addFilter(_is_ours)
    if "tensorflow" not in sys.modules:
        with stage("Importing TensorFlow"), _stderr_captured():
            import tensorflow  # noqa: F401


def _is_ours(record):
    """Returns whether a log record is from this package or the user, or a library's error."""
    theirs = _LIBRARIES.intersection(Path(record.pathname).parts)
    if theirs and record.levelno < standard_logging.ERROR:
        return False
    return not str(record.msg).startswith(_SUPPRESSED)


@contextlib.contextmanager
def _stderr_captured():
    """Context that redirects file descriptor 2 to a file; its text is shown if the body raises.

    The log of this package is shown as always.
    """
    if sys.stderr is None:  # Closed by the parent process.
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        handler, shown = logging.get_absl_handler().python_handler, os.fdopen(os.dup(kept), "w")
        before = handler.setStream(shown)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            sys.stderr.flush()
            handler.setStream(before or sys.stderr)
            shown.close()
            os.dup2(kept, 2)
            os.close(kept)
