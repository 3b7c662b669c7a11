"""Reads, encodes and batches the texts of a run."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae import data
from tf_savae.tasks.text.config import TextConfig

__all__ = ["Texts", "digest", "load_texts", "perplexities", "sources"]

_BUILTIN = "builtin:sentences"


@dataclasses.dataclass(frozen=True)
class Texts:
    """The three texts as ids, with the vocabulary and the batch shapes that they share."""

    vocabulary: Any
    train: Any
    valid: Any
    test: Any
    boundaries: tuple  # lengths of batches, T
    batch_size: int

    def steps_per_epoch(self) -> int:
        """Returns the number of batches in one pass over the training text."""
        return data.steps_per_epoch(self.train, self.batch_size, boundaries=self.boundaries)

    def once(self, corpus: data.TextCorpus) -> tf.data.Dataset:
        """Returns a dataset of one pass in fixed order, for evaluation."""
        return data.batches(corpus, self.batch_size, boundaries=self.boundaries)

    def stream(self, seed: int, start_step: int) -> tf.data.Dataset:
        """Returns an infinite dataset of shuffled training text that skips the first steps."""
        return data.training_stream(
            self.train,
            self.batch_size,
            boundaries=self.boundaries,
            seed=seed,
            start_step=start_step,
        )

    def identity(self) -> dict[str, str]:
        """Returns the SHA-256 of the vocabulary and of all ids, which identify the texts."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        digests = {name: digest(corpus.sequences) for name, corpus in parts.items()}
        return {"vocabulary": self.vocabulary.fingerprint(), **digests}

    def facts(self) -> dict[str, Any]:
        """Returns facts about the texts for the report."""
        return {
            "vocabulary": len(self.vocabulary),
            "documents": {n: len(getattr(self, n)) for n in ("train", "valid", "test")},
            "test_tokens": self.test.predicted_tokens(),
        }

    def measures(self, name: str, nll: np.ndarray) -> dict[str, float]:
        """Returns the `perplexities` of the test text, for the report."""
        return perplexities(self.test, name, nll)


def perplexities(corpus: data.TextCorpus, name: str, nll: np.ndarray) -> dict[str, float]:
    """Returns perplexities {f"{name}_ppl", f"{name}_ppl_without_end"} of a text.

    They are `TextCorpus.perplexity` per predicted token, including `</s>`. Those with the suffix
    "_without_end" do not count `</s>` as a token, although its cost is part of the NLL, as in some
    published results.

    Args:
      corpus: `TextCorpus`.
      name: prefix of the names, such as "iw"; may be empty.
      nll: [N], the NLL of each document in nats.
    """
    total, name = float(np.sum(nll)), f"{name}_ppl".lstrip("_")
    return {
        name: corpus.perplexity(total),
        f"{name}_without_end": corpus.perplexity(total, end_marks=False),
    }


def digest(sequences: Sequence[np.ndarray]) -> str:
    return hashlib.sha256(np.concatenate(sequences).tobytes()).hexdigest()


def load_texts(config: TextConfig) -> Texts:
    """Reads the three files of a `TextConfig` into `Texts` and logs summaries."""
    limits = {"train": config.max_train_lines}
    lines = {
        part: _lines(source, config, limits.get(part, config.max_eval_lines))
        for part, source in sources(config).items()
    }
    vocabulary = data.Vocabulary.build(lines["train"][0], max_size=config.vocabulary_size)
    corpora = {
        name: data.TextCorpus.encode(kept, vocabulary, report)
        for name, (kept, report) in lines.items()
    }
    for name, corpus in corpora.items():
        logging.info("%s: %s", name, corpus.summary())
    boundaries = data.bucket_lengths(corpora["train"].lengths, config.buckets)
    longest = max(int(corpus.lengths.max()) for corpus in corpora.values())
    if longest > boundaries[-1]:  # Only validation or test batches have this length.
        boundaries = (*boundaries, longest)
    return Texts(vocabulary, **corpora, boundaries=boundaries, batch_size=config.batch_size)


def sources(config: TextConfig) -> dict[str, str]:
    """Returns the sources of a `TextConfig`, {"train", "valid", "test"}; "" if not set.

    If the training text is builtin:sentences, the other two default to the parts of that dataset.

    >>> from tf_savae.tasks import TextConfig
    >>> sources(TextConfig(train_file="builtin:sentences", test_file="a.txt"))
    {'train': 'builtin:sentences', 'valid': 'builtin:sentences:valid', 'test': 'a.txt'}
    """
    found = {part: getattr(config, f"{part}_file") for part in ("train", "valid", "test")}
    if found["train"] in (_BUILTIN, f"{_BUILTIN}:train"):
        found = {part: found[part] or f"{_BUILTIN}:{part}" for part in found}
    return found


def _lines(path, config, limit):
    kept, report = data.read_lines(path, max_words=config.max_words, long_lines=config.long_lines)
    if not limit or limit >= len(kept):
        return kept, report
    logging.info("%s; using the first %d of them", report.summary(), limit)
    return kept[:limit], None  # The report would count all lines.
