"""Adjoints: how gradients are propagated through the refinement loop, as objects with settings.

Adjoints are frozen; their constructors check the settings. `tf_savae.svi.short_forms` converts the
strings "exact", "truncated", "unrolled" and "stop" to adjoints.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn, Self

import keras
import tensorflow as tf

from tf_savae.autodiff.residuals import LEVELS
from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.typing import Config, Nest, TensorLike
from tf_savae.svi import differentiable_loop
from tf_savae.svi import hvp as hvps

__all__ = [
    "RESIDUALS",
    "Adjoint",
    "Exact",
    "Stop",
    "TakesProducts",
    "Truncated",
    "Unrolled",
    "refuse_residuals",
]

RESIDUALS = ("auto", *LEVELS)  # And None.


class Adjoint:
    """Base class of `Exact`, `Truncated`, `Unrolled` and `Stop`.

    Attributes:
      crosses: whether gradients are propagated to lambda_0, theta and the update rule.
      hvp, residuals, clip_norm, budget: as in `Exact`; None if no Hessian-vector product is
        computed.
    """

    crosses = True
    hvp: Any = None
    residuals: str | None = None
    clip_norm: float | None = None
    budget: int | None = None

    @property
    def differentiates_twice(self) -> bool:
        """Whether second derivatives of the decoder are computed."""
        return self.crosses and self.hvp != "finite_difference"

    def check_steps(self, steps: int) -> None:
        """Raises ValueError if the settings are incompatible with K = `steps`."""

    def check_request(
        self, steps: TensorLike, return_trace: bool | str, early_stopping: float | None
    ) -> None:
        """Raises ValueError for options of `refine` that require adjoint "stop"."""
        if tf.is_tensor(steps):
            raise ValueError(
                'steps: a tensor is supported only with adjoint="stop" and return_trace=False. '
                "Pass a Python int."
            )
        if early_stopping is not None:
            raise ValueError(
                'early_stopping: expected adjoint="stop", since early stopping is for inference, '
                f"without gradients through refinement; got {self!r}."
            )

    def for_steps(self, steps: int) -> Self:
        """Returns the adjoint for K = `steps` of a schedule, which may be less than its depth."""
        return self

    def with_hvp(self, hvp: str | Callable | None) -> Self:
        """Returns the adjoint with another Hessian-vector product, if it uses one."""
        own: Any = self  # A dataclass: all subclasses are.
        return own if own.hvp is None else dataclasses.replace(own, hvp=hvp)

    def with_residuals(self, residuals: str | None) -> Self:
        """Returns the adjoint with other `residuals`, if it uses products."""
        own: Any = self
        if own.hvp is None:
            return own
        budget = own.budget if residuals == "auto" else None
        return dataclasses.replace(own, residuals=residuals, budget=budget)

    def run(
        self, objective: Any, initial: Nest, theta: Nest, settings: Any, probe: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], Any]:
        """Takes K steps; returns (refined flat list, `LoopInfo`), with this adjoint's gradient."""
        initial = initial if self.crosses else [tf.stop_gradient(p) for p in initial]
        if differentiable_loop.takes_none(settings):
            return differentiable_loop.no_steps(initial)
        return self.take_steps(objective, initial, theta, settings, probe)

    def take_steps(
        self, objective: Any, initial: Nest, theta: Nest, settings: Any, probe: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], Any]:
        """As `run`, for K >= 1 or early stopping."""
        raise NotImplementedError

    def get_config(self) -> Config:
        """Returns the constructor's arguments, for saved models."""
        own: Any = self
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(own)}
        if callable(config.get("hvp")):
            config["hvp"] = keras.saving.serialize_keras_object(config["hvp"])
        return config

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Returns the adjoint with the constructor arguments in `config`."""
        config = dict(config)
        own: Any = cls
        if "residuals" in {field.name for field in dataclasses.fields(own)}:
            config.setdefault("residuals", None)  # Earlier versions kept nothing.
            if config["residuals"] != "auto" and "budget" in config:  # They ignored it then.
                config["budget"] = None
        if isinstance(config.get("hvp"), dict):
            config["hvp"] = keras.saving.deserialize_keras_object(config["hvp"])
        return cls(**config)


class TakesProducts(Adjoint):
    """Base class of adjoints with algorithm 1's backward pass and Hessian-vector products."""

    def __post_init__(self):
        hvps.resolve(self.hvp)
        if validation.choice("residuals", self.residuals, (None, *RESIDUALS)) in LEVELS:
            exact = ["auto", "forward_over_reverse"]
            exact += ["reverse_over_reverse"] if self.residuals == "all" else []
            if self.hvp not in exact:
                refuse_residuals("residuals", f"hvp={self.hvp!r}")
            if self.hvp == "auto":
                object.__setattr__(self, "hvp", "forward_over_reverse")
        budget = None if self.budget is None else validation.positive_int("budget", self.budget)
        if budget is not None and self.residuals != "auto":
            raise ValueError(
                f'budget: requires residuals="auto", which chooses by it; got budget={budget} with '
                f"residuals={self.residuals!r}. Use None."
            )
        object.__setattr__(self, "budget", budget)
        clip_norm = validation.positive("clip_norm", self.clip_norm, optional=True)
        object.__setattr__(self, "clip_norm", clip_norm)

    def product(self) -> Callable:
        """Returns the function that computes the products, as those of `tf_savae.svi.hvp`."""
        return hvps.resolve(self.hvp)

    def take_steps(
        self, objective: Any, initial: Nest, theta: Nest, settings: Any, probe: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], Any]:
        return differentiable_loop.with_custom_gradient(
            objective, initial, theta, settings, probe, self
        )


