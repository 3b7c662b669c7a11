"""Training on text: `train_and_evaluate(config, workdir)`, resumable after kill -9."""

import dataclasses
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae import data
from tf_savae.models import AutoregressiveModel, SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.networks import TextDecoder, TextEncoder
from tf_savae.probability import linear_kl_weight
from tf_savae.training.callbacks import RunState, is_finished, write_history
from tf_savae.training.checkpoints import Checkpoints
from tf_savae.training.report import print_report, test_report
from tf_savae.training.workdir import Workdir

__all__ = ["Texts", "build_model", "load_texts", "train_and_evaluate"]

_VOCABULARY, _REPORT, _MODEL = "vocabulary.txt", "report.json", "model.keras"


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
        digests = {name: _digest(corpus.sequences) for name, corpus in parts.items()}
        return {"vocabulary": self.vocabulary.fingerprint(), **digests}


def _digest(sequences):
    return hashlib.sha256(np.concatenate(sequences).tobytes()).hexdigest()


def train_and_evaluate(config, workdir):
    """Trains what `config` says in `workdir`, or resumes it, and reports on the test text.

    Everything that can be wrong with the input is found before any long work. A run killed at
    any moment continues at its latest checkpoint when called again, and ends with the numbers of
    an uninterrupted one. A finished run is not trained again.

    Args:
      config: `TextConfig`.
      workdir: path of the run's folder; made if needed.

    Returns:
      The report, a dict as in report.json.

    Raises:
      ValueError: a text cannot be used, or the folder cannot be written or holds another run.
      FileNotFoundError: a text is missing.
    """
    _check_files(config)
    folder = Workdir(workdir)
    try:
        return _run(config, folder)
    finally:
        folder.release()


def _run(config, folder):
    folder.check("configuration", config.identity())
    texts = load_texts(config)
    folder.check("data", texts.identity())
    _keep_vocabulary(folder, texts.vocabulary)
    folder.claim({"configuration": config.identity(), "data": texts.identity()})
    report = folder.read_json(_REPORT)
    if report is None:
        report = _train_and_report(config, folder, texts)
    else:
        print(f"The run in {folder.path} is finished; its report:")
    print_report(report)
    return report


def _check_files(config):
    for name in ("train_file", "valid_file", "test_file"):
        path = getattr(config, name)
        if not path:
            raise ValueError(f"{name}: expected a text file or tfds:NAME, got nothing.")
        if not str(path).startswith("tfds:") and not os.access(path, os.R_OK):
            raise FileNotFoundError(
                f"{name}: expected a file that can be read (UTF-8 text, one document a line, "
                f"plain, .gz or .xz), got {path}."
            )


