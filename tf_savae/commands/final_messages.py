"""Final messages of the commands: the files written, and the next command."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tf_savae.commands.written_files import ending
from tf_savae.core.typing import PathLike

__all__ = ["analyzed", "evaluated", "exported", "generated", "trained"]


def _is_chief(config):
    """Returns whether this process is the chief of its group, which writes the files."""
    if config.strategy != "multiworker":
        return True
    task = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {})
    return task.get("type") != "worker" or not int(task.get("index", 0))


def trained(command: str, config: Any, workdir: PathLike, test: PathLike | None) -> None:
    """Prints the final message of a training command; `test` is the path of its test data."""
    if not _is_chief(config):
        return
    following = ["tf-savae", "evaluate", f"--workdir={workdir}", f"--file={test}"]
    if command == "train-oracle":
        following = ["tf-savae", "train-text", "--train_file=builtin:sentences"]
        following += ["--workdir=savae_run"]
    print(f"\n{ending(command, workdir, following)}", flush=True)


def evaluated(run: Any, config: Any, workdir: PathLike, folder: PathLike) -> str:
    """Returns the final message of `evaluate`."""
    data = [f"--workdir={workdir}", f"--split={config.split}", f"--file={config.file}"]
    following = ["analyze", *data] if run.latent else ["generate", data[0]]
    return ending("evaluate", folder, ["tf-savae", *following])


def analyzed(workdir: PathLike, config: Any, folder: PathLike) -> str:
    """Returns the final message of `analyze`."""
    following = ["tf-savae", "generate", f"--workdir={workdir}", "--mode=reconstruct"]
    return ending("analyze", folder, [*following, f"--file={config.file}"])


def generated(config: Any, workdir: PathLike) -> None:
    """Prints the final message of `generate` to standard error, not into the generated text."""
    files = []
    if config.output:
        output = Path(config.output)
        files = [output, output.with_suffix(".npz")] if output.suffix == ".png" else [output]
    following = ["tf-savae", "export", f"--workdir={workdir}", "--output=models/savae"]
    print(ending("generate", ".", following, files), file=sys.stderr, flush=True)


def exported(version: PathLike) -> str:
    """Returns the final message of `export`; `version` is the folder that was created."""
    following = ["saved_model_cli", "show", f"--dir={version}", "--all"]
    return ending("export", version, following)
