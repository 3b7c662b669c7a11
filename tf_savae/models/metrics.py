"""Training and evaluation metrics, in nats per example unless stated otherwise."""

from collections.abc import Callable, Collection
from typing import Any, Self

import keras
import tensorflow as tf

from tf_savae.core.typing import TensorLike
from tf_savae.models import distribution
from tf_savae.models.apply_if_finite import select
from tf_savae.objectives import Outcome

__all__ = ["STABILITY", "TRAINING_ONLY", "BoundMetrics", "Perplexity"]

STABILITY = ("adjoint_growth", "curvature", "encoder_signal")  # Of the backward pass.
TRAINING_ONLY = ("skipped", "steps", *STABILITY)


class Perplexity(keras.metrics.Mean):
    """Perplexity: exp of the mean nats per token, weighted by tokens.

    >>> metric = Perplexity()
    >>> metric.update_state(tf.math.log([8.0]), [3.0])
    >>> round(float(metric.result()), 3)
    8.0
    """

    def __init__(self, name: str = "perplexity", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def result(self) -> tf.Tensor:
        return keras.ops.exp(super().result())


class BoundMetrics:
    """The metrics of one model, updated from the `Outcome` of each batch.

    In nats: loss (the training objective), bound (negative ELBO at lambda_K), nll and kl (its
    parts), amortized_bound (at lambda_0), refinement_gain (objective at lambda_0 less that at
    lambda_K).
    Without unit: beta, made_worse (fraction of examples whose objective increased; both ends use
    independent samples, so that about half is worse by chance if the gain is near zero), fell_back
    (fraction of examples that kept lambda_0, with `fall_back`), adjoint_growth, curvature and
    encoder_signal (of algorithm 1's backward pass, with an exact adjoint; the signal is the cosine
    between the adjoint at lambda_0 and the gradient of the ELBO at lambda_0), steps (K, with a
    schedule), perplexity (per predicted token), skipped (number of batches of the epoch with a
    loss or gradient that is not finite; no other metric includes them). While a schedule has K = 0,
    the metrics of refinement are 0.
    """

    def __init__(
        self,
        *,
        latent: bool,
        amortized: bool,
        refined: bool,
        with_adjoint: bool,
        tokens: bool,
        falls_back: bool = False,
        scheduled: bool = False,
    ) -> None:
        names = ["loss", "bound", "nll"]
        names += ["kl", "beta"] if latent else []
        names += ["amortized_bound"] if amortized and refined else []
        if refined:
            names += ["refinement_gain", "made_worse"] + ["fell_back"] * falls_back
        names += list(STABILITY) if with_adjoint else []
        names += ["steps"] * scheduled
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        if tokens:
            self.trackers["perplexity"] = Perplexity()
        self.trackers["skipped"] = keras.metrics.Sum(name="skipped")
        self.own: dict[str, Callable[[Outcome], tf.Tensor]] = {}

    def set_own(self, functions: dict[str, Callable[[Outcome], tf.Tensor]]) -> None:
        """Replaces the user's metrics, {name: outcome -> [B]}, each a mean over examples.

        Raises:
          ValueError: a name is that of a built-in metric, or a value is not a function.
        """
        for name in self.own:
            del self.trackers[name]
        for name, function in functions.items():
            if name in self.trackers or not callable(function):
                raise ValueError(
                    "metrics: expected {name: function of the objective's Outcome -> [B]} with "
                    f"names other than {', '.join(self.trackers)}; got {name!r}: {function!r}."
                )
        self.own = dict(functions)
        self.trackers |= {name: keras.metrics.Mean(name=name) for name in self.own}

    def renewed(self, other: Self) -> Self:
        """Returns `other`, the metrics of changed settings, with the trackers of common names."""
        other.set_own(self.own)
        kept = {name: self.trackers.get(name, tracker) for name, tracker in other.trackers.items()}
        other.trackers = kept
        return self if kept.keys() == self.trackers.keys() else other

    def update(
        self,
        outcome: Outcome,
        weights: tf.Tensor,
        beta: TensorLike,
        tokens: tf.Tensor | None = None,
        stability: tf.Tensor | None = None,
        finite: tf.Tensor | None = None,
        steps: int | None = None,
    ) -> None:
        """Adds one batch.

        Args:
          outcome: the objective's `Outcome`.
          weights: [B].
          beta: scalar.
          tokens: [B] or None.
          stability: [B, 3] or None, in the order of `STABILITY`.
          finite: bool scalar, in training: False only counts the batch as skipped.
          steps: K of this batch, an int, or None.
        """
        bound = outcome.terms.bound
        values = {"loss": outcome.loss, "bound": bound, "nll": outcome.terms.nll}
        values["kl"] = outcome.terms.kl
        values["beta"] = tf.zeros_like(bound) + tf.cast(beta, bound.dtype)
        if steps is not None:
            values["steps"] = tf.fill(tf.shape(bound), tf.cast(steps, bound.dtype))
        if outcome.amortized is not None:
            values["amortized_bound"] = outcome.amortized.bound
        if outcome.start is not None:
            values["refinement_gain"] = outcome.start - outcome.end
            values["made_worse"] = tf.cast(outcome.end > outcome.start, bound.dtype)
        if outcome.fell_back is not None:
            values["fell_back"] = tf.cast(outcome.fell_back, bound.dtype)
        if stability is not None:
            values.update(zip(STABILITY, tf.unstack(stability, axis=1), strict=True))
        values |= {name: self._own_values(name, outcome) for name in self.own}
        if finite is not None:
            skipped = distribution.once(tf.cast(~finite, tf.float32))
            self.trackers["skipped"].update_state(skipped)
            weights = select(finite, weights, tf.zeros_like(weights))
            values = {n: select(finite, v, tf.zeros_like(v)) for n, v in values.items()}
        for name, value in values.items():
            if name in self.trackers:
                self.trackers[name].update_state(value, weights)
        if tokens is not None:
            tokens = tf.cast(tokens, bound.dtype)
            nats = tf.math.divide_no_nan(values["bound"], tokens)
            self.trackers["perplexity"].update_state(nats, tokens * weights)

    def _own_values(self, name, outcome):
        values = tf.convert_to_tensor(self.own[name](outcome))
        if not values.shape.is_compatible_with(outcome.loss.shape):
            raise ValueError(
                f"metrics: expected {name!r} to return one number per example, shape "
                f"{outcome.loss.shape.as_list()}, got {values.shape.as_list()}."
            )
        return tf.cast(values, outcome.loss.dtype)

    def results(self, names: Collection[str] | None = None) -> dict[str, tf.Tensor]:
        """Returns the current values by name."""
        chosen = {n: t for n, t in self.trackers.items() if names is None or n in names}
        return distribution.logs(chosen)
