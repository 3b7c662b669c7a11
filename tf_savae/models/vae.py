"""`SemiAmortizedVAE`: encoder, refinement and decoder as one keras.Model."""

from collections.abc import Callable
from typing import Any, Self

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.typing import Config, Distribution, Nest
from tf_savae.models import apply_if_finite, inference, objective_builder, warm_start
from tf_savae.models.base import BoundModel
from tf_savae.models.build import make_parts, shapes_of, zeros_of
from tf_savae.models.callbacks import WarnOfIdleEncoder
from tf_savae.models.metrics import BoundMetrics
from tf_savae.models.refinement import programs, steps_schedule
from tf_savae.models.refinement.checks import CHANGEABLE, check_given_family, checked_prior
from tf_savae.models.refinement.layer import SemiAmortizedRefinement
from tf_savae.models.validation.arrays import refuse_sparse
from tf_savae.models.validation.model_parts import (
    check_amortized_weight,
    check_decoder,
    check_generator,
    check_parts,
    check_refinement,
    check_samples,
    check_settings,
)
from tf_savae.networks import StandardNormalPrior
from tf_savae.networks.decoder import Decoder
from tf_savae.networks.prior import Prior
from tf_savae.objectives import Objective, as_objective, outcome_of, serialized
from tf_savae.probability import Family, as_family, as_kl_weight
from tf_savae.probability.posterior_mean import posterior_mean

__all__ = ["SemiAmortizedVAE"]

_WEIGHT = "amortized_weight"


