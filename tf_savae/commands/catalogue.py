"""The commands, their options and the functions that they call. Does not import TensorFlow."""

import dataclasses
from collections.abc import Callable
from typing import Any

from tf_savae.commands.evaluate.config import AnalyzeConfig, EvaluateConfig
from tf_savae.commands.export import ExportConfig
from tf_savae.commands.generation.config import GenerateConfig
from tf_savae.tasks.image.config import IMAGE_CONFIGS, ImageConfig
from tf_savae.tasks.oracle.config import ORACLE_CONFIGS, OracleConfig
from tf_savae.tasks.text.config import TEXT_CONFIGS, TextConfig
from tf_savae.training.config import configured, is_shown_only
from tf_savae.training.storage.json_files import record_path
from tf_savae.training.without_effect import log_without_effect

__all__ = ["COMMANDS", "Command", "Option"]


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a command that is not a field of its configuration."""

    name: str
    help: str
    kind: type = str
    default: Any = None
    choices: tuple = ()
    required: bool = False
    least: int | None = None
    is_run: bool = False  # Whether it is the folder of a run, which must exist.


@dataclasses.dataclass(frozen=True)
class Command:
    """One command of `tf-savae` and of the corresponding script in bin/.

    Attributes:
      name: name, such as "train-text" in `tf-savae train-text`.
      summary: description in one line.
      configuration: the dataclass whose fields are options.
      own: the other options, `Option`s.
      work: function of the configuration and a dict of the own options; prints its results.
      base: maps the dict of own options to the configuration that settings modify.
      errors: types of errors that the user can correct; they are shown without a traceback.
    """

    name: str
    summary: str
    configuration: type
    own: tuple
    work: Callable
    base: Callable
    errors: tuple = (ValueError, OSError, ImportError, ArithmeticError)

    def made(self, settings: dict[str, Any], own: dict[str, Any]) -> Any:
        """Returns the base configuration with the given settings, {field: value}.

        Settings that have no effect are logged, unless the base has the same values.
        """
        base: Any = self.base(own)
        named = self.configuration in (TextConfig, ImageConfig)
        made = configured(base, settings) if named else dataclasses.replace(base, **settings)
        if not is_shown_only():
            log_without_effect(made, base, settings)
        return made

    def check_run(self, own: dict[str, Any]) -> None:
        """Raises an error if a finished run is needed and its folder has no run.json.

        This needs no TensorFlow, whose import takes seconds.

        Raises:
          FileNotFoundError: there is no such folder or file.
          ValueError: run.json is a link to another folder.
        """
        for option in self.own:
            if option.is_run:
                record_path(own[option.name])


def _text(config, own):
    from tf_savae.commands.final_messages import trained
    from tf_savae.tasks import train_and_evaluate
    from tf_savae.tasks.text.data import sources

    train_and_evaluate(config, own["workdir"])
    trained("train-text", config, own["workdir"], sources(config)["test"])


def _image(config, own):
    from tf_savae.commands.final_messages import trained
    from tf_savae.tasks import train_and_evaluate_images

    train_and_evaluate_images(config, own["workdir"])
    trained("train-image", config, own["workdir"], config.test_images or config.images)


def _oracle(config, own):
    from tf_savae.commands.final_messages import trained
    from tf_savae.tasks import run_oracle

    run_oracle(config, own["workdir"], range(own["first_seed"], own["first_seed"] + own["seeds"]))
    trained("train-oracle", config, own["workdir"], None)


def _evaluate(config, own):
    from tf_savae.commands.evaluate.run import evaluate_run

    evaluate_run(config, own["workdir"], own["output"])


def _analyze(config, own):
    from tf_savae.commands.analyze import analyze_run

    analyze_run(config, own["workdir"], own["output"])


def _generate(config, own):
    from tf_savae.commands.final_messages import generated
    from tf_savae.commands.generation.run import generate

    generate(config, own["workdir"])
    generated(config, own["workdir"])


def _export(config, own):
    from tf_savae.commands.export import export_run

    export_run(config, own["workdir"], own["output"])


_WORKDIR = Option(
    "workdir", "folder of the run, created if needed; an existing run is resumed", required=True
)
_FINISHED = Option(
    "workdir", "folder of a finished run, whose files are not changed", required=True, is_run=True
)


def _named(configs):
    return Option(
        "config",
        "named configuration; options override its values",
        str,
        "small",
        tuple(sorted(configs)),
    )


def _results(folder):
    return Option("output", f"new folder for the results (default: WORKDIR/{folder})")


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "train-text",
            "train one system (--system) on text and test it; resumes an interrupted run",
            TextConfig,
            (_WORKDIR, _named(TEXT_CONFIGS)),
            _text,
            lambda own: TEXT_CONFIGS[own["config"]](),
        ),
        Command(
            "train-image",
            "train one system (--system) on images and test it; resumes an interrupted run",
            ImageConfig,
            (_WORKDIR, _named(IMAGE_CONFIGS)),
            _image,
            lambda own: IMAGE_CONFIGS[own["config"]](),
        ),
        Command(
            "train-oracle",
            "compare VAE, SVI and SA-VAE on data of a known generator, with that and a learned one",
            OracleConfig,
            (
                Option("workdir", "folder of the results, created if needed", default="oracle_run"),
                Option("quick", "a small experiment of under a minute", bool, False),
                Option("seeds", "number of oracles", int, 1, least=1),
                Option("first_seed", "first seed; the others follow it", int, 0, least=0),
            ),
            _oracle,
            lambda own: ORACLE_CONFIGS["quick" if own["quick"] else "full"](),
        ),
        Command(
            "evaluate",
            "bounds, importance-weighted NLL, mutual information and inference gap of a run",
            EvaluateConfig,
            (_FINISHED, _results("evaluation")),
            _evaluate,
            lambda own: EvaluateConfig(),
        ),
        Command(
            "generate",
            "samples, reconstructions, interpolations and traversals of a run",
            GenerateConfig,
            (_FINISHED,),
            _generate,
            lambda own: GenerateConfig(),
        ),
        Command(
            "analyze",
            "saliency of the latent variables of a run, and the effect of refinement",
            AnalyzeConfig,
            (_FINISHED, _results("analysis")),
            _analyze,
            lambda own: AnalyzeConfig(),
        ),
        Command(
            "export",
            "export a run as a SavedModel for TF Serving, with its vocabulary",
            ExportConfig,
            (
                _FINISHED,
                Option(
                    "output",
                    "folder in which versions of the model (1, 2, ...) are created",
                    required=True,
                ),
            ),
            _export,
            lambda own: ExportConfig(),
        ),
    )
}
