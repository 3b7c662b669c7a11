"""Update rules: the derivative through each against a plain taped loop, in float64; bad rules."""

import functools
import typing

import keras
import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf

from tf_savae import svi
from tf_savae.svi import refine

EXACT = 1e-9
STEPS = 4


class Adam:
    """A rule of a user's own, with a step size that is a tensor and bias correction by the step."""

    def __init__(self, step_size):
        self.step_size = step_size

    def init(self, parameters):
        zeros = tf.nest.map_structure(tf.zeros_like, parameters)
        return {"first": zeros, "second": zeros}

    def update(self, gradient, state, parameters, step):
        count = tf.cast(step, tf.float64) + 1.0
        first = tf.nest.map_structure(lambda m, g: 0.9 * m + 0.1 * g, state["first"], gradient)
        second = tf.nest.map_structure(
            lambda v, g: 0.99 * v + 0.01 * g**2, state["second"], gradient
        )
        moved = tf.nest.map_structure(
            lambda p, m, v: (
                p
                - self.step_size * (m / (1 - 0.9**count)) / (tf.sqrt(v / (1 - 0.99**count)) + 1e-3)
            ),
            parameters,
            first,
            second,
        )
        return moved, {"first": first, "second": second}


class FromTheStart:
    """A rule whose state begins at the parameters and at a tensor of its own."""

    def __init__(self, pull):
        self.pull = [pull]

    def init(self, parameters):
        return [tf.sin(parameters[0]) * self.pull[0], tf.nest.map_structure(tf.square, parameters)]

    def update(self, gradient, state, parameters):
        moved = tuple(
            p - 0.2 * g + 0.05 * s for p, g, s in zip(parameters, gradient, state[1], strict=True)
        )
        return moved, [state[0] * 0.5, (state[1][0] + state[0], state[1][1])]


class Frozen(typing.NamedTuple):
    """The state is nothing, and the settings are a tuple."""

    step_size: typing.Any

    def init(self, parameters):
        return ()

    def update(self, gradient, state, parameters):
        moved = tf.nest.map_structure(lambda p, g: p - self.step_size * g, parameters, gradient)
        return moved, state


def _layer(rule, draw):
    rule.build([(None, svi_models.LATENT)] * 2)
    for variable in rule.trainable_variables:
        variable.assign(variable + 0.2 * draw.normal(size=variable.shape))
    return rule


def make(name):
    """(rule, the tensors and variables that a gradient of it should reach)."""
    draw = np.random.default_rng(3)
    size = tf.constant(0.2, tf.float64)
    if name.startswith("momentum"):
        clip = 2.1 if name.endswith("clipped") else None
        return svi.Momentum((size, 0.1), 0.5, clip), [size]
    if name.startswith("natural"):
        clip = 1.3 if name.endswith("clipped") else None
        return svi.NaturalGradient(size, 0.4, clip), [size]
    if name.startswith("learned_steps"):
        clip = 2.1 if name.endswith("clipped") else None
        rule = svi.LearnedSteps(3, 0.15, clip_norm=clip, dtype="float64")  # One step is past them.
        rule = _layer(rule, draw)
    elif name == "learned_update":
        rule = _layer(svi.LearnedUpdate(6, 2, 0.1, bound=2.0, dtype="float64"), draw)
    else:
        return {"adam": Adam, "from_the_start": FromTheStart, "frozen": Frozen}[name](size), [size]
    return rule, [v.value for v in rule.trainable_variables]


RULES = [
    "momentum",
    "momentum_clipped",
    "natural",
    "natural_clipped",
    "learned_steps",
    "learned_steps_clipped",
    "learned_update",
    "adam",
    "from_the_start",
    "frozen",
]


def plain(model, rule, initial, theta, exact_from=0):
    """The loop, written plainly; before step `exact_from` it is crossed as the identity."""
    lam, state = initial, rule.init(initial)
    for k in range(STEPS):
        if k == exact_from and k:
            lam = tuple(s + tf.stop_gradient(p - s) for p, s in zip(lam, initial, strict=True))
            state = tf.nest.map_structure(tf.stop_gradient, state)
        with tf.GradientTape() as tape:
            tape.watch(lam)
            value = tf.reduce_sum(model.reference(lam, theta, tf.constant([0, k])))
        arguments = tape.gradient(value, lam), state, lam
        try:
            lam, state = rule.update(*arguments, tf.constant(k))
        except TypeError:
            lam, state = rule.update(*arguments)
    return lam


