"""Models by the data alone: which likelihood they get, that they train, save and answer."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tf_savae import data, presets
from tf_savae.presets.likelihoods import EightBit, LearnedNormal, choose

RNG = np.random.default_rng(0)
BINARY = (RNG.random((40, 16)) < 0.3).astype("float32")
KINDS = {
    "bernoulli": BINARY,
    "bernoulli of booleans": BINARY > 0,
    "discretized logistic": RNG.integers(256, size=(40, 16)).astype(np.uint8),
    "poisson": RNG.poisson(3.0, size=(40, 16)),
    "normal with learned scale": RNG.normal(50.0, 4.0, size=(40, 16)),
}


@pytest.mark.parametrize(("objective", "samples"), [("vae_svi", 2), ("svi", 2), ("savae", 1)])
def test_plain_steps_of_arrays_take_antithetic_pairs(objective, samples):
    """Learned ones, those of "savae", do not."""
    model = presets.dense(BINARY, steps=1, objective=objective)
    layer = model.refinement
    assert (layer.samples, layer.antithetic) == (samples, samples == 2)
    assert np.isfinite(model.fit(BINARY, verbose=0).history["bound"]).all()


def test_svi_needs_no_latent_size_of_images_and_texts():
    images = BINARY.reshape(-1, 4, 4, 1)
    model = presets.image(images, objective="svi", steps=1)
    assert np.isfinite(model.fit(images, verbose=0).history["bound"]).all()
    made = presets.text(
        ["a bird sings", "a dog runs", "the bird runs"] * 4, objective="svi", steps=1
    )
    assert np.isfinite(made.model.fit(made.x, verbose=0).history["bound"]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_likelihood_by_the_data(kind, caplog):
    x = KINDS[kind]
    with caplog.at_level("INFO"):
        model = presets.dense(x, steps=1)
    (line,) = [r.message for r in caplog.records if r.message.startswith("presets.dense")]
    assert f": {kind.split(' of b')[0]}: latent size 2, K = 1" in line and "x [40, 16] of" in line
    bound = model.negative_elbo(x)
    assert bound.shape == (40,) and np.all(np.isfinite(bound))
    drawn = model.sample(50).numpy()
    assert drawn.shape == (50, 16)
    if kind.startswith("normal"):
        assert abs(drawn.mean() - 50) < 3 and 2 < drawn.std() < 12
    else:
        assert np.array_equal(drawn, np.round(drawn)) and drawn.min() >= 0
        assert drawn.max() <= {"b": 1, "d": 255, "p": 40}[kind[0]]


def test_negative_whole_numbers_are_real():
    assert choose(np.array([[-3, 4]])).why.startswith("real numbers")
    assert choose(np.full([3, 2], 7.5)).likelihood.scale == 1.0  # Where nothing varies.


def test_discretized_logistic_against_scipy():
    """Differences of SciPy's distribution function; the outer levels have the tails."""
    location, scale = np.float64([3.2, 127.0, 254.9]), np.float64([4.0, 0.9, 30.0])
    ours = presets.DiscretizedLogistic(location, scale)
    levels = np.arange(256.0)[:, None]
    edges = np.concatenate([[-np.inf], np.arange(0.5, 255), [np.inf]])
    wanted = np.diff(stats.logistic(location, scale).cdf(edges[:, None]), axis=0)
    found = ours.prob(levels).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(found.sum(axis=0), 1.0, rtol=1e-12)
    drawn = ours.sample(20_000, seed=1).numpy()
    assert set(np.unique(drawn)) <= set(range(256))
    shares = [(drawn[:, 1] == level).mean() for level in (126, 127)]
    np.testing.assert_allclose(shares, wanted[[126, 127], 1], atol=0.012)


def test_likelihoods_stay_finite_far_out():
    """So do first and second derivatives, which refinement takes."""
    outputs = tf.constant([[[900.0, -80.0], [-900.0, 80.0], [0.0, -80.0]]])
    for likelihood in (EightBit(), LearnedNormal(0.0, 1.0)):
        with tf.GradientTape() as outer:
            outer.watch(outputs)
            with tf.GradientTape() as inner:
                inner.watch(outputs)
                value = tf.reduce_sum(
                    likelihood(outputs).log_prob(tf.constant([[0.0, 255.0, 9.0]]))
                )
            slope = inner.gradient(value, outputs)
        second = outer.gradient(slope, outputs)
        assert all(np.all(np.isfinite(found)) for found in (value, slope, second))


@pytest.mark.e2e
def test_images(tmp_path):
    shape = (9, 6, 3)
    x = RNG.integers(256, size=(20, *shape)).astype(np.uint8)
    model = presets.image(x, latent_size=3, channels=2, steps=1)
    model.fit(x, verbose=0)
    assert model.sample(2).shape == (2, *shape) == model.reconstruct(x[:2]).shape
    assert model.decode(np.zeros([2, 3]), mean=True).shape == (2, *shape)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.negative_elbo(x), model.negative_elbo(x), rtol=1e-5)


