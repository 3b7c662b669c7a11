"""`SemiAmortizedVAE`: encoder, refinement and decoder as one keras.Model."""

import functools
from collections.abc import Callable
from typing import Any, Self

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.typing import Config, Distribution, Nest
from tf_savae.models import apply_if_finite, inference, objective_builder, warm_start
from tf_savae.models.base import BoundModel
from tf_savae.models.build import shapes_of, zeros_of
from tf_savae.models.callbacks import WarnOfIdleEncoder
from tf_savae.models.metrics import BoundMetrics
from tf_savae.models.parts import make_parts
from tf_savae.models.refinement import programs, steps_schedule
from tf_savae.models.refinement.checks import CHANGEABLE, check_given_family, checked_prior
from tf_savae.models.refinement.layer import SemiAmortizedRefinement
from tf_savae.models.refinement.update_rule import warn_of_more_steps
from tf_savae.models.validation.arrays import refuse_sparse
from tf_savae.models.validation.model_parts import (
    check_decoder,
    check_generator,
    check_loss_weights,
    check_parts,
    check_refinement,
    check_samples,
    check_settings,
    check_weights_read,
)
from tf_savae.networks import StandardNormalPrior
from tf_savae.networks.decoder import Decoder
from tf_savae.networks.prior import Prior
from tf_savae.objectives import LossWeights, Objective, as_objective, outcome_of, serialized
from tf_savae.objectives.objective import LOSS_WEIGHTS
from tf_savae.probability import Family, as_family, as_kl_weight
from tf_savae.probability.posterior_mean import posterior_mean

__all__ = ["SemiAmortizedVAE"]


