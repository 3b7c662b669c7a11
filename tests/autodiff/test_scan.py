"""The scan that reverse mode and forward mode both pass through, against Python loops."""

import numpy as np
import pytest
import svi_reference
import tensorflow as tf

from tf_savae.autodiff import forward_mode, scan

RNG = np.random.default_rng(0)
TIME, BATCH, SIZE = 5, 2, 3
INPUTS = tf.constant(RNG.normal(size=(TIME, BATCH, SIZE)))
START = tf.constant(RNG.normal(size=(BATCH, SIZE)))
KERNEL = tf.constant(RNG.normal(size=(SIZE, SIZE)))
MODES = ["eager", "graph", "xla"]


def cell(state, inputs):
    state = tf.tanh(state @ KERNEL + inputs)
    return state, state**2


def looped(start, inputs, step=cell):
    outputs = []
    for t in range(TIME):
        start, output = step(start, inputs[t])
        outputs.append(output)
    return start, tf.stack(outputs)


@pytest.mark.parametrize("mode", MODES)
def test_values(mode):
    got = svi_reference.in_mode(lambda s, x: scan(cell, s, x), mode)(START, INPUTS)
    assert svi_reference.relative_error(got, looped(START, INPUTS)) < 1e-14


@pytest.mark.parametrize("mode", MODES)
def test_first_and_second_derivatives(mode):
    """Reverse over reverse through the while loop."""

    def slopes(run):
        def of(start, inputs):
            with tf.GradientTape() as outer:
                outer.watch([start, inputs])
                with tf.GradientTape() as tape:
                    tape.watch(start)
                    state, outputs = run(start, inputs)
                    total = tf.reduce_sum(state) + tf.reduce_sum(outputs**2)
                first = tape.gradient(total, start)
                bent = tf.reduce_sum(first**3)
            return first, outer.gradient(bent, [start, inputs])

        return of

    got = svi_reference.in_mode(slopes(lambda s, x: scan(cell, s, x)), mode)(START, INPUTS)
    assert svi_reference.relative_error(got, slopes(looped)(START, INPUTS)) < 1e-12


def _directional(run, primals, tangents):
    with forward_mode.accumulate(primals, tangents) as forward:
        outputs = run(*primals)
        flat = tf.nest.flatten(outputs)
    return [forward.jvp(t, unconnected_gradients="zero") for t in flat]


@pytest.mark.parametrize("mode", MODES)
def test_forward_mode(mode):
    """A directional derivative through the loop equals one through Python's."""
    tangents = [tf.ones_like(START), tf.constant(RNG.normal(size=INPUTS.shape))]

    def dual(start, inputs):
        return _directional(lambda s, x: scan(cell, s, x), [start, inputs], tangents)

    got = svi_reference.in_mode(dual, mode)(START, INPUTS)
    with tf.autodiff.ForwardAccumulator([START, INPUTS], tangents) as accumulator:
        expected = looped(START, INPUTS)
    assert svi_reference.relative_error(got, list(accumulator.jvp(expected))) < 1e-13


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_forward_mode_when_only_one_side_moves(mode):
    for moving in (0, 1):
        fixed = [START, INPUTS]

        def dual(primal, moving=moving, fixed=fixed):
            def run(tensor):
                arguments = [tensor if i == moving else fixed[i] for i in (0, 1)]
                return scan(cell, *arguments)

            return _directional(run, [primal], [tf.ones_like(primal)])

        got = svi_reference.in_mode(dual, mode)(fixed[moving])
        with tf.autodiff.ForwardAccumulator(fixed[moving], tf.ones_like(fixed[moving])) as forward:
            expected = looped(*fixed)
        assert svi_reference.relative_error(got, list(forward.jvp(expected))) < 1e-13


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_forward_mode_leaves_a_loop_without_tangents_alone(mode):
    def dual(primal):
        def run(tensor):
            return tensor * tf.reduce_sum(scan(cell, START, INPUTS)[1])

        return _directional(run, [primal], [tf.ones_like(primal)])

    got = svi_reference.in_mode(dual, mode)(tf.constant(2.0, tf.float64))
    assert float(got[0]) == pytest.approx(float(tf.reduce_sum(looped(START, INPUTS)[1])))


