"""`BoundModel`: what both models share: compilation, metrics, callbacks, input validation."""

from collections.abc import Callable
from typing import Any, NoReturn

import keras
import tensorflow as tf

from tf_savae.core import private_keras, seeds, validation
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Nest, TensorLike
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
    """A keras.Model trained on a bound of log p(x); subclasses say which.

    The loss is the mean over a batch's examples; with sample weights w it is sum(w loss) / sum(w),
    so rows of weight 0 (padding of a partial batch) change nothing, and neither does a common
    factor of all weights. Keras' own losses divide by the number of rows instead.

    Noise is a function of (seed, step): training resumed from a checkpoint draws what it would
    have drawn, and two evaluations of the same data agree.

    Made inside the scope of a `tf.distribute` strategy, a model trains on all its replicas: batch
    size then means that of the global batch, and as long as no layer looks at other rows (batch
    normalisation does) or draws by itself (keras.layers.Dropout), any number of replicas gives the
    weights that one process gives, up to rounding.

    Settings may be assigned on a model that is in use: `model.seed`, `layer.trainable`, a layer's
    own attributes. Whatever was traced with another value is traced again at its next call. Parts
    that weights follow from (`decoder`, `latent_size`, ...) are fixed: assigning them raises.
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
            aggregation="only_first_replica",  # Where there are several; all count alike.
            name="evaluation_step",
        )

    # What subclasses supply.

    def _outcome(self, x, seed, beta, training, probe):
        """The objective's `Outcome`."""
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
        """As `keras.Model.compile`, without a loss: the model brings its own, and its metrics.

        Args:
          optimizer, jit_compile, kwargs: as in Keras; jit_compile is "auto", True or False.
          metrics: further ones, {name: function}, means over examples: a function maps the
            `tf_savae.objectives.Outcome` of a batch to numbers [B]. They are saved with the model,
            as Keras saves functions: register them to load it.

        Raises:
          ValueError: a loss was given, a metric is none, XLA was asked for and is impossible, or
            the optimizer was made outside of the scope of the model's strategy.
        """
        for name in ("loss", "loss_weights", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"{name}: {type(self).__name__} brings its own objective; expected none, got "
                    f"{kwargs[name]!r}."
                )
        if not isinstance(metrics, dict | None):
            raise ValueError(
                f"metrics: {type(self).__name__} brings its own; expected none, or further ones as "
                f"{{name: function of the objective's Outcome -> [B]}}, got {metrics!r}."
            )
        if kwargs.get("run_eagerly") and jit_compile is True:
            raise ValueError("jit_compile=True: impossible with run_eagerly=True; choose one.")
        chosen = resolve_jit_compile(jit_compile, self._layers_to_compile())
        if kwargs.get("run_eagerly"):
            chosen = False
        self.__dict__.pop("_functions", None)  # Compiled for the old choice.
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
                "steps_per_execution: Keras fails under a tf.distribute strategy with more than 1; "
                f"got {steps_per_execution}. Leave it out."
            )
        keras_distribution.warn_of_layers(self._layers_to_compile())

    def _assert_compile_called(self, method_name=None):
        if not self.compiled:
            raise ValueError(
                f"{method_name}: expected a compiled model. Call compile(optimizer) first; losses "
                "and metrics are the model's own."
            )

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras averages a batch over its rows to build a model; `fit` has built this one."""
        if not self.built:
            super()._maybe_symbolic_build(iterator, data_batch)

    def get_compile_config(self) -> Config | None:
        """The arguments of `compile`, as JSON; "auto" stays "auto": other machines may differ."""
        if not self.compiled:
            return None
        optimizer = keras.saving.serialize_keras_object(self.optimizer)
        own = {
            n: keras.saving.serialize_keras_object(f) for n, f in self._bound_metrics.own.items()
        }
        return {"optimizer": optimizer, "metrics": own or None, **self._asked}

    def compile_from_config(self, config: Config) -> None:
        """Compiles a loaded model; its optimizer gets the slots that its file will fill."""
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
        """Refinement descends the annealed objective, in validation during training too."""
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

        Batches of a dataset or generator are checked as they are read, those of a PyDataset as far
        as its first one; NaN after the first batch is left to `skip_limit`.

        Args:
          x, y, callbacks, kwargs: as in Keras; y is None. Arrays may have `sample_weight` [N] of
            numbers >= 0, and `validation_data` may be (x, None, sample_weight).
          skip_limit: how many batches of an epoch may give a loss or gradient that is not finite;
            they are skipped. Three in a row are too many in any case.

        Raises:
          ValueError: targets or class weights were given, data or weights hold what cannot be
            trained on, or an epoch found no batch.
          NonFiniteError: too many batches gave a NaN or infinite loss or gradient.
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
        with batches.told(), explained():
            x = batches.source(x, skips=True)
            if kwargs.get("validation_data") is not None:
                kwargs["validation_data"] = self._validation(kwargs["validation_data"], batches)
            x = self._prepared(x, kwargs.get("batch_size"))
            return super().fit(self._source(x), y, callbacks=callbacks, **kwargs)

    def _fit_callbacks(self, skip_limit, given):
        guards = [StopOnNonFinite(skip_limit), WarnOfInstability(getattr(self, "refinement", None))]
        return [NoEmptyPass(), *guards, *given, FollowInEpochs()]

    def _prepared(self, x, batch_size=None):
        """What training needs before its first step: weights, a measured product, slots."""
        self._follow_settings()
        if self._needs_batch():
            x = self._with_first_batch(self.prepare_fit, x, batch_size)
        if self.built and self.compiled and not self.optimizer.built:
            # Here and not in the first step, which would be traced a second time without it.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return x

    def _with_weights(self, x, batch_size=None):
        """Makes the weights from the first batch if there are none yet; returns the data."""
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
        """As `keras.Model.evaluate` on x alone, and `sample_weight` for arrays; raises as `fit`."""
        self._assert_compile_called("evaluate")
        if kwargs.get("_use_cached_eval_dataset"):  # Validation, which `fit` has checked.
            return super().evaluate(x, y, **kwargs)
        y, kwargs["sample_weight"] = self._checked(x, y, kwargs.get("sample_weight"))
        batches = self.batch_checks()
        callbacks = [NoEmptyPass(), *keras.tree.flatten(kwargs.pop("callbacks", None) or [])]
        with batches.told(), explained():
            x = self._with_weights(batches.source(x), kwargs.get("batch_size"))
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
        """As `keras.Model.predict`.

        Raises:
          ValueError: x holds what cannot be data of this model.
        """
        self._check_arrays(x)
        batches = self.batch_checks()
        callbacks = [NoEmptyPass(), *keras.tree.flatten(callbacks or [])]
        with batches.told(), explained():
            x = self._with_weights(batches.source(x), batch_size)
            return super().predict(with_targets(x), batch_size, verbose, steps, callbacks)

    def predict_on_batch(self, x: Nest) -> Nest:
        """As `keras.Model.predict_on_batch`; raises as `predict`."""
        self._check_arrays(x)
        return super().predict_on_batch(self._with_weights(x))

    def compute_loss(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises NotImplementedError: the objective is no function of an output and a target."""
        raise NotImplementedError(
            f"compute_loss: {type(self).__name__} computes its objective in train_step and "
            "test_step, from x alone. Use evaluate or test_on_batch, or negative_elbo or "
            "log_likelihood for each example."
        )

    def export(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises NotImplementedError: `tf_savae.export` writes what a model server takes."""
        raise NotImplementedError(
            f"export: Keras' own would know neither steps nor seeds of a {type(self).__name__}. "
            "Use tf_savae.export(model, path)."
        )

    def _check_arrays(self, x):
        check_arrays(x, *self._data_limits())

    def _data_limits(self):
        """(vocabulary_size, data_range) of what the decoder's likelihood is of."""
        return tuple(getattr(self.decoder, n, None) for n in ("vocabulary_size", "data_range"))

    def batch_checks(self) -> BatchChecks:
        """`BatchChecks` for one pass over a dataset of this model's data, as `fit` makes them."""
        return BatchChecks(*self._data_limits())

    def _checked(self, x, y, sample_weight):
        """(y, sample_weight) as Keras keeps them; raises for what is no data of this model."""
        if keras_distribution.is_target(y):
            raise ValueError(f"y: {NO_TARGETS}")
        self._check_arrays(x)
        return as_pair(x, check_sample_weight(sample_weight, x))

    def _validation(self, data, batches):
        """Validation data as Keras takes them, checked now and not after the first epoch."""
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
        """Whether `prepare_fit` has anything to do; looking at a dataset may move its shuffle."""
        return not self.built or self._data_spec_is_guess

    def prepare_fit(self, batch: Nest) -> None:
        """What needs a batch of data before training starts: weights, and choices that it decides.

        `fit` does so by itself.

        Args:
          batch: nest of tensors [B, ...], x of one batch.
        """
        self.ensure_built(batch)

    def _check_weights(self):
        for variable in self.variables:
            remedy = "Load a checkpoint of before they went wrong."
            validation.finite(f"weights {variable.path}", variable.numpy(), remedy)

    def _tokens(self, x):
        """Predicted tokens per example [B], or None of a decoder that predicts no tokens."""
        count = getattr(self.decoder, "count_tokens", None)
        return None if count is None else count(x)
