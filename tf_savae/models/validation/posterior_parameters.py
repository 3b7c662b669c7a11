"""Validate an encoder's outputs against the variational family."""

import tensorflow as tf

from tf_savae.core.typing import Nest
from tf_savae.probability import Family
from tf_savae.probability.families import is_shape

__all__ = ["check_parameters", "is_one_tensor"]


def is_one_tensor(family: Family, latent_size: int) -> bool:
    """Returns whether the family's parameters are a single tensor and not a nest.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> is_one_tensor(DiagonalGaussian(), 2)
    False
    """
    try:
        return is_shape(family.parameter_shapes(latent_size))
    except NotImplementedError:  # A plain function, whose parameter shapes are unknown.
        return True


def check_parameters(
    family: Family, parameters: Nest, latent_size: int | None = None, batch: int | None = None
) -> None:
    """Raises ValueError unless `parameters` have the family's shapes.

    Args:
      family: a `Family`.
      parameters: the encoder's nest of tensors [B, ...].
      latent_size: Z, if known; otherwise the event size of the family's distribution is used.
      batch: B, if known.

    Raises:
      ValueError: the number of tensors or a shape differs.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> check_parameters(DiagonalGaussian(), [tf.zeros([4, 2]), tf.zeros([4, 2])])
    """
    leaves = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(parameters)]
    shapes = [leaf.shape.as_list() for leaf in leaves]
    expected = _expected(family, parameters, latent_size, shapes)
    if expected is None:
        return
    wanted = [tf.TensorShape([batch, *shape]) for shape in expected]
    fits = len(wanted) == len(leaves) and all(
        leaf.shape.is_compatible_with(shape) for leaf, shape in zip(leaves, wanted, strict=True)
    )
    if not fits:
        raise ValueError(
            f"encoder: expected parameters of {type(family).__name__} with shapes "
            f"{[shape.as_list() for shape in wanted]}, got {shapes}."
        )


def _expected(family, parameters, latent_size, shapes):
    """Returns the flat list of shapes for one example; None if the family does not define them."""
    try:
        size = latent_size or family.distribution(parameters).event_shape[0]
        return _flat(family.parameter_shapes(size)) if size else None
    except NotImplementedError:
        return None
    except ValueError as error:
        raise ValueError(
            f"encoder: its outputs, of shapes {shapes}, are not parameters of "
            f"{type(family).__name__}: {error} An encoder with one output tensor needs "
            "latent_size=Z."
        ) from error


def _flat(shapes):
    if is_shape(shapes):
        return [shapes]
    parts = [shapes[key] for key in sorted(shapes)] if isinstance(shapes, dict) else shapes
    return [shape for part in parts for shape in _flat(part)]
