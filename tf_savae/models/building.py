"""Building a model of the user's own layers from a batch, and again when it is loaded."""

import keras
import tensorflow as tf

from tf_savae.models.data_checks import refuse_sparse
from tf_savae.models.streams import is_torch_loader, peek

__all__ = ["BuildsFromData", "first_batch", "spec_of", "zeros_of"]


class BuildsFromData:
    """Remembers the shapes and dtypes of x, so that a loaded model has its weights at once."""

    _data_spec = None

    def _make_parts(self, x):
        """Creates all weights by running the parts on x, without refinement."""
        raise NotImplementedError

    def _ensure_built(self, x):
        """Creates the weights before the first step is traced; x is one batch or less."""
        if self._data_spec is None:
            # Past Keras, which tracks attributes that are dicts: this is no state of the model.
            self.__dict__["_data_spec"] = spec_of(x)
        if not self.built:
            self._make_parts(x)
            self.built = True

    def __call__(self, x, *args, **kwargs):
        refuse_sparse(x)
        self._ensure_built(x)
        return super().__call__(x, *args, **kwargs)

    def get_build_config(self):
        """What `build_from_config` needs, as JSON."""
        if self._data_spec is None:
            return None
        return {"data_spec": keras.saving.serialize_keras_object(self._data_spec)}

    def build_from_config(self, config):
        """Makes the weights of a loaded model."""
        spec = keras.saving.deserialize_keras_object(config["data_spec"])
        # Unknown lengths (text) may be anything: a short row is enough.
        self._ensure_built(zeros_of(spec))


def spec_of(x):
    """Shapes for one example and dtypes, [shape, dtype] for each tensor of the nest."""
    return keras.tree.map_structure(
        lambda t: (list(t.shape[1:]), keras.backend.standardize_dtype(t.dtype)), x
    )


def zeros_of(spec, rows=1):
    """Examples of zeros for what `spec_of` described; lengths that may vary are 2."""
    if _is_leaf(spec):
        shape, dtype = spec
        return tf.zeros([rows] + [2 if n is None else n for n in shape], dtype)
    if isinstance(spec, dict):
        return {name: zeros_of(part, rows) for name, part in spec.items()}
    return [zeros_of(part, rows) for part in spec]


def _is_leaf(spec):
    return isinstance(spec, (list, tuple)) and len(spec) == 2 and isinstance(spec[1], str)


def first_batch(x, size):
    """The first batch of data, and data that still hold it.

    Args:
      x: arrays, a tf.data.Dataset, a keras.utils.PyDataset or PyTorch's DataLoader.
      size: rows of a batch, for arrays.

    Returns:
      (the batch's x as tensors, or None where it cannot be had; what to give to `fit`).

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


def _x_of(batch):
    if batch is None:
        return None
    return keras.tree.map_structure(
        tf.convert_to_tensor, keras.utils.unpack_x_y_sample_weight(batch)[0]
    )
