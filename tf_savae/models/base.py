"""What both models share: one train step, one test step, compilation, metrics, guards."""

import keras
import tensorflow as tf

from tf_savae.ground import checks, seeds
from tf_savae.models import gate
from tf_savae.models.building import first_batch
from tf_savae.models.compilation import resolve_jit_compile
from tf_savae.models.data_checks import check_arrays
from tf_savae.models.guards import StopOnNonFinite, WarnOfInstability
from tf_savae.models.metrics import TRAINING_ONLY

__all__ = ["BoundModel"]

_TRAIN, _EVALUATE = 0, 1  # Streams of noise derived from the model's one seed.
_NO_TARGETS = (
    "expected x alone, or (x, None, sample_weight), since the data are their own target; got "
    "targets too. Leave them out: fit(x), or dataset.map(lambda x, y: x)."
)


class BoundModel(keras.Model):
    """A keras.Model trained on a bound of log p(x); subclasses say which.

    The loss is the mean over a batch's examples; with sample weights w it is sum(w loss) / sum(w),
    so rows of weight 0 (padding of a partial batch) change nothing, and neither does a common
    factor of all weights. Keras' own losses divide by the number of rows instead.

    Noise is a function of (seed, step): training resumed from a checkpoint draws what it would
    have drawn, and two evaluations of the same data agree.
    """

    def __init__(self, *, seed=0, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # Data keep their precision.
        seeds.as_seed(seed)  # Says now what is wrong with it.
        self.seed = seed
        self._evaluation_step = self.add_weight(
            shape=(), initializer="zeros", dtype="int64", trainable=False, name="evaluation_step"
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
          ValueError: a loss or metric was given, or XLA was asked for and is impossible.
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
        super().compile(optimizer=optimizer, jit_compile=chosen, **kwargs)

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

    def train_step(self, data):
        """One update of all weights; one XLA program under jit_compile.

        A batch whose loss or gradient is not finite changes nothing but the count of steps.
        """
        x, sample_weight = _unpacked(data)
        step = self.optimizer.iterations
        beta = self._beta_at(step)
        seed = seeds.fold(seeds.fold(self.seed, _TRAIN), step)
        probe = tf.zeros([_batch_size(x), 2], self.variable_dtype)
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            tape.watch(probe)
            outcome = self._outcome(x, seed, beta, True, probe)
            weights = _weights(sample_weight, outcome.loss)
            loss = tf.math.divide_no_nan(
                tf.reduce_sum(outcome.loss * weights), tf.reduce_sum(weights)
            )
            for extra in [*outcome.effects.losses, *self._get_regularization_losses()]:
                loss += tf.cast(extra, loss.dtype)
            scaled = self.optimizer.scale_loss(loss)
        *gradients, stability = tape.gradient(scaled, [*variables, probe])
        finite = gate.all_finite(loss, [] if gate.scales_losses(self.optimizer) else gradients)
        gate.apply_gradients(self.optimizer, gradients, variables, finite)
        _assign(outcome.effects.statistics, finite)
        self._tracked.update(outcome, weights, beta, self._tokens(x), stability, finite)
        return self._tracked.results()

    def test_step(self, data):
        """The bound as it stands: beta as in training steps, dropout off."""
        x, sample_weight = _unpacked(data)
        seed = seeds.fold(seeds.fold(self.seed, _EVALUATE), self._evaluation_step)
        self._evaluation_step.assign_add(1)
        beta = self._evaluation_beta()
        outcome = self._outcome(x, seed, beta, False, None)
        weights = _weights(sample_weight, outcome.loss)
        self._tracked.update(outcome, weights, beta, self._tokens(x))
        return self._tracked.results(set(self._tracked.trackers) - set(TRAINING_ONLY))

    def _evaluation_beta(self):
        """Refinement descends the annealed objective, in validation during training too."""
        if self.optimizer is None:
            return tf.ones([])
        return self._beta_at(self.optimizer.iterations)

    @property
    def metrics(self):
        return list(self._tracked.trackers.values())

    def reset_metrics(self):
        super().reset_metrics()
        self._evaluation_step.assign(0)

    def fit(self, x=None, y=None, *, callbacks=None, skip_limit=10, **kwargs):
        """As `keras.Model.fit` on x alone.

        Args:
          x, y, callbacks, kwargs: as in Keras; y is None.
          skip_limit: how many batches of an epoch may give a loss or gradient that is not finite;
            they are skipped. Three in a row are too many in any case.

        Raises:
          ValueError: targets were given, or data or weights hold what cannot be trained on.
          NonFiniteError: too many batches gave a NaN or infinite loss or gradient.
        """
        self._check_data(x, y, kwargs.get("sample_weight"))
        self._check_validation(kwargs.get("validation_data"))
        self._check_weights()
        if self._needs_batch():
            batch, x = first_batch(x, kwargs.get("batch_size") or 32)
            if batch is not None:
                self._prepare_fit(batch)
        if self.built and self.compiled and not self.optimizer.built:
            # Here and not in the first step, which would be traced a second time without it.
            self.optimizer.build(self.trainable_variables)
        guards = [StopOnNonFinite(skip_limit), WarnOfInstability(getattr(self, "refinement", None))]
        callbacks = [*guards, *keras.tree.flatten(callbacks or [])]
        return super().fit(x, callbacks=callbacks, **kwargs)

    def evaluate(self, x=None, y=None, **kwargs):
        """As `keras.Model.evaluate` on x alone; raises as `fit`."""
        self._check_data(x, y, kwargs.get("sample_weight"))
        return super().evaluate(x, **kwargs)

    def _check_data(self, x, y, sample_weight):
        if y is not None:
            raise ValueError(f"y: {_NO_TARGETS}")
        check_arrays(x, getattr(self.decoder, "vocabulary_size", None))
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


def _unpacked(data):
    """x and the sample weights of a batch; Keras may wrap x in a tuple."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if y is not None:
        raise ValueError(f"y: {_NO_TARGETS}")
    return x, sample_weight


def _assign(statistics, finite):
    """Writes new moving statistics; a layer that ran twice would lose one of its updates."""
    seen = set()
    for variable, value in statistics:
        if id(variable) in seen:
            raise ValueError(
                f"{variable.path}: a layer with moving statistics (BatchNormalization) is in both "
                "encoder and decoder; expected one of its own in each."
            )
        seen.add(id(variable))
        variable.assign(gate.select(finite, value, tf.convert_to_tensor(variable.value)))


def _batch_size(x):
    return tf.shape(tf.nest.flatten(x)[0])[0]


def _weights(sample_weight, loss):
    if sample_weight is None:
        return tf.ones_like(loss)
    weights = tf.cast(tf.convert_to_tensor(sample_weight), loss.dtype)
    if weights.shape.rank != 1:
        raise ValueError(
            "sample_weight: expected one weight per example, shape [B]; got shape "
            f"{weights.shape.as_list()}."
        )
    return weights
