"""`export_run`: export of a finished run as a SavedModel."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tf_savae.commands import final_messages
from tf_savae.commands.step_samples import check_step_samples, set_step_samples
from tf_savae.core import validation
from tf_savae.core.typing import PathLike
from tf_savae.tasks import load_run
from tf_savae.training.config import setting

if TYPE_CHECKING:
    from tf_savae.serving import Limits

__all__ = ["ExportConfig", "export_run"]


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """All settings of an export.

    Raises:
      ValueError: a field is out of range; the message names it.

    >>> ExportConfig(max_steps=20).limits(max_words=80).words
    80
    """

    version: int = setting(
        0, "version number, the folder in --output; 0: one more than the largest", group="Model"
    )
    max_rows: int = setting(256, "maximum number of examples per request")
    max_steps: int = setting(100, "maximum number of refinement steps per request (K)")
    max_samples: int = setting(1000, "maximum number of importance samples per request")
    max_words: int = setting(
        0,
        "maximum number of words of a text in a request and of a generated text; 0: as in training",
    )
    steps: int = setting(
        -1,
        "refinement steps (K) of the signatures that take only examples; -1: as in training, at "
        "most max_steps",
    )
    svi_samples: int = setting(
        0, "samples of z averaged in a refinement step (S); 0: as in training"
    )
    svi_antithetic: bool = setting(
        False, "with svi_samples: samples come in pairs of z mirrored at the mean; S must be even"
    )
    samples: int = setting(
        0, "importance samples of the signature score (S); 0: 100, at most max_samples"
    )
    seed: int = setting(0, "seed of the noise of the signatures that take only examples")
    signatures: tuple = setting(
        (), "comma-separated names of the signatures to export; none: all of the model"
    )
    xla: bool = setting(
        False,
        "compile with XLA; the server must then be started with --xla_cpu_compilation_enabled, and "
        "compiles again for each request shape",
    )

    def __post_init__(self) -> None:
        for name in ("version", "max_words", "samples", "seed"):
            validation.non_negative_int(name, getattr(self, name))
        if self.steps != -1:
            validation.non_negative_int("steps", self.steps)
        check_step_samples(self)
        for name in ("max_rows", "max_steps", "max_samples"):
            validation.positive_int(name, getattr(self, name))
        names = self.signatures
        if isinstance(names, str):
            names = tuple(name.strip() for name in names.split(",") if name.strip())
        object.__setattr__(self, "signatures", names)

    def limits(self, max_words: int) -> "Limits":
        """Returns the `Limits` for a run that was trained on texts of at most `max_words`."""
        from tf_savae.serving import Limits  # Imports TensorFlow, which --help does not need.

        words = self.max_words or max_words
        return Limits(self.max_rows, self.max_steps, self.max_samples, words)


def export_run(config: ExportConfig, workdir: PathLike, output: PathLike) -> Path:
    """Exports the model of a finished run; the run's folder is not modified.

    Args:
      config: `ExportConfig`.
      workdir: folder of a finished run.
      output: folder of the model's versions; its name is the model's name on the server.

    Returns:
      The `Path` of the new version.

    Raises:
      FileNotFoundError, ValueError: the run cannot be loaded, or the output cannot be written.
    """
    from tf_savae.serving import Limits, export

    run = load_run(workdir)
    set_step_samples(run, config)
    exported = export(
        run.model,
        output,
        vocabulary=run.vocabulary,
        version=config.version or None,
        limits=config.limits(run.configuration.get("max_words", Limits.words)),
        steps=None if config.steps == -1 else config.steps,
        samples=config.samples or None,
        seed=config.seed,
        signatures=config.signatures or None,
        xla=config.xla,
    )
    print(f"exported {run.system} to {exported}\n\n{final_messages.exported(exported)}")
    return exported
