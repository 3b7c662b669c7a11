"""Samples of the posterior that do not depend on which replica draws them."""

import tensorflow as tf

from tf_savae.ground import shares
from tf_savae.probability import Family

__all__ = ["family_of_share"]


def family_of_share(family):
    """`family`, drawing for the rows that this replica holds what one process would draw for them.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> zeros = DiagonalGaussian().zeros(8, 3)
    >>> whole = DiagonalGaussian().distribution(zeros).sample(seed=[0, 1])
    >>> with shares.holding(shares.Share(tf.constant(6), tf.zeros([8]))):
    ...     mine = family_of_share(DiagonalGaussian())
    >>> last = mine.distribution([p[6:] for p in zeros]).sample(seed=[0, 1])
    >>> bool(tf.reduce_all(last == whole[6:]))
    True
    """
    share = shares.held()
    return family if share is None else _OfShare(family, share)


class _OfShare(Family):
    """A family whose samples are rows of the global batch's; everything else is its own."""

    def __init__(self, family, share):
        self._family, self._share = family, share

    def distribution(self, parameters):
        posterior = self._family.distribution(parameters)
        # On the object and not in a wrapper around it: closed-form KLs go by its class.
        posterior.sample = lambda seed: self._draw(parameters, seed)
        return posterior

    def _draw(self, parameters, seed):
        """z [B, Z]: a sample of the global batch, in which other replicas' rows are stand-ins."""
        count = tf.shape(tf.nest.flatten(parameters)[0])[0]
        places = tf.range(self._share.size()) - self._share.first
        places = tf.clip_by_value(places, 0, count - 1)
        whole = tf.nest.map_structure(lambda p: _rows(p, places), parameters)
        sample = self._family.distribution(whole).sample(seed=seed)
        return _rows(sample, self._share.rows(count))


def _rows(tensor, numbers):
    """`tensor[numbers]`, whose derivative is dense: forward mode knows no IndexedSlices."""
    return tf.squeeze(tf.gather_nd(tensor, numbers[:, None, None]), axis=1)
