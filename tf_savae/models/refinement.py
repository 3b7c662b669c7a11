"""`SemiAmortizedRefinement`: K differentiable SVI steps as a Keras layer."""

import keras
import tensorflow as tf

from tf_savae.ground import checks, seeds
from tf_savae.ground.serialization import export
from tf_savae.networks.base import StandardNormalPrior
from tf_savae.networks.stateless import PureGenerator
from tf_savae.probability import as_family
from tf_savae.svi import ADJOINTS, refine
from tf_savae.svi import hvp as hvps

__all__ = ["SemiAmortizedRefinement"]


@export
class SemiAmortizedRefinement(keras.layers.Layer):
    """Refines variational parameters by K SVI steps, differentiably (Kim et al. 2018).

    Inside `SemiAmortizedVAE` it only holds how to refine. In any other Keras model give it the
    `decoder` and call it between encoder and decoder: `refined = layer(parameters, x)`; gradients
    then reach the encoder, the decoder's weights and, if learned, the step sizes.

    Args:
      steps: K >= 0.
      step_size: length of a step, per example (the reference code's 1 on a batch mean of 32 is
        1 / 32 here). A number, or one number per parameter tensor of the family.
      momentum: in [0, 1).
      clip_norm: bound on each example's SVI gradient; None does not clip.
      adjoint, hvp, truncate, adjoint_clip_norm, samples: see `tf_savae.svi.refine`.
      learn_step_size: makes the step sizes weights (their logarithms), trained with the rest.
      decoder, prior, family: the generator, for use outside `SemiAmortizedVAE`; the prior is the
        standard normal and the family the diagonal Gaussian by default.

    Raises:
      ValueError: an argument is out of its range.

    >>> layer = SemiAmortizedRefinement(steps=3, step_size=0.1)
    >>> layer.get_config()["steps"]
    3
    """

    def __init__(
        self,
        steps=20,
        step_size=0.05,
        momentum=0.5,
        clip_norm=5.0,
        adjoint="exact",
        hvp="auto",
        truncate=None,
        adjoint_clip_norm=None,
        samples=1,
        learn_step_size=False,
        decoder=None,
        prior=None,
        family=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.steps = checks.non_negative_int("steps", steps)
        self.step_size = _checked_sizes(step_size)
        self.momentum = checks.unit_interval("momentum", momentum, closed=False)
        self.clip_norm = checks.positive("clip_norm", clip_norm, optional=True)
        self.adjoint = checks.choice("adjoint", adjoint, ADJOINTS)
        if not callable(hvp):
            checks.choice("hvp", hvp, tuple(hvps.METHODS))
        self.hvp = hvp
        self.truncate = truncate
        self.adjoint_clip_norm = checks.positive(
            "adjoint_clip_norm", adjoint_clip_norm, optional=True
        )
        self.samples = checks.positive_int("samples", samples)
        self.learn_step_size = bool(learn_step_size)
        self.decoder, self.prior = decoder, prior
        self.family = as_family(family)
        self.log_step_size = None

    def build(self, parameters_shape=None):
        if self.learn_step_size:
            start = keras.initializers.Constant(0.0)
            count = len(self.family.parameter_shapes(1))
            self.log_step_size = self.add_weight((count,), start, name="log_step_size")
            sizes = self.step_size if isinstance(self.step_size, tuple) else [self.step_size]
            logs = tf.math.log(tf.constant(sizes, self.log_step_size.dtype))
            self.log_step_size.assign(tf.broadcast_to(logs, [count]))
        self.built = True

    def current_step_size(self, initial):
        """The step sizes in the form `refine` takes."""
        if self.learn_step_size:
            if not self.built:
                self.build()
            sizes = tf.unstack(tf.exp(tf.convert_to_tensor(self.log_step_size)))
            return tf.nest.pack_sequence_as(initial, sizes)
        if isinstance(self.step_size, tuple):
            return tf.nest.pack_sequence_as(initial, list(self.step_size))
        return self.step_size

    def refine(self, negative_elbo, initial, theta, seed, **overrides):
        """`tf_savae.svi.refine` with this layer's settings; `overrides` replace some of them."""
        settings = {
            "steps": self.steps,
            "step_size": self.current_step_size(initial),
            "momentum": self.momentum,
            "clip_norm": self.clip_norm,
            "adjoint": self.adjoint,
            "hvp": self.hvp,
            "truncate": self.truncate if self.adjoint == "truncated" else None,
            "adjoint_clip_norm": self.adjoint_clip_norm,
            "samples": self.samples,
        }
        settings.update(overrides)
        if settings["adjoint"] != "truncated":
            settings["truncate"] = None
        return refine(negative_elbo, initial, theta, seed=seed, **settings)

    def call(self, parameters, x, seed=0, training=False):
        """Refined parameters for the examples x, using the layer's own decoder.

        Args:
          parameters: the encoder's nest of tensors [B, ...].
          x: what the decoder takes.
          seed: int or stateless seed [2]; give each training step its own.
          training: whether the decoder's dropout is on during refinement.
        """
        generator = self._generator(parameters, x)
        outer, inner = seeds.split(seed, 2)
        theta = generator.theta(x, outer, training)

        def negative_elbo(lam, theta, step_seed):
            return generator.terms(lam, theta, step_seed, training).weighted()

        return self.refine(negative_elbo, parameters, theta, inner)

    def _generator(self, parameters, x):
        if self.decoder is None:
            raise ValueError(
                "SemiAmortizedRefinement: called outside SemiAmortizedVAE without a decoder; "
                "construct it with decoder=..., a tf_savae.networks.Decoder."
            )
        posterior = self.family.distribution(parameters)
        if self.prior is None:
            self.prior = StandardNormalPrior(posterior.event_shape[0])
            self.prior.build()
        if not self.decoder.built:
            self.decoder(x, tf.zeros_like(posterior.mean()))
        return PureGenerator(self.decoder, self.prior, self.family)

    def compute_output_spec(self, parameters, *args, **kwargs):
        return keras.tree.map_structure(lambda p: keras.KerasTensor(p.shape, p.dtype), parameters)

    def get_config(self):
        names = (
            "steps",
            "momentum",
            "clip_norm",
            "adjoint",
            "hvp",
            "truncate",
            "adjoint_clip_norm",
            "samples",
            "learn_step_size",
        )
        own = {name: getattr(self, name) for name in names}
        sizes = self.step_size
        own["step_size"] = list(sizes) if isinstance(sizes, tuple) else sizes
        own["family"] = keras.saving.serialize_keras_object(self.family)
        for name in ("decoder", "prior"):
            part = getattr(self, name)
            own[name] = part and keras.saving.serialize_keras_object(part)
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("decoder", "prior", "family"):
            if config.get(name):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _checked_sizes(step_size):
    if isinstance(step_size, (list, tuple)):
        return tuple(checks.positive("step_size", size) for size in step_size)
    return checks.positive("step_size", step_size, zero=True)
