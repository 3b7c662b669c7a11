"""Build the `BatchObjective` of a batch for training and evaluation."""

import functools

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import MixedIn, Nest, Seed, TensorLike
from tf_savae.models.row_sampling import family_of_shard
from tf_savae.models.validation.posterior_parameters import check_parameters, is_one_tensor
from tf_savae.networks import Effects, PureEncoder, PureGenerator
from tf_savae.objectives import BatchObjective, RefinementInfo
from tf_savae.probability import Family

__all__ = ["PosesProblems"]

_ENCODER = 999  # The stream of the encoder's noise.


class PosesProblems(MixedIn):
    """The parts of `SemiAmortizedVAE` that turn its layers into functions of one batch."""

    def encode(self, x: Nest, training: bool = False) -> Nest:
        """lambda_0: the encoder's parameters (the prior's where there is no encoder)."""
        x = self._standard(x)
        self._ensure_built_in_graph(x)
        return self._encoded(x, seeds.as_seed(0), training)[0]

    def generator(self, family: Family | None = None) -> PureGenerator:
        """The pure function of decoder and prior; make one per traced function."""
        family = family_of_shard(self.family) if family is None else family
        return PureGenerator(self.decoder, self.prior, family)

    def problem(
        self,
        x: Nest,
        seed: Seed,
        beta: TensorLike = 1.0,
        training: bool = False,
        probe: tf.Tensor | None = None,
        steps: int | None = None,
        family: Family | None = None,
        free_bits: float = 0.0,
    ) -> BatchObjective:
        """One batch as training rules and evaluations see it; `family` may draw otherwise.

        `beta` and `free_bits` are of the objective that is trained: inference descends the ELBO.
        """
        x = self._standard(x)
        self._ensure_built_in_graph(x)
        generator = self.generator(family)
        outer, inner = seeds.split(seed, 2)
        steps = self._steps(steps)

        @functools.cache  # One pass through the encoder, however often it is asked for.
        def encoded():
            return self._encoded(x, seeds.fold(outer, _ENCODER), training)

        def refine(objective, initial, theta, seed, adjoint):
            if not training:
                adjoint = "stop"
            overrides = {"backward_probe": probe} if adjoint is None else {"adjoint": adjoint}
            return self._refine(objective, initial, theta, seed, steps, overrides)

        return BatchObjective(
            generator=generator,
            theta=generator.theta(x, outer, training),
            encode=lambda: encoded()[0],
            encoder_effects=lambda: encoded()[1],
            prior_parameters=lambda: self._prior_parameters(x),
            refine=refine,
            steps=steps,
            beta=beta,
            free_bits=free_bits,
            seed=inner,
            training=training,
            amortized_weight=self.amortized_weight_of(self.objective),
        )

    def _standard(self, x):
        """Floats in the precision of the weights, whatever the user's arrays have."""
        precise = self.variable_dtype

        def standard(leaf):
            leaf = tf.convert_to_tensor(leaf)
            return tf.cast(leaf, precise) if leaf.dtype.is_floating else leaf

        return tf.nest.map_structure(standard, x)

    def _encoded(self, x, seed, training):
        """lambda_0 and the encoder's `Effects`."""
        if self.encoder is None:
            return self._prior_parameters(x), Effects([], [])
        outputs, effects = PureEncoder(self.encoder)(x, seed, training)
        if tf.is_tensor(outputs) and self.latent_size is not None:
            if not is_one_tensor(self.family, self.latent_size):
                outputs = self.family.unpack(outputs, self.latent_size)
        batch = tf.nest.flatten(x)[0].shape[0]
        check_parameters(self.family, outputs, self.latent_size, batch)
        precise = self.variable_dtype
        parameters = tf.nest.map_structure(lambda p: tf.cast(p, precise), outputs)
        return parameters, effects

    def _refine(self, objective, initial, theta, seed, steps, overrides):
        """lambda_K and what is known of lambda_0: `RefinementInfo`, or None for K = 0."""
        settings = {
            "steps": steps,
            "return_trace": "path",
            **self._programs.settings(),
            **overrides,
        }
        if not steps:
            settings["fall_back"] = 0
        refined, trace, fell_back = self.refinement.refine_or_fall_back(
            objective, initial, theta, seed, **settings
        )
        if not steps:
            return refined, None
        return refined, RefinementInfo(trace.negative_elbo[0], fell_back, trace.initial_gradient)

    def _prior_parameters(self, x):
        batch = tf.shape(tf.nest.flatten(x)[0])[0]
        return self.family.zeros(batch, self.latent_size, self.variable_dtype)
