"""fit, evaluate and the answers of a trained model: masks, weights, metrics, logs, seeds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import (
    LATENT,
    OBJECTIVES,
    compiled,
    data,
    dense_model,
    relative_error,
    step_gradients,
    text_model,
    tokens,
    train_problem,
)

import tf_savae
from tf_savae.core import private_keras
from tf_savae.data.array_batches import with_array_batches
from tf_savae.models.callbacks import instabilities
from tf_savae.networks import TextDecoder


def _ones(rows, zeros=0):
    return np.array([1.0] * rows + [0.0] * zeros)


@pytest.mark.parametrize("make", [dense_model, text_model])
def test_rows_of_weight_zero_change_nothing(float64, make):
    """Whatever such rows hold; with weight 1 they would change the step."""
    x = data(2) if make is dense_model else tokens(2, 5)
    model = compiled(make(), np.concatenate([x, x]))
    start = model.get_weights()
    junk = np.concatenate([x, x[::-1]])
    got = step_gradients(model, junk, _ones(2, zeros=2))
    model.set_weights(start)
    other = np.concatenate([x, x])
    again = step_gradients(model, other, _ones(2, zeros=2))
    assert relative_error(got, again) < 1e-12
    model.set_weights(start)
    assert relative_error(step_gradients(model, junk, _ones(4)), again) > 1e-3


def test_the_loss_is_the_weighted_mean(float64):
    x = data(3)
    model = compiled(dense_model("vae"), x)
    problem = train_problem(model, x)
    losses = problem.outcome_at(problem.encode()).loss.numpy()
    weights = np.array([0.5, 2.0, 0.0])
    logs = model.train_step((tf.constant(x), None, tf.constant(weights)))
    assert float(logs["loss"]) == pytest.approx(np.average(losses, weights=weights), rel=1e-12)


@pytest.mark.parametrize("objective", ["savae", "vae_svi_kl"])
def test_padding_changes_no_number(float64, objective):
    """Rows padded by three more <pad>: equal losses, equal metrics, equal gradients."""
    x = tokens(2, 5)
    padded = np.pad(x, [(0, 0), (0, 3)])
    model = compiled(text_model(objective), x)
    start = model.get_weights()
    gradients = step_gradients(model, x)
    logs = {name: float(t.result()) for name, t in model._bound_metrics.trackers.items()}
    model.set_weights(start)
    model.reset_metrics()
    assert relative_error(step_gradients(model, padded), gradients) < 1e-11
    for name, tracker in model._bound_metrics.trackers.items():
        assert float(tracker.result()) == pytest.approx(logs[name], rel=1e-10), name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_history_has_the_bounds(objective):
    model = dense_model(objective, model={"beta": tf_savae.linear_kl_weight(4)})
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    history = model.fit(data(10), batch_size=4, validation_data=(data(6),), verbose=0).history
    expected = {"loss", "bound", "nll", "kl", "beta"}
    if objective not in ("vae", "svi"):
        expected |= {"amortized_bound"}
    if objective != "vae":
        expected |= {"refinement_gain", "made_worse"}
    backward = {"adjoint_growth", "curvature", "encoder_signal"} if objective == "savae" else set()
    training = {"skipped", *backward}
    assert {n for n in history if not n.startswith("val_")} == expected | training
    assert {n for n in history if n.startswith("val_")} == {"val_" + n for n in expected}
    assert history["bound"][0] == pytest.approx(history["nll"][0] + history["kl"][0], rel=1e-5)
    assert history["beta"][0] == pytest.approx((0.1 * 4 + 0.325 * 4 + 0.55 * 2) / 10, rel=1e-5)


def test_what_is_not_measured_is_not_reported():
    """Autodiff through the unrolled steps has no backward pass of ours to look at."""
    model = compiled(dense_model(adjoint="unrolled"), data())
    assert not {"adjoint_growth", "curvature"} & set(model._bound_metrics.trackers)


class _Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return (data(8)[4 * index : 4 * index + 4],)


def _generator():
    yield from (_Batches()[index] for index in range(2))


@pytest.mark.parametrize("make", [_Batches, _generator])
def test_any_form_of_data_is_measured_and_used_up_once(make, caplog):
    losses = []
    for x, size in ((data(8), {"batch_size": 4}), (make(), {})):
        model = dense_model(hvp="auto", keep=None)
        model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        with caplog.at_level("INFO", logger="absl"):
            history = model.fit(x, **size, shuffle=False, verbose=0).history
        losses.append(history["loss"])
        assert model.hvp in ("forward_over_reverse", "reverse_over_reverse")
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert caplog.text.count("hvp='auto' chose") == 2


def test_training_with_several_steps_per_execution_is_the_same():
    x, losses = data(12), []
    for steps in (1, 3):
        model = dense_model()
        model.compile(keras.optimizers.SGD(0.1), jit_compile=False, steps_per_execution=steps)
        losses.append(model.fit(x, batch_size=4, shuffle=False, verbose=0).history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_tensorboard_gets_the_scalars(tmp_path):
    model = dense_model("vae")
    model.compile("adam", jit_compile=False)
    model.fit(data(8), verbose=0, callbacks=[keras.callbacks.TensorBoard(tmp_path)])
    (events,) = (tmp_path / "train").glob("events*")
    assert b"epoch_bound" in events.read_bytes() and b"epoch_kl" in events.read_bytes()


def test_evaluation_repeats_itself():
    model = compiled(dense_model(), data())
    first, second = (model.evaluate(data(10), batch_size=4, verbose=0) for _ in range(2))
    assert first == second


def test_eager_equals_graph():
    losses = []
    for eager in (True, False):
        model = dense_model()
        model.compile(keras.optimizers.SGD(0.1), jit_compile=False, run_eagerly=eager)
        losses.append(model.fit(data(), epochs=2, verbose=0, shuffle=False).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    model = dense_model(steps=2)
    model.compile(keras.optimizers.Adam(0.02), jit_compile=False)
    model.fit(data(64), epochs=30, verbose=0)
    return model


def test_answers_have_shapes_and_seeds(trained):
    x = data(5)
    posterior = trained.infer(x, seed=1)
    assert posterior.mean().shape == (5, 2)
    np.testing.assert_array_equal(posterior.mean(), trained.infer(x, seed=1).mean())
    assert trained.negative_elbo(x).shape == (5,)
    assert not np.array_equal(trained.negative_elbo(x, seed=1), trained.negative_elbo(x, seed=2))
    assert trained.generate(3, seed=4).shape == (3, 6)
    np.testing.assert_array_equal(trained.generate(3, seed=4), trained.generate(3, seed=4))
    assert trained.reconstruct(x, seed=5).shape == (5, 6)
    assert trained.predict(x, verbose=0).shape == (5, 2)


class _OfPair(tf_savae.Decoder):
    """A likelihood of two parts of x, without latent variables."""

    def log_prob(self, x, z, seed=None, training=False):
        return -tf.reduce_sum(x["left"], axis=1) - 2 * tf.reduce_sum(x["right"], axis=1)


def test_a_baseline_answers_for_a_nest_and_for_plain_lists():
    x = {"left": data(5), "right": data(5)[:, :2]}
    model = tf_savae.AutoregressiveModel(_OfPair())
    expected = -x["left"].sum(axis=1) - 2 * x["right"].sum(axis=1)
    np.testing.assert_allclose(model.log_likelihood(x), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="x: expected finite numbers, got 1 NaN"):
        model.log_likelihood({**x, "right": np.where(x["right"] == x["right"][0, 0], np.nan, 0.0)})
    rows = tokens(2)
    baseline = tf_savae.AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0))
    one = baseline.log_likelihood(rows.tolist())
    np.testing.assert_array_equal(one, baseline.log_likelihood(rows))


def test_a_plain_vae_answers_with_its_own_posterior():
    x = data()
    model = compiled(dense_model("vae"), x)
    own, refined = model.infer(x).mean().numpy(), model.infer(x, steps=3).mean().numpy()
    np.testing.assert_allclose(own, model.encoder(x).numpy()[:, :LATENT], rtol=1e-5)
    assert np.abs(refined - own).max() > 1e-3
    np.testing.assert_allclose(model.negative_elbo(x), model.negative_elbo(x, steps=0), rtol=1e-5)


def test_no_steps_is_the_amortized_posterior(trained):
    x = data(5)
    mean, log_variance = trained.encoded_parameters(x)
    posterior = trained.infer(x, steps=0)
    np.testing.assert_allclose(posterior.mean(), mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(posterior.stddev(), np.exp(0.5 * log_variance), rtol=1e-5, atol=1e-6)


def _posteriors(model, x):
    return model.infer(x).mean(), model.reconstruct(x, mean=True)


def _bounds(model, x):
    return model.negative_elbo(x), model.log_likelihood(x, samples=2)


@pytest.mark.parametrize(
    ("name", "value", "answers"),
    [
        ("steps", 1, _posteriors),
        ("steps", 0, _bounds),
        ("step_size", 0.03, _posteriors),
        ("step_size", [0.1, 0.03], _posteriors),
        ("momentum", 0.0, _posteriors),
        ("clip_norm", 0.1, _posteriors),
        ("samples", 3, _posteriors),
    ],
)
def test_answers_follow_the_settings_of_refinement(name, value, answers):
    """Set on a model that has answered, as by a user who tries another K."""
    model, x = compiled(dense_model(), data()), data()
    before = answers(model, x)
    setattr(model.refinement, name, value)
    now = answers(model, x)
    model._traces.drop_functions()
    for ours, anew, old in zip(now, answers(model, x), before, strict=True):
        np.testing.assert_array_equal(ours, anew)
        assert np.abs(ours - old).max() > 1e-4


def test_keras_functions_follow_the_settings_of_refinement():
    """`predict` and `evaluate`, whose traced functions Keras keeps until the next `compile`."""
    model, x = compiled(dense_model(), data()), data()
    codes, bound = model.predict(x, verbose=0), model.evaluate(x, verbose=0, return_dict=True)
    kept = model.predict_function
    model.predict(x, verbose=0)
    assert model.predict_function is kept
    model.refinement.steps = 0
    unrefined = model.encoded_parameters(tf.constant(x))[0].numpy()
    np.testing.assert_allclose(model.predict(x, verbose=0), unrefined, rtol=1e-5)
    assert np.abs(codes - unrefined).max() > 1e-3
    again = model.evaluate(x, verbose=0, return_dict=True)
    assert abs(again["bound"] - bound["bound"]) > 1e-4


def test_inference_descends_the_elbo_whatever_the_free_bits():
    """They are of the objective that is trained; a bound that is measured has none."""
    x = data()
    plain, free = (compiled(dense_model(model={"free_bits": b}), x) for b in (0.0, 50.0))
    free.set_weights(plain.get_weights())
    for answers in (
        lambda model: model.infer(x, steps=5).mean(),
        lambda model: model.negative_elbo(x, steps=5),
    ):
        np.testing.assert_allclose(answers(free), answers(plain), rtol=1e-6)


def test_steps_that_were_asked_for_stay_when_the_layers_own_change():
    """Also for rows of another number, for which the function is traced again."""
    model, x = compiled(dense_model(), data()), data()
    few = model.infer(x[:3], steps=3).mean()
    model._traces.drop_functions()
    model.infer(x)
    model.infer(x, steps=3)
    assert len(model._traces.functions) == 1
    model.refinement.steps = 0
    np.testing.assert_array_equal(model.infer(x[:3], steps=3).mean(), few)


def test_early_stopping_ends_after_a_step_that_gains_too_little(trained):
    """No step gains a million nats: the first is also the last."""
    x = data(5)
    one, five = (trained.infer(x, steps=k, early_stopping=1e6).mean().numpy() for k in (1, 5))
    np.testing.assert_array_equal(one, five)
    further = trained.infer(x, steps=5, early_stopping=0.0).mean()
    assert np.abs(further - five).max() > 1e-3


def test_early_stopping_averages_over_more_noise_by_default(trained):
    x = data(5)
    stopping = {"steps": 4, "early_stopping": 0.01, "seed": 3}
    default, eight, one = (
        trained.infer(x, **stopping, samples=s).mean().numpy() for s in (None, 8, 1)
    )
    np.testing.assert_array_equal(default, eight)
    assert np.abs(default - one).max() > 1e-3
    fixed, again = (trained.infer(x, steps=4, samples=s).mean().numpy() for s in (None, 1))
    np.testing.assert_array_equal(fixed, again)


def test_likelihood_of_a_linear_model():
    """x = W z + noise: log p(x) = log N(x; b, W W' + I), known in closed form."""
    decoder = tf_savae.DistributionDecoder(keras.layers.Dense(6), "normal")
    x = data(4)
    model = compiled(dense_model(decoder=decoder, steps=20, step_size=0.1), x)
    weights, bias = (v.numpy().astype(float) for v in decoder.trainable_variables)
    covariance = weights.T @ weights + np.eye(6)
    centred = x - bias
    distance = np.sum(centred @ np.linalg.inv(covariance) * centred, axis=1)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    exact = -0.5 * (distance + log_det)
    estimate = model.log_likelihood(x, samples=3000).numpy()
    np.testing.assert_allclose(estimate, exact, atol=0.1)
    assert np.all(model.negative_elbo(x).numpy() > -exact - 2.0)


def test_noise_near_no_gain_is_no_instability():
    assert not instabilities({"made_worse": 0.5, "refinement_gain": -1e-4, "bound": 20.0}, None)
    layer = tf_savae.SemiAmortizedRefinement(step_size=0.1, momentum=0.5)
    assert not instabilities({"curvature": 29.0}, layer)
    assert "step_size times curvature is 3.1" in instabilities({"curvature": 31.0}, layer)[0]
    assert "the adjoint grows 50 times" in instabilities({"adjoint_growth": 50.0}, None)[0]


def test_hvp_auto_measures_and_says_so(caplog):
    import logging

    model = dense_model(hvp="auto", keep=None)
    model.compile("adam", jit_compile=False)
    with caplog.at_level(logging.INFO, logger="absl"):
        model.fit(data(), verbose=0)
    assert model.hvp in ("forward_over_reverse", "reverse_over_reverse")
    assert any(f"hvp='auto' chose {model.hvp}" in r.getMessage() for r in caplog.records)


def _pipelines(monkeypatch):
    """The data of each pass that Keras begins from now on, as tf.data datasets."""
    begun, kind = [], private_keras.ArrayBatches
    original = kind.get_tf_dataset

    def spied(self):
        begun.append(original(self))
        return begun[-1]

    monkeypatch.setattr(kind, "get_tf_dataset", spied)
    return begun


def test_arrays_do_not_wait_for_the_tuner(monkeypatch):
    """fit, its validation, evaluate and predict read arrays through pipelines without one."""
    begun = _pipelines(monkeypatch)
    x, weights = data(6), np.arange(6.0)
    model = dense_model("vae")
    model.compile("sgd", jit_compile=False)
    settings = dict(batch_size=4, verbose=0, shuffle=False)
    model.fit(x, sample_weight=weights, validation_split=0.34, **settings)
    held_out = (x[:5], None, weights[:5])
    model.fit(x, validation_data=held_out, validation_batch_size=3, **settings)
    model.evaluate(x, sample_weight=weights, batch_size=5, verbose=0)
    model.predict(x, batch_size=2, verbose=0)
    assert [dataset.options().autotune.enabled for dataset in begun] == [False] * 6
    sizes = [[keras.tree.flatten(b)[0].shape[0] for b in dataset] for dataset in begun]
    assert sizes == [[3], [3], [4, 2], [3, 2], [5, 1], [2, 2, 2]]
    read = keras.utils.unpack_x_y_sample_weight(next(iter(begun[1])))
    np.testing.assert_array_equal(read[0], x[3:])
    np.testing.assert_array_equal(read[2], weights[3:])


@pytest.mark.parametrize("shuffle", [True, "batch"])
def test_arrays_are_shuffled_as_by_keras(shuffle):
    """The same batches in each of two epochs.

    With a global seed set, Keras draws one order and repeats it: tf.data starts the seeded
    operations of a map anew at each pass. Hence no claim that the epochs differ.
    """
    x = np.arange(20.0)[:, None]
    options = {"batch_size": 3, "shuffle": shuffle}
    orders = []
    for make in (
        lambda: with_array_batches(x, None, options)[0],
        lambda: keras.src.trainers.data_adapters.get_data_adapter(x, **options),
    ):
        tf.random.set_seed(3)
        dataset = make().get_tf_dataset()
        orders.append(
            [[keras.tree.flatten(b)[0].numpy().tolist() for b in dataset] for _ in range(2)]
        )
    assert orders[0] == orders[1]
    for epoch in orders[0]:
        read = np.concatenate(epoch).ravel()
        assert sorted(read) == x.ravel().tolist() != read.tolist()
