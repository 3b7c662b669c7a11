"""Update rules inside models: precision, frozen rules, variables, saving, exchange, schedules."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_decoder, dense_encoder, dense_model

import tf_savae
from tf_savae import evaluation, svi


class Scaled(keras.layers.Layer):
    """A rule of a user's own with one weight."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = self.add_weight((), "ones", name="scale")

    def init(self, parameters):
        return ()

    def update(self, gradient, state, parameters):
        moved = tf.nest.map_structure(lambda p, g: p - 0.1 * self.scale * g, parameters, gradient)
        return moved, state


@pytest.fixture
def half():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    keras.mixed_precision.set_global_policy("float32")


def _model(rule, **options):
    return dense_model(update=rule, step_size=None, **options)


@pytest.mark.parametrize("make", [Scaled, lambda: svi.LearnedSteps(3, step_size=0.3137)])
def test_weights_of_a_rule_keep_their_precision(half, make):
    model = compiled(_model(make()), data(), optimizer="sgd")
    model.fit(data(), verbose=0)
    np.testing.assert_array_equal(model.predict(data(), verbose=0), model.infer(data()).mean())


def test_a_layer_alone_keeps_full_precision(half):
    inputs = keras.Input([6])
    layer = tf_savae.SemiAmortizedRefinement(2, decoder=dense_decoder(), update=Scaled())
    mean, log_variance = keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)
    model = keras.Model(inputs, layer([mean, log_variance], inputs)[0])
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(data(), np.ones([4, 2]), verbose=0)
    assert model(data()).dtype == "float32"


@pytest.mark.parametrize("make", [Scaled, svi.LearnedUpdate])
def test_a_frozen_rule_stays_as_it_is(make):
    rule = make()
    model = compiled(_model(rule), data())
    rule.trainable = False
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    before, encoder = rule.get_weights(), model.encoder.get_weights()
    model.fit(data(), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, rule.get_weights(), strict=True))
    assert not np.array_equal(encoder[0], model.encoder.get_weights()[0])


class Plain:
    def __init__(self, size):
        self.size = size

    def init(self, parameters):
        return ()

    def update(self, gradient, state, parameters, rate=0.1):
        """A fourth parameter that is not called `step` is nobody's business but the rule's."""
        size = self.size if isinstance(self.size, float) else tf.convert_to_tensor(self.size)
        moved = tf.nest.map_structure(lambda p, g: p - rate * size * g, parameters, gradient)
        return moved, state


@pytest.mark.parametrize(
    "rule", [svi.Momentum(tf.Variable(0.1)), Plain(keras.Variable(0.1)), Plain(tf.Variable(0.1))]
)
def test_variables_that_no_model_would_train_are_refused(rule):
    with pytest.raises(ValueError, match="update: .* is a variable that no model would train"):
        _model(rule).infer(data())


def test_a_fourth_parameter_of_another_name_keeps_its_default():
    def bowl(parameters, theta, seed):
        return 0.5 * tf.reduce_sum(parameters**2, axis=1)

    got = svi.refine(bowl, tf.ones([2, 1]), 0.0, steps=1, update=Plain(1.0), seed=0)
    assert got.numpy().ravel() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize("size", [(0.1, 0.2), tf.constant(0.1)])
def test_step_sizes_of_a_rule_are_saved(size, tmp_path):
    model = compiled(_model(svi.Momentum(size)), data())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.infer(data()).mean(), model.infer(data()).mean(), rtol=1e-6)
    model = compiled(_model(svi.Momentum((tf.constant([0.1, 0.2]), 0.1))), data())
    with pytest.raises(ValueError, match="step_size: expected numbers in a rule to be saved"):
        model.save(tmp_path / "other.keras")


