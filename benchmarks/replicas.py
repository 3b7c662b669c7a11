"""Several processes that train together: killed at random times, and how step time scales.

    python benchmarks/replicas.py --kills=6 --epochs=2 --json=benchmarks/results/replicas_kills.json
    python benchmarks/replicas.py --scale --json=benchmarks/results/replicas_scale.json

The first trains one small SA-VAE on text in one process, in two processes, and in two processes of
which one, chosen at random, is killed with SIGKILL at a random time and started again by
bin/launch_workers.py, as often as --kills says: all have to end with the same weights, those killed
with the same bits as those that were not. The second times steps of one process on one core, and of
two processes on a core each, in turns: together, and apart, as a measure of what two cores of this
machine can do at best. The CPU time of a process says what a step costs it however busy the machine
is.
"""

import argparse
import itertools
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parent.parent
A_RUN = 3  # Kills that one run has to survive, at most.
PARTS = {"train": 60, "valid": 13, "test": 13}  # 13 rows fill no batch of 8.


def write_texts(folder):
    """train.txt, valid.txt, test.txt: sentences of 3 to 9 words of 30."""
    words = random.Random(0)
    for name, count in PARTS.items():
        lines = [
            " ".join(f"w{words.randrange(30)}" for _ in range(words.randrange(3, 10)))
            for _ in range(count)
        ]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def command(folder, name, strategy, epochs):
    """The training command of one run."""
    files = [f"--{part}_file={folder / part}.txt" for part in PARTS]
    return [
        *(
            sys.executable,
            str(ROOT / "bin" / "train_text.py"),
            "--config=tiny",
            "--epochs",
            str(epochs),
        ),
        *("--jit_compile=false", "--board_samples=0", "--checkpoint_every=2", "--verbosity=-1"),
        *(f"--strategy={strategy}", f"--workdir={folder / name}", *files),
    ]


def launched(folder, name, epochs, kills, rng, longest):
    """Runs two workers under the supervisor; kills one of them so often. Returns what happened."""
    launcher = [sys.executable, str(ROOT / "bin" / "launch_workers.py"), "--workers=2"]
    program = [
        *launcher,
        f"--restarts={kills + 1}",
        "--",
        *command(folder, name, "multiworker", epochs),
    ]
    began = time.perf_counter()
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT)
    happened, restarts, lines = [], 0, []
    for line in process.stdout:
        lines.append(line)
        found = re.search(r"process ids 0: (\d+), 1: (\d+)", line)
        restarts += "restart" in line and "[launch" in line
        if found and len(happened) < kills:
            _kill_later(found.groups(), rng.randrange(2), rng.uniform(1.0, longest), happened)
    if process.wait():
        raise SystemExit("".join(lines[-80:]))
    return {"kills": happened, "restarts": restarts, "seconds": time.perf_counter() - began}


def _kill_later(pids, victim, after, happened):
    def kill():
        time.sleep(after)
        try:
            os.kill(int(pids[victim]), signal.SIGKILL)
            happened.append({"worker": victim, "after_seconds": round(after, 2)})
        except ProcessLookupError:  # It had ended well before.
            pass

    threading.Thread(target=kill, daemon=True).start()


def weights(workdir):
    """The best weights of a finished run."""
    import keras

    import tf_savae  # noqa: F401 Registers the classes in the file.

    return keras.saving.load_model(workdir / "model.keras").get_weights()


def difference(ours, theirs):
    """The largest difference of two lists of arrays."""
    return max(float(abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))


def prove(kills, seed, epochs):
    """Trains until so many kills have hit; returns what the proof rests on."""
    rng, runs = random.Random(seed), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_texts(folder)
        subprocess.run(command(folder, "one", "none", epochs), check=True, capture_output=True)
        calm = launched(folder, "two", epochs, 0, rng, 0.0)
        one, two = weights(folder / "one"), weights(folder / "two")
        print(f"one process against two: {difference(one, two):.1e}", flush=True)
        while sum(len(run["kills"]) for run in runs) < kills:
            name = f"killed{len(runs)}"
            run = launched(folder, name, epochs, A_RUN, rng, calm["seconds"])
            run["from_uninterrupted"] = difference(weights(folder / name), two)
            run["from_one_process"] = difference(weights(folder / name), one)
            runs.append(run)
            print(json.dumps(run), flush=True)
    return {
        "uninterrupted_from_one_process": difference(one, two),
        "kills": sum(len(run["kills"]) for run in runs),
        "worst_from_uninterrupted": max(run["from_uninterrupted"] for run in runs),
        "worst_from_one_process": max(run["from_one_process"] for run in runs),
        "seconds_uninterrupted": calm["seconds"],
        "runs": runs,
    }


# How step time scales.

SIZES = {"vocabulary_size": 2000, "embedding_size": 48, "units": 64, "latent_size": 8}
LENGTH = 40


