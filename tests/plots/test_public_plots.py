"""Public pictures: from a model and data or from a result, as a Figure and as a file."""

import ast
from pathlib import Path

import image_models
import keras
import keras_models
import numpy as np
import pytest
import tensorflow as tf

from tf_savae import analysis, evaluation, plots
from tf_savae.plots import palette
from tf_savae.tasks.image.examples import grid_of

_GAP = evaluation.InferenceGap(*np.ones([5, 3]), np.ones([3, 2]), steps=5)
_PATH = analysis.RefinementPath(*np.ones([2, 4, 3]), np.ones([2, 4, 3]), *np.ones([2, 3, 3]))


@pytest.fixture(scope="module")
def model():
    made = keras_models.dense_model()
    made.compile(jit_compile=False)
    made.build((None, keras_models.FEATURES))
    return made


@pytest.fixture(scope="module")
def data():
    return tf.data.Dataset.from_tensor_slices(keras_models.data(6)).batch(3)


def _legend(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_latent_space(model, tmp_path):
    """Points are the refined means, a colour for each label, and the file is a PNG."""
    x = keras_models.data(6)
    labels = ["dog", "cat", "dog", "cat", "cat", "dog"]
    file = tmp_path / "latent.png"
    figure = plots.plot_latent_space(model, file, data=x, labels=labels)
    points = [c.get_offsets() for c in figure.axes[0].collections]
    mean = model.infer(x).mean().numpy()
    np.testing.assert_allclose(points[0], mean[[1, 3, 4]], rtol=1e-5)  # cat, the first by name
    assert _legend(figure) == ["cat", "dog"]
    assert file.read_bytes().startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")  # What a notebook shows.


def test_latent_space_with_many_labels():
    codes = np.random.default_rng(0).normal(size=(60, 3)) * [1, 3, 2]
    figure = plots.plot_latent_space(codes, labels=np.arange(60))
    assert len(figure.axes) == 2 and not figure.legends  # A colour bar.
    names = [f"name {i:02d}" for i in range(60)]
    shown = _legend(plots.plot_latent_space(codes, labels=names, dimensions=(0, 2)))
    assert len(shown) == 21 and shown[-1] == "others"


def test_reconstructions(model):
    """Rows as curves: the data and the decoder's mean at the refined code."""
    x = keras_models.data(2)
    figure = plots.plot_reconstructions(model, x)
    lines = [line.get_ydata() for line in figure.axes[0].lines]
    wanted = model.decoder.distribution(model.infer(x, seed=0).mean()).mean()[0]
    np.testing.assert_allclose(lines[0], x[0])
    np.testing.assert_allclose(lines[1], wanted, rtol=1e-5)
    assert _legend(figure) == ["data", "reconstruction"]


def test_reconstructions_of_images():
    x = image_models.images(12)
    figure = plots.plot_reconstructions(0.5 * x, x, count=11)
    images = [axes.images[0].get_array() for axes in figure.axes]
    assert len(images) == 22 and images[0].shape == (4, 5)
    np.testing.assert_array_equal(images[0], x[0, ..., 0])
    colours = np.random.default_rng(0).random((2, 4, 4, 3))
    assert len(plots.plot_reconstructions(colours, colours).axes) == 4


@pytest.mark.e2e
def test_from_a_model_as_from_its_result(model, data):
    """The same lines, whichever is given."""
    options = {"noises": 2}
    path = analysis.refinement_path(model, data, steps=2, **options)
    of_path = plots.plot_path(path, names=["means", "log variances"])
    of_model = plots.plot_path(model, data=data, steps=2, **options)
    for axes, same in zip(of_path.axes, of_model.axes, strict=True):
        assert axes.get_ylabel() == same.get_ylabel()
        np.testing.assert_allclose(axes.lines[-1].get_ydata(), same.lines[-1].get_ydata())
    curve = evaluation.steps_curve(model, data, steps=(0, 2), **options)
    figure = plots.plot_steps(model, data=data, steps=(0, 2), **options)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), curve.bound.mean(axis=1))
    assert "K in training" in _legend(figure)
    gap = {"steps": 1, "optimisation_steps": 5, "samples": 3, "noises": 2}
    figure = plots.plot_gap(model, data=data, **gap)
    assert "lower is better" in figure.axes[2].get_ylabel()


@pytest.mark.e2e
def test_history_of_fit(tmp_path):
    model = keras_models.compiled(keras_models.dense_model(), keras_models.data())
    history = model.fit(keras_models.data(), epochs=2, verbose=0)
    figure = plots.plot_history(history, tmp_path / "history.png", unit="row")
    axes = figure.axes[0]
    assert axes.get_ylabel() == "negative ELBO (nats per row)\nlower is better"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), history.history["bound"])
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1, 2])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.plot_latent_space(np.ones([4, 1])), r"codes: expected \[N, Z\] with Z of"),
        (lambda: plots.plot_latent_space(np.ones([4, 2]), labels=[1]), "labels: expected one for"),
        (lambda: plots.plot_latent_space(np.ones([4, 2]), dimensions=(0, 2)), "dimensions: expect"),
        (lambda: plots.plot_reconstructions(np.ones([2, 3]), np.ones([2, 4])), "model: expected r"),
        (lambda: plots.plot_reconstructions(*2 * [np.ones([2])]), "data: expected rows"),
        (lambda: plots.plot_latent_space(np.ones([4, 2]), data=1), "data: only with a model, got"),
        (lambda: plots.plot_gap(_GAP, steps=3), "steps: only with a model, got a result, gap=Inf"),
        (lambda: plots.plot_gap(_GAP, data=1, samples=3), "data, samples: only with a model"),
        (lambda: plots.plot_gap(keras.Sequential()), "data: expected the data to evaluate the mo"),
        (lambda: plots.plot_path(_PATH, names=["a"]), "names: expected one for each of 2 tensors"),
        (lambda: plots.plot_history({"loss": [1.0]}), "history: .* got columns loss."),
        (lambda: plots.plot_history([]), "history: .* got columns none."),
    ],
)
def test_what_cannot_be_drawn(draw, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        draw()


def test_samples_stand_below_real_images():
    real, made = np.zeros([3, 4, 4]), np.ones([3, 4, 4])
    grid = grid_of("sample", made, [""] * 3, real, "SA-VAE")
    assert grid.row_labels == ["data 1–3", "model 1–3"]
    np.testing.assert_array_equal(grid.tiles, np.stack([real, made]))


def test_one_colour_for_each_system():
    assert palette.SYSTEM_COLOURS.keys() == palette.SYSTEM_LABELS.keys()
    assert len(set(palette.SYSTEM_COLOURS.values())) == len(palette.SYSTEM_COLOURS)


def test_matplotlib_is_imported_where_it_is_used():
    """In functions, or for type checkers alone."""
    for file in Path(plots.__file__).parent.glob("*.py"):
        body = ast.parse(file.read_text("utf-8")).body
        modules = [
            getattr(node, "module", None) or node.names[0].name
            for node in body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert not [name for name in modules if name.startswith("matplotlib")], file.name
