"""Weights of examples reach the loss by every door: the numbers are those computed by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_model, text_model, tokens

from tf_savae import AutoregressiveModel
from tf_savae.evaluation import evaluate_bounds
from tf_savae.models import NonFiniteError
from tf_savae.networks import Decoder, TextDecoder

WEIGHTS = np.array([0.5, 2.0, 0.0, 3.0])


class Exact(Decoder):
    """log p(x) = -|x|^2 / 2 - b: no noise, so that each example's loss is known."""

    def build(self, *_):
        self.offset = self.add_weight(shape=(), initializer="zeros", name="offset")
        self.built = True

    def log_prob(self, x, z, seed=None, training=False):
        x = x["a"] if isinstance(x, dict) else x
        return -0.5 * tf.reduce_sum(x**2, axis=1) - self.offset


class _Batches(keras.utils.PyDataset):
    def __init__(self, *batches):
        super().__init__()
        self._all = batches

    def __len__(self):
        return len(self._all)

    def __getitem__(self, index):
        return self._all[index]


def _model(rate=0.0):
    """At rate 0 all numbers of an epoch are those of one model."""
    model = AutoregressiveModel(Exact())
    model.compile(keras.optimizers.SGD(rate), jit_compile=False)
    return model


def _by_hand(x, weights=WEIGHTS):
    return float(np.average(0.5 * np.sum(np.square(x), axis=1), weights=weights))


X = data(4)
DOORS = {
    "fit": lambda m: m.fit(X, sample_weight=WEIGHTS, verbose=0).history["loss"][0],
    "fit_of_a_list": lambda m: m.fit(X, sample_weight=list(WEIGHTS), verbose=0).history["bound"][0],
    "fit_of_a_nest": lambda m: m.fit({"a": X}, sample_weight=WEIGHTS, verbose=0).history["nll"][0],
    "fit_in_batches": lambda m: m.fit(
        X, sample_weight=tf.constant(WEIGHTS), batch_size=3, shuffle=False, verbose=0
    ).history["bound"][0],
    "validation": lambda m: m.fit(X, validation_data=(X, None, WEIGHTS), verbose=0).history[
        "val_loss"
    ][0],
    "validation_split": lambda m: m.fit(
        np.concatenate([X, X]), sample_weight=np.tile(WEIGHTS, 2), validation_split=0.5, verbose=0
    ).history["val_loss"][0],
    "dataset": lambda m: m.fit(
        tf.data.Dataset.from_tensors((X, np.zeros([4, 0], "float32"), WEIGHTS)), verbose=0
    ).history["loss"][0],
    "generator": lambda m: m.fit(iter_of((X, None, WEIGHTS)), verbose=0).history["loss"][0],
    "py_dataset": lambda m: m.fit(_Batches((X, None, WEIGHTS)), verbose=0).history["loss"][0],
    "evaluate": lambda m: m.evaluate(X, sample_weight=WEIGHTS, verbose=0, return_dict=True)["loss"],
    "evaluate_dataset": lambda m: m.evaluate(
        _Batches((X[:3], None, WEIGHTS[:3]), (X[3:], None, WEIGHTS[3:])), verbose=0
    )[0],
    "train_on_batch": lambda m: m.train_on_batch(X, sample_weight=WEIGHTS),
    "test_on_batch": lambda m: m.test_on_batch(X, sample_weight=WEIGHTS),
}


def iter_of(*batches):
    yield from batches


@pytest.mark.parametrize("door", sorted(DOORS))
def test_the_loss_is_the_weighted_mean_by_every_door(door):
    answer = DOORS[door](_model())
    answer = answer[0] if isinstance(answer, list) else answer
    assert answer == pytest.approx(_by_hand(X), rel=1e-6)
    assert abs(answer - _by_hand(X, np.ones(4))) > 0.1


def _eager_vae(x):
    """For one step eagerly: tracing four models would take most of the test's time."""
    optimizer = keras.optimizers.SGD(0.1)
    return compiled(dense_model("vae"), x, optimizer=optimizer, run_eagerly=True)


def test_the_step_is_that_of_the_weighted_loss():
    """An example of weight 0 might as well not be there; a common factor changes nothing."""
    x, weights = data(4), np.array([1.0, 0.0, 2.0, 0.0])
    ends = []
    for rows, own in ((slice(None), weights), (slice(None), 10 * weights), ([0, 2], [1.0, 2.0])):
        model = _eager_vae(x)
        model.fit(x[rows], sample_weight=own, shuffle=False, verbose=0)
        ends.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-5, atol=1e-6)
    other = _eager_vae(x)
    other.fit(x, shuffle=False, verbose=0)
    unweighted = np.concatenate([w.ravel() for w in other.get_weights()])
    assert np.abs(unweighted - ends[0]).max() > 1e-3


