"""`SemiAmortizedVAE`: encoder, refinement and decoder as one keras.Model."""

import keras
import tensorflow as tf

from tf_savae.ground import checks, seeds
from tf_savae.ground.serialization import export
from tf_savae.models import replicas
from tf_savae.models.base import BoundModel
from tf_savae.models.building import BuildsFromData
from tf_savae.models.compilation import check_second_derivatives
from tf_savae.models.inference import Inference
from tf_savae.models.metrics import BoundMetrics
from tf_savae.models.posing import PosesProblems
from tf_savae.models.refinement import SemiAmortizedRefinement
from tf_savae.models.refinement_checks import check_given_family, checked_prior
from tf_savae.models.unknown_variables import refuse_unknown, watched_variables
from tf_savae.networks import StandardNormalPrior
from tf_savae.objectives import OBJECTIVES
from tf_savae.probability import as_family, as_kl_weight
from tf_savae.probability.codes import posterior_mean, zero_codes
from tf_savae.probability.requirements import check_family, check_legacy, check_prior
from tf_savae.svi import fastest_hvp
from tf_savae.svi.hvp import METHODS

__all__ = ["SemiAmortizedVAE"]


@export
class SemiAmortizedVAE(Inference, PosesProblems, BuildsFromData, BoundModel):
    """A semi-amortized VAE (Kim et al. 2018), or one of its baselines, trained with `fit(x)`.

    Args:
      encoder: Keras layer or model, x -> the family's parameters (a nest of [B, ...], or one
        tensor [B, parameter_count] where `latent_size` is given). None for objective "svi".
      decoder: a `tf_savae.networks.Decoder`.
      refinement: a `SemiAmortizedRefinement`. With objective "vae" it is used only where inference
        is asked for steps > 0; the posterior is the encoder's otherwise.
      objective: "savae", "vae", "svi", "vae_svi" or "vae_svi_kl".
      family: variational family or function (parameters -> TFP distribution); by default a
        diagonal Gaussian with parameters (mean, log_variance).
      prior: a `tf_savae.networks.Prior`; by default the standard normal.
      latent_size: Z; needed for "svi" and for encoders with one output tensor.
      beta: KL weight, a number or a schedule of the training step (see `linear_kl_weight`).
      free_bits: nats of KL per example that cost nothing more.
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

    def __init__(
        self,
        encoder,
        decoder,
        *,
        refinement=None,
        objective="savae",
        family=None,
        prior=None,
        latent_size=None,
        beta=1.0,
        free_bits=0.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        checks.choice("objective", objective, tuple(OBJECTIVES))
        latent_size = _check_parts(encoder, decoder, objective, latent_size)
        self.encoder = None if objective == "svi" else encoder
        self.decoder = decoder
        refinement = SemiAmortizedRefinement() if refinement is None else refinement
        _check_refinement(refinement, objective)
        self.refinement = refinement
        self.objective = objective
        self.family = as_family(family)
        self.latent_size = latent_size
        check_given_family(self.family, latent_size, self.variable_dtype)
        self.prior = checked_prior(prior)
        if self.prior is None and latent_size is not None:
            self.prior = StandardNormalPrior(latent_size)
        self.beta = beta if callable(beta) else checks.positive("beta", beta, zero=True)
        self.free_bits = checks.positive("free_bits", free_bits, zero=True)
        self._beta_at = as_kl_weight(beta)
        self.refinement.family = self.family
        self._hvp = self.refinement.hvp
        self._tracked = BoundMetrics(
            latent=True,
            amortized=self.encoder is not None,
            refined=self.inference_steps > 0,
            pulled_back=self._uses_products(),
            tokens=hasattr(decoder, "count_tokens"),
            falls_back=bool(refinement.fall_back),
        )

    @property
    def inference_steps(self):
        """K of inference unless the caller says otherwise: what training refines by."""
        return 0 if self.objective == "vae" else self.refinement.steps

    def _steps(self, steps):
        return self.inference_steps if steps is None else steps

    def _outcome(self, x, seed, beta, training, probe):
        problem = self.problem(x, seed, beta, training, probe, free_bits=self.free_bits)
        return OBJECTIVES[self.objective](problem)

    def _tokens(self, x):
        count = getattr(self.decoder, "count_tokens", None)
        return None if count is None else count(x)

    # Keras.

    def compile(self, optimizer="adam", *, jit_compile="auto", **kwargs):
        """As `keras.Model.compile`; see `BoundModel.compile`."""
        if self._differentiates_twice():
            check_second_derivatives(self.decoder)
        self._hvp = self.refinement.hvp
        super().compile(optimizer, jit_compile=jit_compile, **kwargs)

    def _differentiates_twice(self):
        """Whether training takes second derivatives of the decoder."""
        refinement = self.refinement
        first_only = refinement.hvp == "finite_difference" and refinement.adjoint != "unrolled"
        return self.objective == "savae" and refinement.steps > 0 and not first_only

    def _layers_to_compile(self):
        return [layer for layer in (self.encoder, self.decoder) if layer is not None]

    def _uses_products(self):
        """Whether training runs algorithm 1's backward pass, with Hessian-vector products."""
        refinement = self.refinement
        crossed = refinement.adjoint in ("exact", "truncated") and refinement.steps > 0
        return self.objective == "savae" and crossed

    def _needs_batch(self):
        return not self.built or (self._uses_products() and self._hvp == "auto")

    def _prepare_fit(self, batch):
        """Builds the model and, for hvp="auto", measures both products on the first batch."""
        self._ensure_built(batch)
        if self._uses_products() and self._hvp == "auto":
            self._hvp = self._measured_hvp(batch)

    def _measured_hvp(self, batch):
        problem = self.problem(batch, seeds.as_seed(0), training=True)
        fastest = fastest_hvp(
            problem.objective,
            problem.encode(),
            problem.theta,
            jit_compile=self.jit_compile is True,
        )
        # All processes have to take the same one, and clocks differ.
        names = sorted(METHODS)
        return names[int(replicas.agreed(names.index(fastest)))]

    def call(self, x, training=False):
        """The mean of the refined posterior, [B, Z]: the latent code that `predict` gives.

        Of a family without a mean in closed form (flows), the average of 100 samples.
        """
        refined = self.refined_parameters(x, seed=0)
        return posterior_mean(self.family.distribution(refined))

    def _make_parts(self, x):
        x = tf.nest.map_structure(lambda part: part[:1], self._standard(x))
        with watched_variables() as used:
            self._run_parts(x)
        refuse_unknown(used, self.variables)

    def _run_parts(self, x):
        if self.encoder is not None:
            self.encoder(x)  # Outside any scope: a layer's weights are made at its first call.
        parameters = self.encode(x)
        if tf.executing_eagerly():
            check_family(self.family, parameters)
        posterior = self.family.distribution(parameters)
        if self.prior is None:
            self.latent_size = int(posterior.event_shape[0])
            self.prior = StandardNormalPrior(self.latent_size)
        if not self.prior.built:
            self.prior.build()
        if tf.executing_eagerly():
            check_prior(self.prior, self.family, self._trial_parameters(parameters))
        if not self.refinement.built:
            self.refinement.build()
        # Also a decoder that calls itself built: one loaded from a file has no weights yet.
        self.decoder(x, zero_codes(posterior, tf.nest.flatten(x)[0].shape[0]))

    def _trial_parameters(self, parameters):
        """Those of the standard normal where the family knows them: an encoder's may be extreme."""
        try:
            return self.family.zeros(1, self.latent_size, self.variable_dtype)
        except NotImplementedError:
            return parameters

    def get_config(self):
        layers = ("encoder", "decoder", "refinement", "family", "prior")
        config = {name: _serialized(getattr(self, name)) for name in layers}
        config["beta"] = _serialized(self.beta) if callable(self.beta) else self.beta
        for name in ("objective", "latent_size", "free_bits", "seed"):
            config[name] = getattr(self, name)
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("encoder", "decoder", "refinement", "family", "prior", "beta"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _serialized(part):
    return None if part is None else keras.saving.serialize_keras_object(part)


def _check_parts(encoder, decoder, objective, latent_size):
    check_legacy("decoder", decoder)
    check_legacy("encoder", encoder)
    if not hasattr(decoder, "log_prob_prepared"):
        raise ValueError(
            "decoder: expected a tf_savae.networks.Decoder (wrap a plain Keras network in "
            f"DistributionDecoder), got {type(decoder).__name__}."
        )
    if objective == "svi":
        checks.positive_int('latent_size (needed for objective="svi")', latent_size)
    elif not isinstance(encoder, keras.layers.Layer):
        raise ValueError(f"encoder: expected a Keras layer or model, got {encoder!r}.")
    return None if latent_size is None else checks.positive_int("latent_size", latent_size)


def _check_refinement(refinement, objective):
    if not isinstance(refinement, SemiAmortizedRefinement):
        raise ValueError(
            "refinement: expected a tf_savae.SemiAmortizedRefinement, got "
            f"{type(refinement).__name__}."
        )
    if objective == "savae" and refinement.adjoint == "stop" and refinement.steps:
        raise ValueError(
            'refinement: adjoint="stop" lets no gradient reach the encoder; objective="savae" '
            'expects "exact", "unrolled" or "truncated". For a constant lambda_K use '
            'objective="vae_svi".'
        )
    if objective == "vae_svi_kl" and not refinement.steps:
        raise ValueError(
            'refinement: expected steps >= 1 with objective="vae_svi_kl", whose encoder learns '
            'from what the steps find; got 0. For none use objective="vae".'
        )
    if refinement.learn_step_size and (objective != "savae" or not refinement.steps):
        raise ValueError(
            'refinement: learn_step_size=True needs objective="savae" and steps >= 1, whose '
            f"gradient reaches the step size; got objective={objective!r}, "
            f"steps={refinement.steps}."
        )
