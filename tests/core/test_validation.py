"""Checks say what was expected and what came."""

import numpy as np
import pytest
import tensorflow as tf

from tf_savae.core import validation


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (validation.non_negative_int, [0, 3, np.int32(4)], [-1, 1.0, True, None, "1"]),
        (validation.positive_int, [1, np.int64(2)], [0, -3, 2.0, False, None]),
        (validation.positive, [1e-9, 3, np.float32(2)], [0, -1.0, np.inf, np.nan, None, True, "1"]),
        (validation.unit_interval, [0, 0.5, 1], [-0.1, 1.1, np.nan, None, "half"]),
    ],
)
def test_numbers(check, good, bad):
    for value in good:
        assert check("size", value) == value
    for value in bad:
        with pytest.raises(ValueError, match=r"^size: expected .*, got ") as caught:
            check("size", value)
        assert str(caught.value).endswith(f"got {value!r}.")


def test_optional_and_zero():
    assert validation.positive("clip", None, optional=True) is None
    assert validation.positive("clip", 0, zero=True) == 0.0
    with pytest.raises(ValueError, match="clip: expected a finite number >= 0 or None, got -1"):
        validation.positive("clip", -1, optional=True, zero=True)
    with pytest.raises(ValueError, match=r"momentum: expected a number in \[0, 1\), got 1"):
        validation.unit_interval("momentum", 1, closed=False)


def test_choice():
    assert validation.choice("mode", "a", ("a", "b")) == "a"
    with pytest.raises(ValueError, match="mode: expected one of a, b; got 'c'"):
        validation.choice("mode", "c", ("a", "b"))


def test_floating_nest_keeps_structure_and_dtype():
    nest = {"m": np.zeros([2, 3]), "v": [np.ones([2])]}
    made = validation.floating_nest("initial", nest)
    assert made["m"].dtype == tf.float64 and made["v"][0].shape == [2]


@pytest.mark.parametrize(
    ("nest", "error", "message"),
    [
        ([], ValueError, "at least one tensor"),
        ({"a": tf.zeros([2], tf.int64)}, TypeError, "leaf 0 has dtype int64"),
        ([tf.zeros([2]), tf.zeros([2], tf.bfloat16)], TypeError, "leaf 1 has dtype bfloat16"),
        ([tf.zeros([2]), 0.0], ValueError, "leaf 1 is a scalar"),
        ([tf.zeros([2]), tf.zeros([2], tf.float64)], TypeError, "leaves of one dtype"),
        ([tf.zeros([2]), tf.zeros([3, 2])], ValueError, r"one batch size, got .*\[3, 2\]"),
    ],
)
def test_no_floating_nest(nest, error, message):
    with pytest.raises(error, match="^initial: .*" + message):
        validation.floating_nest("initial", nest)


def test_floating_nest_of_unknown_batch():
    @tf.function(input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([3, 2])])
    def run(left, right):
        return validation.floating_nest("initial", (left, right))

    assert run(tf.zeros([3, 2]), tf.zeros([3, 2]))[0].shape == [3, 2]


def test_per_example():
    assert validation.per_example("f", tf.zeros([3]), 3).shape == [3]
    for value, error, message in [
        (tf.zeros([3, 4]), ValueError, r"shape \[B\]; got shape \[3, 4\]. Sum over time steps"),
        (tf.zeros([]), ValueError, r"got shape \[\]"),
        (tf.zeros([4]), ValueError, "each of the 3 examples, got 4"),
        (tf.zeros([3], tf.int32), TypeError, "floating dtype, got int32"),
    ]:
        with pytest.raises(error, match="^f: .*" + message):
            validation.per_example("f", value, 3)


def test_finite():
    good = np.array([1, 2])
    assert validation.finite("x", good) is good
    bad = np.array([[0.0, np.nan], [np.inf, 1.0]])
    with pytest.raises(ValueError, match="x: expected finite numbers, got 2 NaN or infinite of 4"):
        validation.finite("x", bad)
    with pytest.raises(ValueError, match="got 1 NaN or infinite of 2. Look at it."):
        validation.finite("x", tf.constant([1.0, np.inf], tf.bfloat16), "Look at it.")