def timed_worker(batch, steps, hvp_steps, jit_compile):
    """Times steps of one process, or of one of two; the chief prints the median in seconds."""
    spec = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 1}}'))
    index = spec["task"]["index"]
    os.sched_setaffinity(0, {index % os.cpu_count()})
    from tf_savae.training.distribution import worker_group

    with worker_group("multiworker" if "cluster" in spec else "none") as processes:
        (seconds, busy), model = _timed_fit(processes, batch, steps, hvp_steps, jit_compile)
        bytes_a_step = 4 * sum(v.value.shape.num_elements() for v in model.trainable_variables)
        joining = _timed_sum(processes, bytes_a_step // 4)
        if processes.is_chief:
            print("RESULT", json.dumps([seconds, busy, joining, bytes_a_step]), flush=True)


def _timed_fit(processes, batch, steps, refinement_steps, jit_compile):
    import keras
    import numpy as np

    import tf_savae
    from tf_savae.networks import TextDecoder, TextEncoder

    x = np.random.default_rng(0).integers(4, 2000, (batch * steps, LENGTH)).astype("int32")
    x[:, 0], x[:, -1] = 2, 3
    times = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: times.append((time.perf_counter(), time.process_time()))
    )
    with processes.scope():
        model = tf_savae.SemiAmortizedVAE(
            TextEncoder(**SIZES),
            TextDecoder(**SIZES),
            refinement=tf_savae.SemiAmortizedRefinement(
                steps=refinement_steps, step_size=0.1, hvp="forward_over_reverse"
            ),
            latent_size=SIZES["latent_size"],
            amortized_weight=0.0,
        )
        model.compile(keras.optimizers.Adam(1e-3), jit_compile=jit_compile)
    model.fit(x, batch_size=batch, shuffle=False, verbose=0, callbacks=[clock])
    clocks = zip(*times[1:], strict=True)  # Without the first step, which is traced.
    laps = [[b - a for a, b in itertools.pairwise(clock)] for clock in clocks]
    return [statistics.median(clock) for clock in laps], model


def _timed_sum(processes, size, repeats=20):
    """Median seconds of summing so many floats over the processes, once a step."""
    import tensorflow as tf

    from tf_savae.models import distribution

    if processes.size == 1:
        return 0.0
    with processes.scope():
        strategy = tf.distribute.get_strategy()
        values = tf.random.stateless_normal([size], [0, 1])
        summed = tf.function(lambda: distribution.total(values)[0])
        laps = []
        for _ in range(repeats):
            began = time.perf_counter()
            strategy.experimental_local_results(strategy.run(summed))[0].numpy()
            laps.append(time.perf_counter() - began)
    return statistics.median(laps[3:])


def measured(processes, batch, options):
    """In processes of its own: (seconds a step, CPU seconds of the chief, of a sum, bytes)."""
    own = _worker(batch, options)
    launcher = [sys.executable, str(ROOT / "bin" / "launch_workers.py"), "--restarts=0"]
    if processes > 1:
        own = [*launcher, f"--workers={processes}", "--", *own]
    limits = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    limits = limits if processes == 1 else {"TF_NUM_INTRAOP_THREADS": "1"}  # Sums need another.
    return _result(_started(own, limits))


def measured_apart(processes, batch, options):
    """The same of so many processes at once that share nothing but the machine: their means.

    What they lose to one alone is the machine's (memory, caches, a core behind two), and not that
    of training together.
    """
    own = _worker(batch // processes, options)
    started = []
    for index in range(processes):
        spec = json.dumps({"task": {"index": index}})
        limits = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CONFIG": spec}
        started.append(_started(own, limits))
    return [statistics.mean(values) for values in zip(*map(_result, started), strict=True)]


def _worker(batch, options):
    script = [sys.executable, str(Path(__file__).resolve()), "--worker", f"--batch={batch}"]
    own = [*script, f"--steps={options.steps}", f"--svi_steps={options.svi_steps}"]
    return [*own, "--xla"] if options.xla else own


def _started(command, limits):
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env={**os.environ, **limits}, stdout=pipe, stderr=pipe, text=True
    )


def _result(process):
    output, errors = process.communicate()
    found = re.search(r"RESULT (\[.*\])", output)
    if process.returncode or not found:
        raise SystemExit(output[-3000:] + errors[-3000:])
    return json.loads(found[1])


def scale(options):
    """Rows of step times, measured in turns; the same global batch, and the same batch a core."""
    cases = [(1, 32, "alone"), (2, 32, "together"), (2, 64, "together"), (1, 64, "alone")]
    cases.append((2, 64, "apart"))
    laps = {case: [] for case in cases}
    for _ in range(options.rounds):
        for case in cases:
            measure = measured_apart if case[2] == "apart" else measured
            laps[case].append([*measure(*case[:2], options), os.getloadavg()[0]])
            print(case, laps[case][-1], flush=True)
    rows = []
    for (processes, batch, way), values in laps.items():
        seconds = [value[0] for value in values]
        rows.append(
            {
                "processes": processes,
                "global_batch": batch,
                "way": way,
                "step_ms": 1e3 * statistics.median(seconds),
                "least_step_ms": 1e3 * min(seconds),
                "sum_ms": 1e3 * statistics.median(value[2] for value in values),
                "cpu_ms": 1e3 * statistics.median(value[1] for value in values),
                "bytes": values[0][3],
                "load": [round(value[4], 2) for value in values],
            }
        )
    asked = {name: getattr(options, name) for name in ("svi_steps", "rounds", "xla")}
    return {"settings": {**SIZES, "length": LENGTH, **asked}, "rows": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, help="how many kills have to hit")
    parser.add_argument("--seed", type=int, default=0, help="of victims and times")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--scale", action="store_true", help="time steps")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a measurement")
    parser.add_argument("--svi_steps", type=int, default=5)
    parser.add_argument("--xla", action="store_true", help="compile what is timed")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", help="where to write what was found")
    options = parser.parse_args()
    if options.worker:
        return timed_worker(options.batch, options.steps, options.svi_steps, options.xla)
    found = scale(options) if options.scale else prove(options.kills, options.seed, options.epochs)
    text = json.dumps(found, indent=1)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
