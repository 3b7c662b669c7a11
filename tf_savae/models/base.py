"""What both models share: compilation, metrics, guards, and what `fit` checks first."""

import keras
import tensorflow as tf

from tf_savae.ground import checks, seeds
from tf_savae.models import gate, keras_strategy
from tf_savae.models.annealing import warn_of_monitors
from tf_savae.models.building import first_batch
from tf_savae.models.compilation import resolve_jit_compile
from tf_savae.models.data_checks import check_arrays
from tf_savae.models.explained import explained
from tf_savae.models.guards import NoEmptyPass, StopOnNonFinite, WarnOfInstability
from tf_savae.models.steps import Steps
from tf_savae.models.streams import NO_TARGETS, BatchChecks, look

__all__ = ["BoundModel"]


class BoundModel(Steps, keras.Model):
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
    """

    def __init__(self, *, seed=0, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # Data keep their precision.
        self.seed = seeds.plain_seed(seed)
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

    def compile(self, optimizer="adam", *, jit_compile="auto", **kwargs):
        """As `keras.Model.compile`, without losses and metrics: the model brings its own.

        Raises:
          ValueError: a loss or metric was given, or XLA was asked for and is impossible, or the
            optimizer was made outside of the scope of the model's strategy.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"{name}: {type(self).__name__} brings its own objective and metrics; expected "
                    f"none, got {kwargs[name]!r}. For further metrics use a callback."
                )
        if kwargs.get("run_eagerly") and jit_compile is True:
            raise ValueError("jit_compile=True: impossible with run_eagerly=True; choose one.")
        chosen = resolve_jit_compile(jit_compile, self._layers_to_compile())
        if kwargs.get("run_eagerly"):
            chosen = False
        self.__dict__.pop("_functions", None)  # Compiled for the old choice.
        self.__dict__["_asked"] = {"jit_compile": jit_compile, **kwargs}
        with self.distribute_strategy.scope():
            super().compile(optimizer=optimizer, jit_compile=chosen, **kwargs)
            self._prepare_strategy(kwargs.get("steps_per_execution", 1))

    def _prepare_strategy(self, steps_per_execution):
        if self._distribute_strategy is None:
            return
        keras_strategy.check_made_in_scope(self, self.optimizer)
        keras_strategy.sums_beforehand(self.optimizer)
        if steps_per_execution != 1:
            raise ValueError(
                "steps_per_execution: Keras fails under a tf.distribute strategy with more than 1; "
                f"got {steps_per_execution}. Leave it out."
            )
        keras_strategy.warn_of_layers(self._layers_to_compile())

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras averages a batch over its rows to build a model; `fit` has built this one."""
        if not self.built:
            super()._maybe_symbolic_build(iterator, data_batch)

    def get_compile_config(self):
        """The arguments of `compile`, as JSON; "auto" stays "auto": other machines may differ."""
        if not self.compiled:
            return None
        optimizer = keras.saving.serialize_keras_object(self.optimizer)
        return {"optimizer": optimizer, **self._asked}

    def compile_from_config(self, config):
        """Compiles a loaded model; its optimizer gets the slots that its file will fill."""
        config = dict(config)
        config["optimizer"] = keras.saving.deserialize_keras_object(config["optimizer"])
        self.compile(**config)
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def _layers_to_compile(self):
        return [layer for layer in self.layers if isinstance(layer, keras.layers.Layer)]

    def _evaluation_beta(self):
        """Refinement descends the annealed objective, in validation during training too."""
        if self.optimizer is None:
            return tf.ones([])
        return self._beta_at(gate.batches(self.optimizer))

    @property
    def metrics(self):
        return list(self._tracked.trackers.values())

    def reset_metrics(self):
        super().reset_metrics()
        self._evaluation_step.assign(0)

    def fit(self, x=None, y=None, *, callbacks=None, skip_limit=10, **kwargs):
        """As `keras.Model.fit` on x alone.

        Batches of a dataset or generator are checked as they are read, those of a PyDataset as far
        as its first one; NaN after the first batch is left to `skip_limit`.

        Args:
          x, y, callbacks, kwargs: as in Keras; y is None.
          skip_limit: how many batches of an epoch may give a loss or gradient that is not finite;
            they are skipped. Three in a row are too many in any case.

        Raises:
          ValueError: targets were given, data or weights hold what cannot be trained on, or an
            epoch found no batch.
          NonFiniteError: too many batches gave a NaN or infinite loss or gradient.
        """
        self._check_data(x, y, kwargs.get("sample_weight"))
        self._check_validation(kwargs.get("validation_data"))
        keras_strategy.check_made_in_scope(self, self.optimizer)
        guards = [StopOnNonFinite(skip_limit), WarnOfInstability(getattr(self, "refinement", None))]
        callbacks = [NoEmptyPass(), *guards, *keras.tree.flatten(callbacks or [])]
        if self.compiled:
            warn_of_monitors(callbacks, self._beta_at, int(gate.batches(self.optimizer).numpy()))
        batches = self._batch_checks()
        with batches.told(), explained():
            x = batches.source(x, skips=True)
            if "validation_data" in kwargs:
                validation = batches.source(kwargs["validation_data"])
                look(validation)  # And not at the end of the first epoch.
                kwargs["validation_data"] = keras_strategy.as_shared(validation, self)
            with self.distribute_strategy.scope():
                x = self._prepared(x, kwargs.get("batch_size") or 32)
            return super().fit(keras_strategy.as_shared(x, self), callbacks=callbacks, **kwargs)

    def _prepared(self, x, batch_size):
        """Checks the weights, or makes them; returns the data."""
        self._check_weights()
        if self._needs_batch():
            batch, x = first_batch(x, batch_size)
            if batch is not None:
                self._prepare_fit(batch)
        if self.built and self.compiled and not self.optimizer.built:
            # Here and not in the first step, which would be traced a second time without it.
            self.optimizer.build(self.trainable_variables)
        return x

    def evaluate(self, x=None, y=None, **kwargs):
        """As `keras.Model.evaluate` on x alone; raises as `fit`."""
        self._check_data(x, y, kwargs.get("sample_weight"))
        if kwargs.get("_use_cached_eval_dataset"):  # Validation, which `fit` has checked.
            return super().evaluate(x, **kwargs)
        batches = self._batch_checks()
        callbacks = [NoEmptyPass(), *keras.tree.flatten(kwargs.pop("callbacks", None) or [])]
        with batches.told(), explained():
            x = keras_strategy.as_shared(batches.source(x), self)
            return super().evaluate(x, callbacks=callbacks, **kwargs)

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """As `keras.Model.predict`.

        Raises:
          ValueError: x holds what cannot be data of this model.
        """
        self._check_arrays(x)
        batches = self._batch_checks()
        callbacks = [NoEmptyPass(), *keras.tree.flatten(callbacks or [])]
        with batches.told(), explained():
            return super().predict(batches.source(x), batch_size, verbose, steps, callbacks)

    def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """As `keras.Model.train_on_batch` on x alone; raises as `fit`."""
        self._check_data(x, y, sample_weight)
        with explained():
            return super().train_on_batch(x, sample_weight=sample_weight, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """As `keras.Model.test_on_batch` on x alone; raises as `fit`."""
        self._check_data(x, y, sample_weight)
        return super().test_on_batch(x, sample_weight=sample_weight, **kwargs)

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`; raises as `predict`."""
        self._check_arrays(x)
        return super().predict_on_batch(x)

    def _check_arrays(self, x):
        check_arrays(x, *self._data_limits())

    def _data_limits(self):
        """(vocabulary_size, data_range) of what the decoder's likelihood is of."""
        return tuple(getattr(self.decoder, n, None) for n in ("vocabulary_size", "data_range"))

    def _batch_checks(self):
        return BatchChecks(*self._data_limits())

    def _check_data(self, x, y, sample_weight):
        if y is not None:
            raise ValueError(f"y: {NO_TARGETS}")
        self._check_arrays(x)
        if sample_weight is not None:
            checks.finite("sample_weight", sample_weight)

    def _check_validation(self, data):
        """Now, and not at the end of the first epoch."""
        if data is None or isinstance(data, tf.data.Dataset):
            return
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self._check_data(x, y, sample_weight)

    def _needs_batch(self):
        """Whether `_prepare_fit` has anything to do; looking at a dataset may move its shuffle."""
        return not self.built

    def _prepare_fit(self, batch):
        """Hook: what needs a batch of data before training starts."""

    def _check_weights(self):
        for variable in self.variables:
            remedy = "Load a checkpoint of before they went wrong."
            checks.finite(f"weights {variable.path}", variable.numpy(), remedy)

    def _tokens(self, x):
        """Predicted tokens per example [B], where the decoder predicts tokens."""
        return None