@pytest.mark.parametrize("make", [dense_model, text_model])
def test_a_vae_is_evaluated_by_the_weighted_mean(make):
    """Against the bound of each example, from the same noise."""
    x = data(4) if make is dense_model else tokens(4)
    model = compiled(make("vae"), x)
    single = []
    for row in range(4):
        weight = np.eye(4)[row]
        single.append(model.evaluate(x, sample_weight=weight, verbose=0, return_dict=True)["bound"])
    whole = model.evaluate(x, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    assert whole["bound"] == pytest.approx(np.average(single, weights=WEIGHTS), rel=1e-5)
    assert np.ptp(single) > 0.1


def test_a_language_model_too():
    x = tokens(4)
    model = AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0))
    model.compile(jit_compile=False)
    nll = -model.log_likelihood(x).numpy()
    got = model.evaluate(x, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    assert got["nll"] == pytest.approx(np.average(nll, weights=WEIGHTS), rel=1e-5)
    count = model.decoder.count_tokens(tf.constant(x)).numpy()
    per_token = np.sum(WEIGHTS * nll) / np.sum(WEIGHTS * count)
    assert got["perplexity"] == pytest.approx(np.exp(per_token), rel=1e-5)


WRONG = {
    r"expected one weight for each of the 4 examples of x, got 3": np.ones(3),
    r"expected one weight per example, shape \[N\]; got shape \[4, 1\]": np.ones([4, 1]),
    r"expected finite numbers, got 1 NaN or infinite of 4": [1.0, np.nan, 1.0, 1.0],
    r"expected numbers >= 0, got -1.0": [1.0, -1.0, 1.0, 1.0],
    r"expected a weight above 0, got only zeros": np.zeros(4),
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_wrong_weights_are_refused_by_every_door(message):
    model, weights = _model(), WRONG[message]
    for call in (
        lambda: model.fit(X, sample_weight=weights),
        lambda: model.fit(X, validation_data=(X, None, weights)),
        lambda: model.evaluate(X, sample_weight=weights),
        lambda: model.train_on_batch(X, sample_weight=weights),
        lambda: model.test_on_batch(X, sample_weight=weights),
    ):
        with pytest.raises(ValueError, match="sample_weight: " + message):
            call()


def test_weights_that_are_no_numbers():
    with pytest.raises(TypeError, match="sample_weight: expected numbers, got dtype str32"):
        _model().fit(X, sample_weight=["a"] * 4)


@pytest.mark.parametrize("rows", [None, 4])
def test_one_weight_of_a_stream_is_not_broadcast(rows):
    """Where shapes are known the sentence says it; else the step fails, and never broadcasts."""
    spec = (tf.TensorSpec([rows, 6]), tf.TensorSpec([rows, 0]), tf.TensorSpec([rows and 1]))
    batch = (X, np.zeros([4, 0], "float32"), np.ones(1, "float32"))
    source = tf.data.Dataset.from_generator(lambda: iter([batch]), output_signature=spec)
    errors = (ValueError, tf.errors.InvalidArgumentError)
    with pytest.raises(errors, match="sample_weight: expected one weight per example"):
        _model().fit(source, verbose=0)


def test_class_weights_mean_nothing_here():
    for call in (_model().fit, _model().train_on_batch):
        with pytest.raises(ValueError, match="class_weight: expected None, since the targets are"):
            call(X, class_weight={0: 2.0})


def test_evaluations_per_example_take_masks_alone():
    """They answer for each example: a weight of 2 would be dropped."""
    model = compiled(dense_model("vae"), X)
    no_target = np.zeros([4, 0], "float32")
    mask = tf.data.Dataset.from_tensors((X, no_target, np.array([1.0, 0.0, 1.0, 1.0])))
    assert evaluate_bounds(model, mask).bound.shape == (3,)
    weighted = tf.data.Dataset.from_tensors((X, no_target, WEIGHTS))
    with pytest.raises(ValueError, match="sample_weight: expected 1, or 0 for .*; got 0.5"):
        evaluate_bounds(model, weighted)


def test_weights_do_not_hide_a_nan():
    """An example of weight 0 that is NaN makes its batch unusable, and says so."""
    wrong = np.where(np.arange(4)[:, None] == 2, np.nan, X).astype("float32")
    rows = np.stack([X, wrong, wrong, wrong])  # NaN in the first batch is refused at the door.
    parts = (rows, np.zeros([4, 4, 0], "float32"), np.stack([WEIGHTS] * 4))
    with pytest.raises(NonFiniteError):
        _model().fit(tf.data.Dataset.from_tensor_slices(parts), verbose=0)


def test_weights_below_zero_in_a_stream():
    parts = (np.stack([X, X]), np.zeros([2, 4, 0], "float32"), np.stack([WEIGHTS, -WEIGHTS]))
    source = tf.data.Dataset.from_tensor_slices(parts)
    with pytest.raises(ValueError, match="sample_weight: expected numbers >= 0, got -"):
        _model().fit(source, verbose=0)
    with pytest.raises(ValueError, match="sample_weight: expected numbers >= 0, got -"):
        _model().fit((batch for batch in zip(*parts, strict=True)), steps_per_epoch=2, verbose=0)
