"""`SemiAmortizedRefinement`: K differentiable SVI steps as a Keras layer."""

import concurrent.futures
from collections.abc import Callable
from typing import Any, Self

import keras
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Distribution, NegativeElbo, Nest, Seed, Steps
from tf_savae.models.build import spec_of, zeros_of
from tf_savae.models.refinement.adjoint_settings import HasAdjoint
from tf_savae.models.refinement.checks import CHANGEABLE, check_generator, checked_prior
from tf_savae.models.refinement.fallback import better_of
from tf_savae.models.refinement.programs import choose_programs
from tf_savae.models.refinement.steps_schedule import as_steps
from tf_savae.models.refinement.update_rule import HasUpdateRule
from tf_savae.models.validation.posterior_parameters import check_parameters
from tf_savae.networks.decoder import Decoder
from tf_savae.networks.functional import PureGenerator
from tf_savae.networks.generator_elbo import GeneratorElbo
from tf_savae.networks.prior import Prior, StandardNormalPrior
from tf_savae.probability import DiagonalGaussian, Family, as_family
from tf_savae.probability.codes import check_antithetic
from tf_savae.probability.distribution_checks import check_family, check_prior
from tf_savae.probability.posterior_mean import zero_codes
from tf_savae.svi import Trace, refine
from tf_savae.svi.adjoints import Adjoint
from tf_savae.svi.short_forms import NOT_GIVEN, SHORT_FORMS, short_forms_of

__all__ = ["SemiAmortizedRefinement"]


_TRIED_ROWS = 32  # Batch size of measurements if a call's number of examples is unknown.


