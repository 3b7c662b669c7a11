"""What trains the encoder and what trains the decoder in each system (the paper's table)."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import (
    compiled,
    data,
    dense_model,
    relative_error,
    step_gradients,
    text_model,
    tokens,
    train_problem,
)

import tf_savae
from tf_savae.core import seeds
from tf_savae.models.refinement import steps_schedule
from tf_savae.networks import TextDecoder
from tf_savae.svi import refine

EXACT = 1e-11


def _gradients(model, x, loss, variables):
    """Gradients of the batch mean of `loss(problem)`, each example's number in nats."""
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(loss(train_problem(model, x)))
    gradients = tape.gradient(value, variables, unconnected_gradients="zero")
    return [tf.convert_to_tensor(g).numpy() for g in gradients]


@functools.cache
def _eager_step(objective="savae", **options):
    """Gradients of one eager step of the dense model in float64: what traced ones should be."""
    x = data(dtype="float64")
    return step_gradients(compiled(dense_model(objective, **options), x), x, eager=True)


def _refined(problem, initial, steps=3, step_size=0.1):
    """lambda_K by the stored loop, a constant."""
    refined = refine(
        problem.objective,
        initial,
        problem.theta,
        steps=steps,
        step_size=step_size,
        momentum=0.5,
        clip_norm=5.0,
        seed=problem.seed,
        adjoint="stop",
    )
    return tf.nest.map_structure(tf.stop_gradient, refined)


def _elbo_at(problem, parameters, seed):
    return problem.generator.terms(parameters, problem.theta, seed, True).bound


def _refined_elbo(problem):
    return _elbo_at(problem, _refined(problem, problem.encode()), problem.final_seed())


def _amortized_elbo(problem):
    return _elbo_at(problem, problem.encode(), problem.first_seed())


def _kl_to_refined(problem):
    """KL(N(m0, s0) || N(mK, sK)), the second constant, summed over the diagonal by hand."""
    m0, log0 = problem.encode()
    m1, log1 = _refined(problem, (m0, log0))
    return 0.5 * tf.reduce_sum(
        log1 - log0 + (tf.exp(log0) + (m0 - m1) ** 2) / tf.exp(log1) - 1.0, axis=1
    )


def _wanted(model, x, theta_loss, phi_loss):
    phi, theta = model.encoder.trainable_variables, model.decoder.trainable_variables
    assert [v.path for v in model.trainable_variables] == [v.path for v in [*phi, *theta]]
    return _gradients(model, x, phi_loss, phi) + _gradients(model, x, theta_loss, theta)


@pytest.mark.parametrize(
    ("objective", "phi_loss"), [("vae_svi", _amortized_elbo), ("vae_svi_kl", _kl_to_refined)]
)
def test_vae_svi_rows(float64, objective, phi_loss):
    """Theta sees the refined ELBO alone, at constant lambda_K; phi its own objective alone."""
    x = data()
    model = compiled(dense_model(objective), x)
    wanted = _wanted(model, x, _refined_elbo, phi_loss)
    assert relative_error(step_gradients(model, x), wanted) < EXACT


def _through_steps(model, x):
    """Gradients in theta through unrolled steps from a constant lambda_0."""

    def loss(problem):
        initial = tf.nest.map_structure(tf.stop_gradient, problem.encode())
        refined, _ = problem.refined(initial, adjoint="unrolled")
        return _elbo_at(problem, refined, problem.final_seed())

    return _gradients(model, x, loss, model.decoder.trainable_variables)


def test_vae_svi_exact_row(float64):
    """Theta sees the total derivative from a constant lambda_0; phi the amortized ELBO alone."""
    x = data()
    model = compiled(dense_model("vae_svi_exact"), x)
    wanted = _gradients(model, x, _amortized_elbo, model.encoder.trainable_variables)
    wanted += _through_steps(model, x)
    assert relative_error(step_gradients(model, x), wanted) < EXACT
    # The path through the steps matters here.
    assert relative_error(_eager_step("vae_svi"), wanted) > 1e-3


def test_vae_row(float64):
    x = data()
    model = compiled(dense_model("vae"), x)

    def elbo(problem):  # Drawn with the sample that ends K = 3 steps, of which a VAE takes none.
        return _elbo_at(problem, problem.encode(), problem.final_seed())

    wanted = _wanted(model, x, elbo, elbo)
    assert relative_error(step_gradients(model, x), wanted) < EXACT


