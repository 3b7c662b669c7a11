"""Input pipelines of text: `tf.data.Dataset`s of static shapes for `fit` and `evaluate`.

Every batch is (tokens, None, weights): int32 [B, T], no target, float32 [B]. T is one of a few
bucket lengths. The dataset's specification is [B, None]; XLA compiles the step once for each T
that occurs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tf_savae.core.tokens import PAD
from tf_savae.data.prefetch import weighted_batches
from tf_savae.data.text.buckets import PlannedBatch, bucket_lengths, count_batches, plan_batches
from tf_savae.data.text.corpus import TextCorpus

__all__ = ["batches", "pad_rows", "steps_per_epoch", "training_stream"]


def batches(
    corpus: TextCorpus,
    batch_size: int,
    *,
    boundaries: Sequence[int] | None = None,
    buckets: int = 4,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    skip: int = 0,
) -> tf.data.Dataset:
    """Returns a dataset of one pass over the corpus.

    The last batch of each bucket is padded to B with all-`<pad>` rows of weight 0, so that its
    shape is that of the others. A loss that is a mean over the rows with weight, such as the loss
    of `fit`, therefore weights the n documents of such a batch by B / n relative to others.

    Args:
        corpus: the text.
        batch_size: B.
        boundaries: ascending bucket lengths; pass those of the training text for validation and
            test text to reuse the compiled shapes. If None,
            `bucket_lengths(corpus.lengths, buckets)`.
        buckets: number of bucket lengths if `boundaries` is None.
        shuffle: shuffle the pass; otherwise it is ordered by length. The order depends only on
            `seed`, `epoch` and the corpus.
        seed, epoch: determine the shuffle.
        skip: number of batches to skip at the start of the pass, to resume inside an epoch.

    Returns:
        A dataset of (tokens [B, T] int32, None, weights [B] float32) with known cardinality.

    Raises:
        ValueError: an argument is out of range, or a sequence is longer than the last boundary.

    >>> from tf_savae.data import TextCorpus, Vocabulary, batches
    >>> corpus = TextCorpus.encode(["a b", "b"], Vocabulary(["a", "b"]))
    >>> for tokens, _, weights in batches(corpus, batch_size=3):
    ...     print(tokens.numpy().tolist(), weights.numpy().tolist())
    [[2, 4, 5, 3], [2, 5, 3, 0], [0, 0, 0, 0]] [1.0, 1.0, 0.0]
    """
    plan = plan_batches(
        corpus.lengths,
        batch_size,
        _boundaries(corpus, boundaries, buckets),
        shuffle=shuffle,
        seed=seed,
        epoch=epoch,
    )
    if not 0 <= skip <= len(plan):
        raise ValueError(
            f"skip: expected 0 to {len(plan)}, the number of batches of a pass, got {skip}."
        )
    return _dataset(corpus, batch_size, lambda: plan[skip:], len(plan) - skip)


def training_stream(
    corpus: TextCorpus,
    batch_size: int,
    *,
    boundaries: Sequence[int] | None = None,
    buckets: int = 4,
    seed: int = 0,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Returns an infinite dataset of shuffled passes; pass e is `batches(..., epoch=e)`.

    Pass it to `fit` with `steps_per_epoch=steps_per_epoch(...)`. Each iteration starts at
    `start_step`; to resume training, pass the number of steps already taken.

    Args:
        corpus, batch_size, boundaries, buckets, seed: as for `batches`.
        start_step: number of batches to skip from the start of pass 0.

    Returns:
        A dataset as of `batches`, with infinite cardinality.

    Raises:
        ValueError: as for `batches`; raised by the call and not at the first batch.

    >>> from tf_savae.data import TextCorpus, Vocabulary
    >>> corpus = TextCorpus.encode(["a b", "b"], Vocabulary(["a", "b"]))
    >>> [tokens.shape.as_list() for tokens, _, _ in training_stream(corpus, 2, buckets=1).take(3)]
    [[2, 4], [2, 4], [2, 4]]
    """
    if start_step < 0:
        raise ValueError(f"start_step: expected an integer >= 0, got {start_step}.")
    lengths, chosen = corpus.lengths, _boundaries(corpus, boundaries, buckets)
    each = count_batches(lengths, batch_size, chosen)

    def pass_in_order(epoch: int) -> list[PlannedBatch]:
        return plan_batches(lengths, batch_size, chosen, shuffle=True, seed=seed, epoch=epoch)

    def endless() -> Iterator[PlannedBatch]:
        epoch, done = divmod(start_step, each)
        while True:
            yield from pass_in_order(epoch)[done:]
            epoch, done = epoch + 1, 0

    pass_in_order(0)  # Validates the arguments now.
    return _dataset(corpus, batch_size, endless, tf.data.INFINITE_CARDINALITY)


def steps_per_epoch(
    corpus: TextCorpus,
    batch_size: int,
    *,
    boundaries: Sequence[int] | None = None,
    buckets: int = 4,
) -> int:
    """Returns the number of batches of one pass, which is the same for every seed and epoch.

    Raises:
        ValueError: as for `batches`.

    >>> from tf_savae.data import TextCorpus, Vocabulary
    >>> corpus = TextCorpus.encode(["a b", "b", "a"], Vocabulary(["a", "b"]))
    >>> steps_per_epoch(corpus, 2, buckets=1)
    2
    """
    return count_batches(corpus.lengths, batch_size, _boundaries(corpus, boundaries, buckets))


def pad_rows(rows: Sequence[np.ndarray], batch_size: int, length: int) -> np.ndarray:
    """Returns int32 [B, T]: `rows` padded to `length`, followed by all-`<pad>` rows.

    >>> pad_rows([np.array([2, 4, 3])], 2, 4).tolist()
    [[2, 4, 3, 0], [0, 0, 0, 0]]
    """
    tokens: np.ndarray = np.full((batch_size, length), PAD, np.int32)
    for target, row in zip(tokens, rows, strict=False):
        target[: len(row)] = row
    return tokens


def _boundaries(
    corpus: TextCorpus, boundaries: Sequence[int] | None, buckets: int
) -> tuple[int, ...]:
    return bucket_lengths(corpus.lengths, buckets) if boundaries is None else tuple(boundaries)


def _dataset(
    corpus: TextCorpus,
    batch_size: int,
    plan: Callable[[], Iterable[PlannedBatch]],
    cardinality: int,
) -> tf.data.Dataset:
    def fetch() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for length, rows in plan():
            tokens = pad_rows([corpus.sequences[i] for i in rows], batch_size, length)
            yield tokens, (np.arange(batch_size) < len(rows)).astype(np.float32)

    return weighted_batches(fetch, tf.TensorSpec([batch_size, None], tf.int32), cardinality)