def test_rules_are_exchanged_where_no_weights_are_lost():
    model = compiled(_model(svi.Momentum(0.1)), data())
    before = model.infer(data()).mean()
    model.refinement.update = svi.Momentum(0.3)
    assert np.abs(model.infer(data()).mean() - before).max() > 1e-3
    for other in (svi.LearnedUpdate(), None):
        with pytest.raises(ValueError, match="update: "):
            model.refinement.update = other
    model = compiled(_model(svi.LearnedUpdate()), data())
    with pytest.raises(
        ValueError, match="update: a rule with weights cannot be changed after the layer is created"
    ):
        model.refinement.update = svi.Momentum(0.1)


def test_a_rule_of_another_latent_size_is_named():
    rule = svi.LearnedSteps(3)
    compiled(_model(rule), data())
    other = tf_savae.SemiAmortizedVAE(
        dense_encoder(6),
        dense_decoder(),
        latent_size=3,
        refinement=tf_savae.SemiAmortizedRefinement(3, update=rule),
    )
    with pytest.raises(ValueError, match="LearnedSteps does not support parameters of shapes"):
        other.infer(data())


def test_a_schedule_assigned_in_a_callback_is_followed():
    class Assign(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if not epoch:
                self.model.refinement.steps = {0: 0, 3: 2}

    model, seen = compiled(dense_model(steps=2), data()), []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.inference_steps)
    )
    model.fit(data(20), batch_size=5, epochs=1, verbose=0, callbacks=[Assign(), watch])
    assert seen == [0, 0, 0, 2]


def test_calls_in_turn_trace_each_k_once():
    model, traces = compiled(dense_model(steps={0: 0, 1000: 2}), data()), []
    outcome = model._outcome

    def counted(*arguments, **options):
        traces.append(1)
        return outcome(*arguments, **options)

    model._outcome = counted
    for _ in range(3):
        model.train_on_batch(data())
        model.test_on_batch(data())
    assert len(traces) == 2  # Training with K = 0, evaluation with K = 2.


def test_gradient_noise_is_of_the_objective_asked_for():
    batches = tf.data.Dataset.from_tensor_slices(data(12)).batch(4)
    trained = compiled(dense_model("vae", steps=2), data())
    other = compiled(dense_model("savae", steps=2), data())
    found = [
        evaluation.gradient_noise(m, batches, ["savae", "vae_svi_kl"]) for m in (trained, other)
    ]
    for name in ("savae", "vae_svi_kl"):
        np.testing.assert_allclose(found[0][name].norms, found[1][name].norms, rtol=1e-5)
    assert found[0]["savae"].cosine < 0.9999 and min(found[0]["vae_svi_kl"].norms) > 0
    stopped = compiled(dense_model("vae_svi", adjoint="stop"), data())
    with pytest.raises(ValueError, match='objectives: "savae" needs gradients'):
        evaluation.gradient_noise(stopped, batches, ["savae"])


def test_weight_decay_draws_step_sizes_to_their_start():
    rule = svi.LearnedSteps(2, step_size=0.03)
    model = _model(rule, steps={0: 0, 1000: 2})
    compiled(model, data(), optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.05))
    model.fit(data(20), batch_size=5, verbose=0)
    assert all(not np.any(weight) for weight in rule.get_weights())


def test_more_steps_than_a_learned_rule_was_trained_for(caplog):
    x, said = data(), "LearnedUpdate was trained for K = 2 and may be worse with 7 steps"
    plain = compiled(dense_model(steps=2), x)
    vae = compiled(_model(svi.LearnedUpdate(), objective="vae", steps=2), x)  # Never trains it.
    for model in (plain, vae):
        model.infer(x, steps=7)
    model = compiled(_model(svi.LearnedUpdate(), steps=2), x)
    for steps in (None, 0, 1, 2):
        model.infer(x, steps=steps)
    assert not caplog.records
    for _ in range(2):
        model.infer(x, steps=7)
    model.negative_elbo(x, steps=7)
    assert [said in record.getMessage() for record in caplog.records] == [True]
    with pytest.raises((TypeError, ValueError), match="steps: expected"):
        model.infer(x, steps="4")
