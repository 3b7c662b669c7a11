"""The JVP that the package registers for the process leaves TensorFlow's own results alone."""

import json
import subprocess
import sys

import numpy as np
import plain_forward_mode
import pytest
import tensorflow as tf

from tf_savae.autodiff import forward_mode


@pytest.fixture(scope="module")
def without():
    """The answers of a process that has never imported tf_savae."""
    command = [sys.executable, plain_forward_mode.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_an_accumulator_of_the_users_own_answers_as_without_the_package(without):
    found = plain_forward_mode.answers()
    assert set(found) == set(without) and len(found) == 26
    for name, expected in without.items():
        if isinstance(expected, str):
            assert found[name] == expected, name
        else:
            np.testing.assert_allclose(found[name], expected, rtol=1e-6, err_msg=name)
    numbers = [name for name, value in without.items() if not isinstance(value, str)]
    assert "while_loop, forward, eager" in numbers and "product, forward, graph" in numbers


def test_only_inside_accumulate_is_a_jvp_written_in_line():
    """Else every JVP of a graph is a function of its own, as TensorFlow makes it."""

    def operations(context):
        graph = tf.Graph()
        with graph.as_default():
            x = tf.constant(plain_forward_mode.X)
            with context(x, tf.ones_like(x)) as forward:
                y = tf.tanh(x @ x)
            assert forward.jvp(y) is not None
        return {operation.type for operation in graph.get_operations()}

    calls = {"PartitionedCall", "StatefulPartitionedCall"}
    assert operations(tf.autodiff.ForwardAccumulator) & calls
    with_ours = operations(lambda x, t: forward_mode.accumulate([x], [t]))
    assert not with_ours & calls
