"""Read, encode and batch the texts of a run."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
from absl import logging

from tf_savae import data

__all__ = ["Texts", "digest", "load_texts", "sources"]

_BUILTIN = "builtin:sentences"


@dataclasses.dataclass(frozen=True)
class Texts:
    """The three texts as ids, and what training and evaluation must agree on."""

    vocabulary: Any
    train: Any
    valid: Any
    test: Any
    boundaries: tuple  # lengths of batches, T
    batch_size: int

    def steps_per_epoch(self):
        """Batches of one pass over the training text."""
        return data.steps_per_epoch(self.train, self.batch_size, boundaries=self.boundaries)

    def once(self, corpus):
        """One pass in fixed order, for evaluation."""
        return data.batches(corpus, self.batch_size, boundaries=self.boundaries)

    def stream(self, seed, start_step):
        """Endless shuffled passes over the training text, without the first steps."""
        return data.training_stream(
            self.train,
            self.batch_size,
            boundaries=self.boundaries,
            seed=seed,
            start_step=start_step,
        )

    def identity(self):
        """What tells these texts from others: SHA-256 of the vocabulary and of all ids."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        digests = {name: digest(corpus.sequences) for name, corpus in parts.items()}
        return {"vocabulary": self.vocabulary.fingerprint(), **digests}

    def facts(self):
        """What the report says of these texts."""
        return {
            "vocabulary": len(self.vocabulary),
            "documents": {n: len(getattr(self, n)) for n in ("train", "valid", "test")},
            "test_tokens": self.test.predicted_tokens(),
        }

    def measures(self, name, nll):
        """What the report derives from the NLL of each test document, in nats: perplexities.

        They are `TextCorpus.perplexity`: per predicted token, `</s>` included; those that end in
        "_without_end" leave `</s>` out of the count of tokens (its cost stays in the NLL), as some
        published figures do.
        """
        total, name = float(np.sum(nll)), f"{name}_ppl".lstrip("_")
        return {
            name: self.test.perplexity(total),
            f"{name}_without_end": self.test.perplexity(total, end_marks=False),
        }


def digest(sequences):
    return hashlib.sha256(np.concatenate(sequences).tobytes()).hexdigest()


def load_texts(config):
    """Reads the three files of a `TextConfig` into `Texts`; what became of them is logged."""
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
    if longest > boundaries[-1]:  # In validation or test text only: training is left alone.
        boundaries = (*boundaries, longest)
    return Texts(vocabulary, **corpora, boundaries=boundaries, batch_size=config.batch_size)


def sources(config):
    """{"train", "valid", "test"}: where the texts of a `TextConfig` are; "" where nothing is said.

    Training on the sentences that ship with the package, validation and test are by default theirs.

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
    logging.info("%s; the first %d of them are used", report.summary(), limit)
    return kept[:limit], None  # The report counts all lines.
