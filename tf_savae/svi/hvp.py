"""Hessian-vector products of the negative ELBO, H_ll v and H_tl v.

Every function of this module maps (objective, parameters, theta, seed, vector) to the pair
(H_ll v, H_tl v), where vector is a direction in the variational parameters (and 0 in theta), and
the Hessian is that of sum_b f_b. All arguments are flat lists of tensors; H_tl v has one entry for
each *float* leaf of theta.
"""

from collections.abc import Callable

import tensorflow as tf
from absl import logging

import tf_savae.autodiff.xla_slice_gradient  # noqa: F401 Registers gradients for XLA.
from tf_savae.autodiff import forward_mode
from tf_savae.autodiff.unsupported import named_operation
from tf_savae.core import validation
from tf_savae.svi import per_example
from tf_savae.svi.objective import Objective, dense, differentiate, floating, with_floats
from tf_savae.svi.per_example import Tensors

__all__ = [
    "EXACT",
    "METHODS",
    "automatic",
    "finite_difference",
    "forward_over_reverse",
    "resolve",
    "reverse_over_reverse",
]

# TensorFlow's errors for an operation without a derivative, or one that cannot be compiled.
CANNOT = (LookupError, NotImplementedError, TypeError, ValueError, tf.errors.OpError)


@named_operation()
def forward_over_reverse(
    objective: Objective, parameters: Tensors, theta: Tensors, seed: tf.Tensor, vector: Tensors
) -> tuple[Tensors, Tensors]:
    """Exact product from one forward-mode and one reverse-mode pass; cost 6F.

    `tf.autodiff.ForwardAccumulator` over `tf.GradientTape`. Inside a `tf.function`, a decoder with
    a time loop does not support this order. For such a decoder the accumulator is inside the tape:
    the directional derivative d = <grad f, v> in forward mode through the dual scan, then the
    gradient of d. The product and its cost are the same.
    """
    try:
        return _accumulator_over_tape(objective, parameters, theta, seed, vector)
    except forward_mode.LoopInForwardOverReverse:
        return _tape_over_accumulator(objective, parameters, theta, seed, vector)
    except TypeError as error:
        if "variant" not in str(error):
            raise
        raise ValueError(
            'hvp: "forward_over_reverse" does not support a while loop in the decoder (a Keras '
            "LSTM, tf.scan, tf.while_loop) or a tf.cond inside a tf.function. Write loops with "
            'tf_savae.svi.scan, or use hvp="reverse_over_reverse" with keep=None.'
        ) from error


def _accumulator_over_tape(objective, parameters, theta, seed, vector):
    with forward_mode.accumulate(parameters, vector, surrounds_tape=True) as forward:
        gradients, theta_gradients = objective.full_gradient(parameters, theta, seed)
    sources = [*parameters, *floating(theta)]
    tangents = [forward.jvp(g) for g in [*gradients, *theta_gradients]]
    tangents = dense(tangents, sources)
    return tangents[: len(parameters)], tangents[len(parameters) :]


def _tape_over_accumulator(objective, parameters, theta, seed, vector):
    sources = [*parameters, *floating(theta)]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        made = _operations()
        with forward_mode.accumulate(parameters, vector) as forward:
            total = tf.reduce_sum(objective.value(parameters, theta, seed))
        forward_mode.refuse_nested_functions(forward, _operations()[len(made) :])
        slope = forward.jvp(total, unconnected_gradients="zero")
    products = dense(tape.gradient(slope, sources), sources)
    return products[: len(parameters)], products[len(parameters) :]


def _operations():
    """Returns the operations of the current graph, in order of creation; [] in eager mode."""
    if tf.executing_eagerly():
        return []
    return tf.compat.v1.get_default_graph().get_operations()


@named_operation()
def reverse_over_reverse(
    objective: Objective, parameters: Tensors, theta: Tensors, seed: tf.Tensor, vector: Tensors
) -> tuple[Tensors, Tensors]:
    """Exact product by differentiating <grad f, v> in reverse mode, for any decoder; cost 6F."""
    count = len(parameters)

    def slope(sources):
        weights = with_floats(theta, sources[count:])

        def total(lam):
            return tf.reduce_sum(objective.value(lam, weights, seed))

        return tf.reduce_sum(per_example.inner(differentiate(total, sources[:count]), vector))

    products = differentiate(slope, [*parameters, *floating(theta)])
    return products[:count], products[count:]


def finite_difference(
    objective: Objective, parameters: Tensors, theta: Tensors, seed: tf.Tensor, vector: Tensors
) -> tuple[Tensors, Tensors]:
    """Central differences of the gradient; cost 6F, error about 1e-3 in float32.

    For comparison, and for decoders without second derivatives. Each example has its own step,
    eps (1 + |lambda_b|) along v_b, so that the scales of examples may differ. With weights
    1 / (2 s_b) inside the objective, the theta part is one sum over examples.
    """
    size = per_example.norm(vector)
    eps = 1e-2 if size.dtype == tf.float32 else 1e-5
    scale = per_example.divide_safely(eps * (1.0 + per_example.norm(parameters)), size)
    weights = per_example.divide_safely(tf.ones_like(scale), 2.0 * scale)

    def moved(sign):
        return [
            p + sign * per_example.expand_like(scale, p) * v
            for p, v in zip(parameters, vector, strict=True)
        ]

    plus = objective.full_gradient(moved(1.0), theta, seed, weights)
    minus = objective.full_gradient(moved(-1.0), theta, seed, weights)
    products, theta_products = (
        [a - b for a, b in zip(up, down, strict=True)] for up, down in zip(plus, minus, strict=True)
    )
    return products, theta_products


def automatic(
    objective: Objective, parameters: Tensors, theta: Tensors, seed: tf.Tensor, vector: Tensors
) -> tuple[Tensors, Tensors]:
    """Forward over reverse if the decoder supports it, else reverse over reverse."""
    try:
        return forward_over_reverse(objective, parameters, theta, seed, vector)
    except CANNOT as error:
        logging.log_first_n(
            logging.WARNING,
            "hvp='auto': forward mode does not support this decoder (%s: %s); using "
            "reverse_over_reverse. Write its time loop with tf_savae.svi.scan to support both.",
            1,
            type(error).__name__,
            str(error).splitlines()[0] if str(error) else "",
        )
        return reverse_over_reverse(objective, parameters, theta, seed, vector)


EXACT = ("forward_over_reverse", "reverse_over_reverse")
METHODS = {
    "auto": automatic,
    "forward_over_reverse": forward_over_reverse,
    "reverse_over_reverse": reverse_over_reverse,
    "finite_difference": finite_difference,
}


def resolve(hvp: str | Callable) -> Callable:
    """Returns the function of a Hessian-vector product; a callable is returned unchanged.

    >>> resolve("reverse_over_reverse") is reverse_over_reverse
    True
    """
    if callable(hvp):
        return hvp
    return METHODS[validation.choice("hvp", hvp, tuple(METHODS))]
