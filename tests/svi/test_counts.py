"""Cost is a contract: K gradients without weight gradients, K products, one trace."""

import functools
import re

import pytest
import svi_models
import svi_reference
import tensorflow as tf
from executed_products import executed_products

from tf_savae.svi import Truncated, refine

# A Hessian-vector product in units of F, the forward pass of the decoder.
COST = 6
HVPS = ["finite_difference", "forward_over_reverse", "reverse_over_reverse"]


def counting(model):
    """The model's objective with a list that grows by one at every call from Python."""
    calls = []

    def objective(parameters, theta, seed):
        calls.append(1)
        return model.objective(parameters, theta, seed)

    return objective, calls


def gradient(model, objective, **options):
    """A function of (initial, theta) for the gradient of the summed refined parameters.

    Unless `options` say otherwise, steps keep nothing.
    """
    if options.get("adjoint", "exact") in ("exact", "truncated"):
        options = {"keep": None, **options}
    options = {"steps": 5, "step_size": svi_reference.step_sizes(), "seed": 0, **options}

    def run(initial, theta):
        with tf.GradientTape() as tape:
            tape.watch([initial, theta])
            refined = refine(objective, initial, theta, **options)
            total = tf.add_n([tf.reduce_sum(p) for p in refined])
        return tape.gradient(total, [initial, theta], unconnected_gradients="zero")

    return run


def forward(model, **options):
    return lambda initial, theta: refine(
        model.objective, initial, theta, step_size=0.1, seed=0, adjoint="stop", **options
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(hvp="forward_over_reverse"), 7 + 7),
        (dict(hvp="reverse_over_reverse"), 7 + 7),
        (dict(hvp="finite_difference"), 7 + 2 * 7),
        (dict(adjoint="truncated", truncate=3, hvp="reverse_over_reverse"), 7 + 3),
        (dict(adjoint=Truncated(3, "finite_difference")), 7 + 2 * 3),
        (dict(adjoint="truncated", truncate=0), 7),
        (dict(adjoint="unrolled"), 7),
        (dict(adjoint="stop"), 7),
        (dict(samples=2, hvp="reverse_over_reverse"), 2 * (7 + 7)),
    ],
    ids=str,
)
def test_evaluations_that_run(options, expected):
    """Eager loops call the objective as often as it is evaluated."""
    model = svi_models.dense()
    objective, calls = counting(model)
    gradient(model, objective, steps=7, **options)(model.initial, model.theta)
    assert len(calls) == expected


def test_a_trace_costs_one_evaluation_more():
    model = svi_models.dense()
    objective, calls = counting(model)
    options = dict(steps=7, step_size=0.1, seed=0, return_trace=True)
    refine(objective, model.initial, model.theta, **options)
    assert len(calls) == 7 + 1


@pytest.mark.parametrize("name", ["dense", "recurrent"])
@pytest.mark.parametrize("hvp", ["forward_over_reverse", "reverse_over_reverse"])
@pytest.mark.parametrize("steps", [2, 20])
def test_one_trace_whatever_the_number_of_steps(steps, hvp, name):
    """One trace of the objective for the steps, one for the products (two with a time loop)."""
    model = svi_models.MODELS[name]()
    objective, calls = counting(model)
    run = tf.function(gradient(model, objective, steps=steps, hvp=hvp), autograph=False)
    for scale in (1.0, 2.0):
        run(tuple(scale * p for p in model.initial), model.theta)
    retried = name == "recurrent" and hvp == "forward_over_reverse"
    assert len(calls) == (3 if retried else 2)
    assert run.experimental_get_tracing_count() == 1


def test_evaluations_that_run_in_a_graph():
    """The loops of a traced program evaluate as often as the eager ones."""
    model, runs = svi_models.dense(), []

    def objective(parameters, theta, seed):
        tf.numpy_function(lambda: runs.append(1), [], [])
        return model.objective(parameters, theta, seed)

    run = tf.function(gradient(model, objective, hvp="reverse_over_reverse"), autograph=False)
    run(model.initial, model.theta)
    assert len(runs) == 5 + 5


@functools.cache
def decoder_cost(name):
    """Matrix products and convolutions of one evaluation."""
    model = svi_models.MODELS[name]()
    evaluate = tf.function(
        lambda initial, theta: model.objective(initial, theta, tf.constant([0, 0])),
        autograph=False,
    )
    return executed_products(evaluate, model.initial, model.theta).total()


@functools.cache
def steps_cost(name):
    """Those of five steps, counted by kind."""
    model = svi_models.MODELS[name]()
    run = tf.function(forward(model, steps=5), autograph=False)
    return executed_products(run, model.initial, model.theta)


@pytest.mark.parametrize("name", ["dense", "convolutional", "recurrent"])
def test_a_step_costs_two_forward_passes(name):
    """A gradient in the parameters alone: no weight gradient is formed."""
    counted = steps_cost(name)
    assert counted.total() == 5 * 2 * decoder_cost(name) > 0
    assert counted["Conv2DBackpropFilter"] == 0


