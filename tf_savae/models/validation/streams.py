"""Validate the batches of datasets and generators without consuming them."""

import contextlib
import functools
import itertools
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import private_tensorflow, validation
from tf_savae.core.typing import Nest
from tf_savae.models.keras_distribution import is_target
from tf_savae.models.validation.arrays import check_arrays, refuse_sparse

__all__ = ["NO_TARGETS", "BatchChecks", "is_stream", "is_torch_loader", "look", "peek"]

NO_TARGETS = (
    "expected x alone, or (x, None, sample_weight), since the targets are the data themselves; got "
    "targets too. Leave them out: fit(x), or dataset.map(lambda x, y: x)."
)
_PYTHON = {"PyFunc", "EagerPyFunc"}  # Operations that call Python, with state outside tf.data.


class BatchChecks:
    """Validates batches as a model's data while they are read.

    Reading a source in advance would advance its shuffling or exhaust it.

    Args:
      vocabulary_size, data_range: as for `check_arrays`.

    >>> checked = BatchChecks(data_range=(0, 1)).source(tf.data.Dataset.from_tensors([[255.0]]))
    >>> checked.element_spec.shape.as_list()
    [1, 1]
    """

    def __init__(
        self, vocabulary_size: int | None = None, data_range: tuple[float, float] | None = None
    ) -> None:
        self._vocabulary_size, self._data_range = vocabulary_size, data_range
        self._skips = False
        self._error: Exception | None = None

    def source(
        self, x: Any, skips: bool = False, batch_size: int | None = None, name: str = "batch_size"
    ) -> Any:
        """Returns x with batches checked as they are read; the first one now, if possible.

        Args:
          x: a tf.data.Dataset or a generator of batches. Other values, including a
            keras.utils.PyDataset and PyTorch's DataLoader, are returned unchanged.
          skips: whether NaN and infinity are accepted after the first batch, as in training, which
            skips and counts such batches.
          batch_size: the batch size that was given for x, or None.
          name: of the argument that gave it.

        Raises:
          ValueError, TypeError: as `check_arrays`, if x's type or first batch is already invalid.
          ValueError: the batch size is not an integer >= 1, or was given for batches, where Keras
            would ignore it.
        """
        if batch_size is not None and _comes_in_batches(x):
            raise ValueError(
                f"{name}: expected None, since a {type(x).__name__} already yields batches; got "
                f"{batch_size!r}. Leave it out, and set the size where the batches are made."
            )
        if batch_size is not None:  # Keras would take 0 for its default.
            validation.positive_int(name, batch_size)
        if isinstance(x, tf.data.Dataset):
            return self._dataset(x, skips)
        if isinstance(x, types.GeneratorType):
            return self._generator(x, skips)
        if isinstance(x, keras.utils.PyDataset) and x.num_batches != 0:
            self.batch(x[0])
        if is_torch_loader(x):
            self.batch(next(iter(x)))
        return x

    def batch(self, batch: Nest, finite: bool = True) -> None:
        """Checks one eager batch, in the form that `fit` accepts."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        _refuse_targets(y)
        check_arrays(x, self._vocabulary_size, self._data_range, finite)
        if weights is not None:
            _check_weights(weights, finite)

    @contextlib.contextmanager
    def original_errors(self) -> Iterator[None]:
        """Context that raises the original error of a batch instead of TensorFlow's wrapper."""
        self._error = None
        try:
            yield
        except tf.errors.OpError:
            if self._error is None:
                raise
            raise self._error from None

    def _checked(self, batch, finite, spec=None):
        """Checks one batch, and stores the error for `original_errors`."""
        try:
            self.batch(batch, finite)
            if spec is not None:
                tf.nest.map_structure(_check_like, spec, batch)
        except (TypeError, ValueError) as error:
            self._error = error
            raise

    def _generator(self, batches, skips):
        """Returns a dataset of a generator's batches; passes after the first are empty.

        If Keras got the generator itself, it would begin each later epoch with the first two
        batches.
        """
        first = [_as_tuple(batch) for batch in itertools.islice(batches, 2)]
        if not first:
            raise ValueError("x: expected a generator of batches, got one that yields none.")
        for index, batch in enumerate(first):
            self.batch(batch, not (skips and index))
        spec = tf.nest.map_structure(_common_spec, first[0], first[-1])
        begun = [itertools.chain(first, batches)]

        def elements():
            for index, batch in enumerate(begun.pop() if begun else ()):
                batch = _as_tuple(batch)
                self._checked(batch, not (skips and index), spec)
                yield batch

        return _dataset_of(elements, spec)

    def _dataset(self, dataset, skips):
        x, y, weights = keras.utils.unpack_x_y_sample_weight(dataset.element_spec)
        _refuse_targets(y)
        leaves = keras.tree.flatten(x)
        refuse_sparse(x)
        for leaf in leaves:
            self._check_spec(leaf)
        parts = [(weights, (0, np.inf))] if isinstance(weights, tf.TensorSpec) else []
        parts += [(leaf, self._limits(x, leaves)) for leaf in leaves]
        if not any(spec.dtype.is_floating or limits for spec, limits in parts):
            return dataset

        @tf.autograph.experimental.do_not_convert
        def checked(index, element):
            finite = tf.equal(index, 0) if skips else tf.constant(True)
            x, _, weights = keras.utils.unpack_x_y_sample_weight(element)
            tensors = [] if len(parts) == len(leaves) else [weights]
            tensors += keras.tree.flatten(x)
            pairs = zip(tensors, parts, strict=True)
            fine = [_is_fine(tensor, limits, finite) for tensor, (_, limits) in pairs]
            tell = functools.partial(self._tell, x, weights, finite)
            told = tf.cond(tf.reduce_all(fine), lambda: True, tell)
            # A stateless operation would be pruned if only a control dependency needed it.
            with tf.control_dependencies([tf.debugging.Assert(told, ["checked"])]):
                return tf.nest.map_structure(_same, element)

        return dataset.enumerate().map(checked)

    def _check_spec(self, spec):
        """Checks a dataset's element spec."""
        shape, dtype = spec.shape, spec.dtype
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
            raise TypeError(f"x: expected numbers, got dtype {dtype.name}.")
        if shape.rank == 0:
            raise ValueError(
                "x: expected batches [B, ...], got a dataset of scalars; add .batch(...)."
            )
        wrong = not dtype.is_integer or shape.rank not in (2, None)
        if self._vocabulary_size is not None and wrong:
            raise ValueError(
                f"x: expected batches of integer token ids [B, T], got dtype {dtype.name} and "
                f"shape {shape}. A dataset of single rows needs .batch(...) or .padded_batch(...)."
            )

    def _limits(self, x, leaves):
        if self._vocabulary_size is not None:
            return 0, self._vocabulary_size - 1
        return self._data_range if len(leaves) == 1 and not isinstance(x, dict) else None

    def _tell(self, x, weights, finite):
        """Raises for an invalid batch inside a pipeline, with the messages of `check_arrays`."""
        leaves = [*keras.tree.flatten(x), *([] if weights is None else [weights])]

        def tell(finite, *arrays):
            values = list(arrays)
            own = None if weights is None else values.pop()
            self._checked((keras.tree.pack_sequence_as(x, values), None, own), finite)
            return True

        # Stateless for tf.data, which treats other Python functions as finite sources.
        return tf.ensure_shape(
            tf.numpy_function(tell, [finite, *leaves], tf.bool, stateful=False), []
        )