def total(refined, model, name):
    """Gradients of sum_b w_b f_b(lambda_K) in the start, theta and all that the rule depends on."""

    def run(initial, theta, *own):
        with tf.GradientTape() as tape:
            tape.watch([initial, theta])
            rule, sources = make(name) if not own else own
            tape.watch(sources)
            final = refined(rule, initial, theta)
            values = model.objective(final, theta, tf.constant([0, STEPS]))
            weights = tf.cast(tf.linspace(0.5, 1.5, values.shape[0]), values.dtype)
            loss = tf.reduce_sum(weights * values)
        parts = {"initial": initial, "theta": theta, "rule": sources}
        found = tape.gradient(loss, parts, unconnected_gradients="zero")
        found = tf.nest.map_structure(tf.convert_to_tensor, found)
        return {"loss": loss, "refined": final, **found}

    return run


@functools.cache
def wanted(name, model, exact_from):
    """`total` of the plain loop, eagerly: the same for each mode."""
    made = svi_models.MODELS[model]()
    run = total(lambda rule, *point: plain(made, rule, *point, exact_from=exact_from), made, name)
    return run(made.initial, made.theta)


def check(name, mode, model="dense", exact_from=0, **options):
    """`refine` with a rule equals the plain loop, to 1e-9 of each part's norm."""
    made, expected = svi_models.MODELS[model](), wanted(name, model, exact_from)

    def refined(rule, initial, theta):
        return refine(made.objective, initial, theta, steps=STEPS, update=rule, seed=9, **options)

    run = total(refined, made, name)
    if name.startswith("learned"):  # Its variables are made outside of the graph.
        own = make(name)
        got = svi_reference.in_mode(lambda *point: run(*point, *own), mode)
    else:
        got = svi_reference.in_mode(run, mode)
    got = got(made.initial, made.theta)
    parts = ("loss", "refined", "initial", "theta", "rule")
    svi_reference.assert_close(got, expected, EXACT, parts)
    assert exact_from or any(np.any(part) for part in expected["rule"])


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("name", RULES)
def test_every_rule_equals_a_plain_loop(name, mode):
    check(name, mode)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_under_xla(name):
    check(name, "xla", hvp="reverse_over_reverse" if "clipped" in name else "forward_over_reverse")


@pytest.mark.parametrize("name", ["adam", "learned_update", "from_the_start"])
def test_every_other_adjoint_and_decoder(name):
    check(name, "eager", adjoint="unrolled")
    check(name, "graph", adjoint="truncated", truncate=2, exact_from=STEPS - 2)
    check(name, "graph", model="recurrent")


def test_no_gradient_crosses_with_adjoint_stop():
    model, (rule, sources) = svi_models.dense(), make("adam")
    with tf.GradientTape() as tape:
        tape.watch([sources, model.initial])
        settings = dict(steps=2, update=rule, seed=0, adjoint="stop")
        final = refine(model.objective, model.initial, model.theta, **settings)
    assert tape.gradient(final, [sources, model.initial]) == [[None], (None, None)]


@pytest.mark.parametrize("name", RULES)
def test_an_example_depends_on_its_own_row(name):
    rule, _ = make(name)
    model, alone = svi_models.dense(), svi_models.dense(rows=[1])

    def final(model):
        return refine(model.objective, model.initial, model.theta, steps=3, update=rule, seed=9)

    for together, single in zip(final(model), final(alone), strict=True):
        np.testing.assert_allclose(together[1:2], single, rtol=1e-12)


def test_short_forms_are_momentum():
    model = svi_models.dense()
    settings = dict(steps=3, seed=9)
    point = (model.objective, model.initial, model.theta)
    short = refine(*point, step_size=0.2, momentum=0.3, clip_norm=1.5, **settings)
    long = refine(*point, update=svi.Momentum(0.2, 0.3, 1.5), **settings)
    assert all(np.array_equal(a, b) for a, b in zip(short, long, strict=True))