@register
class SemiAmortizedVAE(BoundModel):
    """Semi-amortized VAE (Kim et al. 2018) or one of its baselines, trained with `fit(x)`.

    Args:
      encoder: Keras layer or model, x -> the family's parameters: a nest of [B, ...], or one
        tensor [B, parameter_count] if `latent_size` is given. None for an objective without an
        encoder, such as "svi".
      decoder: a `tf_savae.networks.Decoder`.
      refinement: a `SemiAmortizedRefinement`. With an objective that does not refine ("vae"), it
        is used only if inference is called with steps > 0; otherwise the posterior is the
        encoder's.
      objective: "savae", "vae", "svi", "vae_svi", "vae_svi_exact", "vae_svi_kl" or a custom
        `tf_savae.objectives.Objective`. The attribute `objective` is always an `Objective`.
      family: variational family or function (parameters -> TFP distribution); by default a
        diagonal Gaussian with parameters (mean, log_variance).
      prior: a `tf_savae.networks.Prior`; by default the standard normal.
      latent_size: Z; required for "svi" and for encoders with one output tensor.
      beta: KL weight, a number or a schedule of the training step (see `linear_kl_weight`).
      free_bits: nats of KL per example below which the KL term is not penalised.
      amortized_weight: w >= 0, only for objective "savae": the encoder is also trained on w times
        the ELBO at lambda_0, with the decoder constant. 0.3 by default. This term keeps the
        encoder's own posterior accurate and needs no additional decoder pass. It is omitted if K
        is 0.
      path_weight: w >= 0, only for "savae" and "vae_svi_exact": the loss adds w times the mean ELBO
        at lambda_1 to lambda_{K-1}, with theta constant there (Marino et al. 2018). So a learned
        rule is also trained for fewer steps; measured, it then gains by some more, too. 0 by
        default; omitted if K < 2. It needs no additional decoder pass. With adjoint "truncated"
        only the steps that are differentiated have such gradients.
      seed: int from which all noise of training and evaluation is derived.

    Raises:
      ValueError: an argument is out of range or incompatible with the others.

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
        **{
            name: functools.partial(validation.positive, name, zero=True, optional=True)
            for name in LOSS_WEIGHTS
        },
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
        path_weight: float | None = None,
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
        self.prior: Any = checked_prior(prior)  # None until the latent size is known.
        if self.prior is None and latent_size is not None:
            self.prior = StandardNormalPrior(latent_size)
        self.beta = beta
        self.free_bits = free_bits
        self.amortized_weight = amortized_weight
        self.path_weight = path_weight
        check_loss_weights(self)
        self.refinement.family = self.family
        self._programs = programs.Programs(self.refinement)
        self._bound_metrics = self._metrics_of_settings()

    # Methods that are implemented as functions of the model in other modules.
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
    batch_objective = objective_builder.batch_objective

    def call(self, x: Nest, training: bool = False) -> tf.Tensor:
        """Returns the mean of the refined posterior, [B, Z], which is also `predict`'s output.

        The noise of refinement depends on an example's row in its batch. Therefore `predict` with
        another `batch_size` returns slightly different means;
        `tf_savae.generation.posterior_means` does not depend on the batch size.
        For a family without a closed-form mean (flows), the average of 100 samples is returned.
        """
        return posterior_mean(self.family.distribution(self.refined_parameters(x)))

    def checked_data(self, x: Nest) -> Nest:
        """Returns x as validated tensors in the weights' precision; builds an unbuilt model.

        Args:
          x: data [B, ...], a nest of arrays.

        Raises:
          ValueError: x is not valid data for this model.
        """
        refuse_sparse(x)
        x = objective_builder.standardized(self, x)
        self._check_arrays(x)
        self.ensure_built(x)
        return x

    # Training.

    @property
    def inference_steps(self) -> int:
        """The default K of inference: the last K of training.

        While `fit` runs, it is the K of the current training step.
        """
        return steps_schedule.steps_now(self) if self.objective.refines else 0

    def loss_weights_of(self, objective: str | Objective) -> LossWeights:
        """Returns the weights of an objective's further terms: the model's, else its defaults."""
        objective = as_objective(objective)
        return LossWeights(**{name: self._weight_of(name, objective) for name in LOSS_WEIGHTS})

    def _weight_of(self, name, objective):
        default, own = getattr(objective, name), getattr(self, name)
        return 0.0 if default is None else default if own is None else own

    @property
    def hvp(self) -> str | Callable:
        """The Hessian-vector product used in training; "auto" until both methods are measured.

        Assigning a value replaces the product for the training of this model only. `refinement.hvp`
        does not change: it is the value that is saved, and it takes effect again when it is
        assigned or when the model is compiled.
        """
        return self._programs.hvp

    @hvp.setter
    def hvp(self, method: str | Callable) -> None:
        self._programs.take_product(CHANGEABLE["hvp"](method))
        self.train_function = None  # Traced with the old product, as is each K of a schedule.
        self._traces.phases.clear()

    @property
    def keep(self) -> str | None:
        """Residuals that training steps keep for Hessian-vector products.

        "auto" until the choice is made on the first batch.
        """
        return self._programs.residuals

    def compile(
        self, optimizer: Any = "adam", *, jit_compile: str | bool = "auto", **kwargs: Any
    ) -> None:
        """Configures training as `keras.Model.compile` does; see `BoundModel.compile`."""
        check_decoder(self)
        self._programs.reset()
        super().compile(optimizer, jit_compile=jit_compile, **kwargs)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the model; see `BoundModel.fit`."""
        with steps_schedule.training(self):
            return super().fit(*args, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Takes one training step; see `BoundModel.train_on_batch`.

        K follows the refinement's schedule, if there is one.
        """
        step = int(apply_if_finite.batches(self.optimizer).numpy()) if self.compiled else None
        with steps_schedule.training(self, step):
            return super().train_on_batch(*args, **kwargs)

    def prepare_fit(self, batch: Nest) -> None:
        """Prepares training on batches like `batch`; see `BoundModel.prepare_fit`.

        Also chooses the residuals to keep and the Hessian-vector product if they are "auto".
        """
        super().prepare_fit(batch)
        if programs.uses_products(self.objective, self.refinement):
            self._programs.decide(self, batch)

    def start_from(self, source: keras.Model) -> Self:
        """Copies the weights of a trained model, such as a VAE to be trained further as SA-VAE.

        The optimizer and all schedules start from the beginning. To continue after KL annealing,
        use a constant `beta` of 1. Weights of the update rule are copied if both models have the
        same rule.

        Args:
          source: a built `SemiAmortizedVAE` with networks of the same architecture.

        Returns:
          This model.

        Raises:
          ValueError: the source is not built, lacks a part of this model, or has weights of
            another number or shape (the message names the first one); or this model has already
            been trained.

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

    # Hooks of `BoundModel`.

    def _outcome(self, x, seed, beta, training, probe):
        batch_objective = self.batch_objective(
            x, seed, beta, training, probe, free_bits=self.free_bits
        )
        outcome = outcome_of(self.objective, batch_objective)
        check_weights_read(self, batch_objective)
        return outcome

    def _beta_at(self, step):
        return as_kl_weight(self.beta)(step)

    def _steps(self, steps):
        if steps is None:
            return self.inference_steps
        if self.objective.crosses_refinement:
            warn_of_more_steps(self.refinement, steps)
        return steps

    def _weights_without_gradient(self):
        """Returns the weights of the update rule, which get no gradient if K is 0."""
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

    def _fit_callbacks(self, skip_limit, callbacks, options):
        if self.compiled:
            steps_schedule.check_executions(self.refinement.steps, self.steps_per_execution)
        first = [steps_schedule.FollowSchedule(), WarnOfIdleEncoder()]
        return [*first, *super()._fit_callbacks(skip_limit, callbacks, options)]

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
        for name in ("latent_size", "free_bits", "seed", *LOSS_WEIGHTS):
            config[name] = getattr(self, name)
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        # Missing in files of earlier versions.
        config = {**dict.fromkeys(LOSS_WEIGHTS, 0.0), **config}
        for name in ("encoder", "decoder", "refinement", "objective", "family", "prior", "beta"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _serialized(part):
    return None if part is None else keras.saving.serialize_keras_object(part)
