"""Configurations of text training: what they mean, their ranges, and the named ones."""

import dataclasses

from tf_savae.ground import checks
from tf_savae.svi import ADJOINTS

__all__ = ["SYSTEMS", "TEXT_CONFIGS", "TextConfig", "small", "tiny", "yahoo"]

SYSTEMS = ("autoregressive", "vae", "svi", "vae_svi", "vae_svi_kl", "savae")
HVPS = ("auto", "forward_over_reverse", "reverse_over_reverse", "finite_difference")


def _setting(default, text, **kwargs):
    return dataclasses.field(default=default, metadata={"help": text, **kwargs})


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Everything that decides the numbers of a run on text; defaults are the paper's.

    Files are UTF-8 text, one document a line, plain, .gz or .xz, or `tfds:NAME:SPLIT@FIELD`.

    Raises:
      ValueError: a field is out of its range; the message names it.

    >>> TextConfig("a.txt", "b.txt", "c.txt", system="vae").units
    1024
    """

    train_file: str = _setting("", "training text: plain, .gz, .xz or tfds:NAME", place=True)
    valid_file: str = _setting("", "validation text, which decides when to stop", place=True)
    test_file: str = _setting("", "test text, for the final report", place=True)
    system: str = _setting("savae", "which system to train", choices=SYSTEMS)
    # Text.
    vocabulary_size: int = _setting(20_001, "V, with <pad> <unk> <s> </s>; most frequent words")
    max_words: int = _setting(200, "longer lines are cut there, or skipped")
    long_lines: str = _setting(
        "truncate", "what becomes of longer lines", choices=("truncate", "skip")
    )
    max_train_lines: int = _setting(0, "use only the first lines of the training text; 0: all")
    max_eval_lines: int = _setting(0, "the same for validation and test text; 0: all")
    buckets: int = _setting(4, "how many batch lengths; each is compiled once")
    batch_size: int = _setting(32, "B")
    # Networks.
    embedding_size: int = _setting(512, "E of encoder and decoder")
    units: int = _setting(1024, "H of the LSTMs")
    latent_size: int = _setting(32, "Z")
    dropout: float = _setting(0.5, "on the decoder's inputs and outputs")
    word_dropout: float = _setting(0.0, "share of the decoder's input words that become <unk>")
    # Refinement.
    svi_steps: int = _setting(20, "K")
    svi_step_size: float = _setting(1 / 32, "length of a step, per example")
    svi_momentum: float = _setting(0.5, "momentum of the steps")
    svi_clip_norm: float = _setting(5.0, "bound on an example's SVI gradient; 0: none")
    adjoint: str = _setting("exact", "how gradients cross the steps", choices=ADJOINTS)
    adjoint_clip_norm: float = _setting(0.0, "bound on an example's adjoint; 0: none")
    truncate: int = _setting(0, "steps that gradients cross, for --adjoint=truncated")
    hvp: str = _setting("auto", "Hessian-vector products", choices=HVPS)
    learn_step_size: bool = _setting(False, "make the step sizes weights")
    # Training.
    epochs: int = _setting(30, "at most")
    optimizer: str = _setting("sgd", "optimizer", choices=("sgd", "adam"))
    learning_rate: float = _setting(1.0, "at the start")
    clip_norm: float = _setting(5.0, "bound on the norm of the whole gradient; 0: none")
    decay_from_epoch: int = _setting(
        15, "after this epoch, once validation stops improving, halve the learning rate each epoch"
    )
    min_learning_rate: float = _setting(0.03, "stop when the learning rate is below")
    kl_start: float = _setting(0.1, "KL weight at the start")
    kl_anneal_epochs: float = _setting(10.0, "epochs until the KL weight is 1; 0: 1 from the start")
    free_bits: float = _setting(0.0, "nats of KL per document that cost nothing more")
    seed: int = _setting(0, "of weights, order of the data and noise")
    jit_compile: str = _setting("auto", "XLA", choices=("auto", "true", "false"))
    # Report and checkpoints.
    iw_samples: int = _setting(500, "S of the importance-weighted NLL")
    checkpoint_every: int = _setting(500, "training steps between checkpoints", place=True)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if "choices" in field.metadata:
                checks.choice(field.name, getattr(self, field.name), field.metadata["choices"])
        for name in ("vocabulary_size", "max_words", "buckets", "batch_size", "embedding_size"):
            checks.positive_int(name, getattr(self, name))
        for name in ("units", "latent_size", "epochs", "iw_samples", "checkpoint_every"):
            checks.positive_int(name, getattr(self, name))
        for name in ("svi_steps", "max_train_lines", "max_eval_lines", "truncate", "seed"):
            checks.non_negative_int(name, getattr(self, name))
        checks.non_negative_int("decay_from_epoch", self.decay_from_epoch)
        for name in ("svi_step_size", "learning_rate"):
            checks.positive(name, getattr(self, name))
        for name in ("svi_clip_norm", "adjoint_clip_norm", "clip_norm", "min_learning_rate"):
            checks.positive(name, getattr(self, name), zero=True)
        for name in ("kl_start", "kl_anneal_epochs", "free_bits"):
            checks.positive(name, getattr(self, name), zero=True)
        for name in ("dropout", "word_dropout", "svi_momentum"):
            checks.unit_interval(name, getattr(self, name), closed=False)
        if self.learning_rate < self.min_learning_rate:
            raise ValueError(
                "learning_rate: expected at least min_learning_rate="
                f"{self.min_learning_rate}, below which training stops; got "
                f"{self.learning_rate}."
            )
        if (self.adjoint == "truncated") != (self.truncate > 0):
            raise ValueError(
                f"truncate: expected a number > 0 exactly with adjoint='truncated', got "
                f"truncate={self.truncate} with adjoint={self.adjoint!r}."
            )

    def identity(self):
        """The fields that decide the numbers, as a dict; where files lie is not among them."""
        fields = dataclasses.fields(self)
        return {f.name: getattr(self, f.name) for f in fields if not f.metadata.get("place")}


def yahoo():
    """Kim et al. (2018), section 4.2: Yahoo answers at full size.

    train_text.py --config=yahoo --system=savae --train_file=train.txt --valid_file=val.txt
    --test_file=test.txt --workdir=yahoo_savae

    Run time: not for a CPU: counted cost 163 decoder passes a step, 3,125 steps an epoch, up to
    30 epochs. Expected (reported by the paper, NLL / KL / PPL): autoregressive 329.1 / - / 61.6,
    VAE 330.2 / 0.01 / 62.5, SA-VAE 327.5 / 7.19 / 60.4.
    """
    return TextConfig()


def small():
    """Kim et al. (2018), the text experiment at a size for 2 cores: short texts, few words.

    train_text.py --config=small --system=savae --train_file=train.txt
    --valid_file=valid.txt --test_file=test.txt --workdir=small_savae

    Run time on 2,500 documents of 32 words: about 8 minutes on one core for SA-VAE, one minute
    for the VAE. Expected result: docs/results.md.
    """
    return TextConfig(
        vocabulary_size=2_000,
        max_words=32,
        embedding_size=48,
        units=64,
        latent_size=8,
        dropout=0.2,
        svi_steps=5,
        svi_step_size=0.5,
        optimizer="adam",
        learning_rate=0.004,
        min_learning_rate=0.0001,
        epochs=8,
        decay_from_epoch=8,
        kl_anneal_epochs=5.0,
        iw_samples=50,
        buckets=1,
        checkpoint_every=1000,
    )


def tiny():
    """Kim et al. (2018), the text experiment at the size of a test.

    train_text.py --config=tiny --system=savae --train_file=a.txt --valid_file=b.txt
    --test_file=c.txt --workdir=tiny_savae

    Run time: half a minute, most of it compilation. Expected: it runs; the numbers mean nothing.
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
