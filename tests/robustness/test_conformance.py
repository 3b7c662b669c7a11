"""Properties that every kind of model has: weights, files, settings, doors, rows, precision."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_kinds import KINDS, ROWS

from tf_savae import generation
from tf_savae.models.objective_builder import standardized

WEIGHTS = np.array([0.5, 2.0, 0.0, 3.0], "float32")
EVERY = pytest.mark.parametrize("name", sorted(KINDS))
LATENT = pytest.mark.parametrize("name", sorted(set(KINDS) - {"baseline"}))


@functools.cache
def _shared(name):
    """One model of each kind, whose weights no test changes."""
    return _compiled(name)


def _compiled(name, rate=0.0):
    keras.utils.set_random_seed(0)
    model = KINDS[name].make()
    model.compile(keras.optimizers.SGD(rate), jit_compile=False)
    model(KINDS[name].x)
    return model


def _rows(nest, rows):
    return keras.tree.map_structure(lambda part: part[rows], nest)


def _numbers(model, x, **kwargs):
    return model.evaluate(x, verbose=0, return_dict=True, **kwargs)


def _batches(*batches):
    yield from batches


@EVERY
def test_weights_count_by_every_door(name):
    """The weighted mean of what each example has by itself, from the same noise."""
    model, x = _shared(name), KINDS[name].x
    single = [_numbers(model, x, sample_weight=one)["bound"] for one in np.eye(4, dtype="float32")]
    wanted = pytest.approx(np.average(single, weights=WEIGHTS), rel=1e-4)
    assert abs(np.mean(single) - np.average(single, weights=WEIGHTS)) > 1e-3
    batch = (x, np.zeros([ROWS, 0], "float32"), WEIGHTS)
    assert _numbers(model, x, sample_weight=WEIGHTS)["bound"] == wanted
    assert _numbers(model, tf.data.Dataset.from_tensor_slices(batch).batch(4))["bound"] == wanted
    assert _numbers(model, _batches((x, None, WEIGHTS)))["bound"] == wanted
    assert model.test_on_batch(x, sample_weight=WEIGHTS, return_dict=True)["bound"] == wanted


@EVERY
def test_training_counts_weights_and_runs_callbacks(name, tmp_path):
    """By `fit` and `train_on_batch` the same loss; what callbacks read and write is there."""
    model, x = _shared(name), KINDS[name].x
    best = {"monitor": "val_bound", "mode": "min"}
    model.optimizer.iterations.assign(0)  # The noise of a step depends on it.
    history = model.fit(
        x,
        sample_weight=WEIGHTS,
        validation_data=(x, None, WEIGHTS),
        callbacks=[
            keras.callbacks.ModelCheckpoint(
                str(tmp_path / "best.weights.h5"), **best, save_weights_only=True
            ),
            keras.callbacks.EarlyStopping(**best),
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        ],
        batch_size=ROWS,
        shuffle=False,
        verbose=0,
    ).history
    assert history["val_bound"][0] == pytest.approx(
        _numbers(model, x, sample_weight=WEIGHTS)["bound"], rel=1e-5
    )
    model.load_weights(tmp_path / "best.weights.h5")
    header = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert {"bound", "val_bound", "loss"} <= set(header)
    model.optimizer.iterations.assign(0)
    logs = model.train_on_batch(x, sample_weight=WEIGHTS, return_dict=True)
    assert logs["loss"] == pytest.approx(history["loss"][0], rel=1e-3)  # Statistics have moved.


@EVERY
def test_saved_and_loaded(name, tmp_path):
    model, x = _shared(name), KINDS[name].x
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.built
    plain = [
        {name: value for name, value in m.get_config().items() if not isinstance(value, dict)}
        for m in (again, model)
    ]
    assert plain[0] == plain[1]
    assert _numbers(again, x) == pytest.approx(_numbers(model, x), rel=1e-4)


@EVERY
def test_doors_of_a_model_without_weights(name, tmp_path):
    """Each works, or says in one sentence what to do; none leaves half a model."""
    kind = KINDS[name]
    model = kind.make()
    model.summary(print_fn=lambda *_, **__: None)
    for door in (
        lambda: model.generate(2),
        lambda: generation.sample(model, 2),
        lambda: model.save_weights(tmp_path / "none.weights.h5"),
        lambda: model.count_params(),
        lambda: model.build(),
    ):
        with pytest.raises(ValueError, match="built|with weights|expected the shape of x"):
            door()
    for door in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="expected a compiled model. Call compile"):
            door(kind.x)
    with pytest.raises(ValueError, match="model: expected .* without weights"):
        model.export(tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
    with pytest.raises(NotImplementedError, match="compute_loss: .* Use evaluate or test_on_batch"):
        model.compute_loss(kind.x)
    with pytest.raises(ValueError, match="x: expected data, got a symbolic keras.KerasTensor"):
        model(keras.Input([6]))
    assert not model.built
    if kind.shape is not None:
        model.build(kind.shape)
        assert model.count_params() == _shared(name).count_params()
    assert model.predict(kind.x, verbose=0).shape[0] == ROWS
    assert model.count_params() == _shared(name).count_params()
    model.set_weights(_shared(name).get_weights())
    assert model.get_build_config() == _shared(name).get_build_config()


@EVERY
def test_samples_do_not_depend_on_how_many(name):
    model, kind = _shared(name), KINDS[name]
    whole = model.generate(ROWS, seed=1, **kind.options, **kind.by_row).numpy()
    for first, last in ((0, 2), (2, 4)):
        rows = {option: values[first:last] for option, values in kind.by_row.items()}
        part = model.generate(last - first, seed=1, first=first, **kind.options, **rows)
        np.testing.assert_allclose(part, whole[first:last], atol=1e-5)
    assert len(np.unique(whole.reshape(ROWS, -1), axis=0)) > 1


@LATENT
def test_an_example_s_answer_does_not_depend_on_its_batch(name):
    """Nor on the batch size of what works in batches; without noise also that of `infer`."""
    model, kind, x = _shared(name), KINDS[name], KINDS[name].x
    whole = model.reconstruct(x, seed=1, **kind.options, **kind.by_row).numpy()
    rows = {option: values[2:] for option, values in kind.by_row.items()}
    part = model.reconstruct(_rows(x, slice(2, None)), seed=1, first=2, **kind.options, **rows)
    np.testing.assert_allclose(part, whole[2:], atol=1e-4)
    means = [generation.posterior_means(model, x, batch_size=size) for size in (2, 4)]
    np.testing.assert_allclose(means[0], means[1], atol=1e-5)
    alone, other = (model.encoded_parameters(_rows(x, rows)) for rows in ([2], [2, 0]))
    for one, two in zip(tf.nest.flatten(alone), tf.nest.flatten(other), strict=True):
        np.testing.assert_allclose(one[0], two[0], atol=1e-5)


@EVERY
@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16"])
def test_precision_policies(name, policy):
    """The bound of the same weights, in the policy's precision; sums over x never in half."""
    reference, x = _shared(name), KINDS[name].x
    latent = hasattr(reference, "refinement")
    if policy == "float64":
        keras.config.set_floatx("float64")
    keras.config.set_dtype_policy(policy)
    model = _compiled(name)
    model.set_weights(reference.get_weights())
    ours, theirs = (_log_likelihood(m, x) for m in (model, reference))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4 if policy == "float64" else 0.05)
    outcome = model._outcome(standardized(model, x) if latent else x, [0, 1], 1.0, False, None)
    assert np.isfinite(outcome.loss).all()
    assert outcome.terms.bound.dtype == ("float64" if policy == "float64" else "float32")


def _log_likelihood(model, x):
    """log p(x | z) [B] at the encoder's own means: nothing is drawn."""
    if not hasattr(model, "refinement"):
        return model.log_likelihood(x).numpy()
    x = standardized(model, x)
    z = model.family.distribution(model.encoded_parameters(x)).mean()
    return model.decoder(x, z).numpy()


@EVERY
def test_a_changed_setting_takes_effect(name):
    model, x = _shared(name), KINDS[name].x
    before = _numbers(model, x)
    owner, setting, value = (model, "beta", 0.25) if "beta" in before else (model, "seed", 3)
    old = getattr(owner, setting)
    setattr(owner, setting, value)
    try:
        changed = _numbers(model, x)
        assert changed.get("beta", 0.25) == 0.25
        assert model.get_config()[setting] == value
    finally:
        setattr(owner, setting, old)
    with pytest.raises(ValueError, match="decoder: cannot be changed after the"):
        model.decoder = KINDS[name].make().decoder