def load_texts(config):
    """Reads the three files of a `TextConfig` into `Texts`; what became of them is logged."""
    lines = {
        "train": _lines(config.train_file, config, config.max_train_lines),
        "valid": _lines(config.valid_file, config, config.max_eval_lines),
        "test": _lines(config.test_file, config, config.max_eval_lines),
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


def _lines(path, config, limit):
    kept, report = data.read_lines(path, max_words=config.max_words, long_lines=config.long_lines)
    if not limit or limit >= len(kept):
        return kept, report
    logging.info("%s; the first %d of them are used", report.summary(), limit)
    return kept[:limit], None  # The report counts all lines.


def _keep_vocabulary(folder, vocabulary):
    path = folder / _VOCABULARY
    if not path.exists():
        vocabulary.save(path)
    elif data.Vocabulary.load(path) != vocabulary:
        raise ValueError(
            f"{path}: expected the vocabulary of the training text, which the checkpoint's ids "
            "belong to, got another one. Give the text the run began with, or another --workdir."
        )


def build_model(config, texts):
    """The compiled model of a `TextConfig`, with weights and optimizer slots."""
    keras.utils.set_random_seed(config.seed)
    model = _autoregressive(config, texts) if _plain(config) else _latent(config, texts)
    clip = config.clip_norm or None
    kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    optimizer = kinds[config.optimizer](config.learning_rate, global_clipnorm=clip)
    jit = {"auto": "auto", "true": True, "false": False}[config.jit_compile]
    model.compile(optimizer, jit_compile=jit)
    model._ensure_built(tf.constant([[data.START, data.UNK, data.END]]))
    optimizer.build(model.trainable_variables)
    return model


def _plain(config):
    return config.system == "autoregressive"


def _sizes(config, texts):
    return {
        "vocabulary_size": len(texts.vocabulary),
        "embedding_size": config.embedding_size,
        "units": config.units,
    }


def _decoder(config, texts, latent_size):
    rates = {"dropout": config.dropout, "word_dropout": config.word_dropout}
    return TextDecoder(**_sizes(config, texts), latent_size=latent_size, **rates)


def _autoregressive(config, texts):
    return AutoregressiveModel(_decoder(config, texts, 0), seed=config.seed)


def _latent(config, texts):
    encoder = None
    if config.system != "svi":
        encoder = TextEncoder(**_sizes(config, texts), latent_size=config.latent_size)
    return SemiAmortizedVAE(
        encoder,
        _decoder(config, texts, config.latent_size),
        refinement=_refinement(config),
        objective=config.system,
        latent_size=config.latent_size,
        beta=_beta(config, texts),
        free_bits=config.free_bits,
        seed=config.seed,
    )


def _refinement(config):
    return SemiAmortizedRefinement(
        steps=config.svi_steps,
        step_size=config.svi_step_size,
        momentum=config.svi_momentum,
        clip_norm=config.svi_clip_norm or None,
        adjoint=config.adjoint,
        adjoint_clip_norm=config.adjoint_clip_norm or None,
        truncate=config.truncate or None,
        hvp=config.hvp,
        learn_step_size=config.learn_step_size,
    )


def _beta(config, texts):
    steps = round(config.kl_anneal_epochs * texts.steps_per_epoch())
    return linear_kl_weight(steps, start=config.kl_start) if steps else 1.0


def _train_and_report(config, folder, texts):
    model = build_model(config, texts)
    checkpoints = Checkpoints(folder, model)
    if checkpoints.restore():
        logging.info("resuming at step %d", int(model.optimizer.iterations.numpy()))
        write_history(folder, checkpoints.state.get("history", []))
    _settle_hvp(config, model, texts, checkpoints)
    while not is_finished(checkpoints.state.get("history", []), config):
        _fit(config, folder, texts, model, checkpoints)
    checkpoints.restore_best()
    report = test_report(config, texts, model, checkpoints.state)
    _save_model(folder, model)
    folder.write_json(_REPORT, report)
    return report


def _settle_hvp(config, model, texts, checkpoints):
    """Measures hvp="auto" once a run: both products are exact, but round differently."""
    if config.system != "savae" or config.hvp != "auto":
        return
    if "hvp" not in checkpoints.state:
        model._prepare_fit(texts.stream(config.seed, 0), config.batch_size)
        checkpoints.state["hvp"] = model._hvp
    model.refinement.hvp = model._hvp = checkpoints.state["hvp"]


def _fit(config, folder, texts, model, checkpoints):
    """Trains to the end: of the interrupted epoch if there is one, else of the run."""
    each = texts.steps_per_epoch()
    step = int(model.optimizer.iterations.numpy())
    epoch, done = divmod(step, each)
    metrics = [v.numpy() for v in checkpoints.metric_variables()] if done else None
    model.fit(
        texts.stream(config.seed, step),
        initial_epoch=epoch,
        epochs=epoch + 1 if done else config.epochs,
        steps_per_epoch=each - done,
        validation_data=texts.once(texts.valid),
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False),
            RunState(config, folder, checkpoints, each, metrics),
        ],
    )


def _save_model(folder, model):
    """The best weights as a Keras file, which appears whole or not at all."""
    temporary = Path(folder / f".{os.getpid()}.keras")
    model.save(temporary)
    os.replace(temporary, folder / _MODEL)
