"""The models whose train steps become programs: the contest's cases, with an optimizer each."""

import keras
import tensorflow as tf
from peers import ours
from peers.batches import batch

import tf_savae

__all__ = ["batch_of", "model_of"]


def batch_of(case):
    """The case's batch, as tensors.

    >>> from programs.sizes import CASES
    >>> batch_of(CASES["tiny_image"]).shape.as_list()
    [3, 8, 6, 1]
    """
    return tf.constant(batch(case))


def model_of(case, steps, method="exact_forward", dtype="float32"):
    """A built and compiled model with weights from a fixed seed.

    Text trains by SGD with rate 1, as in the paper (section 5.2), the others by Adam; both clip the
    norm of the whole gradient to 5.

    Args:
      case: a `Case`.
      steps: K; 0 is the VAE.
      method: a key of `peers.ours.METHODS`: adjoint, Hessian-vector product, what is kept.
      dtype: Keras dtype policy: "float32", "float64" or "mixed_bfloat16".

    >>> from programs.sizes import CASES
    >>> model_of(CASES["tiny_text"], 2).refinement.steps
    2
    """
    if method not in ours.METHODS:
        raise ValueError(f"method: expected one of {', '.join(ours.METHODS)}, got {method!r}.")
    keras.utils.set_random_seed(1)
    encoder, decoder = ours._networks(case, dtype)
    model = tf_savae.SemiAmortizedVAE(
        encoder,
        decoder,
        refinement=_refinement(case, steps, method, dtype),
        objective="savae" if steps else "vae",
        latent_size=case.latent,
        prior=tf_savae.networks.StandardNormalPrior(case.latent, dtype=dtype),
        dtype=dtype,
    )
    sgd = case.model == "text"
    optimizer = keras.optimizers.SGD(1.0) if sgd else keras.optimizers.Adam(1e-3)
    optimizer.global_clipnorm = 5.0
    model.compile(optimizer, jit_compile="auto")
    model._ensure_built(batch_of(case))
    return model


def _refinement(case, steps, method, dtype):
    adjoint, hvp, keep = ours.METHODS[method]
    return tf_savae.SemiAmortizedRefinement(
        steps=steps,
        step_size=case.step_size,
        momentum=case.momentum,
        clip_norm=case.clip_norm,
        adjoint=adjoint,
        hvp=hvp,
        keep=keep,
        dtype=dtype,
    )
