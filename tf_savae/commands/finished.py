"""What is said at a command's end: files and the next command."""

import json
import os
import sys
from pathlib import Path

from tf_savae.commands.written import ending

__all__ = ["analyzed", "evaluated", "exported", "generated", "trained"]


def _is_chief(config):
    """Whether this process is the one of its group that wrote."""
    if config.strategy != "multiworker":
        return True
    task = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {})
    return task.get("type") != "worker" or not int(task.get("index", 0))


def trained(command, config, workdir, test):
    """Prints the end of a training command; `test` is where its test data are."""
    if not _is_chief(config):
        return
    following = ["tf-savae", "evaluate", f"--workdir={workdir}", f"--file={test}"]
    if command == "train-oracle":
        following = ["tf-savae", "train-text", "--train_file=builtin:sentences"]
        following += ["--workdir=savae_run"]
    print(f"\n{ending(command, workdir, following)}", flush=True)


def evaluated(run, config, workdir, folder):
    """The end of `evaluate`, text."""
    data = [f"--workdir={workdir}", f"--split={config.split}", f"--file={config.file}"]
    following = ["analyze", *data] if run.latent else ["generate", data[0]]
    return ending("evaluate", folder, ["tf-savae", *following])


def analyzed(workdir, config, folder):
    """The end of `analyze`, text."""
    following = ["tf-savae", "generate", f"--workdir={workdir}", "--mode=reconstruct"]
    return ending("analyze", folder, [*following, f"--file={config.file}"])


def generated(config, workdir):
    """Says the end of `generate` on standard error: standard output is for what is generated."""
    files = []
    if config.output:
        output = Path(config.output)
        files = [output, output.with_suffix(".npz")] if output.suffix == ".png" else [output]
    following = ["tf-savae", "export", f"--workdir={workdir}", "--output=models/savae"]
    print(ending("generate", ".", following, files), file=sys.stderr, flush=True)


def exported(version):
    """The end of `export`, text; `version` is the folder that was made."""
    following = ["saved_model_cli", "show", f"--dir={version}", "--all"]
    return ending("export", version, following)