@pytest.mark.parametrize("mode", MODES)
def test_reverse_over_forward(mode):
    """The gradient of a directional derivative: what a Hessian-vector product needs."""

    def products(run):
        def of(start, inputs):
            with tf.GradientTape() as tape:
                tape.watch([start, inputs])
                dots = _directional(lambda s: run(s, inputs), [start], [tf.ones_like(start)])
                slope = tf.reduce_sum(dots[0]) + tf.reduce_sum(dots[1] ** 2)
            return tape.gradient(slope, [start, inputs])

        return of

    got = svi_reference.in_mode(products(lambda s, x: scan(cell, s, x)), mode)(START, INPUTS)
    assert svi_reference.relative_error(got, products(looped)(START, INPUTS)) < 1e-12


def test_what_the_cell_captures_moves_in_eager_mode_and_is_refused_in_graphs():
    """h_0 = tanh(z), and each step adds z U: both depend on what is differentiated."""

    def dual(z, run):
        def of(z):
            shift = z @ KERNEL

            def moved(state, inputs):
                state = tf.tanh(state @ KERNEL + inputs + shift)
                return state, state**2

            return run(moved, tf.tanh(z))

        return _directional(of, [z], [tf.ones_like(z)])

    def still(z):
        """Neither the state nor the inputs move: the captured tensor alone does."""

        def of(z):
            shift = z @ KERNEL
            return scan(lambda s, x: (tf.tanh(s + shift + x), s), tf.zeros_like(START), INPUTS)

        return _directional(of, [z], [tf.ones_like(z)])

    def unrolled(step, state):
        return looped(state, INPUTS, step)

    def scanned(step, state):
        return scan(step, state, INPUTS)

    got, expected = dual(START, scanned), dual(START, unrolled)
    assert svi_reference.relative_error(got, expected) < 1e-13
    with pytest.raises(ValueError, match="scan: the cell captures a tensor"):
        svi_reference.in_mode(lambda z: dual(z, scanned), "graph")(START)
    with pytest.raises(ValueError, match="scan: the cell captures a tensor"):
        svi_reference.in_mode(still, "graph")(START)
    assert forward_mode.tangents_of([START]) is None


def test_an_accumulator_around_a_tape_is_told_off():
    with pytest.raises(forward_mode.LoopInForwardOverReverse):
        with forward_mode.accumulate([START], [START], surrounds_tape=True):
            scan(cell, START, INPUTS)
    # And nothing is left behind: the next directional derivative is right.
    assert forward_mode.tangents_of([START]) is None


def test_nests_and_integer_free_outputs():
    def counted(state, inputs):
        total = {"sum": state["sum"] + inputs[0] * inputs[1]}
        return total, (total["sum"], [inputs[0]])

    inputs = (tf.range(4.0), 2 * tf.ones([4]))
    state, (sums, [first]) = scan(counted, {"sum": tf.zeros([])}, inputs)
    assert float(state["sum"]) == 12.0
    assert sums.numpy().tolist() == [0.0, 2.0, 6.0, 12.0]
    assert first.numpy().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_scan_inside_a_scan():
    def row(state, values):
        inner, _ = scan(lambda s, v: (s * v, s), state, values)
        return inner, inner

    values = tf.constant([[2.0, 3.0], [4.0, 5.0]])
    run = tf.function(
        lambda x: _directional(lambda s: scan(row, s, values)[0], [x], [tf.ones([])]),
        autograph=False,
    )
    assert float(run(tf.constant(1.0))[0]) == 120.0


def test_length_unknown_when_traced():
    run = tf.function(
        lambda x: scan(lambda s, v: (s + v, s), tf.zeros([]), x)[0],
        [tf.TensorSpec([None])],
        autograph=False,
    )
    assert float(run(tf.ones([3]))) == 3.0 and float(run(tf.ones([7]))) == 7.0


def test_no_time_at_all():
    state, outputs = scan(cell, START, INPUTS[:0])
    assert np.array_equal(state, START) and outputs.shape == [0, BATCH, SIZE]
