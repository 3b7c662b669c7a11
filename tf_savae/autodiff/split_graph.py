"""Splits a traced computation into an invariant, a step and a deferred part.

The invariant part does not depend on the step and is computed once, before the loops. The step part
runs in a loop of steps, and the deferred part in a second loop. `SplitGraph` determines which
tensors of the step part the deferred part needs; the first loop stores them. Views, shapes and
constants are recomputed instead of stored.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["SplitGraph"]

_Tensors = Sequence[tf.Tensor]

# Recomputed in the deferred part: their cost is negligible, and their inputs are not larger.
_VIEWS = frozenset(
    "Const Identity IdentityN StopGradient PreventGradient Reshape Squeeze ExpandDims Shape ShapeN "
    "Size Rank ZerosLike OnesLike Fill BroadcastTo BroadcastGradientArgs Snapshot".split()
)
_MOST = 16  # Largest integer tensor that is treated as a shape and recomputed.


class SplitGraph:
    """The split trace of `compute(varying, fixed, deferred) -> (early outputs, late outputs)`.

    Args:
      compute: a function of three flat lists of tensors; the early outputs do not depend on
        `deferred`.
      varying, fixed, deferred: flat lists of tensors or specs; only shapes and dtypes are used.

    Raises:
      NotImplementedError: the deferred part needs a tensor that a loop cannot store, such as a
        tensor list of a while loop or a tensor of unknown rank, or `compute` reads a variable.

    >>> def compute(varying, fixed, deferred):
    ...     root = tf.sin(varying[0]) * fixed[0]
    ...     return [root], [tf.exp(root) * deferred[0]]
    >>> graph = SplitGraph(compute, [tf.zeros([2])], [tf.zeros([])], [tf.zeros([2])])
    >>> [spec.shape.as_list() for spec in graph.stored]
    [[2]]
    """

    def __init__(
        self,
        compute: Callable[..., tuple[list[tf.Tensor], list[tf.Tensor]]],
        varying: Sequence[Any],
        fixed: Sequence[Any],
        deferred: Sequence[Any],
    ) -> None:
        specs = [[_spec(tensor) for tensor in part] for part in (varying, fixed, deferred)]
        traced = tf.function(compute, autograph=False).get_concrete_function(*specs)
        early, late = traced.structured_outputs
        self._definition = traced.graph.as_graph_def()
        inputs = traced.graph.inputs
        counts = [len(part) for part in specs]
        own = inputs[: sum(counts)]
        self._varying = own[: counts[0]]
        self._fixed = own[counts[0] : counts[0] + counts[1]]
        self._deferred = own[counts[0] + counts[1] :]
        self._captured = inputs[sum(counts) :]
        if any(t.dtype == tf.resource for t in self._captured):
            raise NotImplementedError("a tf.Variable or table outside the inputs is read")
        self._outside = list(traced.captured_inputs)
        self._leaves = {tensor.name for tensor in inputs}
        self._kinds = _kinds(traced.graph, self._varying, self._deferred)
        self._early, self._late = list(early), list(late)
        self._cut()
        self.stored = [tf.TensorSpec(t.shape, t.dtype) for t in self._stored]

    def _cut(self):
        stored: dict[str, tf.Tensor] = {}
        hoisted: dict[str, tf.Tensor] = {}
        self._late_nodes = self._gather(self._late, "deferred", stored, hoisted)
        step = [*self._early, *stored.values()]
        self._step_nodes = self._gather(step, "step", {}, hoisted)
        self._invariant_nodes = self._gather(list(hoisted.values()), "invariant", {}, {})
        self._stored, self._hoisted = list(stored.values()), list(hoisted.values())
        for tensor in self._stored:
            if tensor.dtype in (tf.variant, tf.resource) or tensor.shape.rank is None:
                raise NotImplementedError(f"{tensor.op.type} returns what a loop cannot store")

    def _gather(self, outputs, part, stored, hoisted):
        """Returns the names of the operations that compute `outputs` in one part.

        Tensors of other parts that they need are added to `stored` or `hoisted`, by name.
        """
        chosen, waiting = set(), [t for t in outputs if t.name not in self._leaves]
        first = {t.name for t in outputs} if part == "invariant" else set()
        seen = set()
        while waiting:
            tensor = waiting.pop()
            if tensor.name in seen or tensor.name in self._leaves:
                continue
            seen.add(tensor.name)
            operation = tensor.op
            kind = self._kinds[operation.name]
            if kind != part and not _is_view(operation):
                if kind == "invariant" and tensor.name not in first:
                    hoisted[tensor.name] = tensor
                    continue
                if kind == "step":
                    stored[tensor.name] = tensor
                    continue
            if operation.name not in chosen:
                chosen.add(operation.name)
                waiting.extend(operation.inputs)
        return chosen

    def invariant(self, fixed: _Tensors) -> list[tf.Tensor]:
        """Returns the tensors that do not depend on the step, a flat list."""
        return self._run(self._invariant_nodes, self._feeds(fixed), self._hoisted)

    def step(
        self, varying: _Tensors, fixed: _Tensors, invariant: _Tensors
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Returns (early outputs, tensors to store), two flat lists."""
        feeds = {**self._feeds(fixed), **_named(self._varying, varying)}
        feeds |= _named(self._hoisted, invariant)
        made = self._run(self._step_nodes, feeds, [*self._early, *self._stored])
        return made[: len(self._early)], made[len(self._early) :]

    def deferred(
        self,
        varying: _Tensors,
        fixed: _Tensors,
        invariant: _Tensors,
        stored: _Tensors,
        deferred: _Tensors,
    ) -> list[tf.Tensor]:
        """Returns the late outputs, a flat list."""
        feeds = {**self._feeds(fixed), **_named(self._varying, varying)}
        feeds |= {**_named(self._hoisted, invariant), **_named(self._deferred, deferred)}
        return self._run(self._late_nodes, feeds | _named(self._stored, stored), self._late)

    def _feeds(self, fixed):
        return {**_named(self._captured, self._outside), **_named(self._fixed, fixed)}

    def _run(self, names, feeds, outputs):
        """Copies the operations `names` into the current graph; returns their `outputs`."""
        definition = tf.compat.v1.GraphDef(
            library=self._definition.library, versions=self._definition.versions
        )
        used = {t.name for t in outputs if t.name in feeds}
        for node in self._definition.node:
            if node.name not in names:
                continue
            copy = definition.node.add()
            copy.CopyFrom(node)
            copy.attr.pop(
                "_class", None
            )  # Refers to other operations, which may be in another part.
            del copy.input[:]
            for name in node.input:
                if name.startswith("^"):
                    if name[1:] in names:
                        copy.input.append(name)
                    continue
                copy.input.append(name)
                full = name if ":" in name else f"{name}:0"
                if name.partition(":")[0] not in names:
                    used.add(full)
        # Copies, so that tensors from outside a loop are captured by its body.
        given = {name: tf.identity(feeds[name]) for name in used}
        wanted = [t.name for t in outputs if t.name not in given]
        made = {}
        if definition.node:
            mapped = {name: tensor for name, tensor in given.items() if name in _inputs(definition)}
            found = tf.graph_util.import_graph_def(
                definition, input_map=mapped, return_elements=wanted, name="kept"
            )
            made = dict(zip(wanted, found, strict=True))
        tensors = [made[t.name] if t.name in made else given[t.name] for t in outputs]
        for tensor, like in zip(tensors, outputs, strict=True):
            if tensor.dtype not in (tf.variant, tf.resource):
                tensor.set_shape(like.shape)
        return tensors