def _check_weights(weights, finite):
    if finite:
        validation.finite("sample_weight", weights)
    if np.any(np.asarray(weights) < 0):
        raise ValueError(f"sample_weight: expected numbers >= 0, got {np.min(weights)}.")


def _refuse_targets(y):
    if is_target(y) and not isinstance(y, tf.NoneTensorSpec):
        raise ValueError(f"y: {NO_TARGETS}")


def _is_fine(tensor, limits, finite):
    """Returns a bool scalar: whether values are in [low, high] and, if requested, finite."""
    fine = tf.constant(True)
    if tensor.dtype.is_floating:
        fine = ~finite | tf.reduce_all(tf.math.is_finite(tensor))
    if limits is None or tensor.dtype.is_bool:
        return fine
    # Compared as float64: a limit may exceed the range of the tensor's dtype.
    least, most = (tf.cast(f(tensor), tf.float64) for f in (tf.reduce_min, tf.reduce_max))
    low, high = (tf.constant(limit, tf.float64) for limit in limits)
    return tf.equal(tf.size(tensor), 0) | (fine & (least >= low) & (most <= high))


def _same(tensor):
    return None if tensor is None else tf.identity(tensor)


def _comes_in_batches(x):
    return is_stream(x) or isinstance(x, keras.utils.PyDataset)


def is_stream(x: Any) -> bool:
    """Returns whether x yields its batches in an order of its own, so that Keras cannot shuffle it.

    >>> is_stream(tf.data.Dataset.range(3)), is_stream([1.0])
    (True, False)
    """
    known = (tf.data.Dataset, tf.distribute.DistributedDataset, types.GeneratorType)
    return isinstance(x, known) or is_torch_loader(x)


