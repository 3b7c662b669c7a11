"""What steps keep is the most that fits, and any decoder without loops can keep."""

import re

import image_models
import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf
from keras_models import compiled, data, dense_model

from tf_savae import svi
from tf_savae.autodiff.split_graph import SplitGraph
from tf_savae.svi.residuals import memory
from tf_savae.svi.residuals.choice import size_of

CLIP = 1.6


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("name", ["convolutional", "slicing"])
def test_a_whole_step_gives_the_derivative_of_a_plain_loop(name, mode):
    options = dict(steps=4, momentum=0.5)
    expected, _ = svi_reference.plain_gradient(name, clip_norm=CLIP, **options)
    model = svi_models.MODELS[name]()
    got = svi_reference.refined_gradient(model, mode, clip_norm=CLIP, keep="all", **options)
    svi_reference.assert_close(got, expected, 1e-9)


@pytest.mark.parametrize(
    "options",
    [dict(adjoint="truncated", truncate=2), dict(samples=2), dict(hvp="reverse_over_reverse")],
    ids=str,
)
def test_every_option_gives_what_it_gives_without_keeping(options):
    model = svi_models.dense()
    expected = svi_reference.refined_gradient(model, "eager", steps=4, keep=None, **options)
    got = svi_reference.refined_gradient(model, "graph", steps=4, keep="all", **options)
    svi_reference.assert_close(got, expected, 1e-12)


def _chosen(model, free=2**30, monkeypatch=None, steps=4, **settings):
    if monkeypatch is not None:
        monkeypatch.setattr(memory, "free_bytes", lambda: free)
    return svi.choose_residuals(
        model.objective, model.initial, model.theta, steps=steps, adjoint=svi.Exact(**settings)
    )


@pytest.mark.parametrize(
    ("name", "settings", "free", "expected"),
    [
        ("dense", {}, 2**30, "all"),
        ("dense", {}, 2 * 4 * 816, "all"),
        ("dense", {}, 2 * 4 * 816 - 2, None),
        ("dense", {"budget": 4 * 816}, 900, "all"),
        ("dense", {"budget": 4 * 816 - 1}, None, None),
        ("dense", {}, None, "all"),
        ("dense", {"hvp": "forward_over_reverse"}, 2**30, None),
        ("dense", {"hvp": "finite_difference"}, 2**30, None),
        ("recurrent", {}, 2**30, None),
        pytest.param("fused_text", {}, 2**30, "all", marks=pytest.mark.e2e),
        pytest.param("fused_text", {"budget": 10_000}, 2**30, "states", marks=pytest.mark.e2e),
        ("fused_text", {"hvp": "reverse_over_reverse"}, 2**30, None),
    ],
)
def test_the_most_that_fits(name, settings, free, expected, monkeypatch):
    assert _chosen(svi_models.MODELS[name](), free, monkeypatch, **settings) == expected


def test_one_line_says_what_was_chosen(monkeypatch, caplog):
    with caplog.at_level("INFO", logger="absl"):
        _chosen(svi_models.dense(), 2**30, monkeypatch)
        _chosen(svi_models.dense(), 2**30, monkeypatch, budget=1000)
    assert [record.getMessage() for record in caplog.records] == [
        "keep='auto' chose all: all 4 x 816 bytes, within half of the free memory, 512.0 MiB",
        "keep='auto' chose none: all 4 x 816 bytes, not within the budget, 1000 bytes",
    ]


def test_what_does_not_fit_is_an_error(monkeypatch):
    message = "keep: expected one refinement step whose tensors fit into memory, got one that "
    with pytest.raises(ValueError, match=f"^{message}computes 816 bytes with 800 bytes free"):
        _chosen(svi_models.dense(), 800, monkeypatch)
    message = "keep: expected residuals that fit into memory, got 'all', which stores 3.2 KiB"
    with pytest.raises(ValueError, match=f"^{message} for 4 steps with 2.0 KiB free"):
        _chosen(svi_models.dense(), 2048, monkeypatch, residuals="all")


def test_a_decoder_with_a_loop_cannot_keep_whole_steps():
    model = svi_models.recurrent()
    with pytest.raises(ValueError, match="^keep, residuals: .* returns what a loop cannot store"):
        svi_reference.refined_gradient(model, "graph", steps=2, keep="all")


def test_what_does_not_depend_on_the_step_is_computed_once():
    def compute(varying, fixed, later):
        weights = tf.linalg.matmul(fixed[0], fixed[0])
        root = tf.sin(varying[0] @ weights)
        return [root], [tf.exp(root) * later[0]]

    square, row = tf.random.normal([3, 3], seed=0), tf.random.normal([2, 3], seed=1)
    graph = SplitGraph(compute, [row], [square], [row])
    assert size_of(graph.stored) == 2 * 3 * 4

    @tf.function(autograph=False)
    def run(row, square):
        once = graph.invariant([square])
        early, stored = graph.step([row], [square], once)
        return once, early + graph.deferred([row], [square], once, stored, [row])

    once, got = run(row, square)
    assert [t.shape.as_list() for t in once] == [[3, 3]]
    wanted = [part[0] for part in compute([row], [square], [row])]
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.e2e
def test_a_pixelcnn_keeps_and_trains_to_the_same_weights():
    x, weights = image_models.images(4), []
    for keep in (None, "auto"):
        model = compiled(image_models.model(keep=keep), x)
        model.fit(x, batch_size=4, epochs=2, verbose=0, shuffle=False)
        weights.append(model.get_weights())
        assert model.keep == (keep and "all")
    for got, wanted in zip(*weights, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.e2e
def test_a_model_chooses_once_and_again_for_other_settings(caplog):
    x = data()
    model = compiled(dense_model(hvp="auto"), x)
    assert model.keep == "auto"
    with caplog.at_level("INFO", logger="absl"):
        model.fit(x, verbose=0)
        model.fit(x, verbose=0)
    assert (model.keep, model.hvp) == ("all", "forward_over_reverse")
    assert len(re.findall("keep='auto' chose all", caplog.text)) == 1
    assert "hvp='auto'" not in caplog.text
    model.refinement.keep_budget = 1
    model.fit(x, verbose=0)
    assert model.keep is None
    model.refinement.keep_budget, model.refinement.keep = None, "all"
    model.fit(x, verbose=0)
    assert model.keep == "all"


def test_files_of_before_keep_nothing():
    layer = dense_model().refinement
    config = layer.get_config()
    assert config["keep"] == "auto" and type(layer).from_config(config).keep == "auto"
    del config["keep"], config["keep_budget"]
    assert type(layer).from_config(config).keep is None
    assert svi.Exact.from_config({"hvp": "auto"}).residuals is None
    assert svi.Exact.from_config(svi.Exact().get_config()) == svi.Exact()
