"""Preset models of arrays [N, D] and of images."""

import math
from typing import Any

import keras
import numpy as np
from absl import logging

from tf_savae.core import validation
from tf_savae.core.typing import TensorLike
from tf_savae.models import SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.networks import DistributionDecoder
from tf_savae.objectives import as_objective
from tf_savae.presets.likelihoods import Choice, choose
from tf_savae.probability import linear_kl_weight
from tf_savae.svi import LearnedUpdate

__all__ = ["annealing_steps", "assembled", "dense", "image"]

_ANNEALED = 5  # Epochs.


def dense(
    x: TensorLike,
    *,
    latent_size: int | None = None,
    units: int | None = None,
    steps: int = 5,
    objective: str = "savae",
    seed: int = 0,
) -> SemiAmortizedVAE:
    """Returns a compiled model of rows of numbers with fully connected networks.

    `fit(x)` trains the model. The likelihood is chosen from the data and logged: Bernoulli for
    zeros and ones, a discretized logistic for uint8, Poisson for other non-negative integers, and a
    normal distribution with a learned scale otherwise. The KL weight increases from 0.1 to 1 during
    the first five epochs with batch size 32. The model is compiled without XLA, whose compilation
    takes time; for long training, call `compile(jit_compile=True)`.

    Args:
      x: training data, numbers [N, D].
      latent_size: Z; by default an eighth of D, between 2 and 16.
      units: size of the hidden layers; by default about D, between 32 and 256.
      steps: K, number of refinement steps with a learned update rule. Objectives that do not
        differentiate through the steps ("vae_svi") take plain steps, each with a pair of antithetic
        samples; "vae" takes them only in inference with `steps`.
      objective: as for `SemiAmortizedVAE`.
      seed: seed of weights and noise.

    Raises:
      ValueError: x is not such an array, contains NaN, or an argument is out of range.

    >>> x = np.eye(8, dtype="float32")
    >>> model = dense(x)
    >>> model.encode(x).mean().shape.as_list(), model.sample(3).shape.as_list()
    ([8, 2], [3, 8])
    """
    x = _checked(x, ndims=(2,), wanted="[N, D]")
    choice = choose(x)
    width = x.shape[1]
    units = _size("units", units, 2 ** round(math.log2(width)), 32, 256)
    latent_size = _size("latent_size", latent_size, width // 8, 2, 16)
    keras.utils.set_random_seed(seed)
    inputs = keras.Input([width])
    hidden = keras.Sequential([*choice.inputs, keras.layers.Dense(units, "relu")])(inputs)
    encoder = keras.Model(inputs, _heads(hidden, latent_size))
    layers = [keras.layers.Dense(units, "tanh"), keras.layers.Dense(width * choice.outputs)]
    decoder = keras.Sequential([*layers, *_parameters([width], choice)])
    refinement = refinement_for(steps, objective, antithetic=True)
    return assembled(x, choice, encoder, decoder, latent_size, refinement, objective, seed, "dense")


def image(
    x: TensorLike,
    *,
    latent_size: int | None = None,
    channels: int = 16,
    steps: int = 5,
    objective: str = "savae",
    seed: int = 0,
) -> SemiAmortizedVAE:
    """Returns a compiled model of images with convolutions of stride 2.

    `fit(x)` trains the model. The likelihood is chosen as by `dense`: pass grey or colour images as
    uint8, and binary images as zeros and ones.

    Args:
      x: training images [N, H, W] or [N, H, W, C] of at least 4 x 4 pixels.
      latent_size: Z; by default 16.
      channels: channels of the outer convolutions; the inner ones have twice as many.
      steps, objective, seed: as for `dense`.

    Raises:
      ValueError: x is not such an array, contains NaN, or an argument is out of range.

    >>> model = image(np.zeros([4, 6, 6], np.uint8), latent_size=2, channels=2)
    >>> model.infer(np.zeros([4, 6, 6], np.uint8), steps=0).mean().shape.as_list()
    [4, 2]
    """
    x = _checked(x, ndims=(3, 4), wanted="[N, H, W] or [N, H, W, C]")
    if min(x.shape[1:3]) < 4:
        raise ValueError(f"x: expected images of at least 4 x 4 pixels, got {list(x.shape)}.")
    choice = choose(x)
    latent_size = _size("latent_size", latent_size, 16, 1, 16)
    validation.positive_int("channels", channels)
    keras.utils.set_random_seed(seed)
    shape = (*x.shape[1:3], x.shape[3] if x.ndim == 4 else 1)
    inputs = keras.Input(x.shape[1:])
    features = keras.Sequential(
        [
            *choice.inputs,
            keras.layers.Reshape(shape),
            *(
                keras.layers.Conv2D(n, 4, 2, "same", activation="relu")
                for n in (channels, 2 * channels)
            ),
            keras.layers.Flatten(),
            keras.layers.Dense(8 * channels, "relu"),
        ]
    )(inputs)
    encoder = keras.Model(inputs, _heads(features, latent_size))
    decoder = _image_decoder(x.shape[1:], shape, channels, choice)
    refinement = refinement_for(steps, objective)
    return assembled(x, choice, encoder, decoder, latent_size, refinement, objective, seed, "image")


def annealing_steps(examples: int, batch_size: int = 32) -> int:
    """Returns the number of training steps until the KL weight of a preset is 1.

    The batch size defaults to that of Keras.

    >>> annealing_steps(100)
    20
    """
    return _ANNEALED * math.ceil(examples / batch_size)


def assembled(
    x: np.ndarray,
    choice: Choice,
    encoder: keras.Model,
    decoder: keras.Model,
    latent_size: int,
    refinement: SemiAmortizedRefinement,
    objective: str,
    seed: int,
    name: str,
) -> SemiAmortizedVAE:
    """Returns the compiled and built model of both networks, and logs the chosen settings."""
    annealed = annealing_steps(len(x))
    model = SemiAmortizedVAE(
        encoder,
        DistributionDecoder(decoder, choice.likelihood),
        refinement=refinement,
        objective=objective,
        latent_size=latent_size,
        beta=linear_kl_weight(annealed),
        seed=seed,
    )
    model.compile(keras.optimizers.Adam(2e-3), jit_compile=False)
    model(x[:1])
    logging.info(
        "presets.%s: x %s of %s: latent size %d, K = %d, KL weight 0.1 to 1 in %d training steps",
        name,
        list(x.shape),
        choice.why,
        latent_size,
        model.inference_steps,
        annealed,
    )
    return model


def refinement_for(steps: int, objective: str, antithetic: bool = False) -> SemiAmortizedRefinement:
    """Returns the refinement, with a learned update rule if gradients pass through the steps.

    Args:
      steps: K.
      objective: as for `SemiAmortizedVAE`.
      antithetic: whether plain steps take a pair of antithetic samples. With dense networks this
        lowered bounds by 0.2 to 1.4 nats (docs/results.md), and a training step costs 1.2 times as
        much. With convolutions a step costs 1.8 times as much, and the gain was not measured.
        Learned steps gain less.
    """
    steps = validation.non_negative_int("steps", steps)
    if steps and as_objective(objective).crosses_refinement:
        options: dict[str, Any] = {"update": LearnedUpdate()}
    else:
        options = {"samples": 2, "antithetic": True} if steps and antithetic else {}
    return SemiAmortizedRefinement(steps=steps, hvp="reverse_over_reverse", **options)


def _checked(x, ndims, wanted):
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"x: expected numbers {wanted}, got dtype {x.dtype}.")
    if x.ndim not in ndims or 0 in x.shape:
        raise ValueError(f"x: expected numbers {wanted}, got shape {list(x.shape)}.")
    return validation.finite("x", x)


def _size(name, given, default, low, high):
    if given is not None:
        return validation.positive_int(name, given)
    return min(max(default, low), high)


def _heads(hidden, latent_size):
    """Returns the encoder's outputs, mean and log-variance."""
    return [keras.layers.Dense(latent_size)(hidden) for _ in range(2)]


def _parameters(shape, choice):
    """Returns the layers that reshape the output to x, with an axis of several parameters."""
    if choice.outputs == 1 and len(shape) == 1:
        return []
    return [keras.layers.Reshape((*shape, choice.outputs) if choice.outputs > 1 else tuple(shape))]


def _image_decoder(wanted, shape, channels, choice):
    height, width, depth = shape
    rows, columns = -(-height // 4), -(-width // 4)
    layers = [
        keras.layers.Dense(rows * columns * 2 * channels, "relu"),
        keras.layers.Reshape((rows, columns, 2 * channels)),
        keras.layers.Conv2DTranspose(channels, 4, 2, "same", activation="relu"),
        keras.layers.Conv2DTranspose(depth * choice.outputs, 4, 2, "same"),
        keras.layers.Cropping2D(((0, 4 * rows - height), (0, 4 * columns - width))),
    ]
    return keras.Sequential([*layers, *_parameters(wanted, choice)])
