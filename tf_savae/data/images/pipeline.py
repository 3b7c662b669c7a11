"""Input pipelines of images: `tf.data.Dataset`s for `fit` and `evaluate`.

Every batch is (x, None, weights): binary images float32 [B, H, W, 1], no target, and weights
float32 [B].
"""

import numpy as np
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.data.images.image_set import ImageSet
from tf_savae.data.prefetch import weighted_batches

__all__ = ["image_batches", "image_steps_per_epoch", "image_stream"]

_ORDER, _INK = 0, 1  # Streams of random numbers: the shuffle and the binarisation.


def image_batches(images: ImageSet, batch_size: int) -> tf.data.Dataset:
    """Returns one pass in fixed order, for evaluation; the last batch is padded with weight 0.

    Args:
      images: a binary `ImageSet`; binarise grey images first with `images.binarized(seed)`.
      batch_size: B.

    Raises:
      ValueError: the images are grey, or B is not an integer of at least 1.

    >>> from tf_savae.data import ImageSet
    >>> images = ImageSet.of(np.ones([3, 2, 2]), "example")
    >>> [weights.numpy().tolist() for _, _, weights in image_batches(images, 2)]
    [[1.0, 1.0], [1.0, 0.0]]
    """
    validation.positive_int("batch_size", batch_size)
    if not images.binary:
        raise ValueError(
            f"{images.source}: expected binary images for evaluation, got greyscale ones. Binarize "
            "them once, with images.binarized(seed)."
        )
    count = -(-len(images) // batch_size)

    def fetch():
        for index in range(count):
            rows = np.arange(index * batch_size, min((index + 1) * batch_size, len(images)))
            x: np.ndarray = np.zeros([batch_size, *images.shape, 1], np.float32)
            x[: len(rows)] = images.drawn(rows, None)
            yield x, (np.arange(batch_size) < len(rows)).astype(np.float32)

    return _dataset(fetch, images, batch_size, count)


def image_stream(
    images: ImageSet, batch_size: int, *, seed: int = 0, start_step: int = 0
) -> tf.data.Dataset:
    """Returns an infinite dataset of shuffled passes; each pass binarises grey images again.

    The images of a step depend only on (seed, step), so a stream that starts at `start_step`
    continues one that started at 0. All batches have B images, for the statistics of batch
    normalisation; each pass omits the remaining images that do not fill a batch.

    Args:
      images: an `ImageSet` of at least B images.
      batch_size: B.
      seed: int >= 0.
      start_step: number of batches to skip.

    Raises:
      ValueError: an argument is out of range, or there are fewer than B images.

    >>> from tf_savae.data import ImageSet
    >>> images = ImageSet.of(np.ones([5, 2, 2]), "example")
    >>> [x.shape.as_list() for x, _, _ in image_stream(images, 2).take(3)]
    [[2, 2, 2, 1], [2, 2, 2, 1], [2, 2, 2, 1]]
    """
    validation.non_negative_int("seed", seed)
    validation.non_negative_int("start_step", start_step)
    each = image_steps_per_epoch(images, batch_size)
    weights: np.ndarray = np.ones([batch_size], np.float32)

    def fetch():
        epoch, done = divmod(start_step, each)
        while True:
            order = np.random.default_rng([seed, epoch, _ORDER]).permutation(len(images))
            for step in range(done, each):
                rows = order[step * batch_size : (step + 1) * batch_size]
                yield images.drawn(rows, np.random.default_rng([seed, epoch, _INK, step])), weights
            epoch, done = epoch + 1, 0

    return _dataset(fetch, images, batch_size, tf.data.INFINITE_CARDINALITY)


def image_steps_per_epoch(images: ImageSet, batch_size: int) -> int:
    """Returns the number of full batches in one pass.

    Raises:
      ValueError: there are fewer images than `batch_size`.

    >>> from tf_savae.data import ImageSet
    >>> image_steps_per_epoch(ImageSet.of(np.ones([5, 2, 2]), "example"), 2)
    2
    """
    validation.positive_int("batch_size", batch_size)
    if len(images) < batch_size:
        raise ValueError(
            f"{images.source}: expected at least batch_size={batch_size} images to train on, got "
            f"{len(images):,}. Provide more images, or use a smaller batch_size."
        )
    return len(images) // batch_size


def _dataset(fetch, images, batch_size, cardinality):
    rows = tf.TensorSpec([batch_size, *images.shape, 1], tf.float32)
    return weighted_batches(fetch, rows, cardinality)
