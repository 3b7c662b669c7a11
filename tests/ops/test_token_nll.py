"""The fused softmax loss against TensorFlow's own, to second order."""

import collections
import functools
import re

import numpy as np
import pytest
import tensorflow as tf

from tf_savae.autodiff import forward_mode
from tf_savae.networks import token_nll
from tf_savae.ops import token_softmax


def _inputs(rows=3, width=4, vocabulary_size=5):
    rng = np.random.default_rng(0)
    shapes = [(rows, width), (width, vocabulary_size), (vocabulary_size,)]
    tensors = [tf.constant(rng.normal(size=shape)) for shape in shapes]
    return tensors, tf.constant([0, 4, 2])


def _plain(hidden, kernel, bias, targets):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, tf.matmul(hidden, kernel) + bias)


def _second(function, tensors, targets, vector):
    """Gradient in all inputs of <d sum f^2 / d hidden, vector>, by reverse over reverse."""
    with tf.GradientTape() as outer:
        outer.watch(tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors[0])
            total = tf.reduce_sum(function(*tensors, targets) ** 2)
        slope = tf.reduce_sum(tape.gradient(total, tensors[0]) * vector)
    return outer.gradient(slope, tensors)


def _forward_then_reverse(function, tensors, targets, vector):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        with forward_mode.accumulate([tensors[0]], [vector]) as forward:
            total = tf.reduce_sum(function(*tensors, targets) ** 2)
        slope = forward.jvp(total)
    return tape.gradient(slope, tensors)


