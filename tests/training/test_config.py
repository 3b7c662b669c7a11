"""Configurations, which are read without TensorFlow, name what the packages have."""

from tf_savae import svi
from tf_savae.objectives import SYSTEMS
from tf_savae.svi.adjoints import RESIDUALS
from tf_savae.svi.hvp import METHODS
from tf_savae.training import config, distribution


def test_choices_are_those_of_the_packages():
    assert set(config.SYSTEM_NAMES) == set(SYSTEMS)
    assert set(config.ADJOINTS) == set(svi.ADJOINTS)
    assert set(config.HVPS) == {"auto", *METHODS}
    assert set(config.KEEPS) == {"none", *RESIDUALS}
    assert config.STRATEGIES is distribution.STRATEGIES
