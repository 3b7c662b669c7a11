"""Counts the matrix products and convolutions that TensorFlow really executes, by its profiler.

A graph holds more operations than are run: dead branches, both gradients of a convolution. What
counts as cost is what runs.
"""

import collections
import tempfile
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

PRODUCTS = {
    "MatMul",
    "BatchMatMulV2",
    "Einsum",
    "Conv2D",
    "_FusedConv2D",
    "Conv2DBackpropInput",
    "Conv2DBackpropFilter",
}


def executed_products(function, *arguments):
    """Runs a traced function once more under the profiler: Counter {operation: executions}."""
    _finish(function(*arguments))  # Traces and warms up, unseen.
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
        with tf.profiler.experimental.Profile(folder, options):
            _finish(function(*arguments))
        names = [name for path in Path(folder).rglob("*.xplane.pb") for name in _events(path)]
    return collections.Counter(name for name in names if name in PRODUCTS)


def _finish(outputs):
    tf.nest.map_structure(lambda t: t.numpy(), outputs)


def _events(path):
    """Yields the operation of each executed kernel; events are called "node:operation#...#"."""
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                yield name.rpartition(":")[2].partition("#")[0]
