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
    vocabulary_size: int = setting(1000, "words of the vocabulary (V)")
    units: int = setting(100, "size of all LSTMs (H), of their inputs and of the MLP")
    length: int = setting(5, "words of a sentence (T)")
    train_points: int = setting(5000, "sentences to train on, oracle study")
    learned_train_points: int = setting(
        100_000, "sentences to train on, learned study, all epochs together: none is seen twice"
    )
    validation_points: int = setting(1000, "sentences that choose the best epoch")
    test_points: int = setting(1000, "sentences that the table is about")
    batch_size: int = setting(50, "examples per step (B)")
    # Refinement: K is the same for all systems of a study.
    steps: int = setting(
        20, "SVI steps in training and at test time, oracle study (K)", group="Refinement"
    )
    learned_steps: int = setting(5, "SVI steps, learned study, where a step costs more")
    learned_samples: int = setting(1, "samples of z a step, learned study")
    learned_svi_samples: int = setting(4, "SVI's own samples of z a step, learned study")
    momentum: float = setting(0.5, "momentum of the steps")
    oracle_step_size: float = setting(0.01, "length of a step, oracle study")
    oracle_clip_norm: float = setting(5.0, "bound on an example's SVI gradient, oracle study")
    oracle_svi_step_size: float = setting(0.02, "SVI's own step, oracle study")
    oracle_svi_clip_norm: float = setting(20.0, "SVI's own bound, oracle study")
    learned_rule: str = setting(
        "learned_update", "how SA-VAE steps, learned study; SVI steps by momentum", choices=_RULES
    )
    learned_step_size: float = setting(0.03, "length of a step, learned study: the first one's")
    learned_amortized_weight: float = setting(
        0.3, "of the encoder's own ELBO in SA-VAE's, learned study"
    )
    learned_clip_norm: float = setting(5.0, "bound on an example's SVI gradient, learned study")
    learned_svi_step_size: float = setting(0.3, "SVI's own step, learned study")
    adjoint_clip_norm: float = setting(0.0, "bound on an example's adjoint; 0: none")
    hvp: str = setting(
        "forward_over_reverse", "how Hessian-vector products are computed", choices=HVPS
    )
    keep: str = setting(
        "auto",
        "what steps keep for the products, for less time and more memory; auto: what fits into it",
        choices=KEEPS,
    )
    jit_compile: str = setting("auto", "XLA for training steps", choices=_JIT)
    learning_rate: float = setting(
        1e-3, "learning rate of Adam, oracle study", group="Training"
    )
    learned_learning_rate: float = setting(3e-3, "learning rate of Adam, learned study")
    clip_norm: float = setting(5.0, "bound on the norm of the whole gradient")
    oracle_vae_epochs: int = setting(20, "epochs at most, VAE with the oracle")
    oracle_savae_epochs: int = setting(4, "epochs at most, SA-VAE with the oracle")
    learned_epochs: int = setting(
        5, "epochs into which all sentences are divided, learned study: the best one is kept"
    )
    patience: int = setting(2, "oracle study: stop after so many epochs without a better bound")
    kl_start: float = setting(0.1, "KL weight at the start, learned study")
    kl_anneal_epochs: int = setting(2, "epochs until the KL weight is 1, learned study")
    initial_scale: float = setting(0.1, "learned generator starts from U(-scale, scale)")
    initial_latent_scale: float = setting(
        0.5, "learned generator's weights of z start from U(-scale, scale)"
    )
    strategy: str = setting(
        "none", "tf.distribute: see docs/scale.md", choices=STRATEGIES, affects_results=False
    )
    test_draws: int = setting(5, "samples of z per test point, averaged", group="Report")
    iw_samples: int = setting(200, "samples of the importance-weighted NLL, refined proposal (S)")
    prior_samples: int = setting(1000, "samples from the prior for the oracle's true NLL (S)")
    landscape_point: int = setting(0, "which test point the picture shows")
    landscape_size: int = setting(81, "grid points along each axis of the picture")
    landscape_draws: int = setting(20, "noise samples that each grid point is averaged over")

    def __post_init__(self):
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
    zero = ("landscape_point", "kl_anneal_epochs", "adjoint_clip_norm", "kl_start", "patience")
    zero += ("learned_amortized_weight",)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "momentum":
            validation.unit_interval(field.name, value, closed=False)
        elif field.type is int:
            check = validation.non_negative_int if field.name in zero else validation.positive_int
            check(field.name, value)
        elif field.type is float:
            validation.positive(field.name, value, zero=field.name in zero)


def full():
    """Kim et al. (2018), section 4.1: both studies at the paper's sizes.

    train_oracle.py --workdir=oracle_run --seeds=3

    Run time and expected result: docs/oracle.md.
    """
    return OracleConfig()


def quick():
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