def is_torch_loader(x: Any) -> bool:
    """Returns whether x is PyTorch's DataLoader, which Keras accepts; does not import PyTorch.

    >>> is_torch_loader([1.0])
    False
    """
    return any(kind.__module__.startswith("torch.utils.data") for kind in type(x).__mro__)


def look(data: Any) -> None:
    """Reads the first batch of a dataset so that its checks run, unless reading consumes it.

    >>> look(tf.data.Dataset.range(3))
    """
    if isinstance(data, tf.data.Dataset) and not _reads_once(data):
        next(iter(data.take(1)), None)


def peek(dataset: tf.data.Dataset) -> tuple[Nest, tf.data.Dataset]:
    """Returns the first element of a dataset, or None, and a dataset that still includes it.

    A dataset whose elements come from Python can be read only once. For such a dataset, the first
    pass of the returned dataset continues the iteration that was started here. For other datasets,
    the first element is read twice.

    >>> numbers = iter([1, 2, 3])
    >>> once = tf.data.Dataset.from_generator(
    ...     lambda: numbers, output_signature=tf.TensorSpec([], tf.int32))
    >>> first, whole = peek(once.shuffle(3, seed=0))
    >>> sorted(int(n) for n in whole)
    [1, 2, 3]
    """
    if not _reads_once(dataset):
        return next(iter(dataset.take(1)), None), dataset
    iterator = iter(dataset)
    first = next(iterator, None)
    return first, dataset if first is None else _going_on(dataset, first, iterator)


def _reads_once(dataset):
    """Returns whether elements come from Python or a data service: they can be read only once."""
    stages = [dataset]
    while stages:
        stage = stages.pop()
        if "DataService" in type(stage).__name__:
            return True
        for function in private_tensorflow.dataset_functions(stage):
            graph = function.function.graph.as_graph_def()
            nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
            if any(node.op in _PYTHON for node in nodes):
                return True
        stages += private_tensorflow.dataset_inputs(stage)
    return False


def _going_on(dataset, first, iterator):
    """Returns `dataset` with a first pass of `first` and the rest of `iterator`."""
    begun = [itertools.chain([first], iterator)]
    same = _dataset_of(lambda: begun.pop() if begun else dataset, dataset.element_spec)
    cardinality = dataset.cardinality()
    if cardinality != tf.data.UNKNOWN_CARDINALITY:
        same = same.apply(tf.data.experimental.assert_cardinality(cardinality))
    return same.with_options(dataset.options())


def _as_tuple(batch):
    """Converts the lists of a batch to tuples, since a dataset would stack lists to one tensor."""
    if isinstance(batch, (list, tuple)):
        return tuple(map(_as_tuple, batch))
    if isinstance(batch, dict):
        return {name: _as_tuple(part) for name, part in batch.items()}
    return batch


def _common_spec(leaf, other):
    """Returns the `TensorSpec` that fits two batches, whose numbers of rows may differ."""
    if leaf is None:
        return None
    leaf, other = tf.convert_to_tensor(leaf), tf.convert_to_tensor(other)
    shape = leaf.shape.most_specific_compatible_shape(other.shape)
    return tf.TensorSpec([None, *shape[1:]] if shape.rank else shape, leaf.dtype)


def _check_like(spec, leaf):
    if spec is None:
        return
    shape, dtype = np.shape(leaf), tf.as_dtype(leaf.dtype)
    if not spec.shape.is_compatible_with(shape) or dtype != spec.dtype:
        raise ValueError(
            f"x: expected batches like the first two, of shape {spec.shape} and dtype "
            f"{spec.dtype.name}; got {shape} and {dtype.name}. Pad or convert them."
        )


def _dataset_of(elements, spec):
    """Returns a dataset of the nests like `spec` that `elements()` yields; leaves may be None."""
    specs = tf.nest.flatten(spec)
    present = [not (s is None or isinstance(s, tf.NoneTensorSpec)) for s in specs]

    def leaves():
        for element in elements():
            parts = zip(tf.nest.flatten(element), present, strict=True)
            yield tuple(leaf for leaf, there in parts if there)

    @tf.autograph.experimental.do_not_convert
    def packed(*given):  # from_generator cannot yield None.
        left = iter(given)
        return tf.nest.pack_sequence_as(spec, [next(left) if there else None for there in present])

    signature = tuple(s for s, there in zip(specs, present, strict=True) if there)
    return tf.data.Dataset.from_generator(leaves, output_signature=signature).map(packed)
