"""Define absl flags from the fields of a configuration, for the scripts of bin/."""

import contextlib
import dataclasses
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging

from tf_savae.commands.quiet_start import started

if TYPE_CHECKING:
    from tf_savae.commands.catalogue import Command

__all__ = ["define_command", "define_flags", "errors_in_one_line", "run", "start"]

_HELP = ("help", "h", "?", "helpshort", "helpfull")

# Flags defined here become key flags of the calling script, so that its --help lists them.
flags.disclaim_key_flags()

_DEFINE: dict[Any, Callable] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}


def define_flags(configuration: type, note: str = " (default: {default})") -> None:
    """Defines a flag with default None for each field of `configuration`.

    Args:
      configuration: a dataclass whose fields have metadata "help" and optionally "choices". Ints,
        floats and booleans become flags of these types, other fields string flags.
      note: text appended to each help text; {default} is replaced by the field's default.

    >>> define_flags(dataclasses.make_dataclass("C", [("size", int, dataclasses.field(
    ...     default=3, metadata={"help": "how many"}))]))
    >>> flags.FLAGS["size"].help
    'how many (default: 3)'
    >>> delattr(flags.FLAGS, "size")
    """
    if "show_all_logs" not in flags.FLAGS:
        flags.DEFINE_boolean("show_all_logs", False, "also show the logs of TensorFlow's libraries")
    for field in dataclasses.fields(configuration):
        text = field.metadata["help"]
        if field.default is not None:
            text += note.format(default=field.default)
        if "choices" in field.metadata:
            flags.DEFINE_enum(field.name, None, field.metadata["choices"], text)
        else:
            _DEFINE.get(field.type, flags.DEFINE_string)(field.name, None, text)


def define_command(command: "Command") -> None:
    """Defines the flags of a `Command`: its own options and the fields of its configuration."""
    names = {option.name for option in command.own}
    for option in command.own:
        if option.choices:
            flags.DEFINE_enum(option.name, option.default, option.choices, option.help)
        elif option.kind is int:
            flags.DEFINE_integer(option.name, option.default, option.help, lower_bound=option.least)
        else:
            define = _DEFINE.get(option.kind, flags.DEFINE_string)
            define(option.name, option.default, option.help)
        if option.required:
            flags.mark_flag_as_required(option.name)
    note = " (default: {default})"
    if "config" in names:
        note = " (default: that of --config)"
    elif "quick" in names:
        note = " (default: {default}; see also --quick)"
    define_flags(command.configuration, note)


def run(argv: Sequence[str], command: "Command") -> None:
    """Runs a command with the flags that were given; reports an error in one line.

    Args:
      argv: the arguments that absl passes to a program: the program's name only.
      command: the `Command` for which `define_command` was called.

    Raises:
      SystemExit: one of `command.errors` occurred, which the user can correct. The exit message is
        that of the error. A traceback is only shown with --verbosity=1.
      absl.app.UsageError: argv has arguments that are not flags.
    """
    if argv[1:]:
        raise app.UsageError(f"expected only options, got {' '.join(argv[1:])}")
    fields = [field.name for field in dataclasses.fields(command.configuration)]
    given = {name: flags.FLAGS[name].value for name in fields}
    own = {option.name: flags.FLAGS[option.name].value for option in command.own}
    program = os.path.basename(argv[0])
    with errors_in_one_line(command, program):
        command.check_run(own)  # Before TensorFlow is imported.
    with errors_in_one_line(command, program), started(flags.FLAGS.show_all_logs):
        settings = {name: value for name, value in given.items() if value is not None}
        command.work(command.made(settings, own), own)


@contextlib.contextmanager
def errors_in_one_line(command: "Command", program: str) -> Iterator[None]:
    """Context that ends the program with "PROGRAM: ERROR" if one of `command.errors` is raised.

    Args:
      command: a `Command`.
      program: the name with which the message begins.
    """
    try:
        yield
    except command.errors as error:
        logging.debug("traceback", exc_info=True)
        sys.exit(f"{program}: {error}")


def start(main: Callable[[list[str]], Any]) -> None:
    """Calls `absl.app.run`, with exit status 0 after help that the user requested.

    Args:
      main: function that is called with argv after the flags are parsed.
    """
    own = itertools.takewhile(lambda word: word != "--", sys.argv[1:])
    asked = any(word.startswith("-") and word.lstrip("-") in _HELP for word in own)
    try:
        app.run(main)
    except SystemExit as ended:
        if asked and ended.code == 1:
            sys.exit(0)
        raise
