"""Files that anybody may have made or damaged: 10,000 of them and more, and what became of each.

python tests/robustness/programs/fuzz.py --output=fuzz.json

Each target starts from valid files, changes them (bits, cuts, copies, numbers at the edge of their
range, JSON of other types; archives are also closed again with right checksums, as an attacker
would) and reads the result. Accepted is: it is read, or refused by an error of the kinds that the
reader's documentation names, with words of ours. Anything else is a failure: another exception, a
crash of the process, more than 20 seconds, or memory beyond 3 GiB above that at the start. Targets
run in processes of their own, so that a crash is seen.
"""

import argparse
import collections
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hypothesis
from fuzz_mutations import Refused

SECONDS = 20
SPARE_MEMORY = 3 * 2**30


class Hang(BaseException):
    """A case took too long; no reader may take it for one of its errors."""


def guarded(check, case, counts):
    """Runs one case; counts what became of it, and raises if that may not be."""
    # Seconds of this process, not of a busy machine.
    previous = signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        answer = check(case)
        counts["read" if answer is None else answer] += 1
    except Refused as error:
        counts["refused"] += 1
        counts[f"refused: {type(error.__cause__).__name__}"] += 1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def _hang(signum, frame):
    raise Hang(f"more than {SECONDS} seconds")


def run(name, examples, seed=0):
    """Runs one target in this process.

    Args:
      name: of a target in `fuzz_targets.TARGETS`.
      examples: how many cases.
      seed: of the cases.

    Returns:
      {what became of the cases: how many}.

    Raises:
      Exception: the first failure, with the case that hypothesis found for it.
    """
    from fuzz_targets import TARGETS

    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        cases, check = TARGETS[name](Path(folder))
        settings = hypothesis.settings(
            max_examples=examples,
            database=None,
            deadline=None,
            derandomize=False,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )

        @hypothesis.seed(seed)
        @settings
        @hypothesis.given(cases)
        def one(case):
            guarded(check, case, counts)

        one()
    return dict(sorted(counts.items()))


def _limited_run(name, examples, seed):
    """As `run`, with bounded memory; prints the result as JSON."""
    import fuzz_targets  # noqa: F401 TensorFlow's own memory is taken before the limit is set.

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + SPARE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    began = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = run(name, examples, seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {"target": name, "seed": seed, **counts, "seconds": time.perf_counter() - began}
    print(json.dumps({**result, "peak_growth_mib": (peak - before) / 1024}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="targets, with commas")
    parser.add_argument("--output", help="JSON file of the result")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    parser.add_argument("--examples", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.target:
        _limited_run(options.target, options.examples, options.seed)
        return
    from fuzz_targets import CASES

    rows = []
    for name in options.only.split(",") if options.only else CASES:
        examples = max(1, int(CASES[name] * options.scale))
        command = [sys.executable, "-X", "faulthandler", __file__, f"--target={name}"]
        command += [f"--examples={examples}", f"--seed={options.seed}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name}: exit status {done.returncode}\n{done.stderr[-6000:]}")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    ends = ("read", "refused", "passed over for the one before")
    cases = sum(row.get(end, 0) for row in rows for end in ends)
    text = json.dumps({"cases": cases, "failures": 0, "targets": rows}, indent=1) + "\n"
    print(f"{cases:,} cases, no failure")
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
