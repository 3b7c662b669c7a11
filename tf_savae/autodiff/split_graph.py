"""A traced computation cut in three: what never changes, what a step computes, what comes later.

The later part needs some of what the step computed. `SplitGraph` finds out which tensors: they are
what a loop of steps has to store so that a second loop can go on where each step stopped. Views,
shapes and constants are made again instead, and what does not depend on the step is computed once,
before the loops.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["SplitGraph"]

_Tensors = Sequence[tf.Tensor]

# Made again in the later part: they cost next to nothing, and their input is there or as large.
_VIEWS = frozenset(
    "Const Identity IdentityN StopGradient PreventGradient Reshape Squeeze ExpandDims Shape ShapeN "
    "Size Rank ZerosLike OnesLike Fill BroadcastTo BroadcastGradientArgs Snapshot".split()
)
_MOST = 16  # Elements of an integer tensor that counts as a shape, and is made again too.


class SplitGraph:
    """The trace of `compute(varying, fixed, later) -> (early outputs, late outputs)`, cut.

    Args:
      compute: a function of three flat lists of tensors, differentiable or not; early outputs do
        not depend on `later`.
      varying, fixed, later: flat lists of tensors or specs, of whose values nothing is used.

    Raises:
      NotImplementedError: the later part needs what no loop can store, such as the lists of a
        while loop, a stored tensor has an unknown rank, or `compute` reads a variable.

    >>> def compute(varying, fixed, later):
    ...     root = tf.sin(varying[0]) * fixed[0]
    ...     return [root], [tf.exp(root) * later[0]]
    >>> graph = SplitGraph(compute, [tf.zeros([2])], [tf.zeros([])], [tf.zeros([2])])
    >>> [spec.shape.as_list() for spec in graph.stored]
    [[2]]
    """

    def __init__(
        self,
        compute: Callable[..., tuple[list[tf.Tensor], list[tf.Tensor]]],
        varying: Sequence[Any],
        fixed: Sequence[Any],
        later: Sequence[Any],
    ) -> None:
        specs = [[_spec(tensor) for tensor in part] for part in (varying, fixed, later)]
        traced = tf.function(compute, autograph=False).get_concrete_function(*specs)
        early, late = traced.structured_outputs
        self._definition = traced.graph.as_graph_def()
        inputs = traced.graph.inputs
        counts = [len(part) for part in specs]
        own = inputs[: sum(counts)]
        self._varying = own[: counts[0]]
        self._fixed = own[counts[0] : counts[0] + counts[1]]
        self._later = own[counts[0] + counts[1] :]
        self._captured = inputs[sum(counts) :]
        if any(t.dtype == tf.resource for t in self._captured):
            raise NotImplementedError("a tf.Variable or table outside the inputs is read")
        self._outside = list(traced.captured_inputs)
        self._leaves = {tensor.name for tensor in inputs}
        self._kinds = _kinds(traced.graph, self._varying, self._later)
        self._early, self._late = list(early), list(late)
        self._cut()
        self.stored = [tf.TensorSpec(t.shape, t.dtype) for t in self._stored]

    def _cut(self):
        stored: dict[str, tf.Tensor] = {}
        hoisted: dict[str, tf.Tensor] = {}
        self._late_nodes = self._gather(self._late, "later", stored, hoisted)
        step = [*self._early, *stored.values()]
        self._step_nodes = self._gather(step, "step", {}, hoisted)
        self._once_nodes = self._gather(list(hoisted.values()), "once", {}, {})
        self._stored, self._hoisted = list(stored.values()), list(hoisted.values())
        for tensor in self._stored:
            if tensor.dtype in (tf.variant, tf.resource) or tensor.shape.rank is None:
                raise NotImplementedError(f"{tensor.op.type} returns what a loop cannot store")

    def _gather(self, outputs, part, stored, hoisted):
        """Names of the operations to run for `outputs` in one part; the rest are its inputs."""
        chosen, waiting = set(), [t for t in outputs if t.name not in self._leaves]
        first = {t.name for t in outputs} if part == "once" else set()
        seen = set()
        while waiting:
            tensor = waiting.pop()
            if tensor.name in seen or tensor.name in self._leaves:
                continue
            seen.add(tensor.name)
            operation = tensor.op
            kind = self._kinds[operation.name]
            if kind != part and not _is_view(operation):
                if kind == "once" and tensor.name not in first:
                    hoisted[tensor.name] = tensor
                    continue
                if kind == "step":
                    stored[tensor.name] = tensor
                    continue
            if operation.name not in chosen:
                chosen.add(operation.name)
                waiting.extend(operation.inputs)
        return chosen

    def once(self, fixed: _Tensors) -> list[tf.Tensor]:
        """What does not depend on the step, from the fixed tensors: a flat list."""
        return self._run(self._once_nodes, self._feeds(fixed), self._hoisted)

    def step(
        self, varying: _Tensors, fixed: _Tensors, once: _Tensors
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """(early outputs, what is to be stored), two flat lists."""
        feeds = {**self._feeds(fixed), **_named(self._varying, varying)}
        feeds |= _named(self._hoisted, once)
        made = self._run(self._step_nodes, feeds, [*self._early, *self._stored])
        return made[: len(self._early)], made[len(self._early) :]

    def later(
        self,
        varying: _Tensors,
        fixed: _Tensors,
        once: _Tensors,
        stored: _Tensors,
        later: _Tensors,
    ) -> list[tf.Tensor]:
        """The late outputs, a flat list."""
        feeds = {**self._feeds(fixed), **_named(self._varying, varying)}
        feeds |= {**_named(self._hoisted, once), **_named(self._later, later)}
        return self._run(self._late_nodes, feeds | _named(self._stored, stored), self._late)

    def _feeds(self, fixed):
        return {**_named(self._captured, self._outside), **_named(self._fixed, fixed)}

    def _run(self, names, feeds, outputs):
        """Writes the operations `names` into the graph at hand: the list of `outputs`."""
        definition = tf.compat.v1.GraphDef(
            library=self._definition.library, versions=self._definition.versions
        )
        used = {t.name for t in outputs if t.name in feeds}
        for node in self._definition.node:
            if node.name not in names:
                continue
            copy = definition.node.add()
            copy.CopyFrom(node)
            copy.attr.pop("_class", None)  # Names neighbours, which may be elsewhere.
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
        # Copies, which take what lies outside of a loop's body into it.
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


def _kinds(graph, varying, later):
    """{operation: "later", "step" or "once"}, by what it depends on."""
    kinds = {t.op.name: "step" for t in varying} | {t.op.name: "later" for t in later}
    order = ("once", "step", "later")
    operations = graph.get_operations()
    leaves = {t.op.name for t in graph.inputs}
    changed = True
    while changed:  # Once, but for loops that were given inputs after others were made.
        changed = False
        for operation in operations:
            if operation.name in leaves:
                kinds.setdefault(operation.name, "once")
                continue
            found = [kinds.get(t.op.name, "once") for t in operation.inputs]
            if operation.op_def.is_stateful and operation.type not in _CALLS:
                found.append("step")
            kind = max(found, key=order.index, default="once")
            if kinds.get(operation.name, "once") != kind or operation.name not in kinds:
                changed |= kinds.get(operation.name, "once") != kind
                kinds[operation.name] = kind
    return kinds


_CALLS = frozenset(["While", "If", "PartitionedCall", "StatefulPartitionedCall"])
