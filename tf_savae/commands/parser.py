"""argparse parsers for the options of `tf-savae`, in groups."""

import argparse
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from absl import flags

from tf_savae.commands.catalogue import COMMANDS, Command, Option
from tf_savae.core.validation import did_you_mean
from tf_savae.training.config import shown_only

__all__ = ["COMMON", "command_parser", "kinds", "normal", "program_parser"]

# The options that every command of `tf-savae` has.
COMMON = (
    Option("config_file", "options from a .json or .toml file, such as run.json"),
    Option("print_config", "print all settings as JSON and exit", bool, False),
    Option("show_all_logs", "also show the logs of TensorFlow's libraries", bool, False),
    Option("verbosity", "-1: warnings, 0: also notes, 1: also tracebacks", int, 0),
)
_PARSERS = {int: flags.IntegerParser(), float: flags.FloatParser(), bool: flags.BooleanParser()}
_KINDS = {int: "an integer", float: "a number", bool: "true or false"}
_LIST = re.compile(r"--?(?=[A-Za-z][\w-]+)")


class _Parser(argparse.ArgumentParser):
    """Argument parser that reports an error in one line and refers to --help."""

    def error(self, message):
        ended = message if message.endswith((".", "?", "!")) else f"{message}."
        self.exit(2, f"{self.prog}: {ended} See {self.prog} --help.\n")


def kinds(command: Command) -> dict[str, type]:
    """Returns {option: type} of a command: its own options and its configuration's fields."""
    fields = {field.name: field.type for field in dataclasses.fields(command.configuration)}
    return {**{option.name: option.kind for option in command.own}, **fields}


def normal(words: Sequence[str]) -> list[str]:
    """Normalises option names as absl does: leading "-" to "--", and "-" in names to "_".

    >>> normal(["--batch-size=16", "-n=3", "-workdir", "a-b", "--seed", "-1"])
    ['--batch_size=16', '-n=3', '--workdir', 'a-b', '--seed', '-1']
    """
    return [_normal(word) if _LIST.match(word) else word for word in words]


def _normal(word):
    name, mark, value = word.partition("=")
    return f"--{name.lstrip('-').replace('-', '_')}{mark}{value}"


def _converter(kind):
    def convert(text):
        try:
            return _PARSERS[kind].parse(text)
        except (TypeError, ValueError):
            message = f"expected {_KINDS[kind]}, got {text!r}."
            raise argparse.ArgumentTypeError(message) from None

    return convert if kind in _KINDS else str


def command_parser(
    command: Command,
    own: dict[str, Any] | None = None,
    parser: argparse.ArgumentParser | None = None,
) -> argparse.ArgumentParser:
    """Returns the parser of a command; options that were not given are not in its namespace.

    Args:
      command: `Command`.
      own: {own option: value}, for help texts: they show the defaults of the configuration that
        these options select.
      parser: the parser to which options are added; a new one by default.
    """
    prog = f"tf-savae {command.name}"
    parser = parser or _Parser(
        prog=prog, description=f"{command.summary[0].upper()}{command.summary[1:]}.", **_SETTINGS
    )
    main = parser.add_argument_group("Main options")
    for option in command.own:
        default = "" if option.default is None else f" (default: {_shown(option.default)})"
        text = option.help + (" (required)" if option.required else default)
        _add(main, option.name, option.kind, option.choices, text)
    for option in COMMON:
        _add(main, option.name, option.kind, option.choices, option.help)
    with shown_only():
        base = command.base(own or {option.name: option.default for option in command.own})
    group = None
    for field in dataclasses.fields(command.configuration):
        if group is None or "group" in field.metadata:
            group = parser.add_argument_group(field.metadata.get("group", "Settings"))
        value = _shown(getattr(base, field.name))
        text = field.metadata["help"] + (f" (default: {value})" if value else "")
        _add(group, field.name, field.type, field.metadata.get("choices", ()), text)
    return parser


_SETTINGS: dict[str, Any] = {
    "allow_abbrev": False,
    "argument_default": argparse.SUPPRESS,
    "formatter_class": lambda prog: argparse.HelpFormatter(prog, max_help_position=30),
    "usage": "%(prog)s [options]",
}


def _shown(value):
    """Returns a default as text for help; "" if there is none or the help text states it."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _add(group, name, kind, choices, text):
    settings = {"type": _converter(kind), "help": text.replace("%", "%%"), "dest": name}
    if choices:
        settings["choices"] = choices
    elif kind is bool:
        settings |= {"nargs": "?", "const": True, "metavar": "true|false"}
        hidden = {"action": "store_const", "const": False, "help": argparse.SUPPRESS}
        group.add_argument(f"--no{name}", dest=name, **hidden)
    else:
        settings["metavar"] = {int: "N", float: "X"}.get(kind, "TEXT")
    made = group.add_argument(f"--{name}", **settings)
    if name in ("workdir", "start_from") or name.endswith(("file", "images")) or name == "output":
        made.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}


def program_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole program, for its help and for shell completion."""
    parser = _Parser(prog="tf-savae", description="Semi-amortized VAEs: train, analyze, serve.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS.values():
        below = commands.add_parser(command.name, help=command.summary, **_SETTINGS)
        command_parser(command, parser=below)
    below = commands.add_parser("completion", help="print a completion script for your shell")
    below.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.epilog = "tf-savae COMMAND --help shows a command's options with their defaults."
    return parser


def unknown(command, words):
    """Returns the error message for unrecognised arguments."""
    name = words[0].partition("=")[0].lstrip("-")
    known = {*kinds(command), *(option.name for option in COMMON)}
    if not words[0].startswith("-"):
        return f"expected only options, got {words[0]!r}."
    return f"there is no option --{name}.{did_you_mean(name, known)}"
