"""Builds, trains and tests VAE, SVI and SA-VAE on the oracle's data."""

import sys
import time

import keras
import numpy as np
import tensorflow as tf

from tf_savae import svi
from tf_savae.core import seeds
from tf_savae.core.progress import stages
from tf_savae.data.oracle import OracleData
from tf_savae.evaluation import importance_weighted_nll
from tf_savae.models import SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.models.compilation.trace_cache import compiled_for
from tf_savae.networks import OracleDecoder, OracleEncoder
from tf_savae.objectives import OBJECTIVES
from tf_savae.plots.palette import SYSTEM_LABELS
from tf_savae.probability import importance_weighted_log_likelihood, linear_kl_weight
from tf_savae.tasks.oracle.config import OracleConfig

__all__ = [
    "LABELS",
    "STUDIES",
    "SYSTEMS",
    "TESTED",
    "TRAINED",
    "build_system",
    "importance_nll",
    "make_oracle",
    "prior_nll",
    "test_numbers",
    "tester",
    "train_system",
]

STUDIES = ("oracle", "learned")
TRAINED = ("vae", "svi", "savae")
SYSTEMS = ("vae", "vae_svi", "svi", "savae")
# In this experiment, "vae_svi" is a trained VAE with refinement at test time only.
LABELS = {system: SYSTEM_LABELS[system] for system in SYSTEMS}
LABELS["vae_svi"] = "VAE, steps at test only"
# Maps each trained system to the systems as which its networks are tested.
TESTED = {"vae": ("vae", "vae_svi"), "svi": ("svi",), "savae": ("savae",)}
LATENT_SIZE = 2  # The landscape is plotted in the plane.


def make_oracle(config: OracleConfig, seed: int) -> OracleDecoder:
    """Returns a frozen, built generator with random weights (defaults of `OracleDecoder`)."""
    oracle = OracleDecoder(config.vocabulary_size, config.units, LATENT_SIZE, seed=seed)
    _build(oracle, config)
    oracle.trainable = False
    return oracle


def _fresh_decoder(config, seed):
    """Returns a generator with common initial weights, for training."""
    decoder = OracleDecoder(
        config.vocabulary_size,
        config.units,
        LATENT_SIZE,
        scale=config.initial_scale,
        latent_scale=config.initial_latent_scale,
        output_scale=config.initial_scale,
        seed=seed + 10_000,  # Differs from the oracle's, whose weights would be scaled copies.
    )
    _build(decoder, config)
    return decoder


def _build(decoder, config):
    decoder(tf.zeros([1, config.length], tf.int32), tf.zeros([1, LATENT_SIZE]))


def build_system(
    config: OracleConfig, study: str, system: str, seed: int, oracle: OracleDecoder
) -> SemiAmortizedVAE:
    """Returns a compiled and built `SemiAmortizedVAE`.

    In the oracle study its decoder is `oracle`.
    """
    keras.utils.set_random_seed(seed)  # The encoder's weights and the order of the data.
    decoder = oracle if study == "oracle" else _fresh_decoder(config, seed)
    encoder = None
    if OBJECTIVES[system].uses_encoder:
        encoder = OracleEncoder(config.vocabulary_size, config.units, LATENT_SIZE)
    beta = _kl_weight(config) if study == "learned" else 1.0
    jit_compile = {"auto": "auto", "true": True, "false": False}[config.jit_compile]
    networks = (encoder, decoder, _refinement(config, study, system, seed))
    return _assemble(config, study, system, seed, networks, beta, jit_compile)


def tester(
    config: OracleConfig, study: str, system: str, seed: int, model: SemiAmortizedVAE
) -> SemiAmortizedVAE:
    """Returns a model for testing with the same networks, with KL weight 1 and without XLA.

    Testing has too few steps for compilation to pay off. System "vae_svi" with the networks of a
    VAE is the VAE with refinement at test time only.
    """
    same = model.objective is OBJECTIVES[system]  # Then the update rule may be trained.
    refinement = model.refinement if same else _refinement(config, study, system, seed)
    networks = (model.encoder, model.decoder, refinement)
    return _assemble(config, study, system, seed, networks, 1.0, False)


def _assemble(config, study, system, seed, networks, beta, jit_compile):
    encoder, decoder, refinement = networks
    oracle = study == "oracle"
    # As in the paper, the oracle study has no amortized weight.
    weighted = OBJECTIVES[system].amortized_weight is not None and not oracle
    model = SemiAmortizedVAE(
        encoder,
        decoder,
        refinement=refinement,
        objective=system,
        latent_size=LATENT_SIZE,
        beta=beta,
        seed=seed,
        amortized_weight=config.learned_amortized_weight if weighted else 0.0,
    )
    rate = config.learning_rate if oracle else config.learned_learning_rate
    adam = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
    model.compile(adam, jit_compile=jit_compile)
    model(tf.zeros([1, config.length], tf.int32))
    return model


def _refinement(config, study, system, seed):
    return SemiAmortizedRefinement(
        steps=config.steps if study == "oracle" else config.learned_steps,
        samples=_samples(config, study, system),
        **_rule(config, study, system, seed),
        adjoint_clip_norm=config.adjoint_clip_norm or None,
        hvp=config.hvp,
        keep=None if config.keep == "none" else config.keep,
    )


def _samples(config, study, system):
    if study == "oracle":
        return 1
    uses_encoder = OBJECTIVES[system].uses_encoder
    return config.learned_samples if uses_encoder else config.learned_svi_samples


