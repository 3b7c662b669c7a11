"""Apply a function to every batch of a dataset and join the results."""

import collections
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.progress import stages
from tf_savae.core.typing import Nest
from tf_savae.objectives.lookup import has_latent

__all__ = ["check_latent", "one_pass"]


def check_latent(model: keras.Model) -> None:
    """Raises ValueError unless the model has latent variables."""
    if not has_latent(model):
        raise ValueError(
            f"model: expected a SemiAmortizedVAE, which has a posterior; got "
            f"{type(model).__name__}, which has no latent variables."
        )


def one_pass(
    function: Callable[[Nest, tf.Tensor], Nest],
    dataset: tf.data.Dataset,
    seed: int = 0,
    *,
    model: keras.Model | None = None,
    label: str | None = None,
    shows: Callable[[Nest], dict[str, float]] | None = None,
) -> Nest:
    """Applies a function to each batch and concatenates the results.

    Args:
      function: (x, seed [2]) -> nest of tensors or arrays [B, ...].
      dataset: finite `tf.data.Dataset` of x, or of (x, y, sample_weight) with weights [B];
        examples of weight 0 are left out of the result.
      seed: int; batch i gets fold(seed, i).
      model: a model whose data checks are applied to each batch; None skips the checks.
      label: text beside a progress bar on the terminal; None shows no bar.
      shows: maps a batch's result to {name: number}, shown as a running mean beside the bar.

    Returns:
      The nest, with float64 arrays [N, ...] in the dataset's order.

    Raises:
      ValueError: the dataset is an array, is empty or contains invalid data for `model`, or a
        weight is neither 0 nor 1.

    >>> data = tf.data.Dataset.range(5).map(lambda i: tf.cast(i, tf.float32)).batch(2)
    >>> one_pass(lambda x, seed: 2.0 * x, data).tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if hasattr(dataset, "shape"):
        raise ValueError(
            f"dataset: expected a tf.data.Dataset of batches, got an array of shape "
            f"{list(dataset.shape)}. Use tf.data.Dataset.from_tensor_slices(x).batch(32)."
        )
    bar = None if label is None else _Bar(dataset, label)
    with stages.stage(label or "Evaluating", announced=False):
        parts = _parts(function, dataset, seed, model, bar, shows)
    if not parts or not len(tf.nest.flatten(parts[0])[0]):
        raise ValueError("dataset: expected at least one example of weight above 0, got none.")
    return tf.nest.map_structure(lambda *columns: np.concatenate(columns), *parts)


def _parts(function, dataset, seed, model, bar, shows):
    """Returns the results of all batches."""
    batches = None if model is None else model.batch_checks()
    parts = []
    for index, batch in enumerate(dataset):
        x, _, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if batches is not None:
            batches.batch((x, None, weights))
        rows = slice(None) if weights is None else _kept(weights)
        answer = function(x, seeds.fold(seed, index))
        parts.append(tf.nest.map_structure(lambda t, r=rows: np.asarray(t, np.float64)[r], answer))
        if bar is not None:
            bar.update(index + 1, parts[-1], shows)
        stages.detail(f"{index + 1} batches done")
    return parts


def _kept(weights):
    """Returns a mask of the examples with weight 1, bool [B]."""
    weights = np.asarray(weights)
    other = weights[(weights != 0) & (weights != 1)]
    if other.size:
        raise ValueError(
            "sample_weight: expected 1, or 0 for an example to leave out, since the results are "
            f"per example; got {other.flat[0]}. Apply other weights to the results."
        )
    return weights > 0


class _Bar:
    """A progress bar with means over all examples so far; Keras shows those of the last batch."""

    def __init__(self, dataset, label):
        print(label, flush=True)
        count = int(dataset.cardinality())
        target = count if count > 0 else None
        self._bar = keras.utils.Progbar(target, unit_name="batch", stateful_metrics=[])
        self._sums: Any = collections.Counter()
        self._examples = 0

    def update(self, batches, part, shows):
        """Shows the means after `batches` batches; `part` is the result of the last one."""
        count = len(tf.nest.flatten(part)[0])
        if shows and count:
            self._examples += count
            self._sums.update({name: value * count for name, value in shows(part).items()})
        self._bar.stateful_metrics = set(self._sums)
        means = [(name, total / self._examples) for name, total in self._sums.items()]
        self._bar.update(batches, values=means)
