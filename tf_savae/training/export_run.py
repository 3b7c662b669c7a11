"""From a finished run to a SavedModel: `export_run(config, workdir, output)`."""

from tf_savae.serving import Limits, export
from tf_savae.training.loading import load_run

__all__ = ["export_run"]


def export_run(config, workdir, output):
    """Exports the model of a finished run; nothing in its folder is changed.

    Args:
      config: `ExportConfig`.
      workdir: folder of a finished run.
      output: folder of the model's versions, whose name the server knows the model by.

    Returns:
      The `Path` of the new version.

    Raises:
      FileNotFoundError, ValueError: the run cannot be loaded, or the output not be written.
    """
    run = load_run(workdir)
    exported = export(
        run.model,
        output,
        vocabulary=run.vocabulary,
        version=config.version or None,
        limits=config.limits(run.configuration.get("max_words", Limits.words)),
        signatures=config.signatures or None,
        xla=config.xla,
    )
    print(f"exported {run.system} to {exported}; see assets.extra/signatures.md there")
    return exported
