"""Build a model's weights from a batch of data, and restore them when it is loaded."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_savae.core.typing import Config, Nest
from tf_savae.models.validation.streams import is_torch_loader, peek

__all__ = [
    "build",
    "build_from_config",
    "ensure_built",
    "ensure_built_in_graph",
    "first_batch",
    "get_build_config",
    "refuse_symbolic",
    "shapes_of",
    "spec_of",
    "with_first_batch",
    "zeros_of",
]


def ensure_built(model: Any, x: Nest) -> None:
    """Creates the weights, unless they exist, before the first step is traced.

    Args:
      x: nest of tensors [B, ...], one batch or less.

    Raises:
      ValueError: the layers do not accept x, or one of their weights would not be trained.
    """
    if not model.built:
        with model.distribute_strategy.scope():
            model._make_parts(x)
        model.built = True
    if model._data_spec is None or model._data_spec_is_guess:
        _remember(model, spec_of(x), False)


def _remember(model, spec, guessed):
    # Bypasses Keras, which tracks dict attributes as state of the model.
    model.__dict__.update(_data_spec=spec, _data_spec_is_guess=guessed)


def ensure_built_in_graph(model: Any, x: Nest) -> None:
    """As `ensure_built`, for x that may be symbolic: builds with zeros outside the graph."""
    if not model.built:
        with tf.init_scope():
            model.ensure_built(zeros_of(spec_of(x)))


def build(model: Any, input_shape: Any = None) -> None:
    """Creates the weights for data of a given shape; `fit` and other methods also do so.

    Args:
      input_shape: (None, ...) of x, or a dict or list of such shapes. Lengths may be None.
        Values are floats, or token ids (int32) if the decoder has a vocabulary. For a nest
        that mixes both, call the model on a batch instead.

    Raises:
      ValueError: no shape was given, or the layers do not accept it.
    """
    if model.built:
        return
    if input_shape is None:
        raise ValueError(
            "build: expected the shape of x, (None, ...), got none. Give it, or call the "
            "model on one batch."
        )
    tokens = getattr(model.decoder, "vocabulary_size", None) is not None
    spec = _spec_of_shapes(input_shape, "int32" if tokens else keras.config.floatx())
    model.ensure_built(zeros_of(spec))
    _remember(model, spec, True)


def refuse_symbolic(model: Any, x: Nest) -> None:
    """Raises ValueError for the symbolic input of a functional model."""
    if any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten(x)):
        raise ValueError(
            f"x: expected data, got a symbolic keras.KerasTensor: {type(model).__name__} cannot "
            "be a layer of another model. Use a SemiAmortizedRefinement between the layers of "
            "that model."
        )


def get_build_config(model: Any) -> Config | None:
    """Returns the configuration of `build_from_config`, as JSON."""
    if model._data_spec is None:
        return None
    return {"data_spec": keras.saving.serialize_keras_object(model._data_spec)}


def build_from_config(model: Any, config: Config) -> None:
    """Creates the weights of a loaded model."""
    spec = keras.saving.deserialize_keras_object(config["data_spec"])
    # Unknown lengths (text) may be anything: a short row is enough.
    model.ensure_built(zeros_of(spec))


def shapes_of(outputs: Nest) -> Nest:
    """Returns the shapes of a nest of tensors, with None for the batch dimension."""
    return tf.nest.map_structure(lambda tensor: (None, *tensor.shape[1:]), outputs)


def spec_of(x: Nest) -> Nest:
    """Returns [shape of one example, dtype] for each tensor of the nest."""
    return keras.tree.map_structure(
        lambda t: (list(t.shape[1:]), keras.backend.standardize_dtype(t.dtype)), x
    )


def _spec_of_shapes(shapes, dtype):
    """As `spec_of`, from shapes [B, ...] with None for unknown lengths."""
    if isinstance(shapes, dict):
        return {name: _spec_of_shapes(shape, dtype) for name, shape in shapes.items()}
    shapes = list(shapes)
    if all(length is None or isinstance(length, int) for length in shapes):
        return (shapes[1:], dtype)
    return [_spec_of_shapes(shape, dtype) for shape in shapes]


def zeros_of(spec: Nest, rows: int = 1) -> Nest:
    """Returns examples of zeros for the result of `spec_of`; unknown lengths become 2."""
    if _is_leaf(spec):
        shape, dtype = spec
        return tf.zeros([rows] + [2 if n is None else n for n in shape], dtype)
    if isinstance(spec, dict):
        return {name: zeros_of(part, rows) for name, part in spec.items()}
    return [zeros_of(part, rows) for part in spec]


def _is_leaf(spec):
    return isinstance(spec, (list, tuple)) and len(spec) == 2 and isinstance(spec[1], str)


def first_batch(x: Any, size: int) -> tuple[Nest, Any]:
    """Returns the first batch of data, and data that still contain it.

    Args:
      x: arrays, a tf.data.Dataset, a keras.utils.PyDataset or PyTorch's DataLoader.
      size: batch size for arrays.

    Returns:
      (x of the first batch as tensors, or None if it cannot be read; the data to pass to `fit`).

    >>> batch, _ = first_batch(tf.ones([5, 2]), 3)
    >>> batch.shape.as_list()
    [3, 2]
    """
    if isinstance(x, tf.data.Dataset):
        first, x = peek(x)
        return _x_of(first), x
    if isinstance(x, keras.utils.PyDataset):
        return (None if x.num_batches == 0 else _x_of(x[0])), x
    if is_torch_loader(x):
        return _x_of(next(iter(x))), x
    leaves = keras.tree.flatten(x)
    if all(hasattr(leaf, "shape") and hasattr(leaf, "__getitem__") for leaf in leaves):
        return keras.tree.map_structure(lambda a: tf.convert_to_tensor(a[:size]), x), x
    return None, x


def with_first_batch(
    model: Any, function: Callable[[Nest], None], x: Any, batch_size: int | None
) -> Any:
    """Calls `function` with the first batch of data, if it can be read; returns the data."""
    batch, x = first_batch(x, batch_size or 32)
    if batch is not None:
        with model.distribute_strategy.scope():
            function(batch)
    return x


def _x_of(batch):
    if batch is None:
        return None
    return keras.tree.map_structure(
        tf.convert_to_tensor, keras.utils.unpack_x_y_sample_weight(batch)[0]
    )
