"""Posteriors whose samples are drawn otherwise: by row, by replica, each row as if alone."""

import tensorflow as tf

from tf_savae.ground import shares
from tf_savae.probability import Family

__all__ = ["DrawnOtherwise", "family_of_share"]


class DrawnOtherwise(Family):
    """A family's posteriors, but for their samples, which come from `draw`.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> class Means(DrawnOtherwise):
    ...     def draw(self, parameters, seed):
    ...         return parameters[0]
    >>> zeros = DiagonalGaussian().zeros(1, 2)
    >>> Means(DiagonalGaussian()).distribution(zeros).sample(seed=0).numpy().tolist()
    [[0.0, 0.0]]
    """

    def __init__(self, family):
        self._family = family

    def distribution(self, parameters):
        posterior = self._family.distribution(parameters)
        # On the object and not in a wrapper around it: closed-form KLs go by its class.
        posterior.sample = lambda seed: self.draw(parameters, seed)
        return posterior

    def draw(self, parameters, seed):
        """z [B, Z] from the posteriors with these parameters; differentiable in them."""
        raise NotImplementedError


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


class _OfShare(DrawnOtherwise):
    """Samples are rows of the global batch's."""

    def __init__(self, family, share):
        super().__init__(family)
        self._share = share

    def draw(self, parameters, seed):
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
