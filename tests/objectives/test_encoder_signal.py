"""What the adjoint brings to the encoder: the metric, the warning, gradients over batches."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_model, train_problem

import tf_savae
from tf_savae import evaluation
from tf_savae.models.callbacks import WarnOfIdleEncoder
from tf_savae.objectives import OBJECTIVES


def test_the_signal_is_a_cosine_per_example(float64):
    """By hand: the total derivative in lambda_0 against the gradient of the ELBO at lambda_0."""
    x = data()
    model = compiled(dense_model(), x)
    problem = train_problem(model, x)
    initial = [tf.identity(p) for p in problem.encode()]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(initial)
        refined, _ = problem.refine(
            problem.objective, tuple(initial), problem.theta, problem.seed, "unrolled"
        )
        through = problem.objective(refined, problem.theta, problem.final_seed())
        own = problem.objective(tuple(initial), problem.theta, problem.first_seed())
    brought, amortized = (tf.concat(tape.gradient(v, initial), 1).numpy() for v in (through, own))
    sizes = np.linalg.norm(brought, axis=1) * np.linalg.norm(amortized, axis=1)
    wanted = ((brought * amortized).sum(1) / sizes).mean()
    model.fit(x, batch_size=4, shuffle=False, verbose=0)
    shown = model.history.history["encoder_signal"][0]
    assert shown == pytest.approx(wanted, rel=1e-10)


def _tutorial(steps, step_size, weight, **options):
    """The array tutorial's model after a few epochs; its data and networks."""
    rng = np.random.default_rng(0)
    prototypes = rng.random((12, 64)) < 0.5
    rows = prototypes[rng.integers(12, size=2000)] ^ (rng.random((2000, 64)) < 0.08)
    keras.utils.set_random_seed(0)
    inputs = keras.Input([64])
    hidden = keras.layers.Dense(64, activation="relu")(inputs)
    network = [keras.layers.Dense(64, activation="tanh"), keras.layers.Dense(64)]
    model = tf_savae.SemiAmortizedVAE(
        keras.Model(inputs, [keras.layers.Dense(4)(hidden), keras.layers.Dense(4)(hidden)]),
        tf_savae.DistributionDecoder(keras.Sequential(network), "bernoulli"),
        refinement=tf_savae.SemiAmortizedRefinement(steps, step_size, **options),
        beta=tf_savae.linear_kl_weight(400, start=0.1),
        amortized_weight=weight,
    )
    model.compile(keras.optimizers.Adam(2e-3))
    model.fit(rows.astype("float32"), epochs=10, batch_size=50, verbose=0)


@pytest.mark.parametrize("old", [True, False], ids=["long_steps", "short_steps"])
def test_steps_that_do_the_encoders_work_are_named(old, caplog):
    """Ten steps of 0.05 and no ELBO of the encoder's own must be named; the defaults must not."""
    with caplog.at_level(logging.WARNING, logger="absl"):
        _tutorial(10, 0.05, 0.0) if old else _tutorial(5, 0.02, None, samples=4)
    said = [r for r in caplog.messages if "compensate for a poor encoder" in r]
    assert len(said) == old
    assert not old or "a smaller step_size" in said[0] and "amortized_weight=0.3" in said[0]


def test_gradient_noise_is_that_of_the_batches(float64):
    """Against gradients taken one by one."""
    x = data(12)
    model = compiled(dense_model(), x)
    batches = tf.data.Dataset.from_tensor_slices(x).batch(4)
    found = evaluation.gradient_noise(model, batches, ["vae", "vae_svi", "savae"], seed=3)
    taken = {name: [] for name in ("vae", *found)}
    for index, batch in enumerate(batches):
        for name in taken:
            seed = tf_savae.core.seeds.fold(3, index)
            with tf.GradientTape() as tape:
                steps = 0 if name == "vae" else 3
                problem = model.batch_objective(batch, seed, training=True, steps=steps)
                loss = tf.reduce_mean(OBJECTIVES[name].loss(problem).loss)
            gradients = tape.gradient(loss, model.encoder.trainable_variables)
            taken[name].append(np.concatenate([np.ravel(g) for g in gradients]))
    plain = np.mean(taken["vae"], 0)
    for name, result in found.items():
        stack = np.stack(taken[name])
        mean = stack.mean(0)
        noise = np.trace(np.cov(stack.T))
        assert result.noise**2 == pytest.approx(noise, rel=1e-9)
        assert result.signal**2 == pytest.approx(max((mean**2).sum() - noise / 3, 0), rel=1e-9)
        cosine = mean @ plain / np.linalg.norm(mean) / np.linalg.norm(plain)
        assert result.cosine == pytest.approx(cosine, rel=1e-9)
        assert result.norms == pytest.approx(np.linalg.norm(stack, axis=1), rel=1e-9)
    assert found["vae"].cosine == pytest.approx(1.0) and found["savae"].cosine < 0.999


@pytest.mark.parametrize(
    ("objectives", "rows", "message"),
    [
        (["svi"], 12, "objectives: expected one of vae, vae_svi, .*savae; got 'svi'"),
        (["vae"], 4, "dataset: expected at least 2 batches, got 1"),
    ],
)
def test_gradient_noise_of_nothing(objectives, rows, message):
    model = compiled(dense_model(), data())
    batches = tf.data.Dataset.from_tensor_slices(data(rows)).batch(4)
    with pytest.raises(ValueError, match=message):
        evaluation.gradient_noise(model, batches, objectives)
    with pytest.raises(ValueError, match="model: expected a model with an encoder"):
        evaluation.gradient_noise(compiled(dense_model("svi"), data()), batches, ["vae"])
    weighted = batches.map(lambda x: (x, None, tf.ones([4])))
    with pytest.raises(ValueError, match="^dataset: expected batches without sample weights"):
        evaluation.gradient_noise(model, weighted)


def test_an_encoder_that_is_trained_apart_draws_no_warning(caplog):
    """Only an encoder that learns through the steps is told that it does not."""
    logs = {"amortized_bound": 40.0, "bound": 25.0, "encoder_signal": 0.05, "steps": 5.0}
    for objective, count in (("savae", 1), ("vae_svi_exact", 0)):
        caplog.clear()
        callback = WarnOfIdleEncoder()
        callback.set_model(dense_model(objective))
        with caplog.at_level(logging.WARNING, logger="absl"):
            for epoch in range(3):
                callback.on_epoch_end(epoch, logs)
        assert len([r for r in caplog.messages if "compensate for a poor encoder" in r]) == count
