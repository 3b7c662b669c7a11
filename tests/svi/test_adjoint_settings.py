"""Settings of an adjoint that would have no effect are errors; those in older files are dropped."""

import pytest
import tensorflow as tf

from tf_savae import SemiAmortizedRefinement, svi
from tf_savae.svi.short_forms import as_adjoint


def _refined(**options):
    bowl = lambda p, theta, seed: tf.reduce_sum((p - theta) ** 2, axis=1)  # noqa: E731
    start, goal = tf.zeros([2, 1]), tf.ones([1])
    return svi.refine(bowl, start, goal, steps=2, step_size=0.1, seed=0, **options)


@pytest.mark.parametrize("adjoint", ["unrolled", "stop"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hvp", "reverse_over_reverse"),
        ("keep", None),
        ("keep_budget", 100),
        ("adjoint_clip_norm", 2.0),
    ],
)
def test_settings_without_effect_are_refused(adjoint, name, value):
    for make in (as_adjoint, SemiAmortizedRefinement, _refined):
        with pytest.raises(ValueError, match=f"^{name}: requires adjoint=.*no effect"):
            make(adjoint=adjoint, **{name: value})
        make(adjoint=adjoint, hvp="auto", keep="auto")


@pytest.mark.parametrize("keep", [None, "states", "all"])
def test_a_budget_without_a_choice_is_refused(keep):
    with pytest.raises(ValueError, match='^budget: requires residuals="auto"'):
        svi.Exact(residuals=keep, budget=10)
    message = f'^keep_budget: requires keep="auto".*keep_budget=10 with keep={keep!r}'
    with pytest.raises(ValueError, match=message):
        SemiAmortizedRefinement(keep=keep, keep_budget=10)
    chosen = svi.Exact(budget=10).with_residuals(keep)
    assert (chosen.residuals, chosen.budget) == (keep, None)


@pytest.mark.parametrize("adjoint", ["unrolled", "stop"])
def test_settings_that_earlier_versions_ignored_are_dropped_from_files(adjoint):
    config = SemiAmortizedRefinement(adjoint=adjoint).get_config()
    config |= {"hvp": "reverse_over_reverse", "keep": None, "adjoint_clip_norm": 2.0}
    assert SemiAmortizedRefinement.from_config(config).current_adjoint() == as_adjoint(adjoint)


@pytest.mark.parametrize("keep", [None, "states", "all"])
def test_a_budget_that_earlier_versions_ignored_is_dropped_from_files(keep):
    config = SemiAmortizedRefinement().get_config() | {"keep": keep, "keep_budget": 10}
    layer = SemiAmortizedRefinement.from_config(config)
    assert layer.current_adjoint() == svi.Exact(residuals=keep)
    config = svi.Truncated(2).get_config() | {"residuals": keep, "budget": 10}
    assert svi.Truncated.from_config(config) == svi.Truncated(2, residuals=keep)
    config = svi.Exact(budget=10).get_config()
    assert svi.Exact.from_config(config) == svi.Exact(budget=10)
