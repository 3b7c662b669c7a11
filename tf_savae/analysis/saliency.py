"""Saliency of inputs for the encoder and of z for the decoder (Kim et al. 2018, section 5.2).

Encoder: the saliency of input word t is the Frobenius norm of the Jacobian of the posterior's mean
[Z] with respect to the word's embedding [E], the root of a sum of Z E squares:

    s_t = || d E_q[z] / d e_t ||_F.

Decoder: the saliency of z for output t is the norm of the gradient of the output's log probability,
in nats per unit of z, at the mean of q(z; lambda_K):

    s_t = || d log p(x_t | x_<t, z) / dz ||_2.

The words before t are constant, so this measures what z contributes beyond them. The paper's
encoder saliency is the gradient of the scalar E||z||. The Jacobian used here also captures changes
of the direction of z that leave its norm unchanged.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from tf_savae.autodiff import forward_mode
from tf_savae.core.typing import Nest, Seed
from tf_savae.evaluation.dataset_pass import check_latent
from tf_savae.models.compilation.trace_cache import compiled_for
from tf_savae.probability.posterior_mean import posterior_mean

__all__ = ["decoder_saliency", "encoder_saliency", "log_probs_of_parts"]

# Errors that TensorFlow raises if an operation has no forward-mode derivative.
_CANNOT = (LookupError, NotImplementedError, TypeError, ValueError, tf.errors.OpError)


def encoder_saliency(model: keras.Model) -> Callable[[Nest, Seed], tf.Tensor]:
    """Returns a compiled function (x, seed) -> || d mean / d embedding of x_t ||_F, [B, T].

    One call costs Z forward and backward passes through the encoder.

    Args:
      model: a `SemiAmortizedVAE` whose encoder has `embed(x)` -> [T, B, E] and
        `encode_embedded(embedded, x)` -> parameters, such as `TextEncoder`.

    Raises:
      ValueError: the model has no latent variables, or the encoder lacks these methods.

    >>> from tf_savae import models, networks
    >>> encoder = networks.TextEncoder(20, 4, 8, latent_size=2)
    >>> decoder = networks.TextDecoder(20, 4, 8, latent_size=2)
    >>> model = models.SemiAmortizedVAE(encoder, decoder, latent_size=2)
    >>> x = tf.constant([[2, 7, 3, 0]])
    >>> model.encode(x).mean().shape.as_list(), encoder_saliency(model)(x, [0, 0]).shape.as_list()
    ([1, 2], [1, 4])
    """
    check_latent(model)
    encoder = model.encoder
    if not (hasattr(encoder, "embed") and hasattr(encoder, "encode_embedded")):
        raise ValueError(
            "encoder: expected one with embed(x) and encode_embedded(embedded, x), as TextEncoder "
            f"has; got {type(encoder).__name__}."
        )

    def squares(embedded, x, index):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(embedded)
            parameters = encoder.encode_embedded(embedded, x)
            total = tf.reduce_sum(posterior_mean(model.family.distribution(parameters))[:, index])
        gradient = tape.gradient(total, embedded)
        return tf.transpose(tf.reduce_sum(tf.square(gradient), axis=2))

    def norms(x, seed):
        del seed  # The encoder uses no noise.
        embedded = encoder.embed(x)
        return _root_of_sum(lambda index: squares(embedded, x, index), model.latent_size)

    return compiled_for(model, norms)


def decoder_saliency(
    model: keras.Model, steps: int | None = None
) -> Callable[[Nest, Seed], tf.Tensor]:
    """Returns a compiled function (x, seed) -> || d log p(x_i | x_<i, z) / dz ||, [B, ...].

    z is the mean of the refined posterior. One call costs Z directional derivatives, in forward
    mode if the decoder supports it. Each derivative is one pass of twice the rows, for all outputs
    at once.

    Args:
      model: a `SemiAmortizedVAE` whose decoder provides the log probability of each element of x;
        see `log_probs_of_parts`.
      steps: K; by default the model's own (0 for a plain VAE). 0 for the encoder's posterior.

    Raises:
      ValueError: the model has no latent variables or no such decoder.

    >>> from tf_savae import models, networks
    >>> encoder = networks.TextEncoder(20, 4, 8, latent_size=2)
    >>> decoder = networks.TextDecoder(20, 4, 8, latent_size=2)
    >>> model = models.SemiAmortizedVAE(encoder, decoder, latent_size=2)
    >>> decoder_saliency(model, steps=0)(tf.constant([[2, 7, 3, 0]]), [0, 0]).shape.as_list()
    [1, 3]
    """
    check_latent(model)
    parts = log_probs_of_parts(model.decoder)

    def norms(x, seed):
        parameters = model.refined_parameters(x, steps, seed)
        z = posterior_mean(model.family.distribution(parameters))
        size = z.shape[1]

        def squares(index):
            direction = tf.zeros_like(z) + tf.one_hot(index, size, dtype=z.dtype)
            return tf.square(_directional(lambda z: parts(x, z), z, direction))

        return _root_of_sum(squares, size)

    return compiled_for(model, norms)


def log_probs_of_parts(decoder: keras.layers.Layer) -> Callable[[Nest, tf.Tensor], tf.Tensor]:
    """Returns a function (x, z) -> log p of each element of x given the previous ones, [B, ...].

    The function is the decoder's `token_log_probs(x, z)`, if it has this method (`TextDecoder`).
    Otherwise it is computed from `logits(x, z)` for binary x [B, ..., 1] (`PixelCNNDecoder`), or
    from the factors of `distribution(z)` (`DistributionDecoder`).

    Raises:
      ValueError: the decoder has none of these methods.

    >>> import keras
    >>> from tf_savae import networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> log_probs_of_parts(decoder)(tf.ones([5, 3]), tf.zeros([5, 2])).shape.as_list()
    [5, 3]
    """
    if hasattr(decoder, "token_log_probs"):
        return decoder.token_log_probs
    if hasattr(decoder, "logits"):
        return lambda x, z: _bernoulli(decoder.logits(x, z), x)
    if hasattr(decoder, "distribution"):
        return lambda x, z: decoder.distribution(z).log_prob(x)
    raise ValueError(
        "decoder: expected a method token_log_probs(x, z) -> [B, ...], the log probabilities of "
        f"the parts of x; {type(decoder).__name__} has no such method."
    )


def _bernoulli(logits, x):
    labels = tf.reshape(tf.cast(x, logits.dtype), tf.shape(logits))
    return -tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)


def _root_of_sum(squares, count):
    """Returns the root of squares(0) + ... + squares(count - 1), computed sequentially."""
    parts = tf.map_fn(
        lambda index: tf.cast(squares(index), tf.float64),
        tf.range(count),
        fn_output_signature=tf.float64,
        parallel_iterations=1,
    )
    return tf.sqrt(tf.reduce_sum(parts, axis=0))


def _directional(function, z, direction):
    """Returns the derivative of function(z) along a direction."""
    try:
        return _forward(function, z, direction)
    except _CANNOT:  # For example the loop of a Keras LSTM.
        return _twice_backward(function, z, direction)


def _forward(function, z, direction):
    z = tf.identity(z)
    with forward_mode.accumulate([z], [direction]) as forward:
        outputs = function(z)
    return forward.jvp(outputs, unconnected_gradients="zero")


def _twice_backward(function, z, direction):
    """Returns J v as the transpose of the linear map v -> J' v, by two reverse passes."""
    z = tf.identity(z)
    with tf.GradientTape(watch_accessed_variables=False) as transpose:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            outputs = function(z)
        upstream = tf.ones_like(outputs)
        transpose.watch(upstream)
        pulled = tape.gradient(outputs, z, output_gradients=upstream)
    return transpose.gradient(
        pulled, upstream, output_gradients=direction, unconnected_gradients="zero"
    )
