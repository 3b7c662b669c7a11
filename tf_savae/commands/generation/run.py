"""Generate texts or images with the model of a finished run."""

import contextlib
import os
import sys
from pathlib import Path

from tf_savae import generation
from tf_savae.commands.generation.config import GenerateConfig
from tf_savae.core.progress.stages import stage
from tf_savae.core.typing import PathLike
from tf_savae.tasks import load_run

__all__ = ["generate"]


def generate(config: GenerateConfig, workdir: PathLike) -> list[str] | Path:
    """Generates texts or images with the model of a finished run; the run is not modified.

    Texts are written to standard output or to a file, one per line: words of the vocabulary,
    without end tokens. Images are written to a PNG file with labels, and to an .npz file of the
    same name with all arrays: the images, their latent variables, and the data.

    Args:
      config: `GenerateConfig`.
      workdir: path of the folder of a finished run.

    Returns:
      The lines, or the path of the PNG file.

    Raises:
      ValueError: a setting is incompatible with the run or the data, or an output file exists.
      FileNotFoundError: the run or a file does not exist.
    """
    files = _checked_output(config.output)
    run = load_run(workdir)
    mode = config.mode_or_default()
    if not run.latent and mode != "sample":
        raise ValueError(
            f"mode: expected sample for the system {run.system}, which has no latent variables; "
            f"got {mode}."
        )
    options = run.task.generation_options(config, run, files)
    x = run.task.read_examples(config, run) if config.file else None
    drawn, labels = _draw(config, run.model, x, options)
    _checked_output(config.output)  # The file may have been created in the meantime.
    return run.task.write_generated(config, run, x, drawn, labels, files)


def _checked_output(output):
    """Returns the files to write, or None without output; raises ValueError if one exists."""
    if not output:
        return None
    path = Path(output)
    files = [path, path.with_suffix(".npz")] if path.suffix == ".png" else [path]
    for file in files:
        if file.exists():
            raise ValueError(f"output: {file} exists and is not overwritten. Give another name.")
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"output: expected a name in a folder that can be written, got {path}.")
    return files


def _draw(config, model, x, options):
    """Returns `Drawn` and a label for each of its rows."""
    modes = {
        "sample": _sample,
        "reconstruct": _reconstruct,
        "interpolate": _interpolate,
        "traverse": _traverse,
    }
    settings = {"batch_size": config.batch_size or 32}
    if sys.stderr.isatty():
        settings["label"] = config.mode_or_default()
    # Standard output is reserved for generated text.
    with stage("Generating"), contextlib.redirect_stdout(sys.stderr):
        return modes[config.mode_or_default()](config, model, x, {**settings, **options})


def _sample(config, model, x, options):
    drawn = generation.sample(model, config.count(), config.seed or 0, **options)
    return drawn, [f"sample {i}" for i in range(1, len(drawn.x) + 1)]


def _reconstruct(config, model, x, options):
    mean = config.latent != "sample"
    settings = {"steps": config.steps, "mean": mean, **options}
    drawn = generation.reconstruct(model, x, config.seed or 0, **settings)
    return drawn, [f"example {i}" for i in range(1, len(drawn.x) + 1)]


def _interpolate(config, model, x, options):
    start, end = _means(config, model, x)
    z = generation.interpolate(start, end, config.count(), config.path or "spherical")
    shares = [i / (len(z) - 1) for i in range(len(z))]
    return _decode(config, model, z, options), [f"{share:.2f}" for share in shares]


def _traverse(config, model, x, options):
    if x is None:
        center = model.prior.distribution().mean().numpy()
    else:
        center = _means(config, model, x)[0]
    dimensions = config.dimension_numbers()
    codes, changes = generation.traverse(center, config.count(), config.extent or 3.0, dimensions)
    names = range(len(codes)) if dimensions is None else dimensions
    labels = [f"z{name} {change:+.2f}" for name in names for change in changes]
    return _decode(config, model, codes.reshape(-1, codes.shape[-1]), options), labels


def _means(config, model, x):
    batch = len(x)  # No padding rows, since refinement is expensive.
    return generation.posterior_means(
        model, x, config.seed or 0, steps=config.steps, batch_size=batch
    )


def _decode(config, model, z, options):
    """Decodes all rows of z with common noise, so that outputs differ only because of z."""
    return generation.decode(model, z, config.seed or 0, common_noise=True, **options)
