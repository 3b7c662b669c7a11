"""How a gradient crosses the refinement loop: the loop is written once, the adjoint chosen.

Each adjoint maps (objective, initial, theta, settings, probe) to (refined, values, norms), flat
lists, and decides what a surrounding tape will see.
"""

import tensorflow as tf

from tf_savae.svi import loop, rule
from tf_savae.svi.backward import pull_back
from tf_savae.svi.evaluation import floating, with_floats

__all__ = ["exact", "stop", "unrolled"]


def exact(objective, initial, theta, settings, probe, depth):
    """Algorithm 1's backward pass: memory constant in K, cost 2F forward and 6F back per step."""
    n = len(initial)
    m = len(floating(theta))

    @tf.custom_gradient
    def refined(*inputs):
        lam, weights = list(inputs[:n]), list(inputs[n : n + m])
        own = settings._replace(step_size=list(inputs[n + m : 2 * n + m]))
        full = with_floats(theta, weights)
        final, path = loop.stacked_path(objective, lam, full, own)

        def pull(*upstream):
            # The last two outputs are diagnostics: nothing flows back from them.
            back = pull_back(objective, full, path, list(upstream[:n]), own, depth)
            stability = tf.stack([back.growth, back.curvature], axis=1)
            return [*back.initial, *back.theta, *back.step_size, stability]

        if depth == 0:
            pull = _identity_pull(n, weights, own.step_size)
        return [*final, path.values, path.gradient_norms], pull

    outputs = _without_variables(refined, *initial, *floating(theta), *settings.step_size, probe)
    values, norms = (tf.stop_gradient(o) for o in outputs[n:])
    return outputs[:n], values, norms


def _without_variables(refined, *inputs):
    """Calls `refined`; a variable that it reads would get no gradient, so that is an error."""
    try:
        return refined(*inputs)
    except TypeError as error:
        if "function uses variables" not in str(error):
            raise
        raise ValueError(
            "negative_elbo: reads a trainable tf.Variable that is not in theta, whose gradient "
            'through the refinement would be lost; expected a pure function of (parameters, theta, '
            "seed). Pass the variable's value in theta, and use what negative_elbo receives."
        ) from error


def _identity_pull(n, weights, step_size):
    """The backward pass of `truncate=0`: straight to the initial parameters."""

    def pull(*upstream):
        bars = list(upstream[:n])
        zeros = [tf.zeros_like(t) for t in [*weights, *step_size]]
        size = rule.norm(bars)
        return [*bars, *zeros, tf.stack([tf.ones_like(size), tf.zeros_like(size)], axis=1)]

    return pull


def unrolled(objective, initial, theta, settings, probe):
    """Autodiff through K Python-unrolled steps: 6K F, memory and compile time grow with K."""
    del probe
    parameters = list(initial)
    velocity = [tf.zeros_like(p) for p in initial]
    values, norms = [], []
    for step in range(settings.steps):
        (parameters, velocity), (value, gradient) = loop.one_step(
            objective, parameters, velocity, theta, step, settings
        )
        values.append(tf.stop_gradient(tf.cast(value, initial[0].dtype)))
        norms.append(tf.stop_gradient(rule.norm(gradient)))
    return parameters, tf.stack(values), tf.stack(norms)


def stop(objective, initial, theta, settings, probe):
    """No gradient crosses: the refined parameters are constants (SVI, VAE + SVI)."""
    del probe
    initial = [tf.stop_gradient(p) for p in initial]
    theta = [tf.stop_gradient(t) for t in theta]
    settings = settings._replace(step_size=[tf.stop_gradient(a) for a in settings.step_size])
    final, path = loop.stacked_path(objective, initial, theta, settings)
    return [tf.stop_gradient(p) for p in final], path.values, path.gradient_norms
