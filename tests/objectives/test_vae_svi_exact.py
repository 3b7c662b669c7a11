"""VAE + SVI with the exact derivative: under XLA, and for update rules that learn."""

import numpy as np
import pytest
from keras_models import compiled, data, dense_model, relative_error, step_gradients

import tf_savae


@pytest.mark.e2e
def test_vae_svi_exact_under_xla(float64):
    """The adjoint against unrolled steps, both compiled: XLA draws other noise than the graph."""
    x = data()
    models = (dense_model("vae_svi_exact", adjoint=adjoint) for adjoint in ("exact", "unrolled"))
    found = [step_gradients(compiled(m, x), x, jit_compile=True) for m in models]
    assert relative_error(*found) < 1e-9


@pytest.mark.e2e
def test_vae_svi_exact_trains_the_rule(float64):
    """The weights of a learned rule get what SA-VAE gives them."""
    x, gradients = data(), []
    for objective, options in (("vae_svi_exact", {}), ("savae", {"amortized_weight": 0.0})):
        rule = tf_savae.svi.LearnedUpdate(3)
        model = dense_model(objective, update=rule, step_size=None, model=options)
        rows = step_gradients(compiled(model, x), x)
        pairs = zip(rows, model.trainable_variables, strict=True)
        names = {v.path for v in model.refinement.trainable_variables}
        gradients.append([g for g, v in pairs if v.path in names])
    assert max(np.abs(g).max() for g in gradients[0]) > 1e-4
    assert relative_error(*gradients) < 1e-11
