"""`RunConfig`: settings shared by all runs."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tf_savae.core import validation
from tf_savae.core.typing import Steps
from tf_savae.training.without_effect import without_effect

if TYPE_CHECKING:
    from tf_savae.objectives import Objective

__all__ = [
    "ADJOINTS",
    "EARLIER",
    "HVPS",
    "KEEPS",
    "RULES",
    "STRATEGIES",
    "SYSTEM_NAMES",
    "RunConfig",
    "configured",
    "is_shown_only",
    "setting",
    "shown_only",
]

# Only names, because help texts list them before TensorFlow is imported. Tests compare them with
# the objects of these names.
SYSTEM_NAMES = ("autoregressive", "vae", "svi", "vae_svi", "vae_svi_exact", "vae_svi_kl", "savae")
ADJOINTS = ("exact", "unrolled", "truncated", "stop")
STRATEGIES = ("none", "mirrored", "multiworker", "tpu")
RULES = ("momentum", "natural", "learned_steps", "learned_update")
KEEPS = ("auto", "none", "states", "all")
# Settings of runs of earlier versions, which did not record them.
EARLIER = {"keep": "none"}
HVPS = ("auto", "forward_over_reverse", "reverse_over_reverse", "finite_difference")
_SHOWN = contextvars.ContextVar("shown", default=False)


@contextlib.contextmanager
def shown_only() -> Iterator[None]:
    """Context in which configurations are only displayed: skips checks that need TensorFlow.

    >>> with shown_only():
    ...     RunConfig(system="vae", amortized_weight=0.3).amortized_weight
    0.3
    """
    token = _SHOWN.set(True)
    try:
        yield
    finally:
        _SHOWN.reset(token)


def is_shown_only() -> bool:
    """Returns whether this is inside `shown_only`.

    >>> is_shown_only()
    False
    """
    return _SHOWN.get()


def setting(default: Any, text: str, **kwargs: Any) -> Any:
    """Returns a dataclass field of a configuration with its help text and optional `choices`.

    `affects_results=False` marks a field that does not affect the numbers of the run, such as a
    path or the checkpoint interval. `group="Training"` names the option group that starts at the
    field.
    """
    return dataclasses.field(default=default, metadata={"help": text, **kwargs})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings shared by all runs, with the defaults of the paper's text experiment.

    Raises:
      ValueError: a field is out of range; the message contains its name.

    >>> RunConfig(system="vae").svi_steps
    20
    """

    system: str = setting(
        "savae", "which system to train", choices=SYSTEM_NAMES, group="System and sizes"
    )
    batch_size: int = setting(32, "batch size (B)")
    latent_size: int = setting(32, "number of latent dimensions (Z)")
    svi_steps: int = setting(20, "refinement steps per example (K)", group="Refinement")
    svi_step_size: float = setting(1 / 32, "step size of refinement, per example")
    svi_schedule: str = setting(
        "", "K by epoch, instead of svi_steps: 0:0,10:5 is a VAE for ten epochs, then K = 5"
    )
    svi_samples: int = setting(1, "samples of z averaged in a refinement step (S)")
    svi_antithetic: bool = setting(
        False, "antithetic samples: pairs of z mirrored at the mean; S must be even"
    )
    svi_rule: str = setting("momentum", "update rule of the refinement steps", choices=RULES)
    svi_momentum: float = setting(0.5, "momentum of the refinement steps")
    svi_clip_norm: float = setting(
        5.0, "norm to which the SVI gradient of each example is clipped; 0: no clipping"
    )
    adjoint: str = setting("exact", "how gradients pass through refinement", choices=ADJOINTS)
    adjoint_clip_norm: float = setting(
        0.0, "norm to which the adjoint of each example is clipped; 0: no clipping"
    )
    truncate: int = setting(
        0,
        "number of last refinement steps to differentiate with --adjoint=truncated; 0: pass "
        "gradients straight to the encoder",
    )
    hvp: str = setting(
        "auto", "how Hessian-vector products of refinement are computed", choices=HVPS
    )
    keep: str = setting(
        "auto",
        "residuals to store for the Hessian-vector products, which saves time and costs memory; "
        "auto: as much as fits, chosen once per run",
        choices=KEEPS,
    )
    keep_budget: int = setting(
        0, "memory for --keep=auto in bytes; 0: half of the free memory", affects_results=False
    )
    learn_step_size: bool = setting(False, "train the step sizes of refinement, too")
    amortized_weight: float = setting(
        0.0, "weight of the ELBO at lambda_0 in the gradient of the encoder, with --system=savae"
    )
    path_weight: float = setting(
        0.0,
        "weight of the mean ELBO at lambda_1 to lambda_{K-1} in the loss, with --system=savae or "
        "vae_svi_exact; 1 with --svi_rule=learned_update: K may then differ at test time",
    )
    start_from: str = setting(
        "", "workdir of a finished run whose weights initialise the networks", affects_results=False
    )
    epochs: int = setting(30, "maximum number of epochs", group="Training")
    optimizer: str = setting("sgd", "optimizer of the networks", choices=("sgd", "adam"))
    learning_rate: float = setting(1.0, "initial learning rate")
    clip_norm: float = setting(5.0, "norm to which the whole gradient is clipped; 0: no clipping")
    decay_from_epoch: int = setting(
        15, "after this epoch, once validation stops improving, halve the learning rate each epoch"
    )
    min_learning_rate: float = setting(
        0.03, "stop training when the learning rate falls below this"
    )
    kl_start: float = setting(0.1, "initial KL weight")
    kl_anneal_epochs: float = setting(
        10.0, "epochs of KL annealing up to weight 1; 0: no annealing"
    )
    free_bits: float = setting(0.0, "free bits: nats of KL per example that are not penalised")
    seed: int = setting(0, "seed of weights, data order and noise")
    jit_compile: str = setting(
        "auto", "compile training with XLA", choices=("auto", "true", "false")
    )
    strategy: str = setting(
        "none",
        "tf.distribute strategy: none, mirrored (the devices of this machine), multiworker (the "
        "processes in TF_CONFIG) or tpu; batch_size is the global batch size",
        choices=STRATEGIES,
        # The results do not depend on the number of replicas, up to rounding. Batch normalisation
        # is the exception; for it, tasks/image/task.py records and checks the number of replicas.
        affects_results=False,
    )
    iw_samples: int = setting(
        500, "samples of the importance-weighted NLL (S)", group="Report and checkpoints"
    )
    checkpoint_every: int = setting(
        500, "training steps between checkpoints", affects_results=False
    )
    skip_limit: int = setting(
        10,
        "maximum number of batches per epoch with a loss or gradient that is not finite; they are "
        "skipped and counted",
        affects_results=False,  # It only affects whether a run stops.
    )
    board_samples: int = setting(
        10,
        "number of samples, and of reconstructions, shown in TensorBoard after each epoch, with "
        "plots; 10 take 1% to 4% of the time of an epoch with --config=small; 0: none, and no "
        "plots",
        affects_results=False,  # It only affects what is shown.
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if "choices" in field.metadata:
                validation.choice(field.name, getattr(self, field.name), field.metadata["choices"])
        for name in ("batch_size", "latent_size", "epochs", "iw_samples", "checkpoint_every"):
            validation.positive_int(name, getattr(self, name))
        for name in ("svi_steps", "truncate", "seed", "decay_from_epoch", "keep_budget"):
            validation.non_negative_int(name, getattr(self, name))
        validation.positive_int("svi_samples", self.svi_samples)
        if validation.boolean("svi_antithetic", self.svi_antithetic) and self.svi_samples % 2:
            raise ValueError(
                f"svi_samples: expected an even number with svi_antithetic, got {self.svi_samples}."
            )
        for name in ("amortized_weight", "path_weight"):
            validation.positive(name, getattr(self, name), zero=True)
        self._check_refinement()
        for name in ("skip_limit", "board_samples"):
            validation.non_negative_int(name, getattr(self, name))
        for name in ("svi_step_size", "learning_rate"):
            validation.positive(name, getattr(self, name))
        for name in ("svi_clip_norm", "adjoint_clip_norm", "clip_norm", "min_learning_rate"):
            validation.positive(name, getattr(self, name), zero=True)
        for name in ("kl_start", "kl_anneal_epochs", "free_bits"):
            validation.positive(name, getattr(self, name), zero=True)
        validation.unit_interval("svi_momentum", self.svi_momentum, closed=False)
        if self.learning_rate < self.min_learning_rate:
            raise ValueError(
                "learning_rate: expected at least min_learning_rate="
                f"{self.min_learning_rate}, below which training stops; got "
                f"{self.learning_rate}."
            )
        if self.adjoint != "truncated" and self.truncate:
            raise ValueError(
                f"truncate: expected 0 unless adjoint='truncated', got truncate={self.truncate} "
                f"with adjoint={self.adjoint!r}."
            )
        if self.adjoint in ("unrolled", "stop") and self.adjoint_clip_norm:
            raise ValueError(
                f"adjoint_clip_norm: expected 0 with adjoint={self.adjoint!r}, where it has no "
                f"effect; got {self.adjoint_clip_norm}."
            )
        if self.keep_budget and self.keep != "auto":
            raise ValueError(
                f"keep_budget: expected 0 unless keep='auto', got {self.keep_budget} with "
                f"keep={self.keep!r}."
            )

    @property
    def objective(self) -> "Objective":
        """The `Objective` of the system."""
        from tf_savae.objectives import SYSTEMS  # Not at the top: help texts need no TensorFlow.

        return SYSTEMS[self.system]

    def _check_refinement(self):
        """Checks the update rule, K and the weights of the loss against the other settings."""
        if _SHOWN.get():
            return
        from tf_savae.models.refinement.steps_schedule import every

        counts, objective = every(self.steps(10**6)), self.objective
        if self.svi_schedule and not objective.refines:
            raise ValueError(
                f"svi_schedule: expected none with system={self.system!r}, which has no "
                f"refinement; got {self.svi_schedule!r}. Leave it out."
            )
        if objective.needs_steps and not all(counts):
            raise ValueError(
                f"svi_steps: expected at least 1 with system={self.system!r}, whose encoder is "
                f"trained on refined parameters; got {counts}. For no refinement use system='vae'."
            )
        if self.truncate > max(counts):
            raise ValueError(
                f"truncate: expected at most the largest K, {max(counts)}, got {self.truncate}."
            )
        if self.learn_step_size and objective.crosses_refinement and not any(counts):
            raise ValueError(
                "learn_step_size: expected at least one refinement step to learn from, got none."
            )
        own = (self.svi_momentum, self.svi_clip_norm) == (0.5, 5.0)
        if self.svi_rule == "learned_update" and not own:
            raise ValueError(
                "svi_rule: 'learned_update' has no momentum and clips each entry; expected no "
                f"svi_momentum and no svi_clip_norm, got {self.svi_momentum} and "
                f"{self.svi_clip_norm}."
            )
        if self.amortized_weight and objective.amortized_weight is None:
            raise ValueError(
                "amortized_weight: requires system='savae', whose encoder is trained on the ELBO "
                f"at lambda_K; got {self.amortized_weight} with system={self.system!r}."
            )
        if self.path_weight and objective.path_weight is None:
            raise ValueError(
                "path_weight: requires system='savae' or 'vae_svi_exact', with gradients through "
                f"the steps; got {self.path_weight} with system={self.system!r}."
            )
        if self.svi_rule.startswith("learned") and not objective.crosses_refinement:
            raise ValueError(
                f"svi_rule: {self.svi_rule!r} is trained through refinement, which requires "
                f"system='savae'; got system={self.system!r}."
            )
        if self.svi_rule != "momentum" and self.learn_step_size:
            raise ValueError(
                f"learn_step_size: expected False with svi_rule={self.svi_rule!r}, got True. "
                "'learned_steps' already learns its step sizes."
            )

    def steps(self, steps_per_epoch: int) -> Steps:
        """Returns K, or a schedule {training step: K}, for epochs of `steps_per_epoch` steps.

        Raises:
          ValueError: svi_schedule is malformed.

        >>> RunConfig(svi_schedule="0:0,2:5").steps(100)
        {0: 0, 200: 5}
        """
        if not self.svi_schedule:
            return self.svi_steps
        try:
            pairs = [part.split(":") for part in self.svi_schedule.split(",")]
            found = {round(float(e) * steps_per_epoch): int(k) for e, k in pairs}
            if len(found) < len(pairs) or min(found) or min(found.values()) < 0:
                raise ValueError
        except (AttributeError, ValueError, OverflowError):
            raise ValueError(
                "svi_schedule: expected EPOCH:K pairs with commas between them, from epoch 0 on "
                f"and each K >= 0, such as 0:0,10:5; got {self.svi_schedule!r}."
            ) from None
        from tf_savae.models.refinement.steps_schedule import as_steps

        return as_steps(found)

    def without_effect(self) -> dict[str, str]:
        """Returns {setting: why it has no effect}."""
        return without_effect(self)

    def identity(self) -> dict[str, Any]:
        """Returns the fields that affect the results (hence no file paths) as JSON types."""
        fields = [
            f.name for f in dataclasses.fields(self) if f.metadata.get("affects_results", True)
        ]
        values = {name: getattr(self, name) for name in fields}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


def configured(config: RunConfig, settings: dict[str, Any]) -> RunConfig:
    """Returns a named configuration with some settings replaced.

    Settings that the selected system does not have, of the weights of the ELBOs before lambda_K and
    learned update rules, are reset to their defaults.

    >>> named = RunConfig(amortized_weight=0.3)
    >>> configured(named, {"system": "vae"}).amortized_weight
    0.0
    """
    if _SHOWN.get():
        return dataclasses.replace(config, **settings)
    from tf_savae.objectives import SYSTEMS
    from tf_savae.objectives.objective import LOSS_WEIGHTS

    objective = SYSTEMS.get(settings.get("system", config.system))
    left_out: dict[str, Any] = {}
    for weight in LOSS_WEIGHTS:
        if objective is not None and getattr(objective, weight) is None:
            left_out[weight] = 0.0
    if objective is not None and not objective.crosses_refinement:
        if config.svi_rule.startswith("learned"):
            left_out["svi_rule"] = "momentum"
    return dataclasses.replace(config, **{**left_out, **settings})