def test_svi_row(float64):
    """No encoder; theta sees the ELBO at parameters refined from the prior."""
    x = data()
    model = compiled(dense_model("svi"), x)
    assert model.encoder is None

    def elbo(problem):
        start = (tf.zeros([4, 2], tf.float64), tf.zeros([4, 2], tf.float64))
        return _elbo_at(problem, _refined(problem, start), problem.final_seed())

    wanted = _gradients(model, x, elbo, model.trainable_variables)
    assert relative_error(step_gradients(model, x), wanted) < EXACT


@pytest.mark.parametrize("make", [dense_model, pytest.param(text_model, marks=pytest.mark.e2e)])
def test_savae_row_is_the_total_derivative(float64, make):
    x = data() if make is dense_model else tokens(rows=2, length=5)
    unrolled = step_gradients(compiled(make(adjoint="unrolled"), x), x, eager=True)
    for hvp in ("reverse_over_reverse", "forward_over_reverse"):
        exact = step_gradients(compiled(make(hvp=hvp), x), x)
        assert relative_error(exact, unrolled) < EXACT
    plain = step_gradients(compiled(make("vae_svi"), x), x, eager=True)
    assert relative_error(plain, unrolled) > 1e-3  # The path through the steps matters here.


def test_total_derivative_with_annealing_free_bits_and_samples(float64):
    x = data()
    options = {"model": {"beta": 0.3, "free_bits": 0.4}, "samples": 2, "clip_norm": 0.5}
    exact = step_gradients(compiled(dense_model(**options), x), x)
    unrolled = compiled(dense_model(**options, adjoint="unrolled"), x)
    unrolled = step_gradients(unrolled, x, eager=True)
    assert relative_error(exact, unrolled) < EXACT


def test_truncation_by_nothing_is_the_identity(float64):
    """truncate=K is exact; truncate=0 sends the encoder the gradient at lambda_K itself."""
    x = data()
    exact = _eager_step()
    whole = step_gradients(compiled(dense_model(adjoint="truncated", truncate=3), x), x)
    none = step_gradients(compiled(dense_model(adjoint="truncated", truncate=0), x), x)
    assert relative_error(whole, exact) < EXACT
    constant = _eager_step("vae_svi")
    assert relative_error(none[4:], constant[4:]) < EXACT  # The decoder's four weights.


def test_learned_step_sizes_get_the_total_derivative(float64):
    x = data()
    options = {"learn_step_size": True, "step_size": [0.1, 0.2]}
    exact = step_gradients(compiled(dense_model(**options), x), x)
    unrolled = compiled(dense_model(**options, adjoint="unrolled"), x)
    unrolled = step_gradients(unrolled, x, eager=True)
    assert relative_error(exact, unrolled) < EXACT
    assert exact[-1].shape == (2,) and np.all(np.abs(exact[-1]) > 1e-6)


@pytest.mark.parametrize("adjoint", ["exact", "unrolled"])
@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_amortized_weight_is_the_explicit_sum(float64, weight, adjoint):
    """ELBO(lambda_K) trains all; w ELBO(lambda_0), theta held constant, the encoder as well."""
    x = data()
    options = {"beta": 0.3, "free_bits": 0.4}
    plain = compiled(dense_model(adjoint=adjoint, model={**options, "amortized_weight": 0.0}), x)

    def amortized(problem):
        terms = problem.generator.terms(problem.encode(), problem.theta, problem.first_seed(), True)
        return terms.nll + 0.3 * tf.maximum(terms.kl, 0.4)

    beside = _gradients_at(plain, x, amortized, beta=0.3, free_bits=0.4)
    phi = len(plain.encoder.trainable_variables)
    wanted = step_gradients(plain, x, eager=True)
    wanted = [g + weight * a for g, a in zip(wanted[:phi], beside, strict=True)] + wanted[phi:]
    model = dense_model(adjoint=adjoint, model={**options, "amortized_weight": weight})
    assert relative_error(step_gradients(compiled(model, x), x), wanted) < EXACT


