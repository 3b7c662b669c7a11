"""Small models and what a train step does to them, for the tests of the Keras shell."""

import keras
import numpy as np
import tensorflow as tf

import tf_savae
from tf_savae.core import seeds
from tf_savae.networks import DistributionDecoder, TextDecoder, TextEncoder

FEATURES, LATENT = 6, 2
OBJECTIVES = ("savae", "vae", "svi", "vae_svi", "vae_svi_kl")


def data(rows=4, dtype=None):
    """Real-valued rows [rows, 6]."""
    values = np.random.default_rng(0).normal(size=(rows, FEATURES))
    return values.astype(dtype or keras.config.floatx())


def tokens(rows=4, length=7, vocabulary_size=20):
    """Token rows [rows, length]: <s>, words, </s>, and padding in every second row."""
    x = np.random.default_rng(1).integers(4, vocabulary_size, (rows, length)).astype("int32")
    x[:, 0], x[:, -1] = 2, 3
    x[1::2, -3:] = [3, 0, 0]
    return x


def dense_decoder(likelihood="normal"):
    layers = [keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(FEATURES)]
    return DistributionDecoder(keras.Sequential(layers), likelihood)


def dense_encoder(outputs=2 * LATENT):
    return keras.Sequential([keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(outputs)])


def with_product(**settings):
    """A layer's settings, with a Hessian-vector product if the adjoint computes any."""
    computed = settings.get("adjoint") not in ("unrolled", "stop")
    return {**({"hvp": "reverse_over_reverse"} if computed else {}), **settings}


def dense_model(objective="savae", *, decoder=None, encoder=None, model=None, **refinement):
    """A model of Dense layers; `refinement` overrides the layer's, `model` the model's options."""
    keras.utils.set_random_seed(0)
    settings = with_product(**{"steps": 3, "step_size": 0.1, **refinement})
    return tf_savae.SemiAmortizedVAE(
        dense_encoder() if encoder is None else encoder,
        dense_decoder() if decoder is None else decoder,
        **{"latent_size": LATENT, "objective": objective, **(model or {})},
        refinement=tf_savae.SemiAmortizedRefinement(**settings),
    )


def text_model(objective="savae", *, decoder=None, model=None, **refinement):
    """A small text model; `decoder` overrides options of the `TextDecoder`."""
    keras.utils.set_random_seed(0)
    settings = with_product(**{"steps": 2, "step_size": 0.1, **refinement})
    sizes = {"embedding_size": 4, "units": 5, "latent_size": LATENT, "initial_scale": 0.7}
    return tf_savae.SemiAmortizedVAE(
        TextEncoder(20, **sizes),
        TextDecoder(20, **{**sizes, "dropout": 0.0, **(decoder or {})}),
        **{"latent_size": LATENT, **(model or {})},
        objective=objective,
        refinement=tf_savae.SemiAmortizedRefinement(**settings),
    )


def compiled(model, x, *, jit_compile=False, optimizer=None, **options):
    """The model with weights, compiled with plain gradient descent of rate 1."""
    optimizer = optimizer or keras.optimizers.SGD(1.0)
    model.compile(optimizer, jit_compile=jit_compile, **options)
    model.ensure_built(tf.convert_to_tensor(x))
    model.optimizer.build(model.trainable_variables)
    return model


def step_gradients(model, x, weights=None, jit_compile=None, eager=False):
    """What train step number 0 takes off each trainable weight at rate 1: a list of gradients.

    One eager step costs a tenth of a traced one: for what another step is compared with.
    """
    model.optimizer.iterations.assign(0)  # The noise depends on it.
    before = [v.numpy() for v in model.trainable_variables]
    x = tf.convert_to_tensor(x)
    batch = (x,) if weights is None else (x, None, tf.constant(weights))
    step = model.train_step
    if not eager:
        step = tf.function(step, autograph=False, jit_compile=jit_compile)
    step(batch)
    return [b - v.numpy() for b, v in zip(before, model.trainable_variables, strict=True)]


def train_problem(model, x, beta=1.0, step=0):
    """The `BatchObjective` that train step number `step` works on."""
    seed = seeds.fold(seeds.fold(model.seed, 0), step)
    return model.batch_objective(tf.convert_to_tensor(x), seed, beta, training=True)


def relative_error(got, wanted):
    """Largest difference over the largest entry, over two lists of arrays."""
    scale = max(np.abs(value).max() for value in wanted)
    return max(np.abs(g - w).max() for g, w in zip(got, wanted, strict=True)) / scale
