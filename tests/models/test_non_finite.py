"""A NaN in a batch: the batch changes nothing, is counted, and too many of them end training."""

import dataclasses
import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_encoder, dense_model, text_model, tokens

from tf_savae.models import NonFiniteError, apply_if_finite
from tf_savae.tasks import TEXT_CONFIGS
from tf_savae.training.callbacks import RunState

ADAM = {"learning_rate": 0.05, "global_clipnorm": 1.0, "use_ema": True}


def _with_nan(x, row=1, value=np.nan):
    x = x.copy()
    x[row, 0] = value
    return x


def _dataset(*batches):
    """Batches as they come: arrays are checked at the door, of datasets the first batch."""
    return tf.data.Dataset.from_tensor_slices(np.stack(batches))


def _state(model):
    """Everything a step may change, but the count of steps."""
    optimizer = model.optimizer
    slots = [v.numpy() for v in optimizer.variables if v is not optimizer.iterations]
    return [v.numpy() for v in model.variables] + slots


def _same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(("jit_compile", "value"), [(False, np.inf), (True, np.nan)])
def test_a_bad_batch_changes_nothing_but_the_count_of_steps(jit_compile, value):
    x = data(4, "float32")
    encoder = keras.Sequential([keras.layers.BatchNormalization(), dense_encoder()])
    optimizer = keras.optimizers.Adam(**ADAM)
    model = compiled(dense_model(encoder=encoder), x, jit_compile=jit_compile, optimizer=optimizer)
    step = tf.function(model.train_step, jit_compile=jit_compile, autograph=False)
    good, bad = tf.constant(x), tf.constant(_with_nan(x, value=value))
    logs = step((good,))
    before, loss = _state(model), float(logs["loss"])
    logs = step((bad,))
    assert _same(_state(model), before)
    assert int(model.optimizer.iterations) == 2
    assert float(logs["skipped"]) == 1.0
    assert float(logs["loss"]) == pytest.approx(loss, rel=1e-6)  # The mean of the one good batch.
    assert all(np.isfinite(float(value)) for value in logs.values())
    step((good,))
    after = _state(model)
    assert not _same(after, before) and all(np.isfinite(a).all() for a in after)


def test_a_bad_batch_takes_the_place_of_its_step():
    """The batches after it see the noise and the KL weight that they would have seen."""
    x, other = data(4, "float32"), data(4, "float32")[::-1].copy()
    states = []
    for skipped in (True, False):
        model = compiled(dense_model("vae"), x, optimizer=keras.optimizers.Adam(**ADAM))
        step = tf.function(model.train_step, autograph=False)
        step((tf.constant(x),))
        if skipped:
            step((tf.constant(_with_nan(x)),))
        else:
            model.optimizer.iterations.assign_add(1)
        step((tf.constant(other),))
        states.append(_state(model))
    assert _same(*states)


def test_a_bad_batch_adds_nothing_to_an_accumulated_update():
    """Two batches make an update; each draws its own noise, and one of NaN gives zeros."""
    x = data(4, "float32")
    weights = []
    for bad in (True, False):
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
        model = compiled(dense_model("vae"), x, jit_compile=False, optimizer=optimizer)
        step = tf.function(model.train_step, autograph=False)
        start = model.get_weights()
        first = float(step((tf.constant(x),))["loss"])
        assert _same(model.get_weights(), start)
        if bad:
            step((tf.constant(_with_nan(x)),))
        else:
            model.reset_metrics()
            second = float(step((tf.constant(x),))["loss"])
            assert second != first
        weights.append([v.numpy() for v in model.trainable_variables])
        assert int(apply_if_finite.batches(optimizer).value) == 2 and int(optimizer.iterations) == 1
    assert all(np.isfinite(w).all() for w in weights[0]) and not _same(*weights)


def test_an_infinite_gradient_of_a_finite_loss_is_skipped():
    finite = [tf.constant([1.0, 2.0]), None]
    slices = tf.IndexedSlices(tf.constant([[np.inf]]), tf.constant([3]), tf.constant([9, 1]))
    assert bool(apply_if_finite.all_finite(tf.constant(1.0), finite))
    assert not bool(apply_if_finite.all_finite(tf.constant(1.0), [*finite, slices]))
    assert not bool(apply_if_finite.all_finite(tf.constant(np.nan), finite))


def test_a_gradient_whose_norm_overflows_is_skipped():
    """1e20 is finite, its square is not: clipping by that norm makes NaN of all weights."""
    weight = keras.Variable(np.ones(2, np.float32))
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=5.0)
    gradients, loss = [tf.constant([1e20, 0.0])], tf.constant(1.0)
    finite = apply_if_finite.usable(optimizer, loss, gradients)
    assert not bool(finite)
    apply_if_finite.apply_gradients(optimizer, gradients, [weight], finite)
    np.testing.assert_array_equal(weight.numpy(), np.ones(2))
    assert bool(apply_if_finite.usable(optimizer, loss, [tf.constant([1e18, 0.0])]))