def _rule(config, study, system, seed):
    """Returns the layer's arguments that set the update rule."""
    learned = study == "learned" and config.learned_rule == "learned_update"
    if learned and OBJECTIVES[system].crosses_refinement:
        return {"update": svi.LearnedUpdate(step_size=config.learned_step_size, seed=seed)}
    step_size, clip_norm = {
        ("oracle", False): (config.oracle_svi_step_size, config.oracle_svi_clip_norm),
        ("oracle", True): (config.oracle_step_size, config.oracle_clip_norm),
        ("learned", False): (config.learned_svi_step_size, config.learned_clip_norm),
        ("learned", True): (config.learned_step_size, config.learned_clip_norm),
    }[study, OBJECTIVES[system].uses_encoder]
    return {"step_size": step_size, "momentum": config.momentum, "clip_norm": clip_norm}


def _kl_weight(config):
    if not config.kl_anneal_epochs:
        return 1.0
    steps = config.kl_anneal_epochs * _epoch_steps(config, "learned")
    return linear_kl_weight(steps, start=config.kl_start)


def _epochs(config, study, system):
    """Returns the largest number of epochs, and the first epoch that may be the best one.

    The latter is counted from 0 and ensures that the KL weight is 1.
    """
    if study == "learned":
        return config.learned_epochs, max(config.kl_anneal_epochs - 1, 0)
    return {"vae": config.oracle_vae_epochs, "savae": config.oracle_savae_epochs}[system], 0


def _epoch_steps(config, study):
    """Returns training steps per epoch; in the learned study, epochs are parts of the data."""
    if study == "learned":
        return config.learned_train_points // config.batch_size // config.learned_epochs
    return config.train_points // config.batch_size


def train_system(
    config: OracleConfig, study: str, system: str, model: SemiAmortizedVAE, data: OracleData
) -> tuple[dict[str, list[float]], float]:
    """Trains the model and restores the weights of the epoch with the best validation bound.

    Returns:
      (history, a dict of lists with one number per epoch; run time in seconds).
    """
    began = time.perf_counter()
    if not model.trainable_variables:  # SVI with the oracle has no trainable variables.
        return {}, 0.0
    learned = study == "learned"
    epochs, first = _epochs(config, study, system)
    steps = _epoch_steps(config, study)
    best = keras.callbacks.EarlyStopping(
        "val_bound",
        mode="min",
        patience=epochs if learned else config.patience,  # No early stop: no sentence is repeated.
        restore_best_weights=True,
        start_from_epoch=first,
    )
    fitted = model.fit(
        data.train[: config.learned_train_points if learned else config.train_points],
        batch_size=config.batch_size,
        epochs=epochs,
        steps_per_epoch=steps if learned else None,
        validation_data=(data.validation,),
        validation_batch_size=config.batch_size,
        callbacks=[best, _JobProgress(epochs, steps, best)],
        verbose=0,
    )
    history = {name: [float(v) for v in values] for name, values in fitted.history.items()}
    return history, time.perf_counter() - began


class _JobProgress(keras.callbacks.Callback):
    """Shows one progress bar for all epochs, or one line if the output is a file."""

    def __init__(self, epochs, steps, stopping):
        super().__init__()
        self._epochs, self._stopping, total = epochs, stopping, epochs * steps
        names = ["bound", "kl", "validation"]
        verbose = 1 if sys.stdout.isatty() else 2
        self._bar = keras.utils.Progbar(total, verbose=verbose, stateful_metrics=names)
        self._step, self._validation = 0, []

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        self._bar.update(self._step, self._values(logs), finalize=False)
        stages.detail(f"step {self._step} of {self._bar.target}, bound {logs['bound']:.2f}")

    def on_epoch_end(self, epoch, logs=None):
        self._validation = [("validation", logs["val_bound"])]
        self._last = self._values(logs)

    def on_train_end(self, logs=None):
        self._bar.update(self._step, self._last, finalize=True)
        last = self._stopping.stopped_epoch + 1  # 1 without an early stop.
        if 1 < last < self._epochs:
            print(
                f"stopped after epoch {last} of {self._epochs}: no better validation bound for "
                f"{self._stopping.patience} epochs"
            )

    def _values(self, logs):
        return [("bound", logs["bound"]), ("kl", logs["kl"]), *self._validation]


def test_numbers(
    config: OracleConfig, model: SemiAmortizedVAE, test: np.ndarray
) -> dict[str, float]:
    """Returns the bound, its terms and the bound before refinement on the test set.

    Numbers are in nats per sentence.
    """
    rows = np.tile(test, (config.test_draws, 1))  # Each batch has different noise.
    logs = model.evaluate(rows, batch_size=config.batch_size, verbose=0, return_dict=True)
    names = ("bound", "nll", "kl", "amortized_bound")
    return {name: float(logs[name]) for name in names if name in logs}


def importance_nll(config: OracleConfig, model: SemiAmortizedVAE, rows: np.ndarray) -> np.ndarray:
    """Returns the importance-weighted NLL [N] float64, in nats; the proposal is refined."""
    dataset = tf.data.Dataset.from_tensors(rows)
    return importance_weighted_nll(model, dataset, config.iw_samples)


def prior_nll(
    config: OracleConfig, model: SemiAmortizedVAE, rows: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Returns the importance-weighted NLL with the prior as proposal, in nats, for Z = 2.

    The variance is higher than with the refined posterior, but the prior covers all modes.
    """

    def estimate(x, seed):
        batch_objective = model.batch_objective(x, seed, steps=0)
        return importance_weighted_log_likelihood(
            lambda z, noise: batch_objective.generator.log_likelihood(
                z, batch_objective.theta, noise
            ),
            model.family.distribution(model.family.zeros(len(rows), LATENT_SIZE)),
            model.prior.distribution(),
            config.prior_samples,
            seed,
        )

    run = compiled_for(model, estimate)
    return -run(tf.constant(rows), seeds.as_seed(seed)).numpy()