def refuse_residuals(name: str, got: str) -> NoReturn:
    """Raises ValueError: only exact products can use residuals."""
    raise ValueError(
        f'{name}: requires adjoint "exact" or "truncated" with hvp="forward_over_reverse", or '
        f'"all" with hvp="reverse_over_reverse"; got {got}. Change these, or use "auto".'
    )


@register
@dataclasses.dataclass(frozen=True)
class Exact(TakesProducts):
    """The exact derivative of all K steps, by the backward loop of algorithm 1.

    Kim et al. (2018), https://arxiv.org/abs/1802.02550. The forward loop stores lambda_k of each
    step and, if they fit into memory, residuals: intermediate results of the step. The backward
    loop computes one Hessian-vector product per step, and recomputes what was not stored. If
    everything is stored, a step costs 2 decoder passes forward and 4 backward, and a training step
    6K + 3. If nothing is stored, memory is constant in K and a training step costs 8K + 3.

    Args:
      hvp: the Hessian-vector product: "forward_over_reverse" or "reverse_over_reverse", both exact;
        "finite_difference", for decoders without second derivatives; "auto"; or a function with
        the signature of those in `tf_savae.svi.hvp`. In `refine`, "auto" is forward over reverse if
        the decoder supports it, else reverse over reverse; `SemiAmortizedRefinement` measures which
        of the two is faster.
      residuals: tensors that steps store for their products. All settings give the same derivative.
        None: nothing. "states": tensors of the size of hidden states, 7K + 3 passes, for decoders
        whose softmax dominates (`tf_savae.networks.token_nll`) and hvp "forward_over_reverse".
        "all": 6K + 3 passes, in memory that grows with K. The decoder's operations that support it
        store their residuals (`token_nll` and `lstm`; text and oracle). For other decoders, which
        must be without loops, a step stores all that its reverse pass needs, and the product is
        reverse over reverse. "auto": the first of "all", "states" and None that fits into memory,
        by the sizes in a trace; in eager mode None. `SemiAmortizedVAE` chooses once, on the first
        batch, and logs the sizes.
      clip_norm: maximum norm of an example's adjoint in the backward loop, as a multiple of its
        norm at step K; None for no clipping. If refinement is unstable, the gradient is then biased
        but bounded.
      budget: bytes that "auto" may store; None for half of the free memory.

    Raises:
      ValueError: an argument is out of its range; `residuals` is given with another product, or
        `budget` with other residuals than "auto".

    >>> from tf_savae import svi
    >>> def bowl(parameters, theta, seed):
    ...     return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)
    >>> start = tf.constant([[4.0]])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(start)
    ...     refined = svi.refine(bowl, start, tf.zeros([1]), steps=2, step_size=0.5, momentum=0.0,
    ...                          seed=0, adjoint=svi.Exact(hvp="reverse_over_reverse"))
    >>> tape.gradient(refined, start).numpy().tolist()
    [[0.25]]
    """

    hvp: Any = "auto"
    residuals: str | None = "auto"
    clip_norm: float | None = None
    budget: int | None = None

    def depth_of(self, steps: int) -> int:
        """Returns the number of last steps that are differentiated exactly: all."""
        return steps


