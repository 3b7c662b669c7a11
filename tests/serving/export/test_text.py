"""A text model as a model server sees it: a C program without Python, with XLA disabled.

Every signature agrees with Keras, whatever else is in the request, and hostile requests end in an
error that says what was expected; the server goes on.
"""

import re
import subprocess
import sys
import urllib.error
from pathlib import Path

import keras_models
import numpy as np
import pytest
import tensorflow as tf
from serving import answers, program, stub

import tf_savae
from tf_savae.data import Vocabulary

WORDS = [f"w{i}" for i in range(14)] + ["naïve", "日本"]
VOCABULARY = Vocabulary(WORDS)
TEXTS = ["w1 w2  naïve w3", "日本 w5", "w0\u3000<unk> nowhere </s>"]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "serving.md"
CLIENTS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
ALONE = ("posterior", "score", "encode")
ROWS_IN = ("infer", *ALONE, "elbo", "log_likelihood", "reconstruct")
needs_gcc = pytest.mark.skipif(program.compiler() is None, reason="NO gcc: NOT CHECKED as served")


@pytest.fixture(scope="module")
def model():
    model = keras_models.text_model()
    model.ensure_built(tf.constant(keras_models.tokens()))
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "text"
    return tf_savae.export(
        model, base, vocabulary=VOCABULARY, limits=answers.LIMITS, **answers.FIXED
    )


@pytest.fixture(scope="module")
def definitions(exported):
    return program.signature_defs(exported)


@pytest.fixture(scope="module")
def served(exported, definitions, tmp_path_factory):
    """{label: answer} to every request of this file, from one process without Python."""
    requests = dict(_requests(definitions))
    built = program.build(tmp_path_factory.mktemp("program"))
    return dict(zip(requests, program.run(built, exported, requests.values()), strict=True))


def _rows(texts):
    rows = [VOCABULARY.encode(text) for text in texts]
    longest = max(map(len, rows))
    return np.array([row + [0] * (longest - len(row)) for row in rows], np.int32)


def _decoded(rows):
    return [VOCABULARY.decode(row).encode() for row in rows]


def test_the_signatures(definitions):
    names = {*ROWS_IN, "generate"}
    assert set(definitions) == names | {f"{name}_text" for name in names} | {"serving_default"}
    assert definitions["serving_default"].inputs.keys() == {"x"}  # So that a server may batch.
    assert definitions["serving_default"].outputs.keys() == {"mean", "log_variance"}
    for name in ALONE:
        assert definitions[name].inputs.keys() == {"x"}
        assert definitions[f"{name}_text"].inputs.keys() == {"text"}
    assert definitions["generate"].inputs.keys() == {"n", "seed", "temperature"}
    for name in names - {"generate", *ALONE}:
        assert "seed" in definitions[name].inputs
    # Names are all that `saved_model_cli show` has room for: so they hold the unit.
    assert set(definitions["elbo"].outputs) == {"amortized_elbo_nats", "refined_elbo_nats"}
    sizes = definitions["infer"].outputs["mean"].tensor_shape.dim
    assert [size.size for size in sizes] == [-1, 2]


@needs_gcc
def test_every_signature_agrees_with_keras(model, served, definitions):
    """And so do the strings: the graph's words are those of `Vocabulary.encode`."""
    expected = answers.keras_answers(model, _rows(TEXTS))
    expected["serving_default"] = expected["infer"]
    for name in definitions:
        answer, wanted = served["usual", name], expected[name.removesuffix("_text")]
        assert isinstance(answer, program.Answered), (name, answer)
        assert answer.outputs.keys() == wanted.keys()
        for output, value in answer.outputs.items():
            if value.dtype == object:
                assert value.tolist() == _decoded(wanted[output]), (name, output)
            else:
                np.testing.assert_allclose(value, wanted[output], rtol=1e-5, atol=1e-5)


@needs_gcc
@pytest.mark.parametrize("name", ROWS_IN)
def test_an_answer_does_not_depend_on_the_batch(served, name):
    """Nor on the place in it, nor on how far the rows are filled up."""
    for output, value in served["one", name].outputs.items():
        for label, row in (("usual", 1), ("filled", 2), ("filled", 3)):
            got = served[label, name].outputs[output][row]
            np.testing.assert_allclose(got, value[0], rtol=1e-5, atol=1e-5)


