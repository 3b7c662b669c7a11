"""Small decoders in float64, and refinement written down once more in the plainest way.

Each model is a negative ELBO as `refine` wants it, twice: `objective` as a user would write it, and
`reference`, the same mathematics without any of the package's or Keras' code. Noise comes from a
fixed table indexed by the step (the last word of a step's seed), because TensorFlow draws other
stateless numbers under XLA than in eager mode.
"""

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.svi import refine, scan

BATCH, LATENT, NOISES = 3, 2, 21
FEATURES, HIDDEN, WORDS, TIME, EMBEDDING = 5, 4, 6, 4, 3


class Model(NamedTuple):
    """A negative ELBO in two versions, and where to evaluate it."""

    objective: Any
    reference: Any
    initial: Any  # (mean [B, Z], log_variance [B, Z]).
    theta: Any  # Nest of float64 tensors.


class _Draw:
    """Reproducible float64 constants, each batch row cut out by `rows`."""

    def __init__(self, seed, rows):
        self._rng = np.random.default_rng(seed)
        self._rows = slice(None) if rows is None else rows

    def weights(self, *shape, scale=0.7):
        return tf.constant(scale * self._rng.normal(size=shape))

    def rows(self, *shape, scale=1.0):
        return tf.constant(scale * self._rng.normal(size=(BATCH, *shape))[self._rows])

    def noise(self):
        return tf.constant(self._rng.normal(size=(NOISES, BATCH, LATENT))[:, self._rows])

    def bits(self, *shape):
        return tf.constant(self._rng.integers(0, 2, (BATCH, *shape))[self._rows], tf.float64)

    def tokens(self):
        return tf.constant(self._rng.integers(0, WORDS, (BATCH, TIME + 1))[self._rows])

    def initial(self):
        return self.rows(LATENT, scale=0.8), self.rows(LATENT, scale=0.5)


def _gaussian(log_likelihood, noise):
    """-log p(x | z) + KL, [B], for the diagonal Gaussian whose parameters come first."""

    def negative_elbo(parameters, theta, seed):
        mean, log_variance = (tf.cast(p, noise.dtype) for p in parameters)
        eps = tf.gather(noise, tf.math.floormod(seed[1], NOISES))
        z = mean + tf.exp(0.5 * log_variance) * eps
        kl = 0.5 * tf.reduce_sum(tf.exp(log_variance) + mean**2 - 1 - log_variance, axis=1)
        return kl - log_likelihood(z, theta)

    return negative_elbo


def dense(rows=None):
    """Two dense layers and a unit Gaussian likelihood."""
    draw = _Draw(0, rows)
    theta = {
        "w1": draw.weights(LATENT, HIDDEN),
        "b1": draw.weights(HIDDEN),
        "w2": draw.weights(HIDDEN, FEATURES),
    }
    x, initial, noise = draw.rows(FEATURES), draw.initial(), draw.noise()

    def log_likelihood(z, theta):
        mean = tf.tanh(z @ theta["w1"] + theta["b1"]) @ theta["w2"]
        return -0.5 * tf.reduce_sum((x - mean) ** 2, axis=1)

    objective = _gaussian(log_likelihood, noise)
    return Model(objective, objective, initial, theta)


def convolutional(rows=None):
    """A transposed convolution 2x2 -> 4x4, a convolution and a Bernoulli likelihood."""
    draw = _Draw(1, rows)
    theta = {
        "first": draw.weights(LATENT, 12),
        "up": draw.weights(3, 3, 4, 3, scale=0.5),
        "out": draw.weights(3, 3, 4, 1, scale=0.5),
    }
    x, initial, noise = draw.bits(4, 4, 1), draw.initial(), draw.noise()

    def log_likelihood(z, theta):
        image = tf.reshape(tf.tanh(z @ theta["first"]), [-1, 2, 2, 3])
        shape = [x.shape[0], 4, 4, 4]
        image = tf.tanh(tf.nn.conv2d_transpose(image, theta["up"], shape, 2))
        logits = tf.nn.conv2d(image, theta["out"], 1, "SAME")
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
        return -tf.reduce_sum(losses, axis=[1, 2, 3])

    objective = _gaussian(log_likelihood, noise)
    return Model(objective, objective, initial, theta)


def _cell(theta, state, embedded, z):
    inputs = tf.concat([embedded, z], axis=1)
    return tf.tanh(inputs @ theta["input"] + state @ theta["state"])


def _word_log_likelihood(tokens, logits):
    """Sum over time of log p(word), [B]; logits [T, B, V], words tokens[:, 1:]."""
    targets = tf.transpose(tokens[:, 1:])
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    return -tf.reduce_sum(losses, axis=0)


