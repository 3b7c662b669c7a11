"""Configurations, which are read without TensorFlow, name what the packages have."""

from tf_savae import svi
from tf_savae.objectives import SYSTEMS
from tf_savae.svi.adjoints import RESIDUALS
from tf_savae.svi.hvp import METHODS
from tf_savae.training import config, distribution
from tf_savae.training.resumed_settings import with_recorded_keep
from tf_savae.training.storage.workdir import Workdir


def test_choices_are_those_of_the_packages():
    assert set(config.SYSTEM_NAMES) == set(SYSTEMS)
    assert set(config.ADJOINTS) == set(svi.ADJOINTS)
    assert set(config.HVPS) == {"auto", *METHODS}
    assert set(config.KEEPS) == {"none", *RESIDUALS}
    assert config.STRATEGIES is distribution.STRATEGIES


def test_a_resumed_run_keeps_what_was_chosen(tmp_path):
    folder = Workdir(tmp_path)
    folder.write_json("run.json", {"configuration": {"keep": "all"}})
    begun = with_recorded_keep(config.RunConfig(keep_budget=5), folder)
    assert (begun.keep, begun.keep_budget) == ("all", 0)