@pytest.mark.e2e
def test_dense_learns_what_ships():
    """On 600 shapes of 14 x 14: well below the nats of independent pixels."""
    train = data.load_images("builtin:shapes", size=14)["train"].probabilities(slice(600))
    x = (train.reshape(600, -1) > 0.5).astype("float32")
    mean = np.clip(x.mean(axis=0), 1e-3, 1 - 1e-3)
    alone = -np.mean(np.sum(x * np.log(mean) + (1 - x) * np.log(1 - mean), axis=1))
    model = presets.dense(x, steps=1)
    model.fit(x, epochs=15, verbose=0)
    bound = float(np.mean(model.negative_elbo(x)))
    assert bound < 0.8 * alone, (bound, alone)


@pytest.mark.e2e
def test_text(caplog):
    texts = data.load_sentences()["train"].x[:64]
    with caplog.at_level("INFO"):
        made = presets.text(texts, units=8, latent_size=2, steps=1)
    longest = max(len(line.split()) for line in texts)
    (line,) = [r.message for r in caplog.records if r.message.startswith("presets.text")]
    assert f"64 texts of at most {longest} words, vocabulary {len(made.vocabulary)}:" in line
    history = made.model.fit(made.x, verbose=0).history
    assert np.isfinite(history["bound"][0])
    assert made.lines(made.x) == texts and made.lines(made.rows(texts[:3])) == texts[:3]
    words = " ".join(made.lines(made.model.sample(3, length=6))).split()
    assert words and set(words) <= {*" ".join(texts).split(), "<unk>"}


@pytest.mark.parametrize(
    ("make", "x", "message"),
    [
        (presets.dense, np.zeros([3]), r"x: expected numbers \[N, D\], got shape \[3\]"),
        (presets.dense, np.zeros([0, 3]), r"x: expected numbers \[N, D\], got shape \[0, 3\]"),
        (presets.dense, [["a"]], r"x: expected numbers \[N, D\], got dtype <U1"),
        (presets.dense, [[np.nan]], "x: expected finite numbers, got 1 NaN"),
        (presets.image, np.zeros([3, 4]), r"x: expected numbers \[N, H, W\] or .*, got shape"),
        (presets.image, np.zeros([3, 4, 3]), "x: expected images of at least 4 x 4 pixels"),
        (presets.text, "a cat", "texts: expected a list of strings, got other items"),
        (presets.text, ["a cat", 3], "texts: expected a list of strings, got other items"),
        (presets.text, ["a cat", " "], "texts: expected at least one word in each, got none in t"),
        (presets.text, [], "texts: expected at least one word in each, got no texts"),
    ],
)
def test_what_is_refused(make, x, message):
    with pytest.raises(ValueError, match=message):
        make(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_size": 0}, "latent_size: expected an integer >= 1"),
        ({"steps": -1}, "steps: expected an integer >= 0"),
        ({"objective": "gan"}, "objective: expected one of"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        presets.dense(BINARY, **options)


def test_estimator_asks_to_be_fitted():
    with pytest.raises(
        ValueError, match=r"VAETransformer: expected a fitted transformer. Call fit\(X\)"
    ):
        presets.VAETransformer().transform(BINARY)


@pytest.mark.e2e
def test_estimator():
    fitted = presets.VAETransformer(latent_size=3, epochs=2, steps=1, samples=5).fit(BINARY)
    codes, scores = fitted.transform(BINARY), fitted.score_samples(BINARY)
    assert codes.shape == (40, 3) and scores.shape == (40,) and np.all(scores < 0)
    assert fitted.score(BINARY) == pytest.approx(scores.mean())
    rows = fitted.sample(4, random_state=1)
    assert np.array_equal(rows, fitted.model_.generate(4, seed=1))


@pytest.mark.e2e
def test_estimator_in_a_pipeline():
    pipeline = pytest.importorskip("sklearn.pipeline")
    base = pytest.importorskip("sklearn.base")
    made = presets.VAETransformer(latent_size=2, epochs=1, steps=0)
    assert base.clone(made).get_params() == made.get_params()
    steps = pipeline.make_pipeline(made)
    assert steps.fit_transform(BINARY).shape == (40, 2)


@pytest.mark.e2e
def test_the_guides_pipeline():
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install '.[sklearn]'")
    guide = (Path(__file__).resolve().parents[2] / "docs" / "guide.md").read_text("utf-8")
    block = r"^```py\n(from sklearn.*?)^```$"
    (example,) = re.findall(block, guide, re.MULTILINE | re.DOTALL)
    names = {"x": BINARY, "labels": BINARY[:, 0]}
    exec(compile(example, "guide.md", "exec"), names)
    assert names["pipeline"].predict(BINARY).shape == (40,)
    assert names["likelihoods"].shape == (40,) and names["rows"].shape == (10, 16)
    assert names["coded"].score(BINARY) == pytest.approx(names["likelihoods"].mean())


def test_a_model_loads_where_only_the_package_is_imported(tmp_path):
    """Its likelihood is registered without `tf_savae.presets` being imported by name."""
    presets.dense(np.eye(6, dtype="float32") * 3 - 1.5, steps=1).save(tmp_path / "m.keras")
    program = f"import keras, tf_savae; keras.saving.load_model({str(tmp_path / 'm.keras')!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
