"""The trained models that ship: their names, what they are worth, and how small they are."""

from importlib import resources

import numpy as np
import pytest

import tf_savae
from tf_savae import data, presets
from tf_savae.presets.shipped import make


def test_each_name_has_its_file_and_all_of_them_are_small():
    builtin = resources.files(tf_savae) / "data" / "builtin"
    shipped = resources.files(tf_savae) / "presets" / "shipped"
    sets = [builtin / "sentences.jsonl.xz", builtin / "shapes.npz"]
    models = [shipped / f"{name}.keras" for name in presets.PRESETS]
    assert list(presets.PRESETS) == ["shapes", "sentences"]
    assert sum(len(file.read_bytes()) for file in [*sets, *models]) < 1_000_000


@pytest.mark.parametrize(
    ("name", "hint"),
    [("shape", " Did you mean 'shapes'?"), ("sentence", " Did you mean 'sentences'?"), (3, "")],
)
def test_another_name_is_refused(name, hint):
    with pytest.raises(ValueError) as refused:
        presets.from_preset(name)
    expected = f"name: expected one of 'shapes', 'sentences', got {name!r}.{hint}"
    assert str(refused.value) == expected


def _bounds(model, x):
    """Mean bounds in nats: the encoder's, and after the two refinement steps of training."""
    return [float(np.mean(model.negative_elbo(x, steps=k, seed=1))) for k in (0, 2)]


@pytest.mark.e2e
def test_shapes():
    """Recorded: 98.6 nats by the encoder alone, 84.8 after refinement."""
    model, x = presets.from_preset("shapes"), data.load_shapes()["test"].x[:200]
    assert model.compiled and model.beta == 1.0 and model.refinement.last_steps == 2
    encoder, refined = _bounds(model, x)
    assert (encoder, refined) == pytest.approx((98.6, 84.8), abs=0.5)
    assert model.sample(2).shape == (2, 28, 28, 1) == model.reconstruct(x[:2]).shape


@pytest.mark.e2e
def test_sentences():
    """Recorded: 44.6 nats by the encoder alone, 43.7 after refinement."""
    made, texts = presets.from_preset("sentences"), data.load_sentences()["test"].x[:200]
    assert len(made.x) == 6000 and made.lines(made.x[:3]) == data.load_sentences()["train"].x[:3]
    assert made.lines(made.rows(texts)) == texts  # No word of them is unknown.
    encoder, refined = _bounds(made.model, made.rows(texts))
    assert (encoder, refined) == pytest.approx((44.6, 43.7), abs=0.3)
    assert np.mean(made.model.encode(made.rows(texts)).stddev()) < 0.8  # The code is used.


@pytest.mark.e2e
def test_a_model_to_be_saved_has_its_weights_and_no_optimizer():
    x = data.load_shapes()["test"].x[:4]
    model = presets.image(x, latent_size=2, channels=2, steps=0)
    plain = make.without_optimizer(model)
    assert not plain.compiled and model.compiled
    wanted = model.negative_elbo(x, seed=1).numpy()
    np.testing.assert_allclose(plain.negative_elbo(x, seed=1), wanted, rtol=1e-5)
