"""The oracle experiment (Kim et al. 2018, section 4.1): `run_oracle(config, workdir, seeds)`.

There are two studies per seed and random oracle: one learns only inference, the other one also
learns the generator.
"""

import time
from collections.abc import Sequence
from typing import Any

from tf_savae.core.progress.stages import stage
from tf_savae.core.typing import PathLike
from tf_savae.data.oracle import draw_oracle_data
from tf_savae.plots.landscape import save_landscape
from tf_savae.tasks.oracle import systems
from tf_savae.tasks.oracle.config import OracleConfig
from tf_savae.tasks.oracle.landscape import landscape
from tf_savae.tasks.oracle.table import print_results, summary
from tf_savae.training.config import EARLIER
from tf_savae.training.distribution import worker_group
from tf_savae.training.report import versions
from tf_savae.training.resumed_settings import with_recorded_keep

__all__ = ["run_oracle"]

_RESULTS = "results.json"


def run_oracle(
    config: OracleConfig, workdir: PathLike, seeds: Sequence[int] = (0,)
) -> dict[str, Any]:
    """Runs the studies for every seed, prints the table, and writes results to `workdir`.

    results.json contains the configuration, versions, run time in seconds, and the numbers of every
    run. landscape.png and landscape.npz show one test point of the first seed's oracle study. If
    the folder already contains the results of this experiment, only their table is printed.

    Args:
      config: `OracleConfig`.
      workdir: path of the folder; created if needed.
      seeds: ints, one oracle per seed.

    Returns:
      The results, a dict as in results.json.

    Raises:
      ValueError: the folder is not writable or contains other files; raised before any training.
    """
    with worker_group(config.strategy) as processes:
        processes.check_batch_size(config.batch_size)
        folder = processes.workdir(workdir)
        try:
            config = with_recorded_keep(config, folder)
            identity = {**config.identity(), "seeds": list(seeds)}
            processes.in_turn(lambda: _claim(folder, identity))
            results = folder.read_json(_RESULTS)
            if results is None:
                with processes.scope():
                    results = _run(config, identity, folder)
            elif folder.writes:
                print(f"The experiment in {folder.path} is finished; its results:")
            if folder.writes:
                print_results(results)
            return results
        finally:
            folder.release()


def _claim(folder, identity):
    folder.check("configuration", identity, EARLIER)
    folder.claim({"configuration": identity})


def _run(config, identity, folder):
    began = time.perf_counter()
    runs, oracles = [], []
    for seed in identity["seeds"]:
        oracle, data = oracle_and_data(config, seed)
        for study in config.studies:
            models, found = _study(config, study, seed, oracle, data, identity["seeds"])
            runs += found
            if study == "oracle":
                with stage("Estimating the NLL of the test set under the oracle"):
                    oracles.append({"seed": seed, **_true_nll(config, models["savae"], data.test)})
                if folder.writes and seed == identity["seeds"][0]:
                    _picture(config, models, data.test, folder)
    results = {
        "configuration": identity,
        "versions": versions(),
        "seconds": time.perf_counter() - began,
        "true_nll": oracles,
        "runs": runs,
        "summary": summary(runs, oracles),
    }
    folder.write_json(_RESULTS, results)
    print(f"Results: {folder / _RESULTS}")
    return results


def oracle_and_data(config, seed):
    """Returns the frozen generator of a seed and its data: (`OracleDecoder`, `OracleData`)."""
    oracle = systems.make_oracle(config, seed)
    data = draw_oracle_data(
        lambda z, noise: oracle.sample(z, noise, length=config.length),
        (
            max(config.train_points, config.learned_train_points),
            config.validation_points,
            config.test_points,
        ),
        vocabulary_size=config.vocabulary_size,
        seed=seed,
    )
    return oracle, data


def _study(config, study, seed, oracle, data, seeds):
    """Trains and tests all systems; returns the models for testing and the rows of results."""
    models, runs = {}, []
    for system in systems.TRAINED:
        print(_header(config, study, system, seed, seeds), flush=True)
        model = systems.build_system(config, study, system, seed, oracle)
        history, seconds = systems.train_system(config, study, system, model, data)
        for tested in systems.TESTED[system]:
            tester = systems.tester(config, study, tested, seed, model)
            models[tested] = tester
            trained = (history, seconds) if tested in systems.TRAINED else ({}, 0.0)
            runs.append(_row(config, study, tested, seed, tester, data, *trained))
    return models, runs


def _header(config, study, system, seed, seeds):
    names = [(s, t, n) for s in seeds for t in config.studies for n in systems.TRAINED]
    generator = "oracle as generator" if study == "oracle" else "learned generator"
    job = names.index((seed, study, system)) + 1
    return f"[{job}/{len(names)}] {systems.LABELS[system]}, {generator}, seed {seed}"


def _row(config, study, system, seed, model, data, history, seconds):
    with stage(f"Testing {systems.LABELS[system]}"):
        test = systems.test_numbers(config, model, data.test)
        if study == "learned" and system in systems.TRAINED:  # Other systems share a generator.
            test["iw_nll"] = float(systems.importance_nll(config, model, data.test).mean())
    bounds = history.get("val_bound", [])
    return {
        "study": study,
        "system": system,
        "seed": seed,
        "epochs": len(bounds),
        "seconds": seconds,
        "test": test,
        "history": history,
    }


def _true_nll(config, model, test):
    """Returns two importance-sampling estimates of -log p(x) under the oracle.

    Both are biased upwards. The prior as proposal covers all modes, and in two dimensions enough
    of its samples have a high likelihood. The refined posterior is a more concentrated proposal,
    but it misses modes if the true posterior is multimodal.
    """
    return {
        "prior": float(systems.prior_nll(config, model, test).mean()),
        "refined_proposal": float(systems.importance_nll(config, model, test).mean()),
    }


def _picture(config, models, test, folder):
    point = test[config.landscape_point : config.landscape_point + 1]
    models = {system: models[system] for system in systems.TRAINED}
    with stage("Drawing the landscape of one test point"):
        shown = landscape(models, point, size=config.landscape_size, draws=config.landscape_draws)
        save_landscape(shown, folder)
