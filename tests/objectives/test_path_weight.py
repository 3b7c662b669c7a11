"""`path_weight`: the ELBOs at lambda_1 to lambda_{K-1} in the loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_model, relative_error, step_gradients, train_problem

import tf_savae
from tf_savae.core import seeds
from tf_savae.svi import refine

K, WEIGHT, BETA, FREE = 4, 0.7, 0.25, 0.375  # Numbers that float32, too, has exactly.
RULES = {
    "momentum": lambda: tf_savae.svi.Momentum(0.1, momentum=0.5, clip_norm=0.5),
    "learned": lambda: tf_savae.svi.LearnedUpdate(3),
}


def _model(objective="savae", rule="momentum", weight=WEIGHT, *, model=None, **options):
    settings = {"beta": BETA, "free_bits": FREE, "path_weight": weight, **(model or {})}
    options = {"steps": K, "step_size": None, "update": RULES[rule](), **options}
    return dense_model(objective, model=settings, **options)


def _with_last(adjoint, depth, steps):
    """How the last `depth` of K steps are differentiated, if only the first `steps` are taken."""
    if adjoint != "truncated":
        return {"adjoint": "unrolled"}
    return {"adjoint": "truncated", "truncate": max(0, steps - (K - depth))}


def _path_loss(model, problem, initial, adjoint, depth):
    """Mean of the ELBOs at lambda_1 to lambda_{K-1}, each reached by a refinement of its own."""
    fixed = tf.nest.map_structure(tf.stop_gradient, problem.theta)
    samples, values = model.refinement.samples, []
    for steps in range(1, K):
        reached = refine(
            problem.objective,
            initial,
            problem.theta,
            steps=steps,
            update=model.refinement.update,
            samples=samples,
            seed=problem.seed,
            **_with_last(adjoint, depth, steps),
        )
        noise = seeds.fold(problem.seed, steps)
        for seed in seeds.split(noise, samples) if samples > 1 else [noise]:
            terms = problem.generator.terms(reached, fixed, seed, True)
            values.append(terms.nll + BETA * tf.maximum(terms.kl, FREE))
    return tf.reduce_mean(tf.stack(values))


def _wanted(objective, rule, depth=K, **options):
    """Gradients of a step without the term, and those of the term, by plain autodiff."""
    x = data()
    plain = compiled(_model(objective, rule, 0.0, **options), x)
    seed = seeds.fold(seeds.fold(plain.seed, 0), 0)
    with tf.GradientTape() as tape:
        settings = {"beta": BETA, "free_bits": FREE, "training": True}
        problem = plain.batch_objective(tf.convert_to_tensor(x), seed, **settings)
        initial = problem.encode()
        if objective == "vae_svi_exact":
            initial = tf.nest.map_structure(tf.stop_gradient, initial)
        loss = _path_loss(plain, problem, initial, options.get("adjoint"), depth)
    variables = plain.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    added = [0.0 if g is None else tf.convert_to_tensor(g).numpy() for g in gradients]
    rest = step_gradients(plain, x, eager=True)
    return [r + WEIGHT * a for r, a in zip(rest, added, strict=True)], rest


@pytest.mark.parametrize(
    ("objective", "rule", "options", "depth"),
    [
        ("savae", "momentum", {}, K),
        ("savae", "learned", {}, K),
        ("vae_svi_exact", "learned", {}, K),
        ("savae", "momentum", {"keep": "all"}, K),
        ("savae", "learned", {"hvp": "forward_over_reverse"}, K),
        ("savae", "momentum", {"adjoint": "unrolled"}, K),
        ("savae", "momentum", {"adjoint": "truncated", "truncate": 2}, 2),
        ("savae", "momentum", {"adjoint": "truncated", "truncate": 0}, 0),
    ],
)
def test_it_adds_the_explicit_sum(float64, objective, rule, options, depth):
    wanted, without = _wanted(objective, rule, depth, **options)
    x = data()
    for eager in (True, False):
        model = compiled(_model(objective, rule, **options), x)
        assert relative_error(step_gradients(model, x, eager=eager), wanted) < 1e-11
    assert relative_error(without, wanted) > 1e-3


def test_finite_differences_come_close(float64):
    x = data()
    found = [
        step_gradients(compiled(_model(hvp=hvp), x), x, eager=True)
        for hvp in ("finite_difference", "reverse_over_reverse")
    ]
    assert 0.0 < relative_error(*found) < 1e-4


def test_it_averages_the_samples_of_a_step(float64):
    options = {"samples": 2}
    wanted, _ = _wanted("savae", "momentum", **options)
    model = compiled(_model(**options), data())
    assert relative_error(step_gradients(model, data()), wanted) < 1e-11


@pytest.mark.e2e
@pytest.mark.parametrize("objective", ["savae", "vae_svi_exact"])
def test_under_xla(float64, objective):
    """The adjoint against unrolled steps, both compiled: XLA draws other noise than the graph."""
    x = data()
    models = (_model(objective, "learned", adjoint=adjoint) for adjoint in ("exact", "unrolled"))
    found = [step_gradients(compiled(m, x), x, jit_compile=True) for m in models]
    assert relative_error(*found) < 1e-9


def test_rows_that_fell_back_have_no_such_term(float64):
    """Theirs is infinite here. They have the loss of a model without the term."""
    x = data(6)
    exploding = {"update": tf_savae.svi.Momentum(1e200, 0.0), "fall_back": 2}
    found = []
    for weight in (0.0, WEIGHT):
        model = compiled(_model(weight=weight, **exploding), x)
        _, start = train_problem(model, x).refined(model.encoded_parameters(x))
        assert start.fell_back.numpy().all()
        assert not weight or not np.isfinite(start.path[-1]).all()
        outcome = model.objective.loss(train_problem(model, x))
        assert np.isfinite(outcome.loss).all()
        found.append(outcome.loss.numpy())
    np.testing.assert_array_equal(*found)


def test_the_loss_of_validation_has_the_term():
    x = data()
    plain, model = (compiled(_model(weight=weight), x) for weight in (0.0, WEIGHT))
    found = [m.evaluate(x, batch_size=4, verbose=0, return_dict=True) for m in (plain, model)]
    assert found[0].pop("loss") + 0.1 < found[1].pop("loss")
    assert found[0] == found[1]


def test_one_step_has_no_path(float64):
    x = data()
    found = [
        step_gradients(compiled(_model(weight=w, steps=1), x), x, eager=True) for w in (0.0, WEIGHT)
    ]
    assert relative_error(*found) == 0.0


def test_the_path_is_a_function_of_the_parameters_alone(float64):
    """Trace.path_objective: values as negative_elbo has them, and no gradient of theta."""

    def negative_elbo(parameters, theta, seed):
        return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)

    initial, theta = tf.ones([1, 2]), tf.zeros([2])
    with tf.GradientTape() as tape:
        tape.watch([initial, theta])
        settings = {"steps": 1, "step_size": 0.1, "momentum": 0.0, "seed": 0}
        _, trace = refine(negative_elbo, initial, theta, return_trace="path", **settings)
    assert trace.path_objective.numpy().tolist() == trace.negative_elbo.numpy().tolist() == [[1.0]]
    at_initial, at_theta = tape.gradient(
        trace.path_objective, [initial, theta], unconnected_gradients="zero"
    )
    assert at_initial.numpy().tolist() == [[1.0, 1.0]] and not at_theta.numpy().any()
    _, stopped = refine(
        negative_elbo, initial, theta, adjoint="stop", return_trace="path", **settings
    )
    assert stopped.path_objective is None
    for adjoint in ("exact", "unrolled"):
        _, trace = refine(
            negative_elbo, initial, theta, adjoint=adjoint, return_trace="values", **settings
        )
        assert trace.path_objective is None
        assert trace.negative_elbo.numpy().tolist() == [[1.0]]


def _quadratic(parameters, theta, seed):
    return 0.5 * tf.reduce_sum(theta * parameters**2, axis=1)


@pytest.mark.parametrize("truncate", [None, 2])
def test_clipping_and_growth_count_what_the_path_adds(float64, truncate):
    """Stable steps: the sum of all adjoints is no explosion, and a clip of 1 changes nothing."""
    theta, found = tf.constant([0.5, 2.0], tf.float64), []
    for clip_norm in (None, 1.0):
        initial = tf.constant([[1.0, -2.0]], tf.float64)
        probe = tf.zeros([1, 3], tf.float64)
        how = {"adjoint": "truncated", "truncate": truncate} if truncate else {}
        with tf.GradientTape() as tape:
            tape.watch([initial, probe])
            _, trace = refine(
                _quadratic, initial, theta, steps=6, step_size=0.3, momentum=0.0, seed=0,
                return_trace="path", adjoint_clip_norm=clip_norm, backward_probe=probe, **how,
            )  # fmt: skip
            loss = tf.reduce_sum(trace.path_objective)
        gradient, report = tape.gradient(loss, [initial, probe])
        found.append(gradient.numpy())
        assert 0.0 < float(report[0, 0]) <= 1.0
    np.testing.assert_allclose(*found, rtol=1e-12)
    # By hand: lambda_k = (1 - 0.3 theta)^k lambda_0.
    factor = 1.0 - 0.3 * theta.numpy()
    # Differentiated steps multiply by the factor once more; others are the identity.
    powers = [k + max(0, k - (6 - (truncate or 6))) for k in range(6)]
    expected = sum(factor**p for p in powers) * theta.numpy() * initial.numpy()
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_unrolled_values_are_those_of_the_objective():
    """Where the gradient is not finite, the reported ELBO still is."""

    def root(parameters, theta, seed):
        return tf.reduce_sum(tf.sqrt(parameters * theta), axis=1)

    initial, theta = tf.zeros([1, 2]), tf.ones([2])
    for adjoint in ("exact", "unrolled"):
        _, trace = refine(
            root, initial, theta, steps=1, step_size=0.1, seed=0, adjoint=adjoint,
            return_trace="path",
        )  # fmt: skip
        assert trace.negative_elbo.numpy().tolist() == [[0.0]]


@pytest.mark.parametrize("objective", ["svi", "vae", "vae_svi", "vae_svi_kl"])
def test_it_is_for_objectives_with_gradients_through_the_steps(objective):
    with pytest.raises(ValueError, match=f"path_weight: requires .*objective='{objective}'"):
        dense_model(objective, model={"path_weight": 1.0})
    with pytest.raises(ValueError, match=r"path_weight: expected a finite number >= 0.*-1"):
        dense_model(model={"path_weight": -1})


def test_a_custom_objective_whose_steps_have_no_gradient(float64):
    class Stopped(tf_savae.objectives.SAVAE):
        def loss(self, batch):
            initial = batch.encode()
            refined, start = batch.refined(initial, adjoint="stop")
            return batch.with_path(batch.outcome_at(refined, start=start), start)

    model = compiled(_model(Stopped()), data())
    with pytest.raises(ValueError, match='path_weight: requires an adjoint .*"stop"'):
        step_gradients(model, data(), eager=True)


@pytest.mark.parametrize("name", ["amortized_weight", "path_weight"])
def test_a_custom_objective_that_does_not_read_its_weight(name):
    """It inherits the default from SAVAE, and its own `loss` has no such term."""

    class Plain(tf_savae.objectives.SAVAE):
        def loss(self, batch):
            refined, start = batch.refined(batch.encode())
            return batch.outcome_at(refined, start=start)

    x = data()
    step_gradients(compiled(dense_model(Plain()), x), x, eager=True)  # The default: no error.
    step_gradients(compiled(dense_model(Plain(), model={name: 0.0}), x), x, eager=True)
    model = compiled(dense_model(Plain(), model={name: 0.5}), x)
    with pytest.raises(ValueError, match=f"{name}: got 0.5, but `loss` .*'savae' does not use it"):
        step_gradients(model, x, eager=True)


def test_it_is_saved(tmp_path):
    x = data()
    compiled(_model(), x).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.path_weight == loaded.loss_weights_of("savae")["path_weight"] == WEIGHT
    config = {n: v for n, v in loaded.get_config().items() if n != "path_weight"}
    assert tf_savae.SemiAmortizedVAE.from_config(config).path_weight == 0.0
