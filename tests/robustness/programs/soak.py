"""kill -9 at random moments: do restarted runs end with the bits of an uninterrupted one?

python tests/robustness/programs/soak.py --kills=24 --output=soak.json

Runs of bin/train_text.py (SA-VAE, --config=tiny, a checkpoint every 3 steps) and of
bin/train_oracle.py (--quick, smaller) are killed and restarted until they are finished, again and
again until there were enough kills. Half of the attempts are aimed at a random time, the others at
a random change of the run's folder, so that they hit writing; who has ended before is not killed.
train_text.py goes on from its latest checkpoint; train_oracle.py keeps none, and starts again.
Compared are all weights of model.keras, every number of report.json and history.json (text),
results.json and landscape.npz (oracle), clocks left out.
"""

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np

PROJECT = Path(__file__).resolve().parents[3]
CLOCKS = {"seconds", "step_seconds", "train_seconds", "test_seconds"}
MOST_STARTS = 40  # Of one run, killed or not: more would say that it never ends.


def write_texts(folder):
    """train.txt, valid.txt, test.txt: 60, 12 and 12 sentences of 3 to 9 words of 30."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 60), ("valid", 12), ("test", 12)):
        lines = (
            " ".join(f"w{i}" for i in rng.integers(30, size=rng.integers(3, 10)))
            for _ in range(count)
        )
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def text_command(texts, workdir, system="savae"):
    files = [f"--{name}_file={texts / name}.txt" for name in ("train", "valid", "test")]
    flags = ["--config=tiny", "--epochs=3", "--checkpoint_every=3", "--jit_compile=false"]
    script = str(PROJECT / "bin" / "train_text.py")
    flags += ["--board_samples=0", f"--system={system}", f"--workdir={workdir}"]
    return [sys.executable, script, *flags, *files]


def oracle_command(texts, workdir):
    small = {"vocabulary_size": 20, "units": 6, "oracle_vae_epochs": 2, "oracle_savae_epochs": 1}
    small |= {"train_points": 200, "prior_samples": 50, "iw_samples": 10, "landscape_size": 11}
    flags = [f"--{name}={value}" for name, value in small.items()]
    script = str(PROJECT / "bin" / "train_oracle.py")
    return [sys.executable, script, f"--workdir={workdir}", "--quick", "--study=oracle", *flags]


def without_clocks(value):
    """A nest of JSON without what clocks measured.

    >>> without_clocks({"a": [{"seconds": 3.0, "b": 1}]})
    {'a': [{'b': 1}]}
    """
    if isinstance(value, dict):
        return {k: without_clocks(v) for k, v in value.items() if k not in CLOCKS}
    return [without_clocks(v) for v in value] if isinstance(value, list) else value


def _json(path):
    return without_clocks(json.loads(path.read_text(encoding="utf-8")))


def text_outcome(workdir):
    """{name: numbers or arrays} of a finished text run."""
    with zipfile.ZipFile(workdir / "model.keras") as archive:
        weights = {}
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(lambda name, item: _take(weights, name, item))
    files = {name: _json(workdir / name) for name in ("report.json", "history.json")}
    return {**files, **weights}


def _take(weights, name, item):
    if isinstance(item, h5py.Dataset):
        weights[name] = np.asarray(item)


def oracle_outcome(workdir):
    """The same of a finished oracle run."""
    with np.load(workdir / "landscape.npz") as picture:
        arrays = {name: picture[name] for name in picture.files}
    return {"results.json": _json(workdir / "results.json"), **arrays}


TASKS = {"text": (text_command, text_outcome), "oracle": (oracle_command, oracle_outcome)}


def same(left, right):
    """Whether two outcomes agree bit for bit; NaN is never the same.

    >>> same({"a": np.zeros(2)}, {"a": np.zeros(2)}), same({"a": 1}, {"b": 1})
    (True, False)
    """
    if left.keys() != right.keys():
        return False
    return all(np.array_equal(left[name], right[name]) for name in left)


def _start(command):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def _finish(process):
    """Waits for the end; whether it was a success, or an error where it says what went wrong."""
    _, said = process.communicate(timeout=600)
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the run failed: {said.decode(errors='replace')[-2000:]}")
    return process.returncode == 0


def _listing(workdir):
    """What changes when the run writes: names and sizes of its files."""
    found = []
    for folder, _, names in os.walk(workdir):
        for name in names:
            try:
                found.append((folder, name, os.stat(os.path.join(folder, name)).st_size))
            except OSError:
                continue  # Renamed meanwhile.
    return sorted(found)


def _kill_later(process, workdir, chance, seconds):
    """Kills the process at a random moment of `seconds`, or at a random change of its folder."""
    end = time.perf_counter() + chance.uniform(0.0, seconds)
    changes = chance.randint(1, 40) if chance.random() < 0.5 else None
    before = _listing(workdir)
    while process.poll() is None:
        if changes is None:
            if time.perf_counter() >= end:
                break
        elif (now := _listing(workdir)) != before:
            before, changes = now, changes - 1
            if not changes:
                break
        time.sleep(0.0005 if changes else 0.01)
    if process.poll() is None:
        process.kill()
    return "clock" if changes is None else "write"


def one_run(task, texts, workdir, chance, seconds, most, **options):
    """Starts a run until it is finished, and kills it on the way.

    Args:
      task: "text" or "oracle".
      texts: folder of `write_texts`.
      workdir: of the run.
      chance: `random.Random`, of the moments.
      seconds: the latest moment.
      most: kills.
      options: of the task's command.

    Returns:
      (how each kill came: "clock" or "write"; the outcome of the finished run).
    """
    command, outcome = TASKS[task]
    kills = []
    for start in range(MOST_STARTS):
        process = _start(command(texts, workdir, **options))
        if len(kills) < most and start < MOST_STARTS - 1:
            how = _kill_later(process, workdir, chance, seconds)
            if not _finish(process):
                kills.append(how)
                continue
        elif not _finish(process):
            raise RuntimeError("the run was killed by another")
        break
    return kills, outcome(workdir)


def soak(task, kills, folder, seed=0):
    """Kills runs of a task `kills` times; returns what happened, as JSON.

    Args:
      task: "text" or "oracle".
      kills: how many in all.
      folder: path for the runs.
      seed: of the moments.
    """
    write_texts(folder)
    chance = random.Random(seed)
    began = time.perf_counter()
    _, expected = one_run(task, folder, folder / f"{task}_whole", chance, 0.0, most=0)
    seconds = time.perf_counter() - began
    runs, same_bits, done = [], [], 0
    while done < kills:
        workdir = folder / f"{task}_{len(runs)}"
        most = min(kills - done, 6)
        found, outcome = one_run(task, folder, workdir, chance, seconds, most)
        runs.append(found)
        same_bits.append(same(outcome, expected))
        done += len(found)
        print(f"{task}: {len(found)} kills, then the same bits: {same_bits[-1]}", flush=True)
    return {
        "task": task,
        "seconds_uninterrupted": round(seconds, 1),
        "kills": done,
        "kills_at_random_times": sum(run.count("clock") for run in runs),
        "kills_while_writing": sum(run.count("write") for run in runs),
        "kills_of_each_run": [len(run) for run in runs],
        "compared": sorted(expected),
        "bit_for_bit_the_same": same_bits,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=24, help="of each task")
    parser.add_argument("--tasks", default="text,oracle")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="JSON file of the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [
            soak(task, options.kills, Path(folder), options.seed)
            for task in options.tasks.split(",")
        ]
    text = json.dumps(results, indent=1) + "\n"
    print(text)
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")
    if not all(all(result["bit_for_bit_the_same"]) for result in results):
        sys.exit("a restarted run ended with other numbers than an uninterrupted one")


if __name__ == "__main__":
    main()