@register
class SemiAmortizedRefinement(HasUpdateRule, HasAdjoint, ChecksSettings, keras.layers.Layer):
    """Layer that refines variational parameters by K differentiable SVI steps (Kim et al. 2018).

    Inside `SemiAmortizedVAE` the layer only stores the settings of refinement. In other Keras
    models, pass it the `decoder` and call it between encoder and decoder:
    `refined = layer(parameters, x)`. Gradients then reach the encoder, the decoder's weights and,
    if they are learned, the step sizes.

    Args:
      steps: K >= 0. Inside a `SemiAmortizedVAE` also a schedule {training step: K from that step
        on}, such as {0: 0, 2000: 5} to begin as a VAE. Inference uses the last K.
      step_size: step size per example (the reference code's 1 on a batch mean of 32 is 1 / 32
        here). A number, or one number per parameter tensor of the family; 0.02 by default.
      momentum: in [0, 1).
      clip_norm: maximum norm of each example's SVI gradient; None for no clipping.
      update: update rule that replaces the three settings above: `svi.Momentum`,
        `svi.NaturalGradient`, `svi.LearnedSteps`, `svi.LearnedUpdate` or a custom rule
        (`tf_savae.svi.update`). A rule that is a Keras layer is trained with the model, through the
        exact adjoint.
      adjoint: how gradients are propagated through the steps: `svi.Exact`, `svi.Truncated`,
        `svi.Unrolled`, `svi.Stop`, or the short forms "exact", "truncated", "unrolled", "stop".
      hvp, keep, truncate, adjoint_clip_norm, keep_budget: short forms of the settings hvp,
        residuals, depth, clip_norm and budget of the adjoint objects; only valid if `adjoint` is a
        string. keep is "auto" by default: before the first training step, the largest choice that
        fits into memory is selected, and the sizes are logged. hvp is also "auto" by default: if
        nothing is kept, both exact products are measured.
      samples: S, the number of posterior samples per step, which are averaged.
      antithetic: whether samples come in pairs z and 2 mean - z. Requires an even S and a symmetric
        family. Reduces the variance at the same cost, mainly that of the mean's gradient.
      fall_back: number of noise samples, shared by both ends, with which each example's refined
        ELBO is compared with its ELBO at lambda_0. If the refined ELBO is worse or NaN, the example
        keeps lambda_0 and its gradients go to lambda_0. 8 suffices to detect a diverging
        refinement. 0, as in the paper, disables the comparison. Each sample costs two decoder
        passes.
      learn_step_size: whether the logarithms of the step sizes are trainable weights.
      decoder, prior, family: the generator, for use outside `SemiAmortizedVAE`; by default the
        prior is the standard normal and the family the diagonal Gaussian.
      seed: int from which the seeds of calls without a seed are derived.

    Inside `SemiAmortizedVAE` all settings except `decoder`, `prior`, `learn_step_size` and an
    `update` rule with weights may be assigned later. The assignment takes effect at the model's
    next call. Other Keras models would continue with the old value; there, assigning raises once
    the layer is part of a compiled step.

    Raises:
      ValueError: an argument is out of range.

    >>> layer = SemiAmortizedRefinement(steps=3, step_size=0.1)
    >>> layer.get_config()["steps"]
    3
    """

    _changeable = CHANGEABLE

    def __init__(
        self,
        steps: Steps = 20,
        step_size: Any = None,
        momentum: float = 0.5,
        clip_norm: float | None = 5.0,
        adjoint: str | Adjoint = "exact",
        hvp: str | Callable | None = None,
        truncate: int | None = None,
        adjoint_clip_norm: float | None = None,
        samples: int = 1,
        learn_step_size: bool = False,
        decoder: Decoder | None = None,
        prior: Prior | None = None,
        family: Family | Callable[..., Distribution] | None = None,
        seed: int = 0,
        keep: str | None = "auto",
        fall_back: int = 0,
        update: Any = None,
        keep_budget: int | None = None,
        antithetic: bool = False,
        **kwargs: Any,
    ) -> None:
        # Variational parameters and data keep full precision under every policy of the decoder.
        super().__init__(**{"autocast": False, **kwargs})
        self.steps = as_steps(steps)
        self._set_rule(update, step_size, momentum, clip_norm, learn_step_size)
        short = dict(hvp=hvp, keep=keep, truncate=truncate, keep_budget=keep_budget)
        self._set_adjoint(adjoint, adjoint_clip_norm=adjoint_clip_norm, **short)
        self.samples = validation.positive_int("samples", samples)
        self.antithetic = validation.boolean("antithetic", antithetic)
        self.fall_back = validation.non_negative_int("fall_back", fall_back)
        check_generator(decoder, self.current_adjoint())
        self.decoder, self.prior = decoder, checked_prior(prior)
        self.family = as_family(family)
        if self.antithetic:  # Inside a SemiAmortizedVAE the family is the model's.
            check_antithetic(self.family if decoder else DiagonalGaussian(), self.samples)
        self.seed = seeds.plain_seed(seed)
        self.seed_generator = None if decoder is None else keras.random.SeedGenerator(self.seed)
        self.log_step_size = None
        self._example: Any = None
        self._programs: Any = None

    def __setattr__(self, name, value):
        if name in self._changeable and self.__dict__.get("_is_traced"):
            raise ValueError(
                f"{name}: cannot be changed once this layer is part of a compiled step of a Keras "
                f"model, which would use the old value; got {value!r}. Create a new layer with the "
                "same decoder."
            )
        super().__setattr__(name, value)

    def check_settings(self) -> None:
        """Raises ValueError if settings that were assigned separately are incompatible."""
        self.current_adjoint()
        if self.antithetic and self.decoder is not None:
            check_antithetic(self.family, self.samples)

    def refine(
        self, negative_elbo: NegativeElbo, initial: Nest, theta: Nest, seed: Seed, **overrides: Any
    ) -> Any:
        """Calls `tf_savae.svi.refine` with this layer's settings; `overrides` take precedence."""
        refined, trace, _ = self.refine_or_fall_back(
            negative_elbo, initial, theta, seed, **overrides
        )
        return (refined, trace) if overrides.get("return_trace") else refined

    def refine_or_fall_back(
        self, negative_elbo: NegativeElbo, initial: Nest, theta: Nest, seed: Seed, **overrides: Any
    ) -> tuple[Nest, Trace | None, tf.Tensor | None]:
        """Refines as `refine` does, and returns which examples fell back to `initial`.

        Returns:
          (refined nest; `Trace`, or None if it was not requested; bool [B], whether an example
          fell back to `initial`, or None if `fall_back` is 0).
        """
        settings = self._settings(initial, **overrides)
        samples = settings.pop("fall_back")
        refined, trace = refine(negative_elbo, initial, theta, seed=seed, **settings), None
        if settings.get("return_trace"):
            refined, trace = refined
        if not samples:
            return refined, trace, None
        start = initial
        if not settings["adjoint"].crosses:
            start = tf.nest.map_structure(tf.stop_gradient, initial)
        refined, fell_back = better_of(negative_elbo, start, refined, theta, seed, samples)
        return refined, trace, fell_back

    def _settings(self, initial, **overrides):
        """Returns the arguments of `tf_savae.svi.refine`, and `fall_back`."""
        names = ("adjoint", *SHORT_FORMS)
        crossing = {name: overrides.pop(name) for name in names if name in overrides}
        settings = {
            "steps": self.steps,
            "update": self.rule(initial),
            "adjoint": self._adjoint_with(**crossing),
            "samples": self.samples,
            "fall_back": self.fall_back,
        }
        settings |= overrides
        if self.antithetic and settings["samples"] == 1:
            check_antithetic(self.family, 1)
        if isinstance(settings["steps"], int):  # In a schedule, K may be smaller than the depth.
            settings["adjoint"] = settings["adjoint"].for_steps(settings["steps"])
        return settings

    def __call__(self, parameters: Nest, x: Nest, *args: Any, **kwargs: Any) -> Nest:
        self._ensure_decoder(parameters, x)
        return super().__call__(parameters, x, *args, **kwargs)

    def call(
        self, parameters: Nest, x: Nest, seed: Seed | None = None, training: bool = False
    ) -> Nest:
        """Returns the refined parameters of the examples x, using the layer's own decoder.

        Args:
          parameters: the encoder's nest of tensors [B, ...].
          x: nest of data [B, ...], as the decoder expects it.
          seed: int or stateless seed [2]. By default, a new seed is drawn from the layer's `seed`
            at each training call; other calls always use the same seed.
          training: whether the decoder's dropout is active during refinement.
        """
        if not tf.executing_eagerly():
            self.__dict__["_is_traced"] = True
        if isinstance(self.steps, dict):
            raise ValueError(
                f"steps: expected an integer, got the schedule {self.steps!r}, which requires a "
                "SemiAmortizedVAE that counts its training steps."
            )
        precise = self.variable_dtype
        parameters = tf.nest.map_structure(lambda p: tf.cast(p, precise), parameters)
        check_parameters(self.family, parameters)
        decoder: Any = self.decoder  # Not None: checked in `__call__`.
        generator = PureGenerator(decoder, self._prior_of(parameters), self.family)
        outer, inner = seeds.split(self._seed_of_call(seed, training), 2)
        theta = generator.theta(x, outer, training)
        settings = (self.current_adjoint(), self.steps, self.samples)
        if training and (self._programs is None or self._programs[0] != settings):
            self._programs = settings, self._choose_programs(parameters, x)
        known = self._programs is not None and self._programs[0] == settings
        chosen: dict[str, Any] = self._programs[1] if known else {}

        elbo = GeneratorElbo(generator, training=training, antithetic=self.antithetic)
        return self.refine(elbo, parameters, theta, inner, **chosen)

    def _choose_programs(self, parameters, x):
        """Returns the residuals to keep and the exact product, chosen on zeros of these shapes.

        Returns {} if there are no steps. If the number of examples is unknown, nothing is kept,
        and the products are measured on 32 examples.
        """
        adjoint = self.current_adjoint()
        if adjoint.hvp is None or not self.steps:
            return {}
        rows = tf.nest.flatten(parameters)[0].shape[0]
        if rows is None:  # The size of the residuals is unknown.
            rows = _TRIED_ROWS
            if adjoint.residuals == "auto":
                adjoint = adjoint.with_residuals(None)
        specs = spec_of(parameters), spec_of(x)
        # Checked before: the decoder is not None, and the steps are not a schedule.
        decoder: Any = self.decoder
        steps: Any = self.steps

        def chosen():
            initial, x = (zeros_of(spec, rows) for spec in specs)
            generator = PureGenerator(decoder, self._prior_of(initial), self.family)
            seed = seeds.as_seed(0)
            return choose_programs(
                adjoint,
                GeneratorElbo(generator, training=True, antithetic=self.antithetic),
                initial,
                generator.theta(x, seed, True),
                steps=steps,
                samples=self.samples,
            )

        # `call` may be running inside a trace. A new thread is outside of any graph.
        # `tf.init_scope` is too, but it suspends accumulators: forward mode would return zeros.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(chosen).result()

    def _seed_of_call(self, seed, training):
        if seed is not None or not training:
            return 0 if seed is None else seed
        generator: Any = self.seed_generator  # Not None, since the layer has a decoder.
        return tf.bitcast(tf.cast(generator.next(), tf.uint32), tf.int32)

    def _prior_of(self, parameters):
        if self.prior is not None:
            return self.prior
        size = self.family.distribution(parameters).event_shape[0]
        return StandardNormalPrior(size, dtype=self.dtype_policy)

    def _ensure_decoder(self, parameters, x):
        """Builds the decoder, outside any graph, on a batch of one example."""
        if self.decoder is None:
            raise ValueError(
                "SemiAmortizedRefinement: called outside SemiAmortizedVAE without a decoder; "
                "construct it with decoder=..., a tf_savae.networks.Decoder."
            )
        if self._example is not None:
            return
        self._example = {"parameters": spec_of(parameters), "x": spec_of(x)}
        with tf.init_scope():
            precise = self.variable_dtype  # As in `call`.
            example = zeros_of(self._example["parameters"])
            example = tf.nest.map_structure(lambda p: tf.cast(p, precise), example)
            check_family(self.family, example)
            self.build_rule(example)
            posterior = self.family.distribution(example)
            x = zeros_of(self._example["x"])
            self.decoder(x, zero_codes(posterior, tf.nest.flatten(x)[0].shape[0]))
            prior = self._prior_of(example)
            if not prior.built:
                prior.build()
            check_prior(prior, self.family, example)

    def get_build_config(self) -> Config | None:
        """Returns the shapes from which a loaded layer builds itself and its decoder."""
        if self._example is None:
            return None
        return {"example": keras.saving.serialize_keras_object(self._example)}

    def build_from_config(self, config: Config) -> None:
        """Builds a loaded layer."""
        example = keras.saving.deserialize_keras_object(config["example"])
        self._ensure_decoder(zeros_of(example["parameters"]), zeros_of(example["x"]))
        if not self.built:
            self.build()

    def compute_output_spec(self, parameters: Nest, *args: Any, **kwargs: Any) -> Nest:
        return keras.tree.map_structure(lambda p: keras.KerasTensor(p.shape, p.dtype), parameters)

    def get_config(self) -> Config:
        names = ("steps", "samples", "antithetic", "learn_step_size", "fall_back", "seed")
        own = {name: getattr(self, name) for name in names}
        own |= {**self.rule_config(), **self.adjoint_config()}
        own["family"] = keras.saving.serialize_keras_object(self.family)
        for name in ("decoder", "prior"):
            part = getattr(self, name)
            own[name] = part and keras.saving.serialize_keras_object(part)
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        config = dict(config)
        for name in ("decoder", "prior", "family", "adjoint", "hvp", "update"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        if isinstance(config.get("adjoint", ""), str):
            config.setdefault("keep", None)  # Earlier versions kept nothing.
            # Earlier versions ignored settings that the adjoint does not have, except `truncate`.
            unused = set(SHORT_FORMS) - short_forms_of(config.get("adjoint", "exact"))
            config |= {name: NOT_GIVEN[name] for name in unused - {"truncate"}}
            if config["keep"] != "auto":  # They ignored a budget then, too.
                config["keep_budget"] = None
        return cls(**config)