@register
@dataclasses.dataclass(frozen=True)
class Truncated(TakesProducts):
    """The exact derivative of the last `depth` steps; earlier steps are treated as the identity.

    The backward loop of algorithm 1 (Kim et al. 2018, https://arxiv.org/abs/1802.02550) ends early,
    for derivatives that explode through many steps. depth=0 is the straight-through gradient, which
    passes the gradient at lambda_K to lambda_0. A step costs 2 decoder passes forward and, if it is
    one of the last `depth`, 4 to 6 backward, as in `Exact`.

    Args:
      depth: number of last steps that are differentiated exactly, 0 to K. If a schedule has a
        smaller K, all steps are.
      hvp, residuals, clip_norm, budget: as in `Exact`. All K steps store residuals.

    Raises:
      ValueError: an argument is out of its range; `residuals` is given with another product, or
        `budget` with other residuals than "auto"; in use: `depth` is more than K.

    >>> from tf_savae import svi
    >>> def bowl(parameters, theta, seed):
    ...     return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)
    >>> start = tf.constant([[4.0]])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(start)
    ...     refined = svi.refine(bowl, start, tf.zeros([1]), steps=2, step_size=0.5, momentum=0.0,
    ...                          seed=0, adjoint=svi.Truncated(1))
    >>> tape.gradient(refined, start).numpy().tolist()
    [[0.5]]
    """

    depth: int
    hvp: Any = "auto"
    residuals: str | None = "auto"
    clip_norm: float | None = None
    budget: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "depth", validation.non_negative_int("depth", self.depth))
        super().__post_init__()

    def check_steps(self, steps: int) -> None:
        """Raises ValueError for fewer steps than `depth`."""
        if self.depth > steps:
            raise ValueError(f"depth: expected at most steps={steps}, got {self.depth}.")

    def for_steps(self, steps: int) -> Self:
        """Returns the adjoint with a depth of at most `steps`."""
        return dataclasses.replace(self, depth=min(self.depth, steps))

    def depth_of(self, steps: int) -> int:
        """Returns how many of the last `steps` are differentiated exactly."""
        del steps
        return self.depth


@register
@dataclasses.dataclass(frozen=True)
class Unrolled(Adjoint):
    """The exact derivative by TensorFlow's own differentiation of the unrolled steps.

    The gradient of Kim et al. (2018), https://arxiv.org/abs/1802.02550, without the backward loop
    of their algorithm 1: every step's activations are stored. A training step costs 6K + 3 decoder
    passes, the minimum of the exact adjoints; memory and compile time grow with K. There are no
    settings, since TensorFlow computes the backward pass.

    Raises:
      ValueError: in use: `steps` is a tensor.

    >>> from tf_savae import svi
    >>> def bowl(parameters, theta, seed):
    ...     return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)
    >>> start = tf.constant([[4.0]])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(start)
    ...     refined = svi.refine(bowl, start, tf.zeros([1]), steps=2, step_size=0.5, momentum=0.0,
    ...                          seed=0, adjoint=svi.Unrolled())
    >>> tape.gradient(refined, start).numpy().tolist()
    [[0.25]]
    """

    def take_steps(
        self, objective: Any, initial: Nest, theta: Nest, settings: Any, probe: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], Any]:
        """As `Adjoint.take_steps`; the probe receives no gradient."""
        del probe
        return differentiable_loop.unrolled(objective, initial, theta, settings)


@register
@dataclasses.dataclass(frozen=True)
class Stop(Adjoint):
    """No gradient is propagated: the refined parameters are constants, as in SVI and VAE + SVI.

    Used by the baselines of Kim et al. (2018), https://arxiv.org/abs/1802.02550, and by inference.
    A training step costs 2K + 3 decoder passes; memory is constant in K. Only with this adjoint
    `steps` may be a tensor and refinement may stop early.

    Raises:
      ValueError: in use: the objective of a `SemiAmortizedVAE` is "savae", whose encoder would not
        be trained.

    >>> from tf_savae import svi
    >>> def bowl(parameters, theta, seed):
    ...     return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)
    >>> start = tf.constant([[4.0]])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(start)
    ...     refined = svi.refine(bowl, start, tf.zeros([1]), steps=2, step_size=0.5, momentum=0.0,
    ...                          seed=0, adjoint=svi.Stop())
    >>> refined.numpy().tolist(), tape.gradient(refined, start)
    ([[1.0]], None)
    """

    crosses = False

    def check_request(
        self, steps: TensorLike, return_trace: bool | str, early_stopping: float | None
    ) -> None:
        """Raises ValueError if a trace is requested and `steps` is a tensor."""
        if tf.is_tensor(steps) and return_trace:
            super().check_request(steps, return_trace, early_stopping)

    def take_steps(
        self, objective: Any, initial: Nest, theta: Nest, settings: Any, probe: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], Any]:
        """As `Adjoint.take_steps`; the probe receives no gradient."""
        del probe
        return differentiable_loop.detached(objective, initial, theta, settings)
