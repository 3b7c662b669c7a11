"""Stop refinement per example once the ELBO stops improving."""

import tensorflow as tf

from tf_savae.svi import per_example
from tf_savae.svi.loop import Settings
from tf_savae.svi.objective import Objective
from tf_savae.svi.per_example import Tensors

__all__ = ["descend_until"]


def descend_until(
    objective: Objective, initial: Tensors, theta: Tensors, settings: Settings, tolerance: float
) -> tuple[Tensors, tf.Tensor, tf.Tensor]:
    """Takes at most K steps; an example stops after a step that improves its ELBO too little.

    All steps use the same noise, so that the compared ELBOs differ only in the parameters. The loop
    ends when all examples have stopped. Each example keeps its best parameters.

    Args:
      objective, initial, theta, settings: as in the plain loop (K may be an int tensor).
      tolerance: nats; a step that improves an example's best ELBO by less than this ends it.

    Returns:
      The best parameters (flat list), best negative ELBO [B] and steps taken [B] (int32).
    """
    seed = settings.seed
    steps = tf.convert_to_tensor(settings.steps)

    def keep(mask, new, old):
        return [
            tf.where(per_example.expand_like(mask, o), n, o) for n, o in zip(new, old, strict=True)
        ]

    def body(step, lam, state, best, best_value, active, taken):
        value, gradient = objective.gradient(lam, theta, seed)
        value = tf.cast(value, best_value.dtype)
        better = active & (value < best_value)
        enough = active & (value < best_value - tf.constant(tolerance, value.dtype))
        best = keep(better, lam, best)
        best_value = tf.where(better, value, best_value)
        active = enough & (step < steps)
        moved, following = settings.rule.update(settings.weights, gradient, state, lam, step)
        taken = taken + tf.cast(active, tf.int32)
        lam, state = keep(active, moved, lam), keep(active, following, state)
        return step + 1, lam, state, best, best_value, active, taken

    ones = tf.ones_like(per_example.norm(initial))
    start = (
        tf.constant(0),
        list(initial),
        settings.rule.init(settings.weights, initial),
        list(initial),
        ones * float("inf"),
        ones > 0,
        tf.zeros_like(ones, tf.int32),
    )
    _, _, _, best, best_value, _, taken = tf.while_loop(
        lambda step, *rest: (step <= steps) & tf.reduce_any(rest[4]),
        body,
        start,
        parallel_iterations=1,
    )
    return best, best_value, taken
