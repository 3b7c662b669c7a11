"""What every test starts from: fixed seeds, float32, quiet single-threaded workers, real data.

Keras is imported inside the fixtures, after the variables below are set: TensorFlow reads its
numbers of threads once, at import.
"""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers already share the cores; threads on top of that only wait for one another.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# Tracing takes seconds, so no deadline; the same examples in every run, so failures repeat.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("repeatable")

PROJECT = Path(__file__).resolve().parent.parent
# What is left out unless asked for with -m e2e: programs as a whole, and long tests of models.
E2E = (
    "autodiff/test_residual_orders.py",
    "autodiff/test_residuals.py",
    "benchmarks",
    "commands",
    "data/test_text_pipeline.py",
    "evaluation/test_bounds.py",
    "evaluation/test_mutual_information.py",
    "generation",
    "models/compilation/test_jit.py",
    "models/refinement/test_fallback.py",
    "models/refinement/test_steps_schedule.py",
    "models/refinement/test_update_rules.py",
    "models/test_attribute_names.py",
    "models/test_changed_settings.py",
    "models/test_fit.py",
    "models/test_non_finite.py",
    "models/test_own_metrics.py",
    "models/test_precision.py",
    "models/test_saving.py",
    "models/validation/test_streams.py",
    "networks/test_stateful_decoders.py",
    "objectives/test_encoder_signal.py",
    "presets",
    "probability/test_user_distributions.py",
    "project/test_api_reference.py",
    "project/test_site.py",
    "project/test_tutorials.py",
    "robustness",
    "serving",
    "svi/test_derivatives.py",
    "tasks/test_another_kind_of_data.py",
    "tasks/test_image.py",
    "tasks/test_oracle.py",
    "tasks/test_text.py",
    "training/test_distribution.py",
    "training/test_launcher.py",
    "training/test_tensorboard.py",
)


def pytest_ignore_collect(collection_path, config):
    """Leaves the files of `E2E` unread in the default selection: importing them takes seconds.

    A file that is named on the command line is read all the same.
    """
    if config.option.markexpr == "not e2e" and _place(collection_path).startswith(E2E):
        return True
    return None  # As pytest decides.


def _place(path):
    """A path below tests/, or as it is."""
    folder = PROJECT / "tests"
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


@pytest.hookimpl(tryfirst=True)  # Before -m is looked at.
def pytest_collection_modifyitems(items):
    """Marks as e2e the tests of `E2E`, slow ones, and those that say xla or jit_compile=True."""
    for item in items:
        chosen = getattr(item, "callspec", None)
        compiled = "xla" in item.name or (chosen and chosen.params.get("jit_compile") is True)
        if _place(item.path).startswith(E2E) or item.get_closest_marker("slow") or compiled:
            item.add_marker("e2e")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Runs all tests of a file in one worker, so that what they share is built once, not in each.

    For `pytest -n 2`; another --dist on the command line stays.
    """
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log) if config.option.dist == "load" else None


@pytest.fixture(autouse=True)
def same_start():
    """Seeds Python, NumPy and Keras, and takes back what a test changed in Keras' globals."""
    import keras

    keras.utils.set_random_seed(0)
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.fixture(autouse=True)
def own_flags():
    """Takes back the flags of commands of bin/ that ran in this process: others share names."""
    from absl import flags

    before = set(flags.FLAGS)
    yield
    for name in set(flags.FLAGS) - before:
        # A command's module is gone after its run; a library's stays, and needs its flags.
        if flags.FLAGS.find_module_defining_flag(name) not in sys.modules:
            delattr(flags.FLAGS, name)


@pytest.fixture
def float64(same_start):
    """Makes float64 the default of Keras layers and variables for one test."""
    import keras

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder with small texts, train.txt, valid.txt and test.txt: see `text_runs`."""
    import text_runs

    return text_runs.write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data sets: TF_SAVAE_DATA, else ../shared/data beside the project."""
    named = os.environ.get("TF_SAVAE_DATA")
    folder = Path(named) if named else PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        reason = f"no folder {folder}" if named else "TF_SAVAE_DATA is not set"
        pytest.skip(f"needs real data, and {reason}: set TF_SAVAE_DATA to a folder that has it")
    return folder