X = np.array([[2, 5, 6, 3], [2, 7, 3, 0]], np.int32)
HOSTILE_ROWS = {
    "too large": (X + 20, "x: expected a number from 0 to 19: token ids"),
    "below 0": (-X, "x: expected a number from 0 to 19"),
    "largest integer": (np.full([1, 4], 2**31 - 1, np.int32), "x: expected a number from 0 to 19"),
    "no example": (X[:0], "x: expected 1 to 8 examples"),
    "too many": (np.repeat(X, 5, axis=0), "x: expected 1 to 8 examples"),
    "no token": (X[:, :0], "x: expected rows of 2 to 14 tokens"),
    "long": (np.full([1, 10_000], 2, np.int32), "x: expected rows of 2 to 14 tokens"),
    "no <s>": (X[:, 1:], "x: expected rows <s>"),
    "no </s>": (np.array([[2, 5, 6, 7]], np.int32), "x: expected rows <s>"),
    "no </s> before <pad>": (np.array([[2, 5, 6, 0]], np.int32), "x: expected rows <s>"),
    "one open of two": (np.array([[2, 5, 3, 0], [2, 5, 6, 0]], np.int32), "x: expected rows <s>"),
    "<s> alone": (np.array([[2, 0]], np.int32), "x: expected rows <s>"),
    "<s> twice": (np.array([[2, 2, 5, 3]], np.int32), "x: expected rows <s>"),
    "</s> twice": (np.array([[2, 5, 3, 3]], np.int32), "x: expected rows <s>"),
    "</s> inside": (np.array([[2, 3, 5, 3]], np.int32), "x: expected rows <s>"),
    "</s> after <pad>": (np.array([[2, 5, 3, 0, 3]], np.int32), "x: expected rows <s>"),
    "<pad> between": (np.array([[2, 5, 0, 3]], np.int32), "x: expected rows <s>"),
    "no word": (np.array([[2, 3, 0], [2, 5, 3]], np.int32), None),
    "<pad> inside": (np.array([[2, 0, 5, 3]], np.int32), "x: expected rows <s>"),
    "<pad> alone": (np.zeros([1, 4], np.int32), "x: expected rows <s>"),
    "one row": (X[0], r"x: expected shape \[any, any\]"),
    "rank 3": (X[None], r"x: expected shape \[any, any\]"),
    "a scalar": (np.int32(2), r"x: expected shape \[any, any\]"),
    "floats": (X.astype(np.float32), "to be int32 but float"),
}
# Answered by signatures of x alone: a server that joins rows fills them up with their first id.
AFTER_THE_END = ("</s> twice", "</s> inside", "</s> after <pad>")
LONG_TEXT = "text: expected at most 12 words in at most 4096 bytes"
BAD_TEXT = "text: expected UTF-8, got invalid bytes"
HOSTILE_TEXTS = {
    "13 words": ([b"w1 " * 13], "text: expected at most 12 words(?! in)"),
    "13 words of two texts": ([b"w1", b"w1 " * 13], "text: expected at most 12 words(?! in)"),
    "10,000 words": ([b"w1 " * 10_000], LONG_TEXT),
    "long word": ([b"w" * 4096], None),
    "longer word": ([b"w" * 4097], LONG_TEXT),
    "blanks": ([b"w1" + b" " * 1_000_000], LONG_TEXT),
    "long and not UTF-8": ([b"\xff" * 1_000_000], LONG_TEXT),
    "one long of two": ([b"w1", b"w" * 1_000_000], LONG_TEXT),
    "not UTF-8": ([b"w1 \xff\xfe"], BAD_TEXT),
    "half a character": (["日".encode()[:2]], BAD_TEXT),
    "overlong": ([b"\xc0\xaf"], BAD_TEXT),
    "surrogate": ([b"\xed\xa0\x80"], BAD_TEXT),
    "one bad of two": ([b"w1", b"\x80"], BAD_TEXT),
    "empty": ([b""], None),
    "NUL": ([b"w1\x00 w2"], None),
    "no example": ([], "text: expected 1 to 8 examples"),
    "rank 2": ([[b"w1"]], r"text: expected shape \[any\]"),
}
HOSTILE_SCALARS = {
    "steps": [-1, 21, 2**31 - 1],
    "samples": [-1, 0, 51, 2**31 - 1],
    "n": [-1, 0, 9, 2**31 - 1],
    "temperature": [-1.0, np.nan, np.inf, 1e-30, 1e30],
    "seed": [],
}