def _gradients_at(model, x, loss, **options):
    """Gradients in the encoder's weights of the batch mean of `loss(problem)`."""
    seed = seeds.fold(seeds.fold(model.seed, 0), 0)
    with tf.GradientTape() as tape:
        problem = model.batch_objective(tf.convert_to_tensor(x), seed, training=True, **options)
        value = tf.reduce_mean(loss(problem))
    gradients = tape.gradient(value, model.encoder.trainable_variables)
    return [tf.convert_to_tensor(g).numpy() for g in gradients]


def test_the_amortized_term_averages_the_samples_of_a_step(float64):
    """With S = 2 step 0 draws two samples; VAE + SVI's encoder learns from both."""
    x = data()
    model = compiled(dense_model("vae_svi", samples=2), x)

    def both(problem):
        noises = seeds.split(problem.first_seed(), 2)
        return sum(_elbo_at(problem, problem.encode(), noise) for noise in noises) / 2

    wanted = _gradients_at(model, x, both)  # Before the step moves the weights.
    got = step_gradients(model, x)[: len(model.encoder.trainable_variables)]
    assert relative_error(got, wanted) < EXACT


def test_the_elbos_before_the_last_cost_no_decoder_pass():
    """The steps and the ELBO at lambda_K; SA-VAE's products go on from what the steps kept."""
    x = data()
    assert _count_passes(compiled(dense_model("vae_svi"), x), x) == 2
    for weight in (0.0, 0.5):
        model = dense_model(model={"amortized_weight": weight, "path_weight": weight})
        assert _count_passes(compiled(model, x), x) == 2


@pytest.mark.parametrize("objective", ["svi", "vae", "vae_svi", "vae_svi_kl"])
def test_amortized_weight_is_for_savae(objective):
    with pytest.raises(ValueError, match='amortized_weight: requires objective="savae"'):
        dense_model(objective, model={"amortized_weight": 0.1})


def test_autoregressive_row(float64):
    """-log p(x), by hand: each token's log-softmax, padding left out."""
    x = tokens()
    keras.utils.set_random_seed(0)
    decoder = TextDecoder(20, 4, 5, latent_size=0, dropout=0.0)
    model = compiled(tf_savae.AutoregressiveModel(decoder), x)
    with tf.GradientTape() as tape:
        embedded = decoder.embedding(tf.transpose(x[:, :-1]))
        logits = decoder.softmax(decoder.lstm(embedded))
        nll = tf.nn.sparse_softmax_cross_entropy_with_logits(x[:, 1:].T, logits)
        loss = tf.reduce_mean(tf.reduce_sum(tf.where(x[:, 1:].T == 0, tf.zeros_like(nll), nll), 0))
    gradients = tape.gradient(loss, model.trainable_variables)
    wanted = [tf.convert_to_tensor(g).numpy() for g in gradients]
    shown = model.test_step((tf.constant(x),))
    assert float(shown["nll"]) == pytest.approx(float(loss), rel=1e-12)
    assert relative_error(step_gradients(model, x), wanted) < EXACT


@pytest.mark.parametrize("objective", ["savae", "vae_svi", "vae_svi_exact"])
def test_no_steps_is_the_vae(float64, objective):
    x = data()
    got = step_gradients(compiled(dense_model(objective, steps=0), x), x)
    assert relative_error(got, _eager_step("vae", steps=0)) < EXACT


@pytest.mark.parametrize("family", [None, tf_savae.FullCovarianceGaussian()])
@pytest.mark.parametrize("objective", ["savae", "vae_svi_kl", "vae_svi", "vae_svi_exact"])
def test_amortized_bound_costs_no_decoder_pass(float64, objective, family):
    """The bound at lambda_0 is read off step 0; it equals the ELBO there."""
    x = data()
    encoder = keras.Sequential([keras.layers.Dense(4 if family is None else 5)])
    options = {"family": family, "beta": 0.3, "free_bits": 0.7}
    model = compiled(dense_model(objective, encoder=encoder, model=options), x)
    problem = train_problem(model, x, beta=0.3)
    wanted = float(tf.reduce_mean(_amortized_elbo(problem)))
    logs = model.train_step((tf.constant(x),))
    assert float(logs["amortized_bound"]) == pytest.approx(wanted, rel=1e-12)


