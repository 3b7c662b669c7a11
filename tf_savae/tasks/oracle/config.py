"""Configurations of the oracle experiment, with their named presets."""

import dataclasses
from typing import Any

from tf_savae.core import validation
from tf_savae.training.config import HVPS, KEEPS, STRATEGIES, setting

__all__ = ["ORACLE_CONFIGS", "OracleConfig", "full", "quick"]

_STUDIES = ("both", "oracle", "learned")
_JIT = ("auto", "true", "false")
_RULES = ("momentum", "learned_update")


@dataclasses.dataclass(frozen=True)
class OracleConfig:
    """Configuration of the oracle experiment, without its seeds.

    Step sizes differ between the studies because the curvature of the ELBO differs: the posteriors
    of the oracle are narrow, and those of a generator in training are wide. SVI starts from the
    prior, far from the posterior, and has separate step sizes.

    Raises:
      ValueError: a field is out of range, or the sizes are inconsistent; the message contains the
        name of the field.

    >>> OracleConfig(steps=5).steps
    5
    """

    study: str = setting(
        "both", "which study to run", choices=_STUDIES, group="The oracle and its data"
    )
    vocabulary_size: int = setting(1000, "vocabulary size (V)")
    units: int = setting(100, "size of all LSTMs (H), of their inputs and of the MLP")
    length: int = setting(5, "words per sentence (T)")
    train_points: int = setting(5000, "training sentences, oracle study")
    learned_train_points: int = setting(
        100_000, "training sentences, learned study, for all epochs together: each is used once"
    )
    validation_points: int = setting(1000, "validation sentences, which select the best epoch")
    test_points: int = setting(1000, "test sentences, for the table")
    batch_size: int = setting(50, "batch size (B)")
    # Refinement: K is the same for all systems of a study.
    steps: int = setting(
        20, "SVI steps in training and at test time, oracle study (K)", group="Refinement"
    )
    learned_steps: int = setting(5, "SVI steps, learned study, where a step costs more (K)")
    learned_samples: int = setting(1, "samples of z per step, learned study")
    learned_svi_samples: int = setting(4, "samples of z per step of SVI, learned study")
    momentum: float = setting(0.5, "momentum of refinement")
    oracle_step_size: float = setting(0.01, "step size of refinement, oracle study")
    oracle_clip_norm: float = setting(
        5.0, "clipping norm of the SVI gradient of each example, oracle study"
    )
    oracle_svi_step_size: float = setting(0.02, "step size of SVI, oracle study")
    oracle_svi_clip_norm: float = setting(20.0, "clipping norm of SVI, oracle study")
    learned_rule: str = setting(
        "learned_update", "update rule of SA-VAE, learned study; SVI uses momentum", choices=_RULES
    )
    learned_step_size: float = setting(0.03, "initial step size of refinement, learned study")
    learned_amortized_weight: float = setting(
        0.3, "weight of the ELBO at lambda_0 in the gradient of SA-VAE's encoder, learned study"
    )
    learned_clip_norm: float = setting(
        5.0, "clipping norm of the SVI gradient of each example, learned study"
    )
    learned_svi_step_size: float = setting(0.3, "step size of SVI, learned study")
    adjoint_clip_norm: float = setting(
        0.0, "clipping norm of the adjoint of each example; 0: no clipping"
    )
    hvp: str = setting(
        "forward_over_reverse", "how Hessian-vector products are computed", choices=HVPS
    )
    keep: str = setting(
        "auto",
        "residuals to store for the Hessian-vector products, which saves time and costs memory; "
        "auto: as much as fits",
        choices=KEEPS,
    )
    jit_compile: str = setting("auto", "compile training steps with XLA", choices=_JIT)
    learning_rate: float = setting(1e-3, "learning rate of Adam, oracle study", group="Training")
    learned_learning_rate: float = setting(3e-3, "learning rate of Adam, learned study")
    clip_norm: float = setting(5.0, "clipping norm of the whole gradient")
    oracle_vae_epochs: int = setting(20, "maximum number of epochs, VAE with the oracle")
    oracle_savae_epochs: int = setting(4, "maximum number of epochs, SA-VAE with the oracle")
    learned_epochs: int = setting(
        5,
        "number of epochs into which the training sentences are divided, learned study: the "
        "best one is kept",
    )
    patience: int = setting(2, "epochs without a better bound before training stops, oracle study")
    kl_start: float = setting(0.1, "initial KL weight, learned study")
    kl_anneal_epochs: int = setting(2, "epochs of KL annealing up to weight 1, learned study")
    initial_scale: float = setting(
        0.1, "the learned generator is initialised from U(-scale, scale)"
    )
    initial_latent_scale: float = setting(
        0.5, "weights of z in the learned generator are initialised from U(-scale, scale)"
    )
    strategy: str = setting(
        "none",
        "tf.distribute strategy, see docs/scale.md",
        choices=STRATEGIES,
        affects_results=False,
    )
    test_draws: int = setting(5, "samples of z averaged per test point", group="Report")
    iw_samples: int = setting(200, "samples of the importance-weighted NLL, refined proposal (S)")
    prior_samples: int = setting(1000, "samples from the prior for the oracle's true NLL (S)")
    landscape_point: int = setting(0, "test point of the landscape plot")
    landscape_size: int = setting(81, "grid points along each axis of the landscape plot")
    landscape_draws: int = setting(20, "noise samples averaged at each grid point")

    def __post_init__(self) -> None:
        _check_ranges(self)
        validation.choice("study", self.study, _STUDIES)
        validation.choice("hvp", self.hvp, HVPS)
        validation.choice("keep", self.keep, KEEPS)
        validation.choice("strategy", self.strategy, STRATEGIES)
        validation.choice("jit_compile", self.jit_compile, _JIT)
        validation.choice("learned_rule", self.learned_rule, _RULES)
        for name in ("train", "learned_train", "validation", "test"):
            name += "_points"
            if getattr(self, name) % self.batch_size:
                raise ValueError(
                    f"{name}: expected a multiple of batch_size={self.batch_size} (XLA compiles "
                    f"for one batch size), got {getattr(self, name)}."
                )
        each = self.learned_epochs * self.batch_size
        if self.learned_train_points % each:
            raise ValueError(
                f"learned_train_points: expected a multiple of learned_epochs * batch_size={each}, "
                f"got {self.learned_train_points}."
            )
        if self.landscape_point >= self.test_points:
            raise ValueError(
                f"landscape_point: expected at most {self.test_points - 1} with test_points="
                f"{self.test_points}, got {self.landscape_point}."
            )
        if self.learned_epochs <= self.kl_anneal_epochs:
            raise ValueError(
                "learned_epochs: expected more than kl_anneal_epochs="
                f"{self.kl_anneal_epochs} (the best epoch is chosen at KL weight 1), got "
                f"{self.learned_epochs}."
            )

    @property
    def studies(self) -> tuple[str, ...]:
        """The names of the studies to run."""
        return _STUDIES[1:] if self.study == "both" else (self.study,)

    def identity(self) -> dict[str, Any]:
        """Returns a dict of the fields that affect the results, for run.json and results.json."""
        values = dataclasses.asdict(self)
        del values["strategy"]  # Results do not depend on the number of replicas.
        return values


