"""`Signature`: validated inputs, a function of tensors, and documented outputs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_savae.serving.request_checks import checked_input, checked_output

__all__ = ["Input", "Output", "Signature"]


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of a `Signature`.

    >>> Input("n", tf.int32, [], "how many", (), 1).spec().name
    'n'

    Attributes:
      name, dtype: name and dtype of the input in a request.
      shape: list of sizes, None for an arbitrary size.
      about: description, with unit and bounds.
      checks: see `request_checks.checked_input`.
      example: a value for the warm-up request and the documentation.
      prepare: maps the request's tensor, after the shape check, to the tensor that is checked;
        None for no change.
    """

    name: str
    dtype: Any
    shape: list
    about: str
    checks: tuple
    example: Any
    prepare: Callable | None = None

    def spec(self) -> tf.TensorSpec:
        """Returns the `tf.TensorSpec` of the input."""
        return tf.TensorSpec(self.shape, self.dtype, self.name)


@dataclasses.dataclass(frozen=True)
class Output:
    """Documentation of one output: name, unit ("nats", or "" for none), meaning.

    >>> Output("bits", "bits", "the negative ELBO").unit
    'bits'
    """

    name: str
    unit: str
    about: str


@dataclasses.dataclass(frozen=True)
class Signature:
    """A named function of tensors that a server provides.

    Attributes:
      name: name in requests.
      about: description of the outputs.
      inputs: `Input`s in order.
      outputs: `Output`s, one for each entry of `compute`'s result.
      compute: maps the checked inputs, in order, to {name: tensor}.

    >>> made = Signature("one", "One.", (), (Output("one", "", "1"),), lambda: {"one": tf.ones([])})
    >>> float(made.function()()["one"])
    1.0
    """

    name: str
    about: str
    inputs: tuple
    outputs: tuple
    compute: Callable

    def function(self) -> Callable:
        """Returns the exported function: input checks, computation, output checks."""

        def run(*tensors):
            pairs = zip(tensors, self.inputs, strict=True)
            checked = [
                checked_input(t, i.name, i.shape, *i.checks, prepare=i.prepare) for t, i in pairs
            ]
            answer = self.compute(*checked)
            return {name: checked_output(name, tensor) for name, tensor in answer.items()}

        return run

    def specs(self) -> list[tf.TensorSpec]:
        """Returns the `tf.TensorSpec` of each input."""
        return [i.spec() for i in self.inputs]

    def joins(self) -> bool:
        """Returns whether a server may batch requests: every input has a batch dimension first."""
        return all(i.shape and i.shape[0] is None for i in self.inputs)

    def example(self) -> dict[str, Any]:
        """Returns a small valid request, {input: value}."""
        return {i.name: i.example for i in self.inputs}
