"""Start TensorFlow without the lines that its libraries print when they are loaded."""

import contextlib
import logging as standard_logging
import os
import sys
import tempfile
from pathlib import Path

from absl import logging

__all__ = ["start_tensorflow"]

_LIBRARIES = {"keras", "tensorflow", "tensorflow_datasets", "tensorflow_probability"}
_CHATTER = ("Sharding callback duration", "jit_compile='auto' chose")


def start_tensorflow(show_all_logs: bool = False) -> None:
    """Imports TensorFlow; of what its libraries say nothing is shown from now on but fatal errors.

    Its errors reach Python as exceptions. Its C++ code also writes lines of level E that are none,
    on what a processor lacks. Of its Python code errors are shown. TF_CPP_MIN_LOG_LEVEL, where the
    user has set it, stays.

    What C++ writes while libraries are loaded heeds no level: it is held back, and shown where the
    import fails.

    Args:
      show_all_logs: holds nothing back.

    >>> start_tensorflow()
    """
    if show_all_logs:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for logger in (logging.get_absl_logger(), standard_logging.getLogger("tensorflow")):
        if _is_ours not in logger.filters:
            logger.addFilter(_is_ours)
    if "tensorflow" not in sys.modules:
        with _held_back():
            import tensorflow  # noqa: F401


def _is_ours(record):
    """Whether a record is one of the package's or a user's, or an error of the libraries'."""
    theirs = _LIBRARIES.intersection(Path(record.pathname).parts)
    if theirs and record.levelno < standard_logging.ERROR:
        return False
    return not str(record.msg).startswith(_CHATTER)


@contextlib.contextmanager
def _held_back():
    """Sends file descriptor 2 to a file, whose text is shown if the body raises."""
    if sys.stderr is None:  # Closed by who started the command.
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