@register
class SemiAmortizedVAE(BoundModel):
    """A semi-amortized VAE (Kim et al. 2018), or one of its baselines, trained with `fit(x)`.

    Args:
      encoder: Keras layer or model, x -> the family's parameters (a nest of [B, ...], or one
        tensor [B, parameter_count] where `latent_size` is given). None for an objective
        without one, such as "svi".
      decoder: a `tf_savae.networks.Decoder`.
      refinement: a `SemiAmortizedRefinement`. With an objective that does not refine ("vae") it is
        used only where inference is asked for steps > 0; the posterior is the encoder's otherwise.
      objective: "savae", "vae", "svi", "vae_svi", "vae_svi_exact", "vae_svi_kl" or a
        `tf_savae.objectives.Objective` of one's own; kept as an `Objective`.
      family: variational family or function (parameters -> TFP distribution); by default a
        diagonal Gaussian with parameters (mean, log_variance).
      prior: a `tf_savae.networks.Prior`; by default the standard normal.
      latent_size: Z; needed for "svi" and for encoders with one output tensor.
      beta: KL weight, a number or a schedule of the training step (see `linear_kl_weight`).
      free_bits: nats of KL per example that cost nothing more.
      amortized_weight: w >= 0, for objective "savae" alone: the encoder is also trained on w times
        the ELBO at lambda_0, decoder held constant; 0.3 by default. It keeps the encoder's own
        posterior good and costs no pass through the decoder. Where K is 0 it is left out.
      seed: int, from which all noise of training and evaluation is derived.

    Raises:
      ValueError: an argument is out of its range, or does not fit the others.

    >>> from tf_savae.networks import DistributionDecoder
    >>> encoder = keras.Sequential([keras.layers.Dense(4)])
    >>> decoder = DistributionDecoder(keras.layers.Dense(6), "bernoulli")
    >>> model = SemiAmortizedVAE(encoder, decoder, latent_size=2,
    ...                          refinement=SemiAmortizedRefinement(steps=2))
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(tf.ones([8, 6]), verbose=0)
    >>> model.infer(tf.ones([8, 6])).mean().shape.as_list()
    [8, 2]
    """

    _changeable = {
        **BoundModel._changeable,
        "beta": lambda beta: (
            beta if callable(beta) else validation.positive("beta", beta, zero=True)
        ),
        "amortized_weight": lambda w: validation.positive(_WEIGHT, w, zero=True, optional=True),
        "free_bits": lambda nats: validation.positive("free_bits", nats, zero=True),
        "objective": as_objective,
    }

    def __init__(
        self,
        encoder: keras.layers.Layer | None,
        decoder: Decoder,
        *,
        refinement: SemiAmortizedRefinement | None = None,
        objective: str | Objective = "savae",
        family: Family | Callable[..., Distribution] | None = None,
        prior: Prior | None = None,
        latent_size: int | None = None,
        beta: float | Callable[[Any], Any] = 1.0,
        free_bits: float = 0.0,
        seed: int = 0,
        amortized_weight: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.objective = as_objective(objective)
        latent_size = check_parts(encoder, decoder, self.objective, latent_size)
        self.encoder = encoder if self.objective.uses_encoder else None
        self.decoder = decoder
        refinement = SemiAmortizedRefinement() if refinement is None else refinement
        check_refinement(refinement, self.objective)
        check_generator(refinement, decoder, prior)
        self.refinement = refinement
        self.family = as_family(family)
        self.latent_size = latent_size
        check_given_family(self.family, latent_size, self.variable_dtype)
        check_samples(refinement, self.family)
        self.prior = checked_prior(prior)
        if self.prior is None and latent_size is not None:
            self.prior = StandardNormalPrior(latent_size)
        self.beta = beta
        self.free_bits = free_bits
        self.amortized_weight = amortized_weight
        check_amortized_weight(self.amortized_weight, self.objective)
        self.refinement.family = self.family
        self._programs = programs.Programs(self.refinement)
        self._bound_metrics = self._metrics_of_settings()

    # Methods that are functions of the model, in the modules of their subjects.
    infer = inference.infer
    refined_parameters = inference.refined_parameters
    negative_elbo = inference.negative_elbo
    log_likelihood = inference.log_likelihood
    generate = inference.generate
    reconstruct = inference.reconstruct
    encode = inference.encode
    decode = inference.decode
    sample = inference.sample
    encoded_parameters = objective_builder.encoded_parameters
    generator = objective_builder.generator
    problem = objective_builder.problem

    def call(self, x: Nest, training: bool = False) -> tf.Tensor:
        """The mean of the refined posterior, [B, Z]: the latent code that `predict` gives.

        The noise of refinement belongs to an example's row in its batch, so that `predict` with
        another `batch_size` gives slightly other codes; `tf_savae.generation.posterior_means` does
        not depend on it.
        Of a family without a mean in closed form (flows), the average of 100 samples.
        """
        return posterior_mean(self.family.distribution(self.refined_parameters(x)))

    def checked_data(self, x: Nest) -> Nest:
        """x as tensors in the weights' precision, checked; makes the weights if there are none.

        Args:
          x: data [B, ...], a nest of arrays.

        Raises:
          ValueError: x cannot be data of this model.
        """
        refuse_sparse(x)
        x = objective_builder.standardized(self, x)
        self._check_arrays(x)
        self.ensure_built(x)
        return x

    # Training.

    @property
    def inference_steps(self) -> int:
        """K of inference unless the caller says otherwise: what training ends with.

        While `fit` runs, it is the K of its current step.
        """
        return steps_schedule.steps_now(self) if self.objective.refines else 0

    def amortized_weight_of(self, objective: str | Objective) -> float:
        """The weight of the encoder's own ELBO under an objective: a name or an `Objective`."""
        default = as_objective(objective).amortized_weight
        if default is None:
            return 0.0
        return default if self.amortized_weight is None else self.amortized_weight

    @property
    def hvp(self) -> str | Callable:
        """The Hessian-vector product that training takes; "auto" until both are measured.

        Assigning replaces it for this model's training alone: `refinement.hvp` stays what files
        hold, and counts again once it is assigned or the model is compiled.
        """
        return self._programs.hvp

    @hvp.setter
    def hvp(self, method: str | Callable) -> None:
        self._programs.take_product(CHANGEABLE["hvp"](method))
        self.train_function = None  # Traced with another one, as was each K of a schedule.
        self.__dict__.pop("_phases", None)

    @property
    def keep(self) -> str | None:
        """What training steps keep for their products; "auto" until the first batch decides it."""
        return self._programs.residuals

    def compile(
        self, optimizer: Any = "adam", *, jit_compile: str | bool = "auto", **kwargs: Any
    ) -> None:
        """As `keras.Model.compile`; see `BoundModel.compile`."""
        check_decoder(self)
        self._programs.reset()
        super().compile(optimizer, jit_compile=jit_compile, **kwargs)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """See `BoundModel.fit`."""
        with steps_schedule.training(self):
            return super().fit(*args, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """See `BoundModel.train_on_batch`; K follows the refinement's schedule, if it has one."""
        step = int(apply_if_finite.batches(self.optimizer).numpy()) if self.compiled else None
        with steps_schedule.training(self, step):
            return super().train_on_batch(*args, **kwargs)

    def prepare_fit(self, batch: Nest) -> None:
        """See `BoundModel.prepare_fit`; chooses what steps keep and the product, where "auto"."""
        super().prepare_fit(batch)
        if programs.uses_products(self.objective, self.refinement):
            self._programs.decide(self, batch)

    def start_from(self, source: keras.Model) -> Self:
        """Copies the weights of a trained model, such as a VAE to be trained further as SA-VAE.

        The optimizer starts afresh, and so does what is annealed: a `beta` of 1 goes on where a
        finished training ended. Weights of the update rule are taken where both have the same rule.

        Args:
          source: a built `SemiAmortizedVAE` with networks of the same architecture.

        Returns:
          This model.

        Raises:
          ValueError: the source has no weights, a part is missing there, or weights differ in
            number or shape (the first one is named); or this model has trained already.

        >>> from tf_savae.networks import DistributionDecoder
        >>> def model(objective):
        ...     decoder = DistributionDecoder(keras.layers.Dense(6), "bernoulli")
        ...     return SemiAmortizedVAE(
        ...         keras.layers.Dense(4), decoder, latent_size=2, objective=objective)
        >>> vae = model("vae")
        >>> posterior = vae.infer(tf.ones([8, 6]))
        >>> savae = model("savae").start_from(vae)
        >>> bool(tf.reduce_all(savae.infer(tf.ones([8, 6]), steps=0).mean() == posterior.mean()))
        True
        """
        warm_start.start_from(self, source, SemiAmortizedVAE)
        return self

    # What `BoundModel` asks of a subclass.

    def _outcome(self, x, seed, beta, training, probe):
        problem = self.problem(x, seed, beta, training, probe, free_bits=self.free_bits)
        return outcome_of(self.objective, problem)

    def _beta_at(self, step):
        return as_kl_weight(self.beta)(step)

    def _steps(self, steps):
        return self.inference_steps if steps is None else steps

    def _weights_without_gradient(self):
        """Those of the update rule, where K is 0."""
        return self.refinement.trainable_variables

    def _layers_to_compile(self):
        return [layer for layer in (self.encoder, self.decoder) if layer is not None]

    def _make_parts(self, x):
        make_parts(self, x)

    def _part_shapes(self):
        x = zeros_of(self.data_spec)
        parameters = shapes_of(self.encoded_parameters(x))
        shown = [(self.refinement, parameters), (self.prior, (None, self.latent_size))]
        if self.encoder is not None:
            shown.append((self.encoder, shapes_of(self.encoder(x))))
        return [*super()._part_shapes(), *shown]

    def _needs_batch(self):
        used = programs.uses_products(self.objective, self.refinement)
        return super()._needs_batch() or (used and self._programs.undecided())

    def _fit_callbacks(self, skip_limit, given):
        if self.compiled:
            steps_schedule.check_executions(self.refinement.steps, self.steps_per_execution)
        first = [steps_schedule.FollowSchedule(), WarnOfIdleEncoder()]
        return [*first, *super()._fit_callbacks(skip_limit, given)]

    # Settings.

    def _metrics_of_settings(self):
        steps = steps_schedule.every(self.refinement.steps) if self.objective.refines else [0]
        return BoundMetrics(
            latent=True,
            amortized=self.encoder is not None,
            refined=any(steps),
            with_adjoint=programs.uses_products(self.objective, self.refinement),
            scheduled=len(steps) > 1,
            tokens=hasattr(self.decoder, "count_tokens"),
            falls_back=bool(self.refinement.fall_back),
        )

    def _settings_now(self, owners=None):
        return {**super()._settings_now(owners), "K": self.inference_steps}

    def _settings_changed(self):
        check_settings(self)
        self._programs.follow()
        with self.distribute_strategy.scope():
            self._bound_metrics = self._bound_metrics.renewed(self._metrics_of_settings())

    def get_config(self) -> Config:
        check_settings(self)
        layers = ("encoder", "decoder", "refinement", "family", "prior")
        config = {name: _serialized(getattr(self, name)) for name in layers}
        config["beta"] = _serialized(self.beta) if callable(self.beta) else self.beta
        config["objective"] = serialized(self.objective)
        for name in ("latent_size", "free_bits", "seed", "amortized_weight"):
            config[name] = getattr(self, name)
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        config = {"amortized_weight": 0.0, **config}  # Not in files of an earlier version.
        for name in ("encoder", "decoder", "refinement", "objective", "family", "prior", "beta"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _serialized(part):
    return None if part is None else keras.saving.serialize_keras_object(part)
