"""Any number of rows in batches of one shape; series of codes."""

import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_model, text_model, tokens

import tf_savae
from tf_savae import generation
from tf_savae.networks import TextDecoder


@pytest.fixture(scope="module")
def text():
    return compiled(text_model(), tokens(8))


def test_rows_do_not_depend_on_how_many_are_drawn_at_a_time(text):
    several = [generation.sample(text, 7, 2, batch_size=b, length=6) for b in (1, 3, 32)]
    for drawn in several[1:]:
        np.testing.assert_array_equal(drawn.x, several[0].x)
        np.testing.assert_array_equal(drawn.z, several[0].z)
    np.testing.assert_array_equal(several[0].x, text.generate(7, seed=2, length=6))
    fewer = generation.sample(text, 4, 2, batch_size=3, length=6)
    np.testing.assert_array_equal(fewer.x, several[0].x[:4])


def test_reconstructions_do_not_depend_on_it_either(text):
    x = tokens(8)[:7]
    several = [generation.reconstruct(text, x, 2, batch_size=b, length=6) for b in (2, 5)]
    np.testing.assert_array_equal(several[0].x, several[1].x)
    np.testing.assert_array_equal(several[0].x, text.reconstruct(x, seed=2, length=6))
    means = generation.posterior_means(text, x, 2, batch_size=5)
    drawn = generation.reconstruct(text, x, 2, mean=True, decoding="greedy", length=6)
    np.testing.assert_allclose(drawn.z, means, atol=1e-6)
    np.testing.assert_array_equal(
        drawn.x, generation.decode(text, means, length=6, decoding="greedy").x
    )
    unrefined = generation.posterior_means(text, x, steps=0)
    np.testing.assert_allclose(unrefined, text.infer(x, steps=0).mean(), atol=1e-6)
    assert np.abs(means - unrefined).max() > 1e-3


def test_codes_may_share_one_noise(text):
    z = np.repeat([[0.5, -1.0], [2.0, 0.0]], 4, axis=0).astype("float32")
    rows = generation.decode(text, z, 3, length=6, common_noise=True, batch_size=3).x
    assert len({tuple(row) for row in rows[:4]}) == 1
    np.testing.assert_array_equal(rows[:1], generation.decode(text, z, 3, length=6).x[:1])
    assert len({tuple(row) for row in generation.decode(text, z, 3, length=6).x[:4]}) > 1


def test_images_come_in_their_shape():
    x = data(5)
    model = compiled(dense_model(), x)
    drawn = generation.reconstruct(model, x, 1, batch_size=2)
    np.testing.assert_allclose(drawn.x, model.reconstruct(x, seed=1), atol=1e-6)


def test_a_model_without_a_latent_code():
    model = tf_savae.AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0, dropout=0.0))
    with pytest.raises(ValueError, match="expected a model with weights"):
        generation.sample(model, 5, 3)
    compiled(model, tokens(2))
    drawn = generation.sample(model, 5, 3, batch_size=2, length=4)
    assert drawn.z.shape == (5, 0)
    np.testing.assert_array_equal(drawn.x, model.generate(5, seed=3, length=4))
    with pytest.raises(ValueError, match="expected one with latent variables, got Autoregressive"):
        generation.reconstruct(model, tokens(2))


def test_progress_is_shown_when_asked_for(text, capsys):
    generation.decode(text, tf.zeros([5, 2]), batch_size=2, length=4, label="drawing")
    shown = capsys.readouterr().out
    assert "drawing" in shown and "3/3" in shown
    generation.decode(text, tf.zeros([5, 2]), batch_size=2, length=4)
    assert capsys.readouterr().out == ""


def test_spherical_paths_turn_by_equal_angles():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 6))
    end *= np.linalg.norm(start) / np.linalg.norm(end)
    codes = generation.interpolate(start, end, 9, "spherical")
    norms = np.linalg.norm(codes, axis=1)
    np.testing.assert_allclose(norms, norms[0], rtol=1e-5)
    cosines = np.sum(codes[1:] * codes[:-1], axis=1) / norms[0] ** 2
    np.testing.assert_allclose(cosines, cosines[0], rtol=1e-5)
    np.testing.assert_allclose(codes[[0, -1]], [start, end], rtol=1e-5)
    straight = generation.interpolate(start, end, 9)
    np.testing.assert_allclose(np.diff(straight, 2, axis=0), 0, atol=1e-6)
    assert np.linalg.norm(straight[4]) < norms[4] - 0.1


@pytest.mark.parametrize("end", [[2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]])
def test_spherical_paths_without_an_angle_are_straight(end):
    codes = generation.interpolate([1.0, 2.0], end, 5, "spherical")
    np.testing.assert_allclose(codes, generation.interpolate([1.0, 2.0], end, 5), atol=1e-6)


def test_traversals_change_one_dimension_at_a_time():
    center = np.array([1.0, -2.0, 0.5], np.float32)
    codes, changes = generation.traverse(center, points=5, extent=2.0)
    assert changes.tolist() == [-2, -1, 0, 1, 2]
    for dimension in range(3):
        expected = np.zeros([5, 3])
        expected[:, dimension] = changes
        np.testing.assert_allclose(codes[dimension] - center, expected, atol=1e-6)
    assert generation.traverse(center, points=1)[0].tolist() == [[center.tolist()]] * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: generation.interpolate([1.0], [1.0], 1), "points: expected at least the 2 ends"),
        (lambda: generation.interpolate([1.0], [1.0, 2.0], 3), r"start, shape \[1\], got \[2\]"),
        (lambda: generation.interpolate([1.0], [2.0], 3, "curved"), "path: expected one of linear"),
        (lambda: generation.interpolate([np.nan], [2.0], 3), "start: expected finite numbers"),
        (lambda: generation.traverse([1.0], dimensions=[1]), "expected one or more of 0 to 0, got"),
        (lambda: generation.traverse([1.0], dimensions=[]), "expected one or more of 0 to 0, got"),
        (lambda: generation.traverse([[1.0]]), r"center: expected one latent vector \[Z\]"),
        (lambda: generation.traverse([1.0], extent=0.0), "extent: expected a finite number > 0"),
    ],
)
def test_bad_paths(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_numbers_of_rows(text):
    with pytest.raises(ValueError, match="n: expected an integer >= 1, got 0"):
        generation.sample(text, 0)
    with pytest.raises(ValueError, match="batch_size: expected an integer >= 1, got 0"):
        generation.sample(text, 2, batch_size=0)
    with pytest.raises(ValueError, match="TextDecoder.sample has no such option"):
        generation.sample(text, 2, top=3)
