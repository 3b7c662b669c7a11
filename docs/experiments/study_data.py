"""The data sets of refinement_study.py, with the small networks that go with each."""

import collections
import functools
import lzma
import os
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.data import Vocabulary
from tf_savae.data.oracle import draw_oracle_data
from tf_savae.networks import (
    Decoder,
    DistributionDecoder,
    OracleDecoder,
    OracleEncoder,
    TextDecoder,
    TextEncoder,
)

__all__ = ["DATA", "Study", "token_rows"]


class Study(NamedTuple):
    """A data set, split, and how it is modelled and trained."""

    train: Any
    valid: Any
    test: Any
    encoder: Any  # () -> encoder
    decoder: Any  # () -> decoder
    latent_size: int
    batch_size: int = 50
    learning_rate: float = 2e-3
    anneal_steps: int = 400
    patience: int = 20
    epochs: int = 400
    epoch_steps: int = 0  # 0: as many as the training rows give


def _dense_encoder(features, latent, units, encoder, scaled=lambda inputs: inputs):
    """An encoder of `scaled` inputs; `encoder`: linear, or with a small or full hidden layer."""
    inputs = keras.Input([features])
    width = {"linear": 0, "small": units // 8, "full": units}[encoder]
    hidden = scaled(inputs)
    hidden = keras.layers.Dense(width, activation="relu")(hidden) if width else hidden
    return keras.Model(inputs, [keras.layers.Dense(latent)(hidden) for _ in range(2)])


def _dense_networks(features, latent, units, encoder):
    """(make_encoder, make_decoder): one hidden layer each; `encoder` as in `_dense_encoder`."""

    def make_encoder():
        return _dense_encoder(features, latent, units, encoder)

    def make_decoder():
        layers = [keras.layers.Dense(units, activation="tanh"), keras.layers.Dense(features)]
        return DistributionDecoder(keras.Sequential(layers), "bernoulli")

    return make_encoder, make_decoder


def pairs(seed, encoder="full", train=2000, flipped=0.06, **options):
    """Pairs of 9 prototypes joined by exclusive or: a posterior of explaining away.

    `flipped` is the probability with which each bit is flipped.
    """
    draw = np.random.default_rng(100 + seed)
    prototypes = draw.random((9, 100)) < 0.4
    first, second = prototypes[draw.integers(9, size=(2, train + 1600))]
    rows = (first ^ second ^ (draw.random((train + 1600, 100)) < flipped)).astype("float32")
    nets = _dense_networks(100, 6, 64, encoder)
    return Study(rows[:train], rows[train : train + 600], rows[train + 600 :], *nets, 6, **options)


def many_pairs(seed, encoder="full"):
    """The same with ten times the rows, which cannot be learned by heart."""
    return pairs(seed, encoder, 20_000, anneal_steps=800, patience=5, epochs=60)


def noisy_pairs(seed, encoder="full"):
    """The same with a fifth of the bits flipped: wide posteriors."""
    return pairs(seed, encoder, flipped=0.2)


def prototypes(seed, encoder="full"):
    """The rows of the array tutorial: one of 12 prototypes each, with noise."""
    draw = np.random.default_rng(seed)
    made = draw.random((12, 64)) < 0.5
    labels = draw.integers(12, size=4000)
    rows = (made[labels] ^ (draw.random((4000, 64)) < 0.08)).astype("float32")
    nets = _dense_networks(64, 4, 64, encoder)
    return Study(rows[:2000], rows[2000:3000], rows[3000:], *nets, 4)


def _images(train, valid, test, encoder):
    nets = _dense_networks(784, 16, 200, encoder)
    return Study(
        train, valid, test, *nets, 16, batch_size=100, learning_rate=1e-3, anneal_steps=1000,
        patience=7, epochs=120,
    )


def _folder():
    return Path(os.environ["TF_SAVAE_DATA"])


def mnist(seed, encoder="full"):
    """10,000 training images of statically binarised MNIST, 1,000 to validate and to test."""
    packed = np.load(_folder() / "mnist_static/binarized_mnist_packed.npz")
    parts = {n: np.unpackbits(packed[n], axis=1)[:, :784] for n in ("train", "valid", "test")}
    rows = np.random.default_rng(seed).permutation(50000)[:10000]
    train, valid, test = parts["train"][rows], parts["valid"][::10], parts["test"][::10]
    return _images(*(p.astype("float32") for p in (train, valid, test)), encoder)


def omniglot(seed, encoder="full"):
    """12,000 images of Omniglot at 28 x 28, binarised once with ink as the probability."""
    images = np.load(_folder() / "omniglot/omniglot28_area.npz")["images"].reshape(-1, 784) / 255.0
    draw = np.random.default_rng(0)
    images = images[draw.permutation(len(images))[:12000]]
    images = (draw.random(images.shape) < images).astype("float32")
    test, valid, train = images[:1000], images[1000:2000], images[2000:]
    return _images(train, valid, test, encoder)


def oracle(seed, encoder="full", train=20_000, **options):
    """Sentences of the oracle experiment's generator, to be learned: 5 words of 1,000."""
    generator = OracleDecoder(1000, 100, 2, seed=seed)
    generator(tf.zeros([1, 5], tf.int32), tf.zeros([1, 2]))
    sizes = (train, 2000, 2000)
    sets = draw_oracle_data(
        lambda z, noise: generator.sample(z, noise, length=5), sizes, vocabulary_size=1000,
        seed=seed,
    )
    scales = {"scale": 0.1, "latent_scale": 0.5, "output_scale": 0.1, "seed": seed + 10_000}
    options = {"anneal_steps": 4000, "patience": 5, "epochs": 40, **options}
    return Study(
        sets.train, sets.validation, sets.test, lambda: OracleEncoder(1000, 100, 2),
        lambda: OracleDecoder(1000, 100, 2, **scales), 2, **options,
    )


def fresh_oracle(seed, encoder="full"):
    """The same with sentences that are not seen twice, so that nothing is learned by heart."""
    steps = {"epoch_steps": 500, "epochs": 24, "patience": 24, "anneal_steps": 1000}
    return oracle(seed, encoder, 600_000, **steps)


def ptb(seed, encoder="full"):
    """The sentences of Penn Treebank of at most 10 words, vocabulary 1,000."""
    lines = {}
    for part in ("train", "valid", "test"):
        with lzma.open(_folder() / f"ptb/ptb.{part}.txt.xz", "rt") as file:
            lines[part] = [line for line in file if 0 < len(line.split()) <= 10]
    train = lines["train"]
    vocabulary = Vocabulary.build(train, max_size=1000)
    encode = functools.partial(token_rows, vocabulary)
    sizes = {"vocabulary_size": len(vocabulary), "embedding_size": 64, "units": 64}
    return Study(
        encode(train), encode(lines["valid"]), encode(lines["test"]),
        lambda: TextEncoder(**sizes, latent_size=16),
        lambda: TextDecoder(**sizes, latent_size=16, dropout=0.3), 16, batch_size=50,
        learning_rate=2e-3, anneal_steps=1000, patience=4, epochs=25,
    )


def yahoo(seed, encoder="full"):
    """The first 20 words of Yahoo answers: 9,000 of the validation file, tested on the test's."""
    lines = {}
    for part in ("val", "test"):
        with lzma.open(_folder() / f"yahoo/{part}.txt.xz", "rt") as file:
            lines[part] = [" ".join(line.split()[:20]) for line in file if line.strip()]
    train, valid, test = lines["val"][:9000], lines["val"][9000:], lines["test"][:2000]
    vocabulary = Vocabulary.build(train, max_size=2000)
    sizes = {"vocabulary_size": len(vocabulary), "embedding_size": 100, "units": 100}
    return Study(
        *(token_rows(vocabulary, part, 22) for part in (train, valid, test)),
        lambda: TextEncoder(**sizes, latent_size=16),
        lambda: TextDecoder(**sizes, latent_size=16, dropout=0.5), 16, batch_size=50,
        learning_rate=2e-3, anneal_steps=1800, patience=4, epochs=30,
    )


class BagOfWordsDecoder(Decoder):
    """log p of a document's words [B, V] (counts), each drawn from one softmax given z.

    The order of the words is not modelled, so there is no multinomial coefficient (Miao et al.,
    2016, section 3).
    """

    def __init__(self, units, vocabulary_size):
        super().__init__()
        self.network = keras.Sequential(
            [keras.layers.Dense(units, activation="tanh"), keras.layers.Dense(vocabulary_size)])

    def log_prob(self, x, z, seed=None, training=False):
        logits = self.network(z, training=training)
        return tf.reduce_sum(x * tf.nn.log_softmax(logits), axis=1)


def documents(seed, encoder="full", words=1000, units=100, latent=16):
    """Yahoo answers as bags of words: 9,000 of the validation file, tested on the test's.

    The words are those that follow the 100 most frequent ones of the training documents.
    """
    texts = {}
    for part in ("val", "test"):
        with lzma.open(_folder() / f"yahoo/{part}.txt.xz", "rt") as file:
            texts[part] = [line.split() for line in file]
    draw = np.random.default_rng(seed)
    own = [texts["val"][i] for i in draw.permutation(len(texts["val"]))]
    counts = collections.Counter(word for text in own[:9000] for word in text)
    known = {word: i for i, (word, _) in enumerate(counts.most_common(100 + words)[100:])}
    rows = [_bags(part, known) for part in (own[:9000], own[9000:], texts["test"][:2000])]
    return Study(
        *rows, lambda: _dense_encoder(words, latent, units, encoder, keras.ops.log1p),
        lambda: BagOfWordsDecoder(units, words), latent, batch_size=100, learning_rate=1e-3,
        anneal_steps=1000, patience=7, epochs=120,
    )


def _bags(texts, known):
    """Counts [N, V] of the known words."""
    rows = np.zeros([len(texts), len(known)], "float32")
    for row, text in zip(rows, texts, strict=True):
        np.add.at(row, [known[word] for word in text if word in known], 1.0)
    return rows


def token_rows(vocabulary, sentences, length=12):
    """Tokens [N, length] of sentences; longer ones are cut."""
    rows = np.zeros([len(sentences), length], "int32")
    for row, words in zip(rows, sentences, strict=True):
        ids = vocabulary.encode(words)[:length]
        row[: len(ids)] = ids
    return rows


_SETS = (
    pairs, many_pairs, noisy_pairs, prototypes, mnist, omniglot, oracle, fresh_oracle, ptb, yahoo,
    documents,
)
DATA = {f.__name__: f for f in _SETS}