def test_gradients_of_several_precisions():
    mixed = [tf.constant([300.0], tf.float16), tf.constant([1.0], tf.bfloat16), tf.constant([2.0])]
    # 300 squared is more than float16 has.
    assert bool(apply_if_finite.all_finite(tf.constant(1.0), mixed))
    mixed.append(tf.constant([np.inf], tf.float16))
    assert not bool(apply_if_finite.all_finite(tf.constant(1.0), mixed))


def test_sparse_gradients_and_an_unbuilt_optimizer():
    """Embeddings' gradients are IndexedSlices; slots made inside the first step are held too."""
    x = tokens(4, 5)
    model = text_model("vae")
    model.ensure_built(tf.constant(x))
    model.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    embedding = model.encoder.embedding.trainable_variables[0]
    model.decoder.softmax.bias.assign_add(np.full([20], np.nan, np.float32))
    before = embedding.numpy()
    tf.function(model.train_step, autograph=False)((tf.constant(x),))
    np.testing.assert_array_equal(embedding.numpy(), before)
    assert int(model.optimizer.iterations) == 1 and model.optimizer.built


def test_skipped_batches_are_counted_in_history_and_said(caplog):
    x = data(4, "float32")
    model = compiled(dense_model("vae"), x, optimizer=keras.optimizers.SGD(0.01))
    with caplog.at_level("WARNING"):
        logs = model.fit(_dataset(x, _with_nan(x), x, _with_nan(x), x), epochs=2, verbose=0).history
    assert logs["skipped"] == [2.0, 2.0] and np.all(np.isfinite(logs["loss"]))
    assert "batch 1 of this epoch has a NaN or infinite loss or gradient" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "limit", "message"),
    [
        ("gbgbgb", 2, r"3 batches of this epoch \(skip_limit=2\): expected finite"),
        ("gbbbg", 10, "the last 3 batches in a row: expected finite"),
        ("ll", 10, "all batches of this epoch: expected finite"),
    ],
)
def test_too_many_end_training_with_the_last_good_weights(pattern, limit, message):
    x = data(4, "float32")
    batches = {"g": x, "b": _with_nan(x), "l": _with_nan(x, value=1e30)}
    model = compiled(dense_model("vae"), x, optimizer=keras.optimizers.SGD(0.01))
    with pytest.raises(NonFiniteError, match=message):
        model.fit(_dataset(*(batches[p] for p in pattern)), verbose=0, skip_limit=limit)
    assert all(np.isfinite(v.numpy()).all() for v in model.variables)


def test_as_many_as_allowed_do_not_end_it():
    x = data(4, "float32")
    model = compiled(dense_model("vae"), x)
    model.optimizer.learning_rate.assign(0.01)
    bad = _with_nan(x)
    logs = model.fit(_dataset(x, bad, bad, x, bad, bad, x), verbose=0, skip_limit=4).history
    assert logs["skipped"] == [4.0]
    with pytest.raises(ValueError, match="skip_limit: expected an integer >= 0, got -1"):
        model.fit(x, skip_limit=-1)


def test_a_validation_bound_of_nan_ends_a_run():
    model = compiled(dense_model("vae"), data(4, "float32"))
    config = dataclasses.replace(TEXT_CONFIGS["tiny"]())
    state = RunState(config, None, types.SimpleNamespace(state={}), 8)
    state.set_model(model)
    state._durations = [0.1]
    with pytest.raises(
        NonFiniteError, match="val_bound: expected a finite number, got nan after epoch 1"
    ):
        state.on_epoch_end(0, {"val_bound": math.nan, "loss": 1.0})


def test_an_optimizer_that_scales_losses_skips_by_itself():
    x = data(4, "float32")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
    model = compiled(dense_model("vae"), x, optimizer=optimizer)
    scale = float(optimizer.dynamic_scale)
    before = [v.numpy() for v in model.variables]
    logs = tf.function(model.train_step, autograph=False)((tf.constant(_with_nan(x)),))
    assert _same([v.numpy() for v in model.variables], before)
    assert float(optimizer.dynamic_scale) == scale / 2 and float(logs["skipped"]) == 1.0


def _endless(kernel):
    """A regularizer of value 0 whose gradient is NaN: the root of 0."""
    return tf.sqrt(tf.reduce_sum(0.0 * kernel))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_that_no_scale_makes_finite_end_training(jit_compile):
    """While the scale falls to 2**-10 nothing is counted: overflow is what it falls for."""
    x = data(4, "float32")
    encoder = keras.Sequential(
        [keras.layers.Dense(3, kernel_regularizer=_endless), dense_encoder()]
    )
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01), initial_scale=2.0**-6
    )
    model = compiled(
        dense_model("vae", encoder=encoder), x, jit_compile=jit_compile, optimizer=optimizer
    )
    before, seen = [v.numpy() for v in model.variables], []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(logs["skipped"]))
    )
    with pytest.raises(NonFiniteError, match="the last 3 batches in a row"):
        model.fit(_dataset(*[x] * 12), verbose=0, callbacks=[watch])
    assert seen[:6] == [0.0, 0.0, 0.0, 0.0, 1.0, 2.0]
    assert _same([v.numpy() for v in model.variables], before)
