"""What tf.autodiff.ForwardAccumulator alone makes of loops and the like; no tf_savae in here.

`answers()` in a process that has imported the package, and this file as a script in one that has
not, are to say the same: `{case: its directional derivative, or its error}`.
"""

import json
import re
import sys

import tensorflow as tf

X = [[0.5, -1.0], [2.0, 0.25]]


def while_loop(x):
    return tf.while_loop(
        lambda i, _: i < 3, lambda i, y: (i + 1, tf.sin(y) * x), (tf.constant(0), x)
    )[1]


def cond(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: x * x, lambda: -x)


@tf.custom_gradient
def clipped(x):
    return tf.exp(x), lambda upstream: tf.clip_by_value(upstream, -1.0, 1.0) * x


def product(x):
    return tf.matmul(x, tf.matmul(tf.ones_like(x), x)) @ tf.constant(X)


def gradient(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.tanh(x @ x) ** 2)
    return tape.gradient(y, x)


def traced_inside(x):
    return tf.function(while_loop, autograph=False)(x)


def forward(function):
    def jvp(x):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = function(x)
        tangent = accumulator.jvp(y)
        return tf.constant("no tangent") if tangent is None else tangent

    return jvp


def backward_over_forward(function):
    def second(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            tangent = forward(function)(x)
        return tape.gradient(tangent, x)

    return second


def _answer(run):
    try:
        value = run(tf.constant(X)).numpy()
    except Exception as error:  # noqa: BLE001 Which one it is, is what is compared.
        return f"{type(error).__name__}: {re.sub('[0-9]+', '#', str(error))[:200]}"
    return value.decode() if isinstance(value, bytes) else value.tolist()


def answers():
    """Every function eagerly and in a graph, two also under XLA, differentiated once and twice."""
    found = {}
    for function in (while_loop, cond, clipped, product, gradient, traced_inside):
        for take in (forward, backward_over_forward):
            run = take(function)
            modes = {"eager": run, "graph": tf.function(run, autograph=False)}
            if take is forward and function in (while_loop, product):  # XLA takes seconds.
                modes["xla"] = tf.function(run, autograph=False, jit_compile=True)
            for mode, call in modes.items():
                name = getattr(function, "__name__", "clipped")
                found[f"{name}, {take.__name__}, {mode}"] = _answer(call)
    return found


if __name__ == "__main__":
    made = answers()
    assert not [name for name in sys.modules if name.startswith("tf_savae")]
    print(json.dumps(made))
