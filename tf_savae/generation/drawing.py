"""Sample, reconstruct and decode any number of rows in batches of a fixed size.

The last batch is padded to the common size. So only one program is compiled, and the values of row
i do not depend on the number of rows.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.progress import stages
from tf_savae.core.typing import Nest, Seed, TensorLike
from tf_savae.models.row_sampling import (
    check_built,
    check_options,
    decode_rows,
    options_of_rows,
    posterior_codes,
    posterior_of_rows,
    prior_codes,
)
from tf_savae.objectives.lookup import has_latent
from tf_savae.probability.posterior_mean import posterior_mean
from tf_savae.samplers.per_row import row_seeds

__all__ = ["Drawn", "decode", "posterior_means", "reconstruct", "sample"]

_BATCH = 32


class Drawn(NamedTuple):
    """Generated examples and the latent variables from which they were decoded."""

    x: Any  # NumPy array [N, ...]
    z: Any  # float32 [N, Z]; Z is 0 for a model without latent variables


def sample(
    model: keras.Model,
    n: int,
    seed: Seed = 0,
    *,
    batch_size: int = _BATCH,
    label: str | None = None,
    **options: Any,
) -> Drawn:
    """Returns n samples from the prior, equal to `model.generate(n, seed, **options)`.

    Args:
      model: a built `SemiAmortizedVAE` or `AutoregressiveModel`.
      n: number of samples.
      seed: int or stateless seed [2].
      batch_size: rows per batch; does not affect the samples.
      label: text shown with a progress bar; None for no bar.
      options: options of the decoder's `sample`: one value for all rows, or an array with one entry
        per row, as for `model.generate`. Only `model.generate` accepts an option named `label`.

    Returns:
      `Drawn`.

    Raises:
      ValueError: an argument is out of range, the model is not built, or the decoder does not have
        an option.

    >>> from tf_savae import models, networks
    >>> model = models.AutoregressiveModel(networks.TextDecoder(9, 4, 5, latent_size=0))
    >>> log_probability = model(tf.constant([[2, 5, 3]]))  # Makes the weights.
    >>> sample(model, 3, seed=1, length=4).x.shape
    (3, 5)
    """
    validation.positive_int("n", n)
    check_built(model)
    seed = seeds.as_seed(seed)
    if has_latent(model):
        latent, seed = seeds.split(seed, 2)
        z = prior_codes(model, n, latent)
    else:
        z = tf.zeros([n, 0])
    return decode(model, z, seed, batch_size=batch_size, label=label, **options)


def reconstruct(
    model: keras.Model,
    x: Nest,
    seed: Seed = 0,
    *,
    steps: int | None = None,
    mean: bool = False,
    batch_size: int = _BATCH,
    label: str | None = None,
    **options: Any,
) -> Drawn:
    """Returns one x' per example, equal to `model.reconstruct(x, seed, **options)`.

    Args:
      model: a built `SemiAmortizedVAE`.
      x: array [N, ...].
      seed: int or stateless seed [2].
      steps: K; by default the model's own.
      mean: whether to decode the posterior's mean instead of a sample of z.
      batch_size, label, options: as for `sample`.

    Returns:
      `Drawn`.

    Raises:
      ValueError: as `sample`, or the model has no latent variables.

    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> reconstruct(model, np.ones([5, 3], "float32"), steps=1).x.shape
    (5, 3)
    """
    refining, drawing, noise = seeds.split(seed, 3)
    check_options(model.decoder, options)

    def code(x, first):
        return _codes(model, x, refining, first, steps, None if mean else drawing)

    z = _in_batches(code, _checked(model, x), batch_size, label)
    return decode(model, z, noise, batch_size=batch_size, label=label, **options)


def posterior_means(
    model: keras.Model,
    x: Nest,
    seed: Seed = 0,
    *,
    steps: int | None = None,
    batch_size: int = _BATCH,
    label: str | None = None,
) -> np.ndarray:
    """Returns the means of the refined posteriors of x [N, ...], float32 [N, Z].

    The arguments are those of `reconstruct`.

    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> posterior_means(model, np.ones([5, 3], "float32"), steps=1).shape
    (5, 2)
    """
    seed = seeds.split(seed, 3)[0]

    def code(x, first):
        return _codes(model, x, seed, first, steps)

    return _in_batches(code, _checked(model, x), batch_size, label)


def decode(
    model: keras.Model,
    z: TensorLike,
    seed: Seed = 0,
    *,
    common_noise: bool = False,
    batch_size: int = _BATCH,
    label: str | None = None,
    **options: Any,
) -> Drawn:
    """Returns one x for each row of z [N, Z]; row i depends only on (z[i], seed, i).

    Args:
      model, seed, batch_size, label, options: as for `sample`.
      z: float [N, Z].
      common_noise: whether all rows use the noise of row 0. Then rows of x differ only because rows
        of z differ.

    Returns:
      `Drawn`.

    Raises:
      ValueError: as `sample`.

    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> bound = model.negative_elbo(np.ones([5, 3], "float32"), steps=0)  # Makes the weights.
    >>> decode(model, np.zeros([4, 2], "float32")).x.shape
    (4, 3)
    """
    check_built(model)
    z = tf.convert_to_tensor(z)
    check_options(model.decoder, options)
    common, by_row = options_of_rows(options, len(z))
    seed = seeds.as_seed(seed)

    def one(rows, first):
        z, by_row = rows
        own = tf.repeat(row_seeds(seed, 1), len(z), axis=0) if common_noise else seed
        return decode_rows(model, z, own, first, **common, **by_row)

    return Drawn(_in_batches(one, (z, by_row), batch_size, label), z.numpy())


def _checked(model, x):
    if not has_latent(model):
        raise ValueError(
            f"model: expected one with latent variables, got {type(model).__name__}, which can "
            "generate but not reconstruct."
        )
    return model.checked_data(x)


def _codes(model, x, refining, first, steps, drawing=None):
    """Returns samples of the refined posteriors with seed `drawing`, or their means for None."""
    parameters = posterior_of_rows(model, x, refining, first, steps)
    if drawing is None:
        return posterior_mean(model.family.distribution(parameters))
    return posterior_codes(model, parameters, drawing, first)


def _in_batches(function, x, batch_size, label):
    """Concatenates function(batch, index of its first row) over batches of a nest's rows."""
    if label is not None and not isinstance(label, str):
        raise ValueError(
            f"label: expected text to write beside a progress bar, or None, got {label!r}. For an "
            "option of the decoder that is called label use model.generate or model.reconstruct."
        )
    size, rows = validation.positive_int("batch_size", batch_size), len(tf.nest.flatten(x)[0])
    bar = None
    if label is not None:
        print(label, flush=True)
        bar = keras.utils.Progbar(-(-rows // size), unit_name="batch")
    parts = []
    with stages.stage(label or "Generating", announced=False):
        for first in range(0, rows, size):
            short = max(0, first + size - rows)
            batch = tf.nest.map_structure(
                lambda part, at=first: _filled(part[at : at + size], size), x
            )
            parts.append(np.asarray(function(batch, first))[: size - short])
            stages.detail(f"{min(first + size, rows)} of {rows} rows")
            if bar is not None:
                bar.update(len(parts))
    return np.concatenate(parts)


def _filled(batch, size):
    """Pads a batch to `size` rows by repeating its last row."""
    short = size - len(batch)
    return tf.concat([batch, tf.repeat(batch[-1:], short, axis=0)], axis=0) if short else batch