def test_a_step_of_a_late_code_does_not_differentiate_the_recurrence():
    """Where z joins behind the recurrence, its backward loop is not run at all."""
    assert steps_cost("late_code").total() == 5 * (decoder_cost("late_code") + 1)


@pytest.mark.parametrize("name", ["dense", "convolutional"])
@pytest.mark.parametrize("hvp", HVPS)
def test_a_product_costs_what_is_promised(name, hvp):
    assert product_cost(name, hvp) == COST * decoder_cost(name)


@pytest.mark.parametrize("name", ["dense", "convolutional"])
def test_a_product_of_what_a_step_has_kept_costs_four_passes(name):
    assert product_cost(name, None, keep="all") == (COST - 2) * decoder_cost(name)


def product_cost(name, hvp, **options):
    """Matrix products and convolutions executed per step of the backward loop."""
    model = svi_models.MODELS[name]()
    exact = gradient(model, model.objective, hvp=hvp, **options)
    exact = tf.function(exact, autograph=False)
    through = executed_products(exact, model.initial, model.theta)
    return (through.total() - steps_cost(name).total()) / 5


@pytest.mark.e2e
def test_products_through_a_scan():
    """Forward mode keeps to 6F (and one product); the derivative of a derived while loop does not.

    TensorFlow differentiates a loop's backward loop in everything it captures.
    """
    cost = decoder_cost("recurrent")
    assert product_cost("recurrent", "forward_over_reverse") <= COST * cost + 1
    assert product_cost("recurrent", "reverse_over_reverse") <= (COST + 2) * cost


@pytest.mark.parametrize("hvp", HVPS)
def test_products_compiled_by_xla(hvp):
    """The same counts in what XLA makes of it: 2F + 6F in the bodies of two loops."""
    model = svi_models.dense()
    few, many = (_compiled(model, steps=steps, hvp=hvp) for steps in (5, 40))
    layers = 2
    assert 0 < len(re.findall(r" dot\(", many)) <= layers * (2 + COST)
    assert len(many) == pytest.approx(len(few), rel=0.01)


def _compiled(model, stage="optimized_hlo", **options):
    run = tf.function(gradient(model, model.objective, **options), jit_compile=True)
    compiled = run.experimental_get_compiler_ir(model.initial, model.theta)
    return compiled(stage=stage)


@pytest.mark.parametrize(
    ("name", "hvp"),
    [
        ("slicing", "forward_over_reverse"),
        ("late_code", "forward_over_reverse"),
        ("recurrent", "forward_over_reverse"),
        ("recurrent", "reverse_over_reverse"),
        ("keras_lstm", "reverse_over_reverse"),
    ],
)
def test_xla_compiles_once_for_all_weights(name, hvp):
    """No weight becomes a compile-time constant: each is a parameter of the compiled program.

    Where one is a constant, every training step compiles anew, with the right result.
    """
    model = svi_models.MODELS[name]()
    hlo = _compiled(model, stage="hlo", hvp=hvp)
    entry = hlo[hlo.index("\nENTRY") :]
    shapes = re.findall(r"= f64\[([\d,]*)\]\S* parameter\(", entry)
    used = [w for w in tf.nest.flatten(model.theta) if _matters(model, w)]
    for weight in used:
        assert ",".join(map(str, weight.shape)) in shapes


def _matters(model, weight):
    """Whether the objective uses this leaf of theta at all."""
    with tf.GradientTape() as tape:
        tape.watch(weight)
        values = model.objective(model.initial, model.theta, tf.constant([0, 0]))
    return tape.gradient(values, weight) is not None


@pytest.mark.parametrize("name", ["dense", "recurrent"])
def test_graphs_do_not_grow_with_the_steps(name):
    model = svi_models.MODELS[name]()
    keep = {"dense": "all", "recurrent": None}[name]
    assert _nodes(model, steps=40, keep=keep) == _nodes(model, steps=5, keep=keep)
    three, one = (_nodes(model, steps=steps, adjoint="unrolled") for steps in (3, 1))
    assert three > 5 / 3 * one


def _graph(model, **options):
    run = tf.function(gradient(model, model.objective, **options), autograph=False)
    return run.get_concrete_function(model.initial, model.theta).graph.as_graph_def()


def _nodes(model, **options):
    graph = _graph(model, **options)
    return len(graph.node) + sum(len(f.node_def) for f in graph.library.function)


@pytest.mark.parametrize(("steps", "loops"), [(1, False), (2, True)])
def test_a_single_step_needs_no_loop(steps, loops):
    """Forward and backward: the graph's optimizer then fuses the step with what is around it."""
    found = {node.op for node in _graph(svi_models.dense(), steps=steps).node}
    assert bool(found & {"While", "StatelessWhile"}) == loops
