"""The command-line program `tf-savae COMMAND --option=value ...`."""

import dataclasses
import json
import os
import sys

from absl import flags, logging

from tf_savae.commands.catalogue import COMMANDS
from tf_savae.commands.command_line import errors_in_one_line
from tf_savae.commands.config_file import read_options
from tf_savae.commands.parser import (
    COMMON,
    command_parser,
    kinds,
    normal,
    program_parser,
    unknown,
)
from tf_savae.commands.quiet_start import started
from tf_savae.core.validation import did_you_mean
from tf_savae.training.config import shown_only

__all__ = ["main"]

_HELP = ("-h", "--help", "--helpfull", "--helpshort")


def main(words: list[str]) -> None:
    """Runs the command given by `words`, the program's arguments.

    Raises:
      SystemExit: with 0 after help, 2 after an unknown option or command, or a message if the
        command failed.
    """
    try:
        _main(words)
    except BrokenPipeError:  # The reader of standard output closed the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _main(words):
    if not words or words[0] in _HELP:
        program_parser().print_help()
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        print(f"tf-savae {sys.modules['tf_savae'].__version__}")
        return
    if words[0] == "completion":
        _completion(words)
        return
    if words[0] not in COMMANDS:
        close = did_you_mean(words[0], COMMANDS)
        print(f"tf-savae: there is no command {words[0]!r}.{close} See tf-savae --help.",
              file=sys.stderr)  # fmt: skip
        sys.exit(2)
    _run(COMMANDS[words[0]], normal(words[1:]))


def _completion(words):
    parser = program_parser()
    shell = parser.parse_args(words).shell
    try:
        import shtab
    except ImportError:
        sys.exit(
            "tf-savae completion: expected the package shtab. Install it with pip install shtab."
        )
    print(shtab.complete(parser, shell=shell))


def _run(command, words):
    asked = any(word in _HELP for word in words)
    parser = command_parser(command)
    found, rest = parser.parse_known_args([word for word in words if word not in _HELP])
    if rest:
        parser.error(unknown(command, rest))
    given = vars(found)
    common = {option.name: given.pop(option.name, option.default) for option in COMMON}
    try:
        if common["config_file"]:
            given = {**read_options(common["config_file"], kinds(command)), **given}
        own = {option.name: given.pop(option.name, option.default) for option in command.own}
        _check_own(command, own, asked or common["print_config"])
        if asked:
            command_parser(command, own).print_help()
            return
        with shown_only():
            command.made(given, own)  # Reports invalid values before TensorFlow starts.
        if not common["print_config"]:
            command.check_run(own)
    except (ValueError, OSError) as error:
        sys.exit(f"tf-savae {command.name}: {error}")
    _work(command, given, own, common)


def _check_own(command, own, only_shown):
    for option in command.own:
        value = own[option.name]
        if option.required and not value and not only_shown:
            raise ValueError(f"{option.name}: expected a value, got none. Give --{option.name}.")
        if option.choices and value not in option.choices:
            known = ", ".join(option.choices)
            raise ValueError(f"{option.name}: expected one of {known}, got {value!r}.")
        if option.least is not None and value < option.least:
            expected = f"an integer >= {option.least}"
            raise ValueError(f"{option.name}: expected {expected}, got {value}.")


def _work(command, settings, own, common):
    flags.FLAGS(["tf-savae"])  # absl's logging requires parsed flags.
    logging.use_absl_handler()
    logging.set_verbosity(common["verbosity"])
    program = f"tf-savae {command.name}"
    with errors_in_one_line(command, program), started(common["show_all_logs"]):
        config = command.made(settings, own)
        if common["print_config"]:
            given = {name: value for name, value in own.items() if value is not None}
            print(json.dumps({**given, **dataclasses.asdict(config)}, indent=2))
            return
        command.work(config, own)
