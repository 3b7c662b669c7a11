"""Programs that compute a step's gradient and its Hessian-vector product, sharing work.

Each has `specs`, the specs of the residuals that a step keeps, and

    gradient(step, parameters, seed) -> (values [B], gradient, kept)
    products(step, parameters, seed, kept, vector) -> (H_ll v, H_tl v)

on flat lists. `begin()` is called once before the loop of steps, in the graph of the loop.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

from tf_savae.autodiff import residuals
from tf_savae.autodiff.split_graph import SplitGraph
from tf_savae.autodiff.unsupported import named_operation
from tf_savae.svi import hvp as hvps
from tf_savae.svi.objective import Objective, dense, floating, with_floats
from tf_savae.svi.per_example import Tensors

__all__ = ["Operations", "Program", "Recomputed", "Taped", "Whole"]


class Recomputed:
    """Keeps nothing: the product recomputes everything. A step costs 2F and 6F."""

    level: str | None = None

    def __init__(
        self, objective: Objective, theta: Tensors, product: Callable | None = None
    ) -> None:
        self._objective, self._theta = objective, theta
        self._product: Any = product  # None if no product is taken.
        self.specs: list[tf.TensorSpec] = []

    def begin(self) -> None:
        pass

    def gradient(
        self, step: tf.Tensor, parameters: Tensors, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors, Tensors]:
        del step
        return *self._objective.gradient(parameters, self._theta, seed), []

    def products(
        self, step: tf.Tensor, parameters: Tensors, seed: tf.Tensor, kept: Any, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        del step, kept
        return self._product(self._objective, parameters, self._theta, seed, vector)


class Operations(Recomputed):
    """Keeps residuals of the decoder's operations that support it, see `autodiff.residuals`.

    Args:
      level: "states" or "all".
      parameters: lambda, for its shapes; a step's gradient is traced but not run.
    """

    def __init__(
        self, objective: Objective, theta: Tensors, parameters: Tensors, level: str
    ) -> None:
        super().__init__(objective, theta, hvps.forward_over_reverse)
        self.level = level
        specs = [tf.TensorSpec.from_tensor(p) for p in parameters]

        def step(parameters, seed):
            with residuals.recording(level) as kept:
                objective.gradient(parameters, theta, seed)
            return kept.entries()

        traced = tf.function(step, autograph=False)
        traced = traced.get_concrete_function(specs, tf.TensorSpec([2], tf.int32))
        self._entries = traced.structured_outputs
        self.specs = tf.nest.flatten(self._entries)

    def gradient(
        self, step: tf.Tensor, parameters: Tensors, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors, Tensors]:
        with residuals.recording(self.level) as kept:
            values, gradient, _ = super().gradient(step, parameters, seed)
        return values, gradient, tf.nest.flatten(kept.entries())

    def products(
        self, step: tf.Tensor, parameters: Tensors, seed: tf.Tensor, kept: Any, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        with residuals.replaying(tf.nest.pack_sequence_as(self._entries, kept)):
            return super().products(step, parameters, seed, None, vector)

    def check(self, parameters: Tensors) -> None:
        """Traces a product; raises the error of tracing if forward mode is not supported."""
        specs = [tf.TensorSpec.from_tensor(p) for p in parameters]

        def products(parameters, seed, kept, vector):
            return self.products(0, parameters, seed, kept, vector)

        kept = [tf.TensorSpec(s.shape, s.dtype) for s in self.specs]
        traced = tf.function(products, autograph=False)
        traced.get_concrete_function(specs, tf.TensorSpec([2], tf.int32), kept, specs)


class Whole:
    """Keeps all tensors that the reverse pass over a step's gradient needs; 2F and 4F.

    An unrolled program stores the same, but this one is a loop: its size does not grow with K, and
    tensors that do not depend on the step are neither stored nor recomputed.

    Raises:
      NotImplementedError: a step contains an operation that cannot be stored, such as a loop.
    """

    level = "all"

    def __init__(self, objective: Objective, theta: Tensors, parameters: Tensors) -> None:
        self._floats = floating(theta)
        self._invariant: list[tf.Tensor] = []  # Set by `begin`.

        @named_operation()
        def compute(varying, fixed, vector):
            *varying, seed = varying
            # Copies, so that gradients do not include other uses of the same tensors.
            lam, weights = ([tf.identity(t) for t in part] for part in (varying, fixed))
            values = objective.value(lam, with_floats(theta, weights), seed)
            gradient = dense(tf.gradients(tf.reduce_sum(values), lam), lam)
            sources = [*lam, *weights]
            products = tf.gradients(gradient, sources, grad_ys=vector)
            return [values, *gradient], dense(products, sources)

        seed = tf.TensorSpec([2], tf.int32)
        self._graph = SplitGraph(compute, [*parameters, seed], self._floats, parameters)
        self.specs = self._graph.stored

    def begin(self) -> None:
        self._invariant = self._graph.invariant(self._floats)

    def gradient(
        self, step: tf.Tensor, parameters: Tensors, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors, Tensors]:
        del step
        early, kept = self._graph.step([*parameters, seed], self._floats, self._invariant)
        return early[0], early[1:], kept

    def products(
        self, step: tf.Tensor, parameters: Tensors, seed: tf.Tensor, kept: Tensors, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        del step
        late = self._graph.deferred(
            [*parameters, seed], self._floats, self._invariant, kept, vector
        )
        return late[: len(parameters)], late[len(parameters) :]


class Taped:
    """The counterpart of `Whole` in eager mode: one tape per step."""

    level = "all"

    def __init__(self, objective: Objective, theta: Tensors) -> None:
        self._objective, self._theta = objective, theta
        self._tapes: dict[int, tuple] = {}
        self.specs: list[tf.TensorSpec] = []

    def begin(self) -> None:
        pass

    def gradient(
        self, step: tf.Tensor, parameters: Tensors, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors, Tensors]:
        sources = [*parameters, *floating(self._theta)]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(sources)
            values, gradient = self._objective.gradient(parameters, self._theta, seed)
        self._tapes[int(step)] = tape, gradient, sources
        return values, gradient, []

    @named_operation()
    def products(
        self, step: tf.Tensor, parameters: Tensors, seed: tf.Tensor, kept: Tensors, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        del seed, kept
        tape, gradient, sources = self._tapes[int(step)]
        found = dense(tape.gradient(gradient, sources, output_gradients=vector), sources)
        return found[: len(parameters)], found[len(parameters) :]


Program: TypeAlias = Recomputed | Whole | Taped
