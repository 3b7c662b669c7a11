"""`BoundModel`: base class of both models: compilation, metrics, callbacks, input validation."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tf_savae.core import private_keras, seeds, validation
from tf_savae.core.progress import stages
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Nest, PathLike, TensorLike
from tf_savae.data.array_batches import batches_of, with_array_batches
from tf_savae.models import apply_if_finite, keras_distribution
from tf_savae.models import build as building
from tf_savae.models import train_step as steps_of_batches
from tf_savae.models.callbacks import (
    NoEmptyPass,
    StopOnNonFinite,
    WarnOfInstability,
    warn_of_monitors,
)
from tf_savae.models.compilation import arguments, trace_cache
from tf_savae.models.compilation.jit import resolve_jit_compile
from tf_savae.models.progress_bar import ProgressBar
from tf_savae.models.validation.arrays import check_arrays, refuse_sparse
from tf_savae.models.validation.error_messages import explained
from tf_savae.models.validation.held_out import checked_validation
from tf_savae.models.validation.model_parts import check_weights
from tf_savae.models.validation.sample_weights import (
    as_pair,
    check_no_class_weight,
    check_sample_weight,
    with_targets,
)
from tf_savae.models.validation.streams import NO_TARGETS, BatchChecks, is_stream

__all__ = ["BoundModel"]


class BoundModel(ChecksSettings, keras.Model):
    """Base class of Keras models trained on a bound of log p(x), defined by the subclass.

    The loss is the mean over a batch's examples; with sample weights w it is sum(w loss) / sum(w).
    Rows of weight 0 (padding of a partial batch) and a common factor of all weights therefore have
    no effect. Keras' own losses divide by the number of rows instead.

    Noise is a function of (seed, step), so that training resumed from a checkpoint equals
    uninterrupted training, and two evaluations of the same data agree.

    A model created inside the scope of a `tf.distribute` strategy trains on all its replicas; the
    batch size is then that of the global batch. The weights equal those of a single process up to
    rounding, unless a layer depends on other rows (batch normalisation) or draws its own noise
    (keras.layers.Dropout).

    Settings may be assigned at any time: `model.seed`, `layer.trainable`, attributes of layers.
    Functions traced with another value are retraced at their next call. Attributes that determine
    the weights (`decoder`, `latent_size`, ...) are fixed: assigning them raises ValueError.
    """

    _changeable = {"seed": seeds.plain_seed}
    _data_spec = None
    _data_spec_is_guess = False  # Of dtypes: `build` receives only shapes.
    built: bool  # Set by Keras.

    def __init__(self, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # Data keep their precision.
        self.seed = seed
        self._traces = trace_cache.Traces()
        self._evaluation_step = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",  # The counts of all replicas are equal.
            name="evaluation_step",
        )

    # Implemented by subclasses.

    def _outcome(self, x, seed, beta, training, probe):
        """Returns the objective's `Outcome`."""
        raise NotImplementedError

    def _beta_at(self, step):
        return tf.ones([])

    def _make_parts(self, x):
        """Creates all weights by running the parts on x, without refinement."""
        raise NotImplementedError

    def _part_shapes(self):
        """Returns [(layer, nest of its output shapes)] of a built model's parts."""
        return [(self.decoder, (None,))]

    def _weights_without_gradient(self):
        """Returns weights that may have no gradient in a step; Keras warns of all others."""
        return []

    def _settings_now(self, owners=None):
        """Returns the settings of the owners (of all by default) that traces depend on."""
        return trace_cache.settings_of(self, owners)

    def _settings_changed(self):
        """Raises ValueError for inconsistent settings, and updates derived attributes."""

    # Methods that are implemented as functions of the model in other modules.
    build = building.build
    build_from_config = building.build_from_config
    compile_from_config = arguments.compile_from_config
    compute_loss = steps_of_batches.compute_loss
    ensure_built = building.ensure_built
    get_build_config = building.get_build_config
    get_compile_config = arguments.get_compile_config
    train_step = steps_of_batches.train_step
    test_step = steps_of_batches.test_step
    predict_step = steps_of_batches.predict_step

    @property
    def data_spec(self) -> Nest:
        """[shape of one example, dtype] for each tensor of the nest x; None until built."""
        return self._data_spec

    # Keras' hooks.

    def __call__(self, x: Nest, *args: Any, **kwargs: Any) -> Nest:
        building.refuse_symbolic(self, x)
        refuse_sparse(x)
        self.ensure_built(x)
        return super().__call__(x, *args, **kwargs)

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.summary`; a built model also shows the output shapes of its parts."""
        known: list = self._part_shapes() if self.built and self._data_spec is not None else []
        with private_keras.shown_shapes(known):
            super().summary(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> None:
        trace_cache.make_following(self, "train_function", super().make_train_function, force)

    def make_test_function(self, force: bool = False) -> None:
        trace_cache.make_following(self, "test_function", super().make_test_function, force)

    def make_predict_function(self, force: bool = False) -> None:
        trace_cache.follow(self)
        with keras_distribution.joined_by_graph(self):
            super().make_predict_function(force)

    def _make_function(self, step_function):
        with keras_distribution.joined_by_graph(self):
            return super()._make_function(trace_cache.watched(self, step_function))

    def compile(
        self,
        optimizer: Any = "adam",
        *,
        jit_compile: str | bool = "auto",
        metrics: dict[str, Callable] | None = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, without a loss: the model has its own loss and metrics.

        Args:
          optimizer, jit_compile, kwargs: as in Keras; jit_compile is "auto", True or False.
          metrics: additional metrics {name: function}, averaged over examples. A function maps the
            `tf_savae.objectives.Outcome` of a batch to numbers [B]. They are saved with the model
            as Keras saves functions: register them with Keras to load it.

        Raises:
          ValueError: a loss was given, a metric is invalid, XLA was requested and is not supported,
            or the optimizer was created outside of the scope of the model's strategy.
        """
        arguments.check(self, jit_compile, metrics, kwargs)
        chosen = resolve_jit_compile(jit_compile, self._layers_to_compile())
        chosen = chosen and not kwargs.get("run_eagerly")
        self._traces.drop_functions()  # Compiled with the previous settings.
        self.__dict__["_asked"] = {"jit_compile": jit_compile, **kwargs}
        with self.distribute_strategy.scope():
            self._bound_metrics.set_own(metrics or {})
            super().compile(optimizer=optimizer, jit_compile=chosen, **kwargs)
            arguments.prepare_strategy(self, kwargs.get("steps_per_execution", 1))

    def _assert_compile_called(self, method_name=None):
        if not self.compiled:
            raise ValueError(
                f"{method_name}: expected a compiled model. Call compile(optimizer) first, without "
                "a loss."
            )

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Overrides Keras' build from an averaged batch; `fit` has already built the model."""
        if not self.built:
            super()._maybe_symbolic_build(iterator, data_batch)

    def _layers_to_compile(self):
        return [layer for layer in self.layers if isinstance(layer, keras.layers.Layer)]

    def _evaluation_beta(self):
        """Returns the current annealed KL weight, which validation during training uses too."""
        if self.optimizer is None:
            return tf.ones([])
        return self._beta_at(apply_if_finite.batches(self.optimizer))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._bound_metrics.trackers.values())

    def reset_metrics(self) -> None:
        super().reset_metrics()
        self._evaluation_step.assign(0)

    def fit(
        self,
        x: Nest = None,
        y: None = None,
        *,
        callbacks: Any = None,
        skip_limit: int = 10,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit` on x alone.

        Batches of a dataset or generator are validated as they are read; of a PyDataset only the
        first batch is. NaN after the first batch is handled by `skip_limit`.

        Args:
          x, y, callbacks, kwargs: as in Keras; y is None. Arrays may have `sample_weight` [N] of
            numbers >= 0, and `validation_data` may be (x, None, sample_weight).
          skip_limit: number of batches per epoch that may have a loss or gradient that is not
            finite; they are skipped. Three such batches in a row always raise an error.

        Raises:
          ValueError: targets or class weights were given, data or weights are invalid, an epoch
            has no batch, or an argument has no effect on these data (`batch_size` of a dataset).
          NonFiniteError: too many batches have a NaN or infinite loss or gradient.
        """
        self._assert_compile_called("fit")
        if kwargs.get("epochs", 1) <= kwargs.get("initial_epoch", 0):
            logging.warning("fit: there is no epoch to train: epochs is not above initial_epoch")
        check_no_class_weight(kwargs.get("class_weight"))
        y, kwargs["sample_weight"] = self._checked(x, y, kwargs.get("sample_weight"))
        keras_distribution.check_made_in_scope(self, self.optimizer)
        check_weights(self)
        callbacks = self._fit_callbacks(skip_limit, callbacks, kwargs)
        if self.compiled:
            step = int(apply_if_finite.batches(self.optimizer).numpy())
            warn_of_monitors(callbacks, self._beta_at, step)
        batches = self.batch_checks()
        with batches.original_errors(), explained(), stages.printed(kwargs, "Training"):
            x = batches.source(x, skips=True, batch_size=kwargs.get("batch_size"))
            kwargs["validation_data"] = checked_validation(self, batches, kwargs)
            x = self._prepared(x, kwargs.get("batch_size"))
            kwargs.setdefault("shuffle", not is_stream(x))  # Keras warns of its own default.
            x, y, kwargs = with_array_batches(self._source(x), y, kwargs)
            return super().fit(x, y, callbacks=callbacks, **kwargs)

    def _fit_callbacks(self, skip_limit, callbacks, options):
        given = keras.tree.flatten(callbacks or [])
        guards = [StopOnNonFinite(skip_limit), WarnOfInstability(getattr(self, "refinement", None))]
        has_bar = any(isinstance(each, keras.callbacks.ProgbarLogger) for each in given)
        bar = [] if has_bar or not options.get("verbose", "auto") else [ProgressBar()]
        return [NoEmptyPass(), *guards, *given, *bar, trace_cache.FollowInEpochs()]

    def _prepared(self, x, batch_size=None):
        """Prepares the first training step: weights, Hessian-vector product, optimizer slots."""
        trace_cache.follow(self)
        if self._needs_batch():
            x = building.with_first_batch(self, self.prepare_fit, x, batch_size)
        if self.built and self.compiled and not self.optimizer.built:
            # Built here, since building in the first step would cause a second trace.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return x

    def _with_weights(self, x, batch_size=None):
        """Creates the weights from the first batch if there are none yet; returns the data."""
        if self.built and not self._data_spec_is_guess:
            return x
        return building.with_first_batch(self, self.ensure_built, x, batch_size)

    def evaluate(
        self, x: Nest = None, y: None = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """As `keras.Model.evaluate` on x and, for arrays, `sample_weight`; raises as `fit`."""
        self._assert_compile_called("evaluate")
        if private_keras.is_validation_of_fit(kwargs):  # `fit` has checked these data.
            return super().evaluate(x, y, batch_size, **kwargs)
        y, kwargs["sample_weight"] = self._checked(x, y, kwargs.get("sample_weight"))
        batches = self.batch_checks()
        callbacks = [NoEmptyPass(), *keras.tree.flatten(kwargs.pop("callbacks", None) or [])]
        with batches.original_errors(), explained(), stages.printed(kwargs):
            x = self._with_weights(batches.source(x, batch_size=batch_size), batch_size)
            data = self._source(x), y, kwargs["sample_weight"]
            batches = batches_of(data, batch_size, kwargs.get("steps"))
            if batches is not None:
                x, y, kwargs["sample_weight"] = batches, None, None
            return super().evaluate(self._source(x), y, batch_size, callbacks=callbacks, **kwargs)

    def train_on_batch(
        self,
        x: Nest,
        y: None = None,
        sample_weight: TensorLike = None,
        class_weight: None = None,
        return_dict: bool = False,
    ) -> Any:
        """As `keras.Model.train_on_batch` on x alone; raises as `fit`."""
        self._assert_compile_called("train_on_batch")
        check_no_class_weight(class_weight)
        y, sample_weight = self._checked(x, y, sample_weight)
        with explained():
            x = self._prepared(x)
            return super().train_on_batch(x, y, sample_weight, return_dict=return_dict)

    def test_on_batch(
        self, x: Nest, y: None = None, sample_weight: TensorLike = None, return_dict: bool = False
    ) -> Any:
        """As `keras.Model.test_on_batch` on x alone; raises as `fit`."""
        self._assert_compile_called("test_on_batch")
        y, sample_weight = self._checked(x, y, sample_weight)
        x = self._with_weights(x)
        return super().test_on_batch(x, y, sample_weight, return_dict=return_dict)

    def predict(
        self,
        x: Nest,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Nest:
        """Returns the means of the refined posteriors, [N, Z]; as `keras.Model.predict`.

        For an `AutoregressiveModel` it returns log p(x), [N] nats. The result is a NumPy array.
        `infer` returns the posteriors, `reconstruct` the decoded examples. Raises as `fit`.
        """
        self._check_arrays(x)
        batches = self.batch_checks()
        callbacks = [NoEmptyPass(), *keras.tree.flatten(callbacks or [])]
        with batches.original_errors(), explained():
            x = self._with_weights(batches.source(x, batch_size=batch_size), batch_size)
            x = batches_of((x, None, None), batch_size, steps) or with_targets(x)
            return super().predict(x, batch_size, verbose, steps, callbacks)

    def predict_on_batch(self, x: Nest) -> Nest:
        """As `keras.Model.predict_on_batch`; raises as `predict`."""
        self._check_arrays(x)
        return super().predict_on_batch(self._with_weights(x))

    def export(self, path: PathLike, format: str = "tf_saved_model", **options: Any) -> Path:
        """Exports a SavedModel for TF Serving, as `tf_savae.export(model, path)` does.

        Options, result and errors are the same; the only `format` is Keras' "tf_saved_model".
        """
        validation.choice("format", format, ("tf_saved_model",))
        # Imported from the root: serving is a layer above models.
        return importlib.import_module("tf_savae").export(self, path, **options)

    def _check_arrays(self, x):
        check_arrays(x, *self._data_limits())

    def _data_limits(self):
        """Returns (vocabulary_size, data_range), the limits of the decoder's likelihood."""
        return tuple(getattr(self.decoder, n, None) for n in ("vocabulary_size", "data_range"))

    def batch_checks(self) -> BatchChecks:
        """Returns the `BatchChecks` that `fit` uses, for one pass over a dataset."""
        return BatchChecks(*self._data_limits())

    def _checked(self, x, y, sample_weight):
        """Validates arrays; returns (y, sample_weight) in the form that Keras keeps."""
        if keras_distribution.is_target(y):
            raise ValueError(f"y: {NO_TARGETS}")
        self._check_arrays(x)
        return as_pair(x, check_sample_weight(sample_weight, x))

    def _source(self, x):
        return keras_distribution.as_shared(with_targets(x), self)

    def _needs_batch(self):
        """Returns whether `prepare_fit` needs a batch; reading one may advance a shuffle."""
        return not self.built or self._data_spec_is_guess

    def prepare_fit(self, batch: Nest) -> None:
        """Prepares training with a batch of data: creates weights and resolves "auto" settings.

        `fit` calls it.

        Args:
          batch: nest of tensors [B, ...], x of one batch.
        """
        self.ensure_built(batch)

    def _tokens(self, x):
        """Returns predicted tokens per example [B], or None for decoders without tokens."""
        count = getattr(self.decoder, "count_tokens", None)
        return None if count is None else count(x)
