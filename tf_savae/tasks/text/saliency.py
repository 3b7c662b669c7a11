"""Word saliency of a text, of the encoder's inputs and of z."""

from typing import Any, NamedTuple

import keras
import numpy as np

from tf_savae import data
from tf_savae.analysis import (
    average_by,
    decoder_saliency,
    encoder_saliency,
    frequency_groups,
    position_groups,
)
from tf_savae.evaluation.dataset_pass import one_pass
from tf_savae.plots.saliency import save_corpus, save_sentence
from tf_savae.tasks.text.tags import read_tags, tag_groups
from tf_savae.training.finished_run import Run
from tf_savae.training.task import Split

__all__ = ["Saliency", "analyze_text", "checked_tags", "word_saliency"]


class Saliency(NamedTuple):
    """The saliency of each token, with documents in the order of the text."""

    tokens: Any  # int [N, T], rows <s> w_1 ... w_n </s> <pad> ...
    encoder: Any  # [N, T]: of input token t for the posterior mean; None without an encoder
    decoder: Any  # [N, T]: of z for token t, in nats per unit of z; NaN for <s>, not predicted


def word_saliency(
    model: keras.Model,
    corpus: data.TextCorpus,
    batch_size: int,
    steps: int | None = None,
    seed: int = 0,
) -> Saliency:
    """Returns the `Saliency` of a text.

    Args:
      model: a `SemiAmortizedVAE` of text.
      corpus: `TextCorpus`.
      batch_size: B.
      steps: K, number of refinement steps; z is the mean of the refined posterior.
      seed: int.
    """
    # One bucket preserves the order of the text.
    dataset = data.batches(corpus, min(batch_size, len(corpus)), buckets=1)
    of_z = decoder_saliency(model, steps)
    run = {"tokens": lambda x, seed: x, "decoder": lambda x, seed: _without_first(of_z(x, seed))}
    if model.encoder is not None:
        run["encoder"] = encoder_saliency(model)

    def rows(x, seed):
        return {name: function(x, seed) for name, function in run.items()}

    found = one_pass(rows, dataset, seed, model=model, label="saliency of each word")
    return Saliency(found["tokens"].astype(int), found.get("encoder"), found["decoder"])


def _without_first(values):
    """Pads [B, T - 1] to [B, T] with NaN for <s>, which is not predicted."""
    return np.pad(np.asarray(values), [(0, 0), (1, 0)], constant_values=np.nan)


def checked_tags(run: Run, split: Split, config: Any) -> list[list[str]] | None:
    """Returns the tags of the documents of a `Split`, or None if no tags are given.

    Raises:
      FileNotFoundError, ValueError: as for `read_tags`.
    """
    if not config.tags:
        return None
    settings = run.configuration
    return read_tags(
        config.tags,
        config.file,
        max_words=settings["max_words"],
        long_lines=settings["long_lines"],
        limit=split.examples,
    )


def analyze_text(
    run: Run, split: Split, config: Any, steps: int, tags: list[list[str]] | None, folder: Any
) -> dict[str, Any]:
    """Writes figures of one sentence and of the corpus; returns JSON-compatible averages."""
    size = config.batch_size or run.configuration["batch_size"]
    found = word_saliency(run.model, split.data, size, steps, config.seed)
    groupings = {
        "position": position_groups(found.tokens),
        "frequency": frequency_groups(found.tokens, len(run.vocabulary)),
    }
    if tags is not None:
        groupings["tag"] = tag_groups(found.tokens, tags)
    values = {"encoder": found.encoder, "decoder": found.decoder}
    averages = {
        part: {by: _average(v, *grouping) for by, grouping in groupings.items()}
        for part, v in values.items()
        if v is not None
    }
    words = _words(run.vocabulary, found.tokens[config.example - 1])
    save_sentence(found, config.example, words, folder)
    save_corpus(found, averages, folder)
    return {part: {by: _as_json(a) for by, a in table.items()} for part, table in averages.items()}


def _average(values, groups, names):
    """Calls `average_by` without the tokens that have no value."""
    known = np.isfinite(values)
    return average_by(np.where(known, values, 0.0), np.where(known, groups, -1), names)


def _words(vocabulary, row):
    return [vocabulary.tokens[token] for token in row if token != data.PAD]


def _as_json(averages):
    rows = zip(averages.names, averages.mean, averages.standard_error, averages.count, strict=True)
    return {
        name: {
            "mean": float(mean),
            "standard_error": float(error) if np.isfinite(error) else None,
            "tokens": int(count),
        }
        for name, mean, error, count in rows
    }