def _requests(definitions):
    """(label, (signature, request)) of everything that is asked."""
    x, text = _rows(TEXTS), np.array([t.encode() for t in TEXTS], object)
    for name, of in definitions.items():
        yield ("usual", name), (name, answers.request(of, x=x, text=text))
    filled = np.pad(np.repeat(x[::-1], 2, axis=0), [(0, 0), (0, 4)])
    for name in ROWS_IN:
        for label, rows in (("one", x[1:2, :4]), ("filled", filled)):
            yield (label, name), (name, answers.request(definitions[name], x=rows))
    for name, of in definitions.items():
        for what, changed, _ in _hostile(of) if name != "serving_default" else ():
            usual = {"x": X, "text": np.array([b"w1 w2"], object)}
            yield (what, name), (name, answers.request(of, **{**usual, **changed}))
    yield ("last", "infer"), ("infer", answers.request(definitions["infer"], x=x))


def _hostile(of):
    """(what, {input: value}, pattern of the error or None for a finite answer) of a signature."""
    if "x" in of.inputs:
        joined = AFTER_THE_END if len(of.inputs) == 1 else ()
        for what, (value, pattern) in HOSTILE_ROWS.items():
            yield what, {"x": value}, None if what in joined else pattern
    if "text" in of.inputs:
        for what, (value, pattern) in HOSTILE_TEXTS.items():
            yield what, {"text": np.array(value, object)}, pattern
    for scalar, values in HOSTILE_SCALARS.items():
        for value in (*values, [1, 2]) if scalar in of.inputs else ():
            kind = answers.SCALARS[scalar].dtype
            yield f"{scalar} {value}", {scalar: np.array(value, kind)}, f"{scalar}: expected"


@needs_gcc
def test_hostile_requests(served, definitions):
    """Each is an error that names the input, or a finite answer; and the server goes on."""
    count = 0
    for name, of in definitions.items():
        for what, _, pattern in _hostile(of) if name != "serving_default" else ():
            answer, count = served[what, name], count + 1
            if pattern is None:
                assert isinstance(answer, program.Answered), (name, what, answer)
                continue
            assert isinstance(answer, program.Refused), (name, what, answer)
            assert re.search(pattern, answer.message), (name, what, answer)
            assert answer.code == 3  # invalid argument: the client's fault, not the server's
    assert count > 200
    for output, value in served["usual", "infer"].outputs.items():
        np.testing.assert_array_equal(served["last", "infer"].outputs[output], value)


def test_saved_model_cli(exported, model, tmp_path):
    """It answers as Keras does."""
    inputs = f"text=[{TEXTS[0]!r}];steps={answers.STEPS};seed={answers.SEED}"
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run"]
    command += ["--dir", str(exported), "--tag_set", "serve", "--signature_def", "elbo_text"]
    command += ["--input_exprs", inputs, "--outdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    written = np.load(tmp_path / "refined_elbo_nats.npy")
    wanted = -model.negative_elbo(_rows(TEXTS[:1]), answers.STEPS, answers.SEED).numpy()
    np.testing.assert_allclose(written, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(exported)


def _run_client(client, address, port):
    assert address in client
    names = {}
    exec(compile(client.replace(address, f"localhost:{port}"), PAGE.name, "exec"), names)
    return names


def test_the_grpc_client_of_the_docs(loaded):
    """As it stands, against a stand-in for the server."""
    pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is missing")
    import grpc

    with stub.grpc_server(loaded.signatures, "savae") as port:
        names = _run_client(CLIENTS[0], "localhost:8500", port)
        assert names["posterior"]["mean"].shape == (2, 2)
        assert len(names["texts"]) == 3
        with pytest.raises(grpc.RpcError, match="steps: expected a number from") as refused:
            names["ask"]("infer_text", text=["a"], steps=101, seed=0)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        names["channel"].close()


def test_the_rest_client_of_rows_of_the_docs(loaded, capsys):
    """Strings in, labelled numbers out: those of the signature with scalars."""
    with stub.rest_server(loaded.signatures, "savae") as port:
        names = _run_client(CLIENTS[1], "localhost:8501", port)
        scores = names["ask_rows"]("score_text", TEXTS)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            names["ask_rows"]("score_text", ["w1 " * 13])
    assert len(capsys.readouterr().out.splitlines()) == 2
    scalars = {n: tf.constant(v) for n, v in answers.FIXED.items() if n != "samples"}
    wanted = loaded.signatures["elbo_text"](text=tf.constant(TEXTS), **scalars)
    for row, score in enumerate(scores):
        assert score.keys() == {*wanted, "log_likelihood_nats"}
        for name, values in wanted.items():
            assert score[name] == pytest.approx(float(values[row]), rel=1e-5)


def test_the_rest_client_of_the_docs(loaded):
    """As it stands, against a stand-in for the server."""
    with stub.rest_server(loaded.signatures, "savae") as port:
        names = _run_client(CLIENTS[2], "localhost:8501", port)
    assert len(names["means"][0]) == 2 and len(names["likelihoods"]) == 1
