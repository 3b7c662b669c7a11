"""One contender in a process of its own: a line of JSON in, a line of JSON out.

`process.Worker` starts it. Requests are {"do": "prepare" | "build" | "time" | "answers" | "rates",
...}; an answer is {"error": ...} where the request failed.
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402

from peers import contenders, memory  # noqa: E402
from peers.cases import CASES, Case  # noqa: E402


def limit_threads(count):
    """Before any framework is loaded: all take their threads from these."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)


def case_of(case):
    """The case of a name, or of its fields."""
    return CASES[case] if isinstance(case, str) else Case(**case)


class Contest:
    """What a worker has built, and the requests it answers."""

    def prepare(self, case, steps, rows, dtype, path):
        """Writes x, noise and weights of an event for all contenders."""
        from peers import ours

        np.savez(path, **ours.prepare(case_of(case), steps, rows, dtype))
        return {}

    def build(self, contender, case, steps, kind, data, dtype):
        """Makes the contender and runs it twice: compile time, a first time, and memory."""
        with np.load(data) as file:
            arrays = dict(file)
        peer = contenders.make(contender, case_of(case), steps, arrays, dtype)
        del arrays
        self._peer, self._kind = peer, kind
        self._run = peer.infer if kind == "infer" else peer.step
        before = memory.held()
        first, second = self._seconds(), self._seconds()
        return {
            "mode": peer.mode,
            "keeps": getattr(peer, "keeps", None),
            "compile_seconds": max(0.0, first - second),
            "seconds": second,
            "peak_mib": memory.peak(),
            "growth_mib": max(0.0, memory.peak() - before),
            "held_mib": memory.held(),
        }

    def time(self, repeats):
        return {"seconds": [self._seconds() for _ in range(repeats)]}

    def answers(self, path):
        """Writes what all contenders must agree on: the loss and gradients, or lambda_K."""
        if self._kind == "infer":
            mean, log_variance = self._peer.infer()
            np.savez(path, mean=mean, log_variance=log_variance)
        else:
            loss, gradients = self._peer.gradients()
            np.savez(path, loss=loss, **gradients)
        return {}

    def rates(self):
        from peers import rates

        return rates.measured()

    def _seconds(self):
        start = time.perf_counter()
        self._run()
        return time.perf_counter() - start


def main():
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    limit_threads(int(sys.argv[1]))
    contest = Contest()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(contest, request.pop("do"))(**request)
        except Exception as error:  # Whatever it is, the parent reports it and goes on.
            first = (str(error).splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {first[:300]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
