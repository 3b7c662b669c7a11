"""Configurations of text training, with their named presets."""

import dataclasses

from tf_savae.core import validation
from tf_savae.training.config import RunConfig, setting

__all__ = ["TEXT_CONFIGS", "TextConfig", "small", "tiny", "yahoo"]


@dataclasses.dataclass(frozen=True)
class TextConfig(RunConfig):
    """Configuration of a run on text; defaults are those of the paper.

    Files are UTF-8 text with one document per line, plain, .gz, .xz or .bz2; FILE@COLUMN of a .csv,
    .tsv or .jsonl table; builtin:sentences, which ships with the package; `tfds:NAME:SPLIT@FIELD`,
    or `hf:NAME:SPLIT@COLUMN`.

    Raises:
      ValueError: a field is out of range; the message contains its name.

    >>> TextConfig("a.txt", "b.txt", "c.txt", system="vae").units
    1024
    """

    train_file: str = setting(
        "",
        "training text: plain, .gz, .xz, .bz2, FILE@COLUMN of a .csv, .tsv or .jsonl, "
        "builtin:sentences, tfds:NAME or hf:NAME",
        affects_results=False,
        group="Text",
    )
    valid_file: str = setting(
        "",
        "validation text, for early stopping; default: that of builtin:sentences if it is the "
        "training text",
        affects_results=False,
    )
    test_file: str = setting(
        "", "test text, for the final report; default: as for valid_file", affects_results=False
    )
    vocabulary_size: int = setting(
        20_001, "vocabulary size, the most frequent words with <pad> <unk> <s> </s> (V)"
    )
    max_words: int = setting(
        200, "maximum number of words in a line; longer lines are truncated or skipped"
    )
    long_lines: str = setting(
        "truncate", "what to do with lines longer than max_words", choices=("truncate", "skip")
    )
    max_train_lines: int = setting(0, "number of first lines of the training text to use; 0: all")
    max_eval_lines: int = setting(
        0, "number of first lines of validation and test text to use; 0: all"
    )
    buckets: int = setting(4, "number of bucket lengths of batches; each is compiled once")
    embedding_size: int = setting(
        512, "size of the word embeddings of encoder and decoder (E)", group="Networks"
    )
    units: int = setting(1024, "size of the LSTMs (H)")
    dropout: float = setting(0.5, "dropout rate on the decoder's inputs and outputs")
    word_dropout: float = setting(
        0.0, "word dropout: fraction of the decoder's input words replaced by <unk>"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("vocabulary_size", "max_words", "buckets", "embedding_size", "units"):
            validation.positive_int(name, getattr(self, name))
        for name in ("max_train_lines", "max_eval_lines"):
            validation.non_negative_int(name, getattr(self, name))
        for name in ("dropout", "word_dropout"):
            validation.unit_interval(name, getattr(self, name), closed=False)


def yahoo() -> TextConfig:
    """Kim et al. (2018), section 4.2: Yahoo answers, full-size model.

    train_text.py --config=yahoo --system=savae --train_file=train.txt --valid_file=val.txt
    --test_file=test.txt --workdir=yahoo_savae

    Run time: requires a GPU; the cost is 163 decoder passes per step, 3,125 steps per epoch and up
    to 30 epochs. Expected (reported by the paper, NLL / KL / PPL): autoregressive 329.1 / - / 61.6,
    VAE 330.2 / 0.01 / 62.5, SA-VAE 327.5 / 7.19 / 60.4.
    """
    return TextConfig()


def small() -> TextConfig:
    """Kim et al. (2018): the text experiment for 2 CPU cores, documents truncated to 100 words.

    train_text.py --config=small --system=savae --train_file=train.txt
    --valid_file=valid.txt --test_file=test.txt --workdir=small_savae

    Run time on 2,500 documents truncated to 100 words, on one core: about 10 minutes for SA-VAE and
    two for the VAE. Expected result: docs/results.md.
    """
    return TextConfig(
        vocabulary_size=2_000,
        max_words=100,
        embedding_size=48,
        units=64,
        latent_size=8,
        dropout=0.2,
        svi_steps=5,
        svi_step_size=0.1,
        optimizer="adam",
        learning_rate=0.004,
        min_learning_rate=0.0001,
        epochs=7,
        decay_from_epoch=7,
        kl_anneal_epochs=5.0,
        iw_samples=50,
        buckets=2,
        checkpoint_every=1000,
    )


def tiny() -> TextConfig:
    """Kim et al. (2018): the text experiment at the size of a test.

    train_text.py --config=tiny --system=savae --train_file=a.txt --valid_file=b.txt
    --test_file=c.txt --workdir=tiny_savae

    Run time: half a minute, mostly for compilation. Expected: it runs; the numbers are meaningless.
    """
    return TextConfig(
        vocabulary_size=60,
        max_words=20,
        embedding_size=6,
        units=8,
        latent_size=2,
        dropout=0.2,
        svi_steps=2,
        epochs=2,
        batch_size=8,
        buckets=1,
        decay_from_epoch=1,
        kl_anneal_epochs=1.0,
        iw_samples=5,
        checkpoint_every=3,
        hvp="reverse_over_reverse",
    )


TEXT_CONFIGS = {"yahoo": yahoo, "small": small, "tiny": tiny}
