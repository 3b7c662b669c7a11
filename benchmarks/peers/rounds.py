"""One event: all contenders on one problem, first made to agree, then timed in turns."""

import dataclasses
import math
import random
import statistics
import tempfile
from pathlib import Path

import numpy as np

from peers import memory
from peers.agreement import largest_error
from peers.cases import CASES
from peers.contenders import in_its_checkout, is_exact
from peers.process import Worker, WorkerError

__all__ = ["Event", "Rules", "run"]

_MOST_REPEATS = 200


@dataclasses.dataclass(frozen=True)
class Event:
    """What is measured: a training step ("train") or the refined posterior ("infer")."""

    case: str
    steps: int
    kind: str = "train"
    rows: int | None = None  # Examples; None for the case's own batch.


@dataclasses.dataclass(frozen=True)
class Rules:
    """How it is measured."""

    threads: int
    rounds: int = 5
    seconds: float = 1.0  # Of timing per contender and round, at least one run.
    limit: float = 600.0  # Of timing per contender in all; one round is always had.
    timeout: float = 1800.0  # For one request, compilation included.
    dtype: str = "float32"
    before: str | None = None  # Another checkout, whose contenders are "before:METHOD".


class _Contender:
    """A contender's worker and what is known of it."""

    def __init__(self, name, event, rules, data):
        self.row = {"contender": name, **dataclasses.asdict(event)}
        self._name, self._event, self._rules, self._data = name, event, rules, data
        self._worker, self.times, self.held, self._compilations = None, [], 0.0, []

    @property
    def runs(self):
        return "problem" not in self.row

    def start(self):
        """Builds it in a new process, and notes memory and compile time."""
        name, checkout = in_its_checkout(self._name, self._rules.before)
        self._worker = Worker(self._rules.threads, self._rules.timeout, checkout)
        event = self._event
        figures = self._worker.ask(
            "build",
            contender=name,
            case=event.case,
            steps=event.steps,
            kind=event.kind,
            data=str(self._data),
            dtype=self._rules.dtype,
        )
        self._estimate, self.held = figures.pop("seconds"), figures.pop("held_mib")
        self._compilations.append(figures.pop("compile_seconds"))
        if keeps := figures.pop("keeps", None):  # Another one in another turn, if memory is short.
            self.row["keeps"] = sorted({keeps, *self.row.get("keeps", ())})
        self.row.update(figures, compile_seconds=statistics.median(self._compilations))

    def answers(self, path):
        self._worker.ask("answers", path=str(path))
        with np.load(path) as file:
            return dict(file)

    def time(self):
        """One turn."""
        if self._worker is None:
            self.start()
        repeats = math.ceil(self._rules.seconds / max(self._estimate, 1e-9))
        repeats = max(1, min(repeats, _MOST_REPEATS))
        self.times += self._worker.ask("time", repeats=repeats)["seconds"]

    @property
    def spent(self):
        return sum(self.times)

    def stop(self):
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    def give_up(self, problem):
        self.row["problem"] = str(problem)
        self.stop()


def run(event, names, rules, report=print, pace=dict):
    """Rows of figures, one per contender, in the order of `names`; the first is the reference.

    A contender that fails, or whose gradients disagree though it is exact, gets a row with
    "problem" and no time. Those that hold too much memory to wait beside the others start anew
    for each turn. `pace` is called before each round and answers with the machine's rates as they
    are then, by name; each row has their medians: rates of another minute say little about times
    taken on a machine that others use.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        data = folder / "data.npz"
        with Worker(rules.threads, rules.timeout) as worker:
            worker.ask(
                "prepare",
                case=event.case,
                steps=event.steps,
                rows=event.rows,
                dtype=rules.dtype,
                path=str(data),
            )
        contenders = [_Contender(name, event, rules, data) for name in names]
        try:
            _agree(contenders, folder / "answers.npz", report)
            rates = _take_turns([c for c in contenders if c.runs], rules, report, pace)
        finally:
            for contender in contenders:
                contender.stop()
    return [{**_row(contender), **rates} for contender in contenders]


def _agree(contenders, path, report):
    """Builds all, and compares what they answer with the first that answers."""
    reference, room = None, 0.5 * memory.available()
    limit = CASES[contenders[0].row["case"]].limit
    for contender in contenders:
        try:
            contender.start()
            answers = contender.answers(path)
            reference = answers if reference is None else reference
            error, worst = largest_error(answers, reference)
        except (WorkerError, ValueError) as problem:
            contender.give_up(problem)
            report(contender.row)
            continue
        contender.row.update(error=error, worst=worst)
        if is_exact(contender.row["contender"]) and error > limit:
            contender.give_up(f"disagrees: {worst} by {error:.1e}")
        room -= contender.held
        if room < 0:
            room += contender.held
            contender.stop()
        report(contender.row)


def _take_turns(contenders, rules, report, pace):
    """Rounds in which each has its turn, in another order each time; medians of `pace`."""
    order = random.Random(0)
    waiting = {c for c in contenders if c._worker is not None}
    rates = []
    for number in range(rules.rounds):
        rates.append(pace())
        for contender in order.sample(contenders, len(contenders)):
            if not contender.runs or (number and contender.spent > rules.limit):
                continue
            try:
                contender.time()
            except WorkerError as problem:
                contender.give_up(problem)
            if contender not in waiting:
                contender.stop()
        report({"round": number + 1, "of": rules.rounds})
    return _medians([rate for rate in rates if rate])


def _medians(rates):
    return {name: statistics.median(rate[name] for rate in rates) for name in next(iter(rates), {})}


def _row(contender):
    row, times = dict(contender.row), contender.times
    if not contender.runs or not times:
        return row
    lower, upper = np.percentile(times, [25, 75])
    return {
        **row,
        "median": statistics.median(times),
        "fastest": min(times),
        "lower_quartile": float(lower),
        "upper_quartile": float(upper),
        "runs": len(times),
    }
