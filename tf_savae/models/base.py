"""`BoundModel`: base class of both models: compilation, metrics, callbacks, input validation."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import keras
import tensorflow as tf

from tf_savae.core import private_keras, seeds, validation
from tf_savae.core.progress import stages
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Nest, PathLike, TensorLike
from tf_savae.data.array_batches import batches_of, with_array_batches
from tf_savae.models import apply_if_finite, keras_distribution
from tf_savae.models.build import BuildsFromData, first_batch
from tf_savae.models.callbacks import (
    NoEmptyPass,
    StopOnNonFinite,
    WarnOfInstability,
    warn_of_monitors,
)
from tf_savae.models.jit import resolve_jit_compile
from tf_savae.models.trace_cache import FollowInEpochs, FollowsSettings
from tf_savae.models.train_step import Steps
from tf_savae.models.validation.arrays import check_arrays
from tf_savae.models.validation.error_messages import explained
from tf_savae.models.validation.sample_weights import (
    as_pair,
    check_no_class_weight,
    check_sample_weight,
    with_targets,
)
from tf_savae.models.validation.streams import NO_TARGETS, BatchChecks, look

__all__ = ["BoundModel"]


class BoundModel(BuildsFromData, ChecksSettings, FollowsSettings, Steps, keras.Model):
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

    def __init__(self, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # Data keep their precision.
        self.seed = seed
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

    # Keras' hooks.

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
        for name in ("loss", "loss_weights", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"{name}: {type(self).__name__} has its own objective; expected None, got "
                    f"{kwargs[name]!r}."
                )
        if not isinstance(metrics, dict | None):
            raise ValueError(
                f"metrics: {type(self).__name__} has its own metrics; expected None, or additional "
                f"ones as {{name: function of the objective's Outcome -> [B]}}, got {metrics!r}."
            )
        if kwargs.get("run_eagerly") and jit_compile is True:
            raise ValueError("jit_compile: expected False with run_eagerly=True, got True.")
        chosen = resolve_jit_compile(jit_compile, self._layers_to_compile())
        if kwargs.get("run_eagerly"):
            chosen = False
        self.__dict__.pop("_functions", None)  # Compiled with the previous settings.
        self.__dict__["_asked"] = {"jit_compile": jit_compile, **kwargs}
        with self.distribute_strategy.scope():
            self._bound_metrics.set_own(metrics or {})
            super().compile(optimizer=optimizer, jit_compile=chosen, **kwargs)
            self._prepare_strategy(kwargs.get("steps_per_execution", 1))

    def _prepare_strategy(self, steps_per_execution):
        if private_keras.strategy_of_model(self) is None:
            return
        keras_distribution.check_made_in_scope(self, self.optimizer)
        keras_distribution.sums_beforehand(self.optimizer)
        if steps_per_execution != 1:
            raise ValueError(
                "steps_per_execution: expected 1 under a tf.distribute strategy, where Keras does "
                f"not support more; got {steps_per_execution}. Leave it out."
            )
        keras_distribution.warn_of_layers(self._layers_to_compile())

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

    def get_compile_config(self) -> Config | None:
        """Returns the arguments of `compile` as JSON; "auto" is kept, to be resolved at loading."""
        if not self.compiled:
            return None
        optimizer = keras.saving.serialize_keras_object(self.optimizer)
        own = {
            n: keras.saving.serialize_keras_object(f) for n, f in self._bound_metrics.own.items()
        }
        return {"optimizer": optimizer, "metrics": own or None, **self._asked}

    def compile_from_config(self, config: Config) -> None:
        """Compiles a loaded model and creates the optimizer's slots, so that they can be loaded."""
        config = dict(config)
        config["optimizer"] = keras.saving.deserialize_keras_object(config["optimizer"])
        own = config.get("metrics") or {}
        config["metrics"] = {n: keras.saving.deserialize_keras_object(f) for n, f in own.items()}
        self.compile(**config)
        if self.built:
            self.optimizer.build(self.trainable_variables)

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
          ValueError: targets or class weights were given, data or weights are invalid, or an epoch
            has no batch.
          NonFiniteError: too many batches have a NaN or infinite loss or gradient.
        """
        self._assert_compile_called("fit")
        check_no_class_weight(kwargs.get("class_weight"))
        y, kwargs["sample_weight"] = self._checked(x, y, kwargs.get("sample_weight"))
        keras_distribution.check_made_in_scope(self, self.optimizer)
        self._check_weights()
        callbacks = self._fit_callbacks(skip_limit, keras.tree.flatten(callbacks or []))
        if self.compiled:
            warn_of_monitors(
                callbacks, self._beta_at, int(apply_if_finite.batches(self.optimizer).numpy())
            )
        batches = self.batch_checks()
        with batches.original_errors(), explained(), stages.printed(kwargs, "Training"):
            x = batches.source(x, skips=True)
            if kwargs.get("validation_data") is not None:
                kwargs["validation_data"] = self._validation(kwargs["validation_data"], batches)
            x = self._prepared(x, kwargs.get("batch_size"))
            x, y, kwargs = with_array_batches(self._source(x), y, kwargs)
            return super().fit(x, y, callbacks=callbacks, **kwargs)

    def _fit_callbacks(self, skip_limit, given):
        guards = [StopOnNonFinite(skip_limit), WarnOfInstability(getattr(self, "refinement", None))]
        return [NoEmptyPass(), *guards, *given, FollowInEpochs()]

    def _prepared(self, x, batch_size=None):
        """Prepares the first training step: weights, Hessian-vector product, optimizer slots."""
        self._follow_settings()
        if self._needs_batch():
            x = self._with_first_batch(self.prepare_fit, x, batch_size)
        if self.built and self.compiled and not self.optimizer.built:
            # Built here, since building in the first step would cause a second trace.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return x

    def _with_weights(self, x, batch_size=None):
        """Creates the weights from the first batch if there are none yet; returns the data."""
        if self.built and not self._data_spec_is_guess:
            return x
        return self._with_first_batch(self.ensure_built, x, batch_size)

    def _with_first_batch(self, function, x, batch_size):
        batch, x = first_batch(x, batch_size or 32)
        if batch is not None:
            with self.distribute_strategy.scope():
                function(batch)
        return x

    def evaluate(self, x: Nest = None, y: None = None, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate` on x and, for arrays, `sample_weight`; raises as `fit`."""
        self._assert_compile_called("evaluate")
        if kwargs.get("_use_cached_eval_dataset"):  # Validation data, already checked by `fit`.
            return super().evaluate(x, y, **kwargs)
        y, kwargs["sample_weight"] = self._checked(x, y, kwargs.get("sample_weight"))
        batches = self.batch_checks()
        callbacks = [NoEmptyPass(), *keras.tree.flatten(kwargs.pop("callbacks", None) or [])]
        with batches.original_errors(), explained(), stages.printed(kwargs):
            x = self._with_weights(batches.source(x), kwargs.get("batch_size"))
            data = self._source(x), y, kwargs["sample_weight"]
            batches = batches_of(data, kwargs.get("batch_size"), kwargs.get("steps"))
            if batches is not None:
                x, y, kwargs["sample_weight"] = batches, None, None
            return super().evaluate(self._source(x), y, callbacks=callbacks, **kwargs)

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
            x = self._with_weights(batches.source(x), batch_size)
            x = batches_of((x, None, None), batch_size, steps) or with_targets(x)
            return super().predict(x, batch_size, verbose, steps, callbacks)

    def predict_on_batch(self, x: Nest) -> Nest:
        """As `keras.Model.predict_on_batch`; raises as `predict`."""
        self._check_arrays(x)
        return super().predict_on_batch(self._with_weights(x))

    def compute_loss(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises NotImplementedError: the objective is not a function of outputs and targets."""
        raise NotImplementedError(
            f"compute_loss: {type(self).__name__} computes its objective in train_step and "
            "test_step, from x alone. Use evaluate or test_on_batch, or negative_elbo or "
            "log_likelihood for each example."
        )

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

    def _validation(self, data, batches):
        """Validates validation data before the first epoch; returns them in Keras' form."""
        if isinstance(data, (tuple, list)):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            return (x, *self._checked(x, y, sample_weight))
        self._check_arrays(data)
        data = batches.source(data)
        look(data)
        return self._source(data)

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

    def _check_weights(self):
        for variable in self.variables:
            remedy = "Load an earlier checkpoint."
            validation.finite(f"weights {variable.path}", variable.numpy(), remedy)

    def _tokens(self, x):
        """Returns predicted tokens per example [B], or None for decoders without tokens."""
        count = getattr(self.decoder, "count_tokens", None)
        return None if count is None else count(x)
