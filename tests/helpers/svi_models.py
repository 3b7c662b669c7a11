"""Small decoders in float64, for the tests of refinement.

Each model is a negative ELBO as `refine` wants it, twice: `objective` as a user would write it, and
`reference`, the same mathematics without any of the package's or Keras' code. Noise comes from a
fixed table indexed by the step (the last word of a step's seed), because TensorFlow draws other
stateless numbers under XLA than in eager mode.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.autodiff import scan
from tf_savae.networks import lstm, token_nll

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


def slicing(rows=None):
    """Concatenates, splits, slices and pads: operations whose derivatives XLA treats specially."""
    draw = _Draw(5, rows)
    theta = draw.weights(2 * LATENT, HIDDEN)
    x, initial, noise = draw.rows(HIDDEN), draw.initial(), draw.noise()

    def log_likelihood(z, theta):
        hidden = tf.tanh(tf.concat([z, tf.sin(z)], axis=1) @ theta)
        left, right = tf.split(hidden, 2, axis=1)
        middle, first = hidden[:, 1:3], tf.slice(hidden, [0, 0], [-1, 2])
        gathered = tf.gather(hidden, [2, 0], axis=1)
        columns = tf.unstack(hidden, axis=1)
        parts = tf.stack([left, right, middle, first, gathered], axis=1)
        misfit = tf.reduce_sum((tf.pad(left * right, [[0, 0], [1, 1]]) - x) ** 2, axis=1)
        return columns[0] * columns[3] - tf.reduce_sum(parts**4, axis=[1, 2]) - misfit

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


def fused_text(rows=None):
    """The package's own LSTM and fused softmax, whose derivatives are written by hand."""
    draw, theta, tokens, initial, noise = _text(rows, 6)
    del theta["input"], theta["state"], theta["code"]
    theta |= {
        "gates": draw.weights(EMBEDDING + LATENT, 4 * HIDDEN),
        "recurrent": draw.weights(HIDDEN, 4 * HIDDEN),
        "bias": draw.weights(WORDS),
    }

    def projected(z, theta):
        embedded = tf.gather(theta["embedding"], tf.transpose(tokens[:, :-1]))
        codes = tf.broadcast_to(z, [TIME, *z.shape])
        return tf.concat([embedded, codes], axis=2) @ theta["gates"]

    def fused(z, theta):
        start = z @ theta["start"]
        states = lstm(projected(z, theta), theta["recurrent"], start, tf.tanh(start))
        targets = tf.cast(tf.reshape(tf.transpose(tokens[:, 1:]), [-1]), tf.int32)
        nll = token_nll(tf.reshape(states, [-1, HIDDEN]), theta["softmax"], theta["bias"], targets)
        return -tf.reduce_sum(tf.reshape(nll, [TIME, -1]), axis=0)

    def looped(z, theta):
        state = z @ theta["start"]
        carry, logits = tf.tanh(state), []
        for inputs in tf.unstack(projected(z, theta)):
            gates = tf.split(inputs + state @ theta["recurrent"], 4, axis=1)
            carry = tf.sigmoid(gates[1]) * carry + tf.sigmoid(gates[0]) * tf.tanh(gates[2])
            state = tf.sigmoid(gates[3]) * tf.tanh(carry)
            logits.append(state @ theta["softmax"] + theta["bias"])
        return _word_log_likelihood(tokens, tf.stack(logits))

    return Model(_gaussian(fused, noise), _gaussian(looped, noise), initial, theta)


MODELS = {
    "dense": dense,
    "slicing": slicing,
    "convolutional": convolutional,
    "recurrent": recurrent,
    "late_code": late_code,
    "keras_lstm": keras_lstm,
    "fused_text": fused_text,
}