def _count_passes(model, x):
    """How often a train step's trace evaluates the decoder: loops are traced once."""
    calls = []
    inner = type(model.decoder).log_prob_prepared

    def counting(self, *args, **kwargs):
        calls.append(1)
        return inner(self, *args, **kwargs)

    model.decoder.log_prob_prepared = counting.__get__(model.decoder)
    tf.function(model.train_step, autograph=False).get_concrete_function(
        (tf.TensorSpec(x.shape, x.dtype),)
    )
    return len(calls)


def test_a_step_evaluates_the_decoder_no_more_than_needed():
    """Traced once in the forward loop, once for the loss; where nothing is kept, for products."""
    x = data()
    assert _count_passes(compiled(dense_model("vae"), x), x) == 1
    assert _count_passes(compiled(dense_model("vae_svi_kl"), x), x) == 2
    assert _count_passes(compiled(dense_model("savae"), x), x) == 2
    assert _count_passes(compiled(dense_model("savae", keep=None), x), x) == 3


def _executed(model, step, x, monkeypatch):
    """Evaluations of the decoder that an eager step runs."""
    calls, inner = [], model.decoder.log_prob_prepared
    counted = lambda *a, **k: (calls.append(1), inner(*a, **k))[1]  # noqa: E731
    monkeypatch.setattr(model.decoder, "log_prob_prepared", counted)
    getattr(model, step)((tf.constant(x),))
    return len(calls)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("objective", "options", "train", "test"),
    [
        ("vae", {}, 1, 1),
        ("svi", {}, 3 + 1, 3 + 1),
        ("vae_svi", {}, 3 + 1, 3 + 1),
        ("vae_svi_kl", {}, 3 + 1, 3 + 1),
        ("vae_svi_exact", {}, 3 + 3 + 1, 3 + 1),
        ("vae_svi_exact", {"steps": 0}, 1, 1),
        ("savae", {}, 3 + 3 + 1, 3 + 1),
        ("savae", {"adjoint": "truncated", "truncate": 0}, 3 + 1, 3 + 1),
        ("savae", {"samples": 2}, 2 * (3 + 3) + 1, 2 * 3 + 1),
        ("savae", {"fall_back": 2}, 3 + 3 + 1 + 2 * 2, 3 + 1 + 2 * 2),
        ("savae", {"steps": 0}, 1, 1),
        ("savae", {"steps": 0, "fall_back": 2}, 1, 1),
        ("savae", {"steps": {0: 0, 5: 3}}, 1, 1),
        ("vae_svi", {"steps": 0}, 1, 1),
    ],
    ids=str,
)
def test_evaluations_that_a_step_runs(objective, options, train, test, monkeypatch):
    """K steps, K products where they are crossed, and one ELBO at lambda_K; nothing twice.

    The amortized term and its metric cost none; at K = 0 neither training nor validation refines.
    """
    x = data()
    model = compiled(dense_model(objective, **options), x)
    with steps_schedule.training(model, 0):  # As `fit` does, of a schedule.
        assert _executed(model, "train_step", x, monkeypatch) == train
        monkeypatch.undo()
        assert _executed(model, "test_step", x, monkeypatch) == test


class _Counting(keras.layers.Layer):
    """An encoder that counts how often it runs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.calls = keras.layers.Dense(4), 0

    def call(self, x):
        self.calls += 1
        return self.dense(x)


@pytest.mark.parametrize("objective", ["savae", "vae", "vae_svi", "vae_svi_kl"])
def test_the_encoder_runs_once_a_step(objective):
    x, encoder = data(), _Counting()
    model = compiled(dense_model(objective, encoder=encoder), x)
    encoder.calls = 0
    model.train_step((tf.constant(x),))
    assert encoder.calls == 1


def test_clashing_arguments_are_named():
    with pytest.raises(ValueError, match='adjoint="stop" lets no gradient reach the encoder'):
        dense_model("savae", adjoint="stop")
    with pytest.raises(ValueError, match='learn_step_size=True needs objective="savae"'):
        dense_model("vae_svi", learn_step_size=True)
    with pytest.raises(ValueError, match="objective: expected one of vae, .*; got 'elbo'"):
        dense_model("elbo")
