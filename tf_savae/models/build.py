"""Build a model's weights from a batch of data, and restore them when it is loaded."""

from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import private_keras, seeds
from tf_savae.core.typing import Config, MixedIn, Nest
from tf_savae.models.objective_builder import encoded, standardized
from tf_savae.models.validation.arrays import refuse_sparse
from tf_savae.models.validation.streams import is_torch_loader, peek
from tf_savae.models.validation.untracked_variables import refuse_unknown, watched_variables
from tf_savae.networks import StandardNormalPrior
from tf_savae.probability.distribution_checks import check_family, check_prior
from tf_savae.probability.posterior_mean import zero_codes

__all__ = ["BuildsFromData", "first_batch", "make_parts", "shapes_of", "spec_of", "zeros_of"]


class BuildsFromData(MixedIn):
    """Mixin that saves the shapes and dtypes of x, so that a loaded model is built immediately."""

    _data_spec = None
    _data_spec_is_guess = False  # Of dtypes, which `build` is not told.

    def _make_parts(self, x):
        """Creates all weights by running the parts on x, without refinement."""
        raise NotImplementedError

    built: bool  # Set by Keras.

    @property
    def data_spec(self) -> Nest:
        """[shape of one example, dtype] for each tensor of the nest x; None until built."""
        return self._data_spec

    def ensure_built(self, x: Nest) -> None:
        """Creates the weights, unless they exist, before the first step is traced.

        Args:
          x: nest of tensors [B, ...], one batch or less.

        Raises:
          ValueError: the layers do not accept x, or one of their weights would not be trained.
        """
        if not self.built:
            with self.distribute_strategy.scope():
                self._make_parts(x)
            self.built = True
        if self._data_spec is None or self._data_spec_is_guess:
            # Bypasses Keras, which tracks dict attributes as state of the model.
            self.__dict__.update(_data_spec=spec_of(x), _data_spec_is_guess=False)

    def _ensure_built_in_graph(self, x):
        """As `ensure_built`, for x that may be symbolic: builds with zeros outside the graph."""
        if not self.built:
            with tf.init_scope():
                self.ensure_built(zeros_of(spec_of(x)))

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights for data of a given shape; `fit` and other methods also do so.

        Args:
          input_shape: (None, ...) of x, or a dict or list of such shapes. Lengths may be None.
            Values are floats, or token ids (int32) if the decoder has a vocabulary. For a nest
            that mixes both, call the model on a batch instead.

        Raises:
          ValueError: no shape was given, or the layers do not accept it.
        """
        if self.built:
            return
        if input_shape is None:
            raise ValueError(
                "build: expected the shape of x, (None, ...), got none. Give it, or call the "
                "model on one batch."
            )
        tokens = getattr(self.decoder, "vocabulary_size", None) is not None
        spec = _spec_of_shapes(input_shape, "int32" if tokens else keras.config.floatx())
        self.ensure_built(zeros_of(spec))
        self.__dict__.update(_data_spec=spec, _data_spec_is_guess=True)

    def __call__(self, x: Nest, *args: Any, **kwargs: Any) -> Nest:
        if any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten(x)):
            raise ValueError(
                f"x: expected data, got a symbolic keras.KerasTensor: {type(self).__name__} cannot "
                "be a layer of another model. Use a SemiAmortizedRefinement between the layers of "
                "that model."
            )
        refuse_sparse(x)
        self.ensure_built(x)
        return super().__call__(x, *args, **kwargs)

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.summary`; a built model also shows the output shapes of its parts."""
        known: list = self._part_shapes() if self.built and self._data_spec is not None else []
        with private_keras.shown_shapes(known):
            super().summary(*args, **kwargs)

    def _part_shapes(self):
        """Returns [(layer, nest of its output shapes)] of a built model's parts."""
        return [(self.decoder, (None,))]

    def get_build_config(self) -> Config | None:
        """Returns the configuration of `build_from_config`, as JSON."""
        if self._data_spec is None:
            return None
        return {"data_spec": keras.saving.serialize_keras_object(self._data_spec)}

    def build_from_config(self, config: Config) -> None:
        """Creates the weights of a loaded model."""
        spec = keras.saving.deserialize_keras_object(config["data_spec"])
        # Unknown lengths (text) may be anything: a short row is enough.
        self.ensure_built(zeros_of(spec))


def shapes_of(outputs):
    """Returns the shapes of a nest of tensors, with None for the batch dimension."""
    return tf.nest.map_structure(lambda tensor: (None, *tensor.shape[1:]), outputs)


def make_parts(model, x):
    """Creates the weights of a `SemiAmortizedVAE`'s parts by calling each on one row of x.

    Raises:
      ValueError: the parts do not fit together, or a weight would not be trained.
    """
    x = tf.nest.map_structure(lambda part: part[:1], standardized(model, x))
    with watched_variables() as used:
        if model.encoder is not None:
            model.encoder(x)  # Outside any scope: the first call creates the weights.
        parameters = encoded(model, x, seeds.as_seed(0), False)[0]
        if tf.executing_eagerly():
            check_family(model.family, parameters)
        posterior = model.family.distribution(parameters)
        _make_prior(model, posterior, parameters)
        if not model.refinement.built:
            model.refinement.build()
        model.refinement.build_rule(parameters)
        # Also if `decoder.built`: a decoder loaded from a file has no weights yet.
        model.decoder(x, zero_codes(posterior, tf.nest.flatten(x)[0].shape[0]))
    refuse_unknown(used, model.variables)


def _make_prior(model, posterior, parameters):
    if model.prior is None:
        model.latent_size = int(posterior.event_shape[0])
        model.prior = StandardNormalPrior(model.latent_size)
    if not model.prior.built:
        model.prior.build()
    if tf.executing_eagerly():
        check_prior(model.prior, model.family, _trial_parameters(model, parameters))


def _trial_parameters(model, parameters):
    """Returns N(0, I) parameters if the family defines them: the encoder's may be extreme."""
    try:
        return model.family.zeros(1, model.latent_size, model.variable_dtype)
    except NotImplementedError:
        return parameters


def spec_of(x):
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


def zeros_of(spec, rows=1):
    """Returns examples of zeros for the result of `spec_of`; unknown lengths become 2."""
    if _is_leaf(spec):
        shape, dtype = spec
        return tf.zeros([rows] + [2 if n is None else n for n in shape], dtype)
    if isinstance(spec, dict):
        return {name: zeros_of(part, rows) for name, part in spec.items()}
    return [zeros_of(part, rows) for part in spec]


def _is_leaf(spec):
    return isinstance(spec, (list, tuple)) and len(spec) == 2 and isinstance(spec[1], str)


def first_batch(x, size):
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


def _x_of(batch):
    if batch is None:
        return None
    return keras.tree.map_structure(
        tf.convert_to_tensor, keras.utils.unpack_x_y_sample_weight(batch)[0]
    )
