"""FLOPs of a StableHLO program's products and convolutions, loops counted as often as they run.

XLA's own cost analysis counts a loop's body once, which hides all of refinement but one step.
Needs jaxlib.
"""

import functools
import math

__all__ = ["of_module"]


def of_module(serialized):
    """Multiply-add FLOPs of a program's matrix products and convolutions.

    What no result depends on does not count: XLA drops it. Of a branch the larger side counts, of a
    convolution the whole window at each place, its padding included.

    Args:
      serialized: bytes, a portable artifact, or StableHLO text.

    Raises:
      ValueError: a loop whose number of rounds is not a constant of its condition.

    >>> of_module('''func.func public @main(%a: tensor<2x3xf32>, %b: tensor<3x5xf32>)
    ...   -> tensor<2x5xf32> {
    ...   %c = stablehlo.dot %a, %b : (tensor<2x3xf32>, tensor<3x5xf32>) -> tensor<2x5xf32>
    ...   %d = stablehlo.dot %a, %b : (tensor<2x3xf32>, tensor<3x5xf32>) -> tensor<2x5xf32>
    ...   return %c : tensor<2x5xf32> }''')
    60
    """
    from jax._src.interpreters import mlir
    from jaxlib.mlir import ir

    with mlir.make_ir_context():
        module = ir.Module.parse(serialized)
        functions = {f.name.value: f for f in module.body.operations if hasattr(f, "entry_block")}
        return _Counter(functions).of_function("main")


class _Counter:
    def __init__(self, functions):
        self._functions = functions
        self.of_function = functools.cache(self._of_function)

    def _of_function(self, name):
        return self._of_block(self._functions[name].entry_block)

    def _of_block(self, block):
        return sum(self._of_operation(op) for op in _alive(block))

    def _of_operation(self, op):
        if op.name == "func.call":
            return self.of_function(_callee(op))
        if op.name == "stablehlo.while":
            condition, body = (region.blocks[0] for region in op.regions)
            return self._rounds(condition) * self._of_block(body)
        if op.name in ("stablehlo.if", "stablehlo.case"):
            return max(self._of_block(region.blocks[0]) for region in op.regions)
        count = _PRODUCTS.get(op.name)
        return 0 if count is None else count(op)

    def _rounds(self, block):
        """How often a loop runs that counts up from 0: the least of the bounds it compares with."""
        bounds = self._bounds(block)
        if not bounds:
            raise ValueError("stablehlo.while: expected a condition i < constant, found none.")
        return min(bounds)

    def _bounds(self, block):
        found = []
        for op in (op.operation for op in block.operations):
            if op.name == "func.call":
                found += self._bounds(self._functions[_callee(op)].entry_block)
            if op.name == "stablehlo.compare" and _is_less(op):
                found += _constant(op.operands[1])
        return found


def _alive(block):
    """The operations of a block that its results, or those of blocks inside, depend on."""
    alive, dead = [], set()
    for op in reversed([op.operation for op in block.operations]):
        users = [use.owner for result in op.results for use in result.uses]
        if len(op.results) and all(user in dead for user in users):
            dead.add(op)
        else:
            alive.append(op)
    return alive


def _callee(op):
    return op.attributes["callee"].value


def _is_less(op):
    return "LT" in str(op.attributes["comparison_direction"])


def _constant(value):
    """[the integer] where a value is a scalar constant, else []."""
    from jaxlib.mlir import ir

    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != "stablehlo.constant":
        return []
    attribute = ir.DenseIntElementsAttr(owner.attributes["value"])
    return [int(attribute[0])] if len(attribute) == 1 else []


def _shape(value):
    from jaxlib.mlir import ir

    return list(ir.RankedTensorType(value.type).shape)


def _dot(op):
    return 2 * math.prod(_shape(op.results[0])) * _shape(op.operands[0])[-1]


def _dot_general(op):
    from jaxlib.mlir.dialects import stablehlo

    numbers = stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    left = _shape(op.operands[0])
    summed = math.prod(left[axis] for axis in numbers.lhs_contracting_dimensions)
    return 2 * math.prod(_shape(op.results[0])) * summed


def _convolution(op):
    from jaxlib.mlir.dialects import stablehlo

    numbers = stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    kernel = _shape(op.operands[1])
    window = math.prod(kernel) // kernel[numbers.kernel_output_feature_dimension]
    return 2 * math.prod(_shape(op.results[0])) * window


_PRODUCTS = {
    "stablehlo.dot": _dot,
    "stablehlo.dot_general": _dot_general,
    "stablehlo.convolution": _convolution,
}
