"""What tests of replicas compare, in a process of its own with two logical CPU devices.

Run as a program, it trains each case in one process and on two replicas, and prints what came out
as JSON: {case: {name: largest difference or fact}}.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from keras_models import data, dense_model, relative_error, tokens

import tf_savae
from tf_savae.networks import TextDecoder

BATCH = 8


def devices(count=2):
    """Makes so many logical devices of the CPU; before TensorFlow does anything else."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    configuration = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, configuration)
    return [f"CPU:{i}" for i in range(count)]


def batches(x, weights=None):
    """(x, None, weights) in batches of 8, the last one of what is left."""
    weights = np.ones(len(x), x.dtype if x.dtype.kind == "f" else "float32") * weights
    dataset = tf.data.Dataset.from_tensor_slices((x, weights)).batch(BATCH)
    return dataset.map(lambda rows, own: (rows, None, own))


def fitted(strategy, make, x, *, weights=1.0, epochs=2, valid=None, jit_compile=False):
    """A model trained by gradient descent with momentum, clipping and a falling learning rate."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = make()
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.7)
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=0.5)
        model.compile(optimizer, jit_compile=jit_compile)
    validation = None if valid is None else batches(valid, 1.0)
    history = model.fit(
        batches(x, weights), epochs=epochs, validation_data=validation, verbose=0
    ).history
    return model, history


def _learned(model):
    return [variable.numpy() for variable in model.trainable_variables]


def compared(strategy, make, x, **options):
    """({name: difference of two replicas from one process}, the model of two replicas)."""
    one, expected = fitted(None, make, x, **options)
    two, history = fitted(strategy, make, x, **options)
    metrics = max(np.max(np.abs(np.subtract(history[n], expected[n]))) for n in expected)
    weights = relative_error(_learned(two), _learned(one))
    start = make()
    start.ensure_built(tf.constant(x[:2]))
    moved = relative_error(_learned(start), _learned(one))
    return {"weights": weights, "metrics": float(metrics), "moved": moved}, two, one


def refined(strategy):
    """SA-VAE, float64: 21 rows in batches of 8, 8 and 5, sample weights, validation."""
    weights = np.random.default_rng(3).uniform(0.2, 2.0, 21)

    def make():
        options = {"beta": tf_savae.linear_kl_weight(4), "path_weight": 0.5}
        return dense_model(steps=2, model=options)

    facts, two, one = compared(strategy, make, data(21), weights=weights, valid=data(11))
    facts["predict"] = float(np.abs(one.predict(data(9), 5, 0) - two.predict(data(9), 5, 0)).max())
    facts.update(_skipped(two))
    return facts


def _skipped(model):
    """A NaN on one replica: no replica takes the batch, and it counts once."""
    seen, learned = [], []
    x = data(16)
    x[13] = np.nan  # In the second batch: NaN in the first one is refused.

    def look(_, logs):
        seen.append(logs)
        learned.append(_learned(model))

    look = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    model.fit(batches(x, 1.0), verbose=0, callbacks=[look])
    moved = max(np.abs(a - b).max() for a, b in zip(*learned, strict=True))
    return {"skipped": float(seen[1]["skipped"]), "moved_by_nan": float(moved)}


def dropped(strategy):
    """A language model with dropout and word dropout: masks belong to rows; empty last part."""

    def make():
        keras.utils.set_random_seed(0)
        sizes = {"embedding_size": 4, "units": 5, "latent_size": 0, "initial_scale": 0.7}
        decoder = TextDecoder(20, **sizes, dropout=0.3, word_dropout=0.2)
        return tf_savae.AutoregressiveModel(decoder)

    return compared(strategy, make, tokens(17, 6), epochs=1)[0]


def compiled(strategy):
    """Gradients in one XLA program for each replica."""
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    facts, two, _ = compared(
        strategy, lambda: dense_model("vae"), data(16), epochs=1, jit_compile=True
    )
    programs = [key for key in two._traces.functions if key[:2] == ("replica", "train")]
    return {**facts, "programs": len(programs), "xla": bool(two.jit_compile)}


def keras_compiles_the_join(strategy):
    """What `fit` of a plain model does under jit_compile=True: None, or an error's name."""
    with strategy.scope():
        model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=True)
    try:
        model.fit(np.ones([4, 2]), np.ones([4, 1]), verbose=0)
    except Exception as error:  # noqa: BLE001 Any failure is what is looked for.
        return {"error": type(error).__name__}
    return {"error": None}


def keras_clips_parts(strategy):
    """How far one step under a clip goes: 1 if the sum is clipped, 2 if each replica's part is."""
    with strategy.scope():
        variable = keras.Variable(0.0)
        optimizer = keras.optimizers.SGD(1.0, global_clipnorm=1.0)
        optimizer.build([variable])

    @tf.function
    def step():
        strategy.run(lambda: optimizer.apply_gradients([(tf.constant(5.0), variable)]))

    step()
    return {"moved": abs(float(variable.numpy()))}


def main():
    strategy = tf.distribute.MirroredStrategy(devices())
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    cases = (refined, dropped, compiled, keras_compiles_the_join, keras_clips_parts)
    chosen = sys.argv[1:]
    found = {c.__name__: c(strategy) for c in cases if not chosen or c.__name__ in chosen}
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main()