def _text(rows, seed):
    draw = _Draw(seed, rows)
    theta = {
        "embedding": draw.weights(WORDS, EMBEDDING),
        "input": draw.weights(EMBEDDING + LATENT, HIDDEN),
        "state": draw.weights(HIDDEN, HIDDEN),
        "start": draw.weights(LATENT, HIDDEN),
        "softmax": draw.weights(HIDDEN, WORDS),
        "code": draw.weights(LATENT, WORDS),
    }
    return draw, theta, draw.tokens(), draw.initial(), draw.noise()


def recurrent(rows=None):
    """A recurrent decoder with z in its first state and in every input, through `svi.scan`."""
    _, theta, tokens, initial, noise = _text(rows, 2)

    def scanned(z, theta):
        embedded = tf.gather(theta["embedding"], tf.transpose(tokens[:, :-1]))
        codes = tf.broadcast_to(z, [TIME, *z.shape])

        def step(state, inputs):
            state = _cell(theta, state, *inputs)
            return state, state

        _, states = scan(step, tf.tanh(z @ theta["start"]), (embedded, codes))
        return _word_log_likelihood(tokens, tf.einsum("tbh,hv->tbv", states, theta["softmax"]))

    def looped(z, theta):
        state, logits = tf.tanh(z @ theta["start"]), []
        for t in range(TIME):
            state = _cell(theta, state, tf.gather(theta["embedding"], tokens[:, t]), z)
            logits.append(state @ theta["softmax"])
        return _word_log_likelihood(tokens, tf.stack(logits))

    return Model(_gaussian(scanned, noise), _gaussian(looped, noise), initial, theta)


def late_code(rows=None):
    """A recurrence that z does not touch: z joins only behind it, as in the oracle experiment."""
    _, theta, tokens, initial, noise = _text(rows, 3)

    def words(states, z, theta):
        logits = tf.einsum("tbh,hv->tbv", states, theta["softmax"]) + z @ theta["code"]
        return _word_log_likelihood(tokens, tf.tanh(logits))

    def scanned(z, theta):
        embedded = tf.gather(theta["embedding"], tf.transpose(tokens[:, :-1]))

        def step(state, inputs):
            state = _cell(theta, state, inputs, tf.zeros_like(z))
            return state, state

        start = tf.zeros([z.shape[0], HIDDEN], z.dtype)
        return words(scan(step, start, embedded)[1], z, theta)

    def looped(z, theta):
        state, states = tf.zeros([z.shape[0], HIDDEN], z.dtype), []
        for t in range(TIME):
            embedded = tf.gather(theta["embedding"], tokens[:, t])
            state = _cell(theta, state, embedded, tf.zeros_like(z))
            states.append(state)
        return words(tf.stack(states), z, theta)

    return Model(_gaussian(scanned, noise), _gaussian(looped, noise), initial, theta)


def keras_lstm(rows=None):
    """keras.layers.LSTM as a pure function of its weights; its while loop is Keras' own."""
    draw, theta, tokens, initial, noise = _text(rows, 4)
    layer = keras.layers.LSTM(HIDDEN, return_sequences=True, use_cudnn=False, dtype="float64")
    layer.build([None, TIME, EMBEDDING + LATENT])
    theta = {
        "embedding": theta["embedding"],
        "softmax": theta["softmax"],
        "lstm": [draw.weights(*v.shape) for v in layer.trainable_variables],
    }

    def kerased(z, theta):
        embedded = tf.gather(theta["embedding"], tokens[:, :-1])
        codes = tf.broadcast_to(z[:, None], [z.shape[0], TIME, LATENT])
        inputs = tf.concat([embedded, codes], axis=2)
        non_trainable = [v.value for v in layer.non_trainable_variables]
        states, _ = layer.stateless_call(theta["lstm"], non_trainable, inputs)
        logits = tf.einsum("bth,hv->tbv", states, theta["softmax"])
        return _word_log_likelihood(tokens, logits)

    def looped(z, theta):
        kernel, recurrent_kernel, bias = theta["lstm"]
        state, carry, logits = 2 * [tf.zeros([z.shape[0], HIDDEN], z.dtype)] + [[]]
        for t in range(TIME):
            inputs = tf.concat([tf.gather(theta["embedding"], tokens[:, t]), z], axis=1)
            gates = tf.split(inputs @ kernel + state @ recurrent_kernel + bias, 4, axis=1)
            enter, forget, leave = (tf.sigmoid(gates[i]) for i in (0, 1, 3))
            carry = forget * carry + enter * tf.tanh(gates[2])
            state = leave * tf.tanh(carry)
            logits.append(state @ theta["softmax"])
        return _word_log_likelihood(tokens, tf.stack(logits))

    return Model(_gaussian(kerased, noise), _gaussian(looped, noise), initial, theta)


MODELS = {
    "dense": dense,
    "convolutional": convolutional,
    "recurrent": recurrent,
    "late_code": late_code,
    "keras_lstm": keras_lstm,
}


def step_sizes(scale=0.2):
    """A step size for (mean, log_variance): one scalar tensor, one tensor [Z]."""
    return tf.constant(scale, tf.float64), tf.constant([0.7 * scale, 0.4 * scale], tf.float64)