def test_early_stopping_and_unknown_steps_follow_the_rule():
    def bowl(parameters, theta, seed):
        return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)

    start, goal = tf.zeros([2, 3], tf.float64), tf.ones([3], tf.float64)
    rule = Frozen(tf.constant(0.5, tf.float64))
    for steps in (3, tf.constant(3)):
        got = refine(bowl, start, goal, steps=steps, update=rule, seed=0, adjoint="stop")
        assert got.numpy() == pytest.approx(np.full((2, 3), 1 - 0.5**3))
    got, trace = refine(
        bowl,
        start,
        goal,
        steps=50,
        update=rule,
        seed=0,
        adjoint="stop",
        early_stopping=1e-3,
        return_trace=True,
    )
    # The bowl's value is 1.5 / 4^k: the seventh step is the first to gain less than 1e-3.
    assert trace.steps.numpy().tolist() == [7, 7] and got.numpy() == pytest.approx(1 - 0.5**7)


class _Changed(Frozen):
    pass


def _with(**methods):
    return type("Rule", (_Changed,), methods)(0.1)


def _mixing(self, gradient, state, parameters):
    mean = tf.nest.map_structure(lambda g: tf.reduce_mean(g, 0, keepdims=True), gradient)
    return tf.nest.map_structure(lambda p, g: p - 0.1 * g, parameters, mean), state


BAD = [
    (dict(update=_with(update=_mixing)), "update: Rule mixes examples"),
    (
        dict(update=_with(update=lambda self, g, s, p: (p[0], s))),
        "update: Rule.update: expected parameters with the structure of its input",
    ),
    (
        dict(update=_with(update=lambda self, g, s, p: ([t[:, :1] for t in p], s))),
        "update: Rule.update: expected parameters with the structure of its input",
    ),
    (
        dict(update=_with(init=lambda self, p: tf.zeros([]))),
        r"update: Rule.init: expected a state of float64 tensors \[B, ...\]",
    ),
    (dict(update=svi.Momentum), "update: expected an object with the methods init"),
    (dict(update=0.1), "update: expected an object with the methods init"),
    (
        dict(update=svi.Momentum(0.1), step_size=0.1),
        "step_size: expected None together with update=",
    ),
    (dict(update=svi.Momentum(0.1), momentum=0.4), "momentum: expected None together with update="),
    (dict(), "step_size: expected a number, or an update rule"),
    (dict(update=svi.Momentum((0.1, 0.2, 0.3))), "step_size: expected one number, or a nest"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_rules(options, message):
    model = svi_models.dense()
    with pytest.raises(ValueError, match=message):
        refine(model.objective, model.initial, model.theta, steps=2, seed=0, **options)


@pytest.mark.parametrize("rule", [svi.NaturalGradient(0.1), svi.LearnedUpdate()])
def test_rules_for_pairs_of_one_shape_say_so(rule):
    parameters = (tf.zeros([2, 3]), tf.zeros([2, 6]))
    with pytest.raises(ValueError, match=type(rule).__name__ + ": expected"):
        refine(lambda p, t, s: tf.zeros([2]), parameters, 0.0, steps=1, update=rule, seed=0)


def test_a_variable_that_is_no_attribute_is_refused():
    hidden = tf.Variable(0.1, dtype=tf.float64)

    def moved(self, gradient, state, parameters):
        return tf.nest.map_structure(lambda p, g: p - hidden * g, parameters, gradient), state

    model = svi_models.dense()
    with pytest.raises(
        ValueError, match="update rule may read only variables that are its own attributes"
    ):
        refine(
            model.objective,
            model.initial,
            model.theta,
            steps=1,
            seed=0,
            update=_with(update=moved),
        )


def test_a_layer_of_layers_makes_its_weights_by_itself():
    class Net(keras.layers.Layer):
        def __init__(self):
            super().__init__(dtype="float64")
            self.net = keras.layers.Dense(2, dtype="float64")

        def init(self, parameters):
            return ()

        def update(self, gradient, state, parameters):
            moves = self.net(tf.stack(gradient, -1))
            moves = tf.unstack(moves, axis=-1)
            return [p - 0.1 * m for p, m in zip(parameters, moves, strict=True)], state

    rule, model = Net(), svi_models.dense()
    refine(model.objective, list(model.initial), model.theta, steps=1, update=rule, seed=0)
    assert [tuple(v.shape) for v in rule.trainable_variables] == [(2, 2), (2,)]