def _inputs(definition):
    names = [n for node in definition.node for n in node.input if not n.startswith("^")]
    return {name if ":" in name else f"{name}:0" for name in names}


def _named(tensors, values):
    return {t.name: value for t, value in zip(tensors, values, strict=True)}


def _spec(tensor):
    return (
        tensor if isinstance(tensor, tf.TensorSpec) else tf.TensorSpec(tensor.shape, tensor.dtype)
    )


def _is_view(operation):
    if operation.type in _VIEWS:
        return True
    small = [
        t.dtype.is_integer and (t.shape.num_elements() or math.inf) <= _MOST
        for t in operation.outputs
    ]
    return all(small)


def _kinds(graph, varying, deferred):
    """Returns {operation: "deferred", "step" or "invariant"}, by its dependencies."""
    kinds = {t.op.name: "step" for t in varying} | {t.op.name: "deferred" for t in deferred}
    order = ("invariant", "step", "deferred")
    operations = graph.get_operations()
    leaves = {t.op.name for t in graph.inputs}
    changed = True
    while changed:  # One pass suffices, except for loops with inputs that were created later.
        changed = False
        for operation in operations:
            if operation.name in leaves:
                kinds.setdefault(operation.name, "invariant")
                continue
            found = [kinds.get(t.op.name, "invariant") for t in operation.inputs]
            if operation.op_def.is_stateful and operation.type not in _CALLS:
                found.append("step")
            kind = max(found, key=order.index, default="invariant")
            if kinds.get(operation.name, "invariant") != kind or operation.name not in kinds:
                changed |= kinds.get(operation.name, "invariant") != kind
                kinds[operation.name] = kind
    return kinds


_CALLS = frozenset(["While", "If", "PartitionedCall", "StatefulPartitionedCall"])