def plain_refine(
    negative_elbo, initial, theta, step_size, *, steps, momentum=0.5, clip_norm=None, exact_from=0
):
    """Algorithm 1 as a Python loop that an outer tape records: (refined, norms [K, B]).

    Before step `exact_from` the derivative crosses the steps as if they were the identity.
    """
    start = tf.nest.flatten(initial)
    sizes = tf.nest.flatten(step_size)
    lam, velocity, norms = list(start), [tf.zeros_like(p) for p in start], []
    for k in range(steps):
        if k == exact_from and k:
            moved = [tf.stop_gradient(p - s) for p, s in zip(lam, start, strict=True)]
            lam = [s + m for s, m in zip(start, moved, strict=True)]
            velocity = [tf.stop_gradient(u) for u in velocity]
        with tf.GradientTape() as tape:
            tape.watch(lam)
            parameters = tf.nest.pack_sequence_as(initial, lam)
            value = tf.reduce_sum(negative_elbo(parameters, theta, tf.constant([0, k])))
        gradient = tape.gradient(value, lam)
        square = sum(tf.reduce_sum(g**2, axis=list(range(1, g.shape.rank))) for g in gradient)
        size = tf.sqrt(square)
        norms.append(size)
        if clip_norm is not None:
            factor = tf.minimum(tf.ones_like(size), clip_norm / size)
            gradient = [tf.einsum("b,b...->b...", factor, g) for g in gradient]
        velocity = [momentum * u - g for u, g in zip(velocity, gradient, strict=True)]
        lam = [p + a * u for p, a, u in zip(lam, sizes, velocity, strict=True)]
    if steps and exact_from >= steps:
        moved = [tf.stop_gradient(p - s) for p, s in zip(lam, start, strict=True)]
        lam = [s + m for s, m in zip(start, moved, strict=True)]
    return tf.nest.pack_sequence_as(initial, lam), norms


def total_gradient(refined, negative_elbo, initial, theta, step_size, steps):
    """Differentiates the loss of training, sum_b w_b f_b(lambda_K), in all that it depends on.

    Args:
      refined: maps (initial, theta, step_size) to the nest of refined parameters.

    Returns:
      {"loss", "refined", "initial", "theta", "step_size"}, the last three gradients.
    """
    nests = {"initial": initial, "theta": theta, "step_size": step_size}
    nests = tf.nest.map_structure(tf.identity, nests)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(nests)
        final = refined(nests["initial"], nests["theta"], nests["step_size"])
        values = negative_elbo(final, nests["theta"], tf.constant([0, steps]))
        weights = tf.cast(tf.linspace(0.5, 1.5, values.shape[0]), values.dtype)
        loss = tf.reduce_sum(weights * values)
    gradients = tape.gradient(loss, nests, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    dense = tf.nest.map_structure(tf.convert_to_tensor, gradients)
    return {"loss": loss, "refined": final, **dense}


def in_mode(function, mode):
    """`function` run "eager", as a tf.function ("graph") or compiled by "xla"."""
    if mode == "eager":
        return function
    return tf.function(function, autograph=False, jit_compile=mode == "xla")


def refined_gradient(model, mode="graph", *, steps, **options):
    """The total gradient through `refine` at the model's own point."""

    def run(initial, theta, step_size):
        def refined(*inputs):
            return refine(
                model.objective, *inputs[:2], steps=steps, step_size=inputs[2], seed=9, **options
            )

        return total_gradient(refined, model.objective, initial, theta, step_size, steps)

    return in_mode(run, mode)(model.initial, model.theta, step_sizes())


@functools.cache
def plain_gradient(name, *, steps, **options):
    """The same by taping a Python loop: (total gradient, gradient norms [K, B])."""
    model, norms = MODELS[name](), []

    def refined(*inputs):
        final, seen = plain_refine(model.reference, *inputs, steps=steps, **options)
        norms.extend(seen)
        return final

    gradient = total_gradient(
        refined, model.reference, model.initial, model.theta, step_sizes(), steps
    )
    return gradient, np.asarray(norms)


def relative_error(got, expected):
    """|got - expected| / |expected| over all leaves of two nests, in float64."""
    tf.nest.assert_same_structure(got, expected)

    def flat(nest):
        leaves = [np.asarray(leaf, np.float64).ravel() for leaf in tf.nest.flatten(nest)]
        return np.concatenate(leaves)

    size = np.linalg.norm(flat(expected))
    gap = np.linalg.norm(flat(got) - flat(expected))
    return gap / size if size else gap


def assert_close(got, expected, bound, parts=("loss", "refined", "initial", "theta", "step_size")):
    """Each part of two dictionaries agrees to the relative error `bound`."""
    errors = {part: relative_error(got[part], expected[part]) for part in parts}
    wrong = {part: error for part, error in errors.items() if not error <= bound}
    assert not wrong, f"relative errors {wrong}, allowed {bound}"
