"""Builds serve.c against the TensorFlow wheel, and speaks with it: requests in, answers out."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

SOURCE = Path(__file__).with_name("serve.c")


class Refused(NamedTuple):
    """The server's error."""

    code: int
    message: str


class Answered(NamedTuple):
    """The server's answer."""

    outputs: dict  # name -> array
    milliseconds: float  # median over the runs


def compiler():
    """The path of gcc, or None."""
    return shutil.which("gcc")


def build(folder):
    """Compiles serve.c into `folder` and returns the program's path."""
    program = Path(folder) / "serve"
    library = tf.sysconfig.get_lib()
    subprocess.run(
        [compiler(), "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", str(SOURCE)]
        + [f"-isystem{tf.sysconfig.get_include()}", f"-L{library}", f"-Wl,-rpath,{library}"]
        + ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", "-o", str(program)],
        check=True,
    )
    return program


def signature_defs(exported):
    """{name: SignatureDef} of a SavedModel's graph with the tag "serve", as clients see them."""
    content = (Path(exported) / "saved_model.pb").read_bytes()
    model = saved_model_pb2.SavedModel.FromString(content)
    (graph,) = [g for g in model.meta_graphs if list(g.meta_info_def.tags) == ["serve"]]
    return {n: d for n, d in graph.signature_def.items() if n != "__saved_model_init_op"}


def run(program, exported, requests, times=1, timeout=120):
    """Runs (signature, {input: value}) requests in one process; a list of answers.

    Raises:
      RuntimeError: the process ended before it had answered all: a server would have crashed.
    """
    definitions = signature_defs(exported)
    text = "\n".join(_request(definitions[name], inputs, times) for name, inputs in requests)
    done = subprocess.run(
        [str(program), str(exported)], input=text, capture_output=True, text=True, timeout=timeout
    )
    if done.returncode:
        raise RuntimeError(f"serve ended with {done.returncode}: {done.stderr[-2000:]}")
    lines = iter(done.stdout.splitlines())
    return [_answer(definitions[name], lines) for name, _ in requests]


def _request(definition, inputs, times):
    parts = [f"run {times}"]
    for name, value in inputs.items():
        parts.append(f"in {_place(definition.inputs[name])} {_tensor(np.asarray(value))}")
    parts += [f"out {_place(definition.outputs[name])}" for name in sorted(definition.outputs)]
    return "\n".join([*parts, "end"])


def _place(info):
    return info.name.replace(":", " ")


def _tensor(array):
    dtype = tf.string if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype)
    if dtype == tf.string:
        values = ["x" + (v if isinstance(v, bytes) else v.encode()).hex() for v in array.ravel()]
    else:
        values = [repr(value.item()) for value in array.ravel()]
    return " ".join(map(str, [dtype.as_datatype_enum, array.ndim, *array.shape, *values]))


def _answer(definition, lines):
    kind, *rest = next(lines).split(" ", 2)
    if kind == "error":
        return Refused(int(rest[0]), rest[1] if len(rest) > 1 else "")
    outputs = {name: _array(next(lines).split(" ")) for name in sorted(definition.outputs)}
    return Answered(outputs, float(rest[0]))


def _array(words):
    _, dtype, rank, *rest = words
    shape, values = [int(n) for n in rest[: int(rank)]], rest[int(rank) :]
    dtype = tf.as_dtype(int(dtype))
    if dtype == tf.string:
        values = [bytes.fromhex(value[1:]) for value in values]
    return np.array(values).astype(dtype.as_numpy_dtype).reshape(shape)
