"""`AutoregressiveModel`: the baseline without latent variables."""

from typing import Any, Self

import keras
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.registration import register
from tf_savae.core.typing import Config, Nest, Seed
from tf_savae.models.base import BoundModel
from tf_savae.models.metrics import BoundMetrics
from tf_savae.models.row_sampling import check_built, decode_rows
from tf_savae.models.validation.arrays import refuse_sparse
from tf_savae.models.validation.untracked_variables import refuse_unknown, watched_variables
from tf_savae.networks import PureGenerator
from tf_savae.networks.decoder import Decoder
from tf_savae.objectives import SYSTEMS, Autoregressive, LikelihoodBatch, Objective
from tf_savae.probability.distribution_checks import check_legacy

__all__ = ["AutoregressiveModel"]


@register
class AutoregressiveModel(BoundModel):
    """An autoregressive model p(x) without z, such as an LSTM language model or Gated PixelCNN.

    Args:
      decoder: a `tf_savae.networks.Decoder` that ignores z, such as `TextDecoder(latent_size=0)`.
      seed: int, seed of dropout.

    >>> from tf_savae.networks import TextDecoder
    >>> model = AutoregressiveModel(TextDecoder(20, 4, 8, latent_size=0))
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(tf.constant([[2, 5, 6, 3]] * 4), verbose=0)
    >>> sorted(history.history)
    ['bound', 'loss', 'nll', 'perplexity', 'skipped']
    """

    def __init__(self, decoder: Decoder, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        check_legacy("decoder", decoder)
        if not hasattr(decoder, "log_prob_prepared"):
            raise ValueError(
                f"decoder: expected a tf_savae.networks.Decoder, got {type(decoder).__name__}."
            )
        self.decoder = decoder
        tokens = hasattr(decoder, "count_tokens")
        self._bound_metrics = BoundMetrics(
            latent=False, amortized=False, refined=False, with_adjoint=False, tokens=tokens
        )

    @property
    def objective(self) -> Objective:
        """The training `Objective`, -log p(x)."""
        return SYSTEMS[Autoregressive.name]

    def _outcome(self, x, seed, beta, training, probe):
        generator = PureGenerator(self.decoder, None, None)
        outer, inner = seeds.split(seed, 2)
        theta = generator.theta(x, outer, training)
        batch = LikelihoodBatch(generator, theta, seeds.fold(inner, 0), training)
        return self.objective.loss(batch)

    def _make_parts(self, x):
        x = tf.nest.map_structure(lambda part: tf.convert_to_tensor(part)[:1], x)
        if not self.decoder.built:
            with watched_variables() as used:
                self.decoder(x, None)
            refuse_unknown(used, self.variables)

    def call(self, x: Nest, training: bool = False) -> tf.Tensor:
        """Returns log p(x), [B] nats, as `predict` does."""
        return self.decoder(x, None, training=training)

    def log_likelihood(self, x: Nest, seed: Seed | None = None) -> tf.Tensor:
        """Returns the exact log p(x), [B] nats.

        Args:
          x: data [B, ...]; a list that converts to one array is converted, other nests are kept.
          seed: not used, since the result is exact.

        Raises:
          ValueError: x is not valid data for this model.
        """
        refuse_sparse(x)
        try:
            x = tf.convert_to_tensor(x)
        except (TypeError, ValueError):
            x = tf.nest.map_structure(tf.convert_to_tensor, x)
        self._check_arrays(x)
        return self(x)

    def generate(self, n: int, seed: Seed | None = None, first: int = 0, **options: Any) -> Nest:
        """Samples n examples of x; sample i depends only on (seed, first + i).

        Arguments and errors are those of `SemiAmortizedVAE.generate`.
        """
        n = validation.positive_int("n", n)
        first = validation.non_negative_int("first", first)
        check_built(self)
        seed = seeds.as_seed(0 if seed is None else seed)
        return decode_rows(self, tf.zeros([n, 0]), seed, first, **options)

    def sample(self, n: int, seed: Seed | None = None, first: int = 0, **options: Any) -> Nest:
        """Samples n examples of x; the same as `generate`."""
        return self.generate(n, seed, first, **options)

    def get_config(self) -> Config:
        config = super().get_config()
        decoder = keras.saving.serialize_keras_object(self.decoder)
        return {**config, "decoder": decoder, "seed": self.seed}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        decoder = keras.saving.deserialize_keras_object(config["decoder"])
        return cls(**{**config, "decoder": decoder})