def _check_ranges(config):
    zero = {
        "adjoint_clip_norm",
        "kl_anneal_epochs",
        "kl_start",
        "landscape_point",
        "learned_amortized_weight",
        "patience",
    }
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "momentum":
            validation.unit_interval(field.name, value, closed=False)
        elif field.type is int:
            check = validation.non_negative_int if field.name in zero else validation.positive_int
            check(field.name, value)
        elif field.type is float:
            validation.positive(field.name, value, zero=field.name in zero)


def full() -> OracleConfig:
    """Kim et al. (2018), section 4.1: both studies at the paper's sizes.

    train_oracle.py --workdir=oracle_run --seeds=3

    Run time and expected result: docs/oracle.md.
    """
    return OracleConfig()


def quick() -> OracleConfig:
    """A small version of the experiment to try it out; the order of the systems may differ.

    train_oracle.py --quick

    Run time: under a minute on 2 cores, mostly for the start of TensorFlow and for tracing.
    """
    return OracleConfig(
        vocabulary_size=50,
        units=16,
        train_points=1000,
        learned_train_points=5000,
        learned_svi_samples=1,
        validation_points=100,
        test_points=100,
        steps=5,
        learned_steps=5,
        oracle_step_size=0.1,
        oracle_svi_step_size=0.1,
        jit_compile="false",  # Compilation would take longer than training.
        learning_rate=5e-3,
        learned_learning_rate=5e-3,
        oracle_vae_epochs=8,
        oracle_savae_epochs=4,
        learned_epochs=5,
        kl_anneal_epochs=2,
        test_draws=2,
        iw_samples=50,
        prior_samples=500,
        landscape_size=41,
        landscape_draws=10,
    )


ORACLE_CONFIGS = {"full": full, "quick": quick}
