"""Initialise a model with the weights of a trained one."""

from typing import Any

import keras
import numpy as np

from tf_savae.models import apply_if_finite
from tf_savae.models.build import zeros_of

__all__ = ["start_from"]

_PARTS = ("encoder", "decoder", "prior")


def start_from(model: Any, source: keras.Model, kind: type[keras.Model]) -> None:
    """Copies the weights of `source`'s encoder, decoder and prior to `model`.

    Weights of an update rule are also copied if both models have the same rule.

    Args:
      model: a model that has not been trained.
      source: a built model.
      kind: the required class of `source`.

    Raises:
      ValueError: the model has been trained, the source has no weights or lacks a part, or weights
        differ in number or shape. The model is not changed in this case.
    """
    if not isinstance(source, kind) or not source.built:
        raise ValueError(
            f"start_from: expected a {kind.__name__} with weights, trained or loaded; got "
            f"{type(source).__name__}{'' if hasattr(source, 'built') else ', not a model'}."
        )
    built = model.compiled and model.optimizer.built
    trained = int(apply_if_finite.batches(model.optimizer).numpy()) if built else 0
    if trained:
        raise ValueError(
            "start_from: expected a model that has not been trained, got one with "
            f"{trained} training steps. Create a new model."
        )
    if not model.built:
        model.ensure_built(zeros_of(source.data_spec))
    _take_weights(model, source)


def _take_weights(model, source):
    pairs = []
    for name in _PARTS:
        part = getattr(model, name, None)
        if part is not None:
            pairs += _pairs(name, part, getattr(source, name, None))
    mine, other = (getattr(m, "refinement", None) for m in (model, source))
    if mine is not None and other is not None:
        shapes = [[tuple(v.shape) for v in layer.weights] for layer in (mine, other)]
        if type(mine.update) is type(other.update) and shapes[0] == shapes[1]:
            pairs += list(zip(mine.weights, other.weights, strict=True))
    for variable, value in pairs:
        variable.assign(np.asarray(value.numpy(), variable.dtype))


def _pairs(name, part, other):
    """Returns pairs (variable, the source's variable) of one part."""
    if other is None:
        raise ValueError(
            f"start_from: expected a source with {_article(name)}, as this model has; got one "
            "without."
        )
    shapes = [[(v.path.split("/")[-1], tuple(v.shape)) for v in p.weights] for p in (part, other)]
    for index, (mine, theirs) in enumerate(zip(*shapes, strict=False)):
        if mine[1] != theirs[1]:
            raise ValueError(
                f"start_from: weight {index} of the {name}, {mine[0]}, has shape {mine[1]} here "
                f"and {theirs[1]} there ({theirs[0]}); expected a model of the same architecture."
            )
    if len(shapes[0]) != len(shapes[1]):
        raise ValueError(
            f"start_from: the {name} has {len(shapes[0])} weights here and {len(shapes[1])} there; "
            "expected a model of the same architecture."
        )
    return list(zip(part.weights, other.weights, strict=True))


def _article(name):
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
