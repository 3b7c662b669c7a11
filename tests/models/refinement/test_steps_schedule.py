"""K by a schedule, and a trained model as the start of another."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_model, relative_error

import tf_savae
from tf_savae import svi
from tf_savae.models.refinement.steps_schedule import as_steps

SCHEDULE = {0: 0, 4: 3, 8: 2}


def _trained(steps, batches):
    """A model after one epoch of plain descent on batches that are all alike."""
    model = compiled(dense_model(steps=steps), data(), optimizer=keras.optimizers.SGD(0.1))
    model.fit(np.tile(data(5), (batches, 1)), batch_size=5, epochs=1, shuffle=False, verbose=0)
    return model


def test_each_stretch_trains_with_its_own_number_of_steps(float64):
    """Twelve steps by the schedule equal four each of three models that hand on their weights."""
    scheduled = _trained(SCHEDULE, 12)
    rows, weights, iterations = data(5), None, 0
    for steps in (0, 3, 2):
        model = compiled(dense_model(steps=steps), rows, optimizer=keras.optimizers.SGD(0.1))
        model.set_weights(weights or model.get_weights())
        model.optimizer.iterations.assign(iterations)  # The noise depends on it.
        model.fit(np.tile(rows, (4, 1)), batch_size=5, shuffle=False, verbose=0)
        weights, iterations = model.get_weights(), iterations + 4
    assert scheduled.inference_steps == 2
    wanted = [v.numpy() for v in model.trainable_variables]
    assert relative_error([v.numpy() for v in scheduled.trainable_variables], wanted) < 1e-11


def test_a_fit_that_is_interrupted_goes_on_with_the_schedule(float64, tmp_path):
    whole = _trained(SCHEDULE, 12)
    part = _trained(SCHEDULE, 6)
    part.save(tmp_path / "part.keras")
    rest = keras.saving.load_model(tmp_path / "part.keras")
    assert rest.refinement.steps == SCHEDULE
    rest.fit(np.tile(data(5), (6, 1)), batch_size=5, shuffle=False, verbose=0)
    for got, wanted in zip(rest.trainable_variables, whole.trainable_variables, strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_history_shows_k_and_validation_follows_it():
    model = compiled(dense_model(steps=SCHEDULE), data())
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_test_begin=lambda logs: seen.append(model.inference_steps)
    )
    fitted = model.fit(
        data(20), batch_size=5, epochs=3, verbose=0, validation_data=(data(4),), callbacks=[watch]
    )
    assert fitted.history["steps"] == [0.0, 3.0, 2.0] and seen == [0, 3, 2]
    assert fitted.history["refinement_gain"][0] == 0.0
    assert fitted.history["amortized_bound"][0] == pytest.approx(fitted.history["bound"][0])
    assert model.inference_steps == 2


def test_train_on_batch_follows_the_schedule():
    model = compiled(dense_model(steps={0: 0, 1: 2}), data())
    shown = [model.train_on_batch(data(), return_dict=True)["steps"] for _ in range(3)]
    assert shown == [0.0, 2.0, 2.0]


def test_several_steps_in_one_execution():
    one = compiled(dense_model(steps={0: 0, 4: 2}), data(), optimizer=keras.optimizers.SGD(0.01))
    two = compiled(
        dense_model(steps={0: 0, 4: 2}),
        data(),
        optimizer=keras.optimizers.SGD(0.01),
        steps_per_execution=2,
    )
    for model in (one, two):
        model.fit(data(40), batch_size=5, shuffle=False, verbose=0)
    for got, wanted in zip(two.trainable_variables, one.trainable_variables, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)
    odd = compiled(dense_model(steps={0: 0, 5: 2}), data(), steps_per_execution=2)
    with pytest.raises(ValueError, match="multiples of steps_per_execution=2.*got 5"):
        odd.fit(data(40), batch_size=5, verbose=0)


def test_a_rule_that_learns_rests_while_k_is_zero():
    rule = svi.LearnedSteps(2)
    model = dense_model(steps={0: 0, 2: 2}, update=rule, step_size=None)
    compiled(model, data(), optimizer="adam")
    before = rule.get_weights()
    model.fit(data(10), batch_size=5, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, rule.get_weights(), strict=True))
    model.fit(data(10), batch_size=5, verbose=0)
    assert not np.array_equal(before[0], rule.get_weights()[0])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({}, "begins at training step 0"),
        ({5: 2}, "begins at training step 0"),
        ({0: 0, 5: -1}, "K from training step 5: expected an integer >= 0, got -1"),
        ({0: 2, -5: 1}, "training step of a schedule: expected an integer >= 0, got -5"),
        ({0: 2.5}, "K from training step 0: expected an integer >= 0, got 2.5"),
        (-1, "steps: expected an integer >= 0, got -1"),
    ],
)
def test_bad_schedules(steps, message):
    with pytest.raises(ValueError, match=message):
        as_steps(steps)


def test_a_layer_of_another_model_takes_no_schedule():
    layer = tf_savae.SemiAmortizedRefinement({0: 0, 3: 1}, decoder=dense_model().decoder)
    with pytest.raises(
        ValueError,
        match="steps: expected an integer, got the schedule .*requires a SemiAmortizedVAE",
    ):
        layer([tf.zeros([2, 2]), tf.zeros([2, 2])], data(2))


def test_the_encoder_of_vae_svi_kl_needs_steps_throughout():
    with pytest.raises(ValueError, match="expected steps >= 1"):
        dense_model("vae_svi_kl", steps=SCHEDULE)


# --- start_from --------------------------------------------------------------------------------


def test_start_from_takes_networks_and_prior_and_nothing_else():
    vae = compiled(dense_model("vae"), data())
    vae.fit(data(20), verbose=0)
    model = dense_model(update=svi.LearnedUpdate(), step_size=None)
    model.compile("adam", jit_compile=False)
    assert model.start_from(vae) is model
    for part in ("encoder", "decoder"):
        pairs = zip(getattr(model, part).weights, getattr(vae, part).weights, strict=True)
        assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)
    assert int(model.optimizer.iterations.numpy()) == 0
    again = dense_model(update=svi.LearnedUpdate(seed=1), step_size=None)
    again.compile("adam", jit_compile=False)
    again.start_from(model)  # The same rule: its weights too.
    pairs = zip(again.refinement.weights, model.refinement.weights, strict=True)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)


def _encoder(*units):
    return keras.Sequential([keras.layers.Dense(n) for n in (*units, 4)])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: dense_model("vae", encoder=_encoder(7)),
            r"weight 0 of the encoder, kernel, has shape \(6, 5\) here and \(6, 7\) there",
        ),
        (lambda: dense_model("vae", encoder=_encoder(5, 5)), "weight 2 of the encoder"),
        (lambda: dense_model("svi"), "expected a source with an encoder"),
    ],
)
def test_another_architecture_is_named(source, message):
    source, model = compiled(source(), data()), compiled(dense_model(), data())
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.start_from(source)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_start_from_something_else():
    with pytest.raises(ValueError, match="start_from: expected a SemiAmortizedVAE with weights"):
        dense_model().start_from(dense_model())
    model = compiled(dense_model(), data())
    model.fit(data(), verbose=0)
    with pytest.raises(
        ValueError, match="expected a model that has not been trained, got one with 1"
    ):
        model.start_from(compiled(dense_model("vae"), data()))


def test_rules_that_learn_are_for_savae():
    for objective in ("svi", "vae_svi", "vae_svi_kl"):
        with pytest.raises(ValueError, match="its update rule LearnedUpdate has weights"):
            dense_model(objective, update=svi.LearnedUpdate(), step_size=None)


RULES = [svi.LearnedSteps(2), svi.LearnedUpdate(), svi.NaturalGradient(0.1)]


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_saved_and_loaded_with_the_model(rule, tmp_path):
    model = compiled(dense_model(steps=2, update=rule, step_size=None), data(), optimizer="adam")
    model.fit(data(20), batch_size=5, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.refinement.update) is type(rule)
    np.testing.assert_array_equal(loaded.infer(data()).mean(), model.infer(data()).mean())
    loaded.fit(data(20), batch_size=5, verbose=0)


def test_a_layer_in_any_model_trains_its_rule():
    base = dense_model()
    inputs = keras.Input([6])
    refinement = tf_savae.SemiAmortizedRefinement(
        2, update=svi.LearnedSteps(2), decoder=base.decoder
    )
    mean, _ = refinement(keras.ops.split(base.encoder(inputs), 2, axis=1), inputs)
    model = keras.Model(inputs, mean)
    model.compile("adam", "mse", jit_compile=False)
    model.fit(data(8), np.ones([8, 2]), verbose=0)
    assert len(refinement.update.trainable_variables) == 4
    sizes = refinement.update.get_weights()[0]
    assert np.any(sizes != sizes.flat[0])