def test_value_and_second_derivatives():
    tensors, targets = _inputs()
    vector = tf.constant(np.random.default_rng(1).normal(size=(3, 4)))
    np.testing.assert_allclose(token_nll(*tensors, targets), _plain(*tensors, targets), rtol=1e-12)
    wanted = _second(_plain, tensors, targets, vector)
    for product in (_second, _forward_then_reverse):
        got = product(token_nll, tensors, targets, vector)
        for g, w in zip(got, wanted, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("jit_compile", [None, False, True])
@pytest.mark.parametrize("tokens", [1, 2, 3, 7])
def test_products_in_pieces(tokens, jit_compile):
    """The last chunk is padded if 3 rows do not fit; the padding has no effect."""
    tensors, targets = _inputs()
    vector = tf.constant(np.random.default_rng(1).normal(size=(3, 4)))
    pieces = functools.partial(token_nll, chunk_size=tokens * 5)

    def product(*tensors):
        return _forward_then_reverse(pieces, tensors, targets, vector)

    def value_and_slope(hidden):
        with forward_mode.accumulate([hidden], [vector]) as forward:
            nll = pieces(hidden, *tensors[1:], targets)
        return nll, forward.jvp(nll)

    if jit_compile is not None:
        product = tf.function(product, jit_compile=jit_compile)
        value_and_slope = tf.function(value_and_slope, jit_compile=jit_compile)
    for g, w in zip(product(*tensors), _second(_plain, tensors, targets, vector), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)
    nll, slope = value_and_slope(tensors[0])
    np.testing.assert_allclose(nll, _plain(*tensors, targets), rtol=1e-12)
    moved = [_plain(tensors[0] + eps * vector, *tensors[1:], targets) for eps in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (moved[0] - moved[1]) / 2e-6, rtol=1e-7)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("chunk_size", [10, 2**23])
def test_products_in_pieces_of_any_number_of_rows(chunk_size, jit_compile):
    tensors, targets = _inputs()
    vector = tf.constant(np.random.default_rng(1).normal(size=(3, 4)))
    pieces = functools.partial(token_nll, chunk_size=chunk_size)
    specs = [tf.TensorSpec([None, 4], tf.float64), tf.TensorSpec([None], tf.int32)]

    @tf.function(input_signature=[specs[0], specs[0], specs[1]], jit_compile=jit_compile)
    def product(hidden, vector, targets):
        return _forward_then_reverse(pieces, [hidden, *tensors[1:]], targets, vector)

    wanted = _second(_plain, tensors, targets, vector)
    for g, w in zip(product(tensors[0], vector, targets), wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("jit_compile", [None, False, True])
@pytest.mark.parametrize("tokens", [1, 2])
def test_more_logits_than_are_held_at_once(tokens, jit_compile):
    """Value, gradient and both Hessian-vector products, some tokens at a time."""
    tensors, targets = _inputs()
    vector = tf.constant(np.random.default_rng(1).normal(size=(3, 4)))
    pieces = functools.partial(token_nll, chunk_size=tokens * 5, chunk_threshold=14)

    def gradient(function, *tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            nll = function(*tensors, targets)
            total = tf.reduce_sum(nll**2)
        return [nll, *tape.gradient(total, tensors)]

    def answers(function, *tensors):
        products = _second if function is _plain else _forward_then_reverse
        second = products(function, tensors, targets, vector)
        return [*gradient(function, *tensors), *second]

    got = functools.partial(answers, pieces)
    if jit_compile is not None:
        got = tf.function(got, jit_compile=jit_compile)
    for g, w in zip(got(*tensors), answers(_plain, *tensors), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)
    for g, w in zip(
        tf.function(_second)(pieces, tensors, targets, vector),
        _second(_plain, tensors, targets, vector),
        strict=True,
    ):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chunk_threshold", [14, 15])
def test_no_tensor_of_all_logits_is_compiled(chunk_threshold):
    """The XLA program of the loss and all gradients holds [3, 5] only where that is allowed."""
    tensors, targets = _inputs()

    @tf.function(jit_compile=True)
    def gradient(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            nll = token_nll(*tensors, targets, chunk_size=5, chunk_threshold=chunk_threshold)
        return tape.gradient(nll, tensors)

    program = gradient.experimental_get_compiler_ir(*tensors)(stage="optimized_hlo")
    assert ("f64[3,5]" in program) == (chunk_threshold == 15)


def _passes(program, rows, words):
    """What the entry of a compiled program makes of size [rows, words]: Counter {operation: n}."""
    entry = program[program.index("\nENTRY") :]
    return collections.Counter(re.findall(rf"= \w+\[{rows},{words}\]\S* ([\w-]+)\(", entry))


def test_passes_over_the_logits_in_the_compiled_programs():
    """One product and three fused passes for value and gradient; two and six for a product."""
    rng = np.random.default_rng(0)
    shapes = [(64, 48), (48, 512), (512,)]
    tensors = [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes]
    targets = tf.constant(rng.integers(0, 512, 64), tf.int32)

    def first(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            nll = token_nll(*tensors, targets)
        return tape.gradient(nll, tensors)

    def second(*tensors):
        return _forward_then_reverse(token_nll, tensors, targets, 2.0 * tensors[0])

    for function, products, fused in ((first, 1, 3), (second, 2, 6)):
        compiled = tf.function(function, jit_compile=True).experimental_get_compiler_ir(*tensors)
        passes = _passes(compiled(stage="optimized_hlo"), 64, 512)
        assert passes["dot"] == products and 0 < passes["fusion"] <= fused
        assert set(passes) <= {"dot", "fusion", "bitcast", "parameter", "get-tuple-element"}


def test_an_unknown_number_of_rows_is_not_filled_up_to_a_whole_piece():
    """A chunk of 2**23 logits would be 1.6 million rows of 5 words, which would take seconds."""
    tensors, targets = _inputs()
    seen = []

    def counted(hidden):
        tokens = token_softmax._cross_entropy

        def spy(logits, targets):
            tf.py_function(lambda n: seen.append(int(n)), [tf.shape(logits)[0]], [])
            return tokens(logits, targets)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(token_softmax, "_cross_entropy", spy)
            return _forward_then_reverse(token_nll, [hidden, *tensors[1:]], targets, hidden)

    spec = tf.TensorSpec([None, 4], tf.float64)
    tf.function(counted, input_signature=[spec])(tensors[0])
    assert seen and set(seen) == {3}


def test_no_rows():
    tensors, targets = _inputs()
    none = tensors[0][:0]
    with forward_mode.accumulate([none], [none]) as forward:
        nll = token_nll(none, *tensors[1:], targets[:0])
    assert nll.shape == forward.jvp(nll).shape == (0,)


def test_half_precision_products_in_pieces():
    tensors, targets = _inputs(rows=48, vocabulary_size=6)
    targets = tf.tile(targets, [16])
    vector = tf.constant(np.random.default_rng(1).normal(size=(48, 4)))
    wanted = _forward_then_reverse(token_nll, tensors, targets, vector)
    narrow = [tf.cast(t, tf.bfloat16) for t in tensors]
    errors = []
    for chunk_size in (2**23, 6):  # All rows together; one at a time.
        pieces = functools.partial(token_nll, chunk_size=chunk_size)
        got = _forward_then_reverse(pieces, narrow, targets, tf.cast(vector, tf.bfloat16))
        assert [g.dtype for g in got] == [tf.bfloat16] * 3
        distance = tf.norm(tf.cast(got[1], tf.float64) - wanted[1])
        errors.append(float(distance / tf.norm(wanted[1])))
    assert errors[1] < 1.2 * errors[0] < 0.03


def test_half_precision_inputs_give_full_precision_losses():
    tensors, targets = _inputs()
    narrow = [tf.cast(t, tf.bfloat16) for t in tensors]
    nll = token_nll(*narrow, targets)
    assert nll.dtype == tf.float32
    np.testing.assert_allclose(nll, _plain(*tensors, targets), rtol=0.05)
