"""Exports of the oracle, of image models, of the baseline, and with XLA, as servers see them."""

import image_models
import keras
import keras_models
import numpy as np
import pytest
import tensorflow as tf
from serving import answers, program

import tf_savae
from tf_savae.networks import OracleDecoder, OracleEncoder, TextDecoder

needs_gcc = pytest.mark.skipif(program.compiler() is None, reason="NO gcc: NOT CHECKED as served")


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Runs requests against an export, in a process without Python."""
    built = program.build(tmp_path_factory.mktemp("program"))
    return lambda exported, requests: program.run(built, exported, requests)


def _oracle():
    keras.utils.set_random_seed(0)
    refinement = tf_savae.SemiAmortizedRefinement(steps=3, step_size=0.1)
    parts = OracleEncoder(20, units=8), OracleDecoder(20, units=8)
    model = tf_savae.SemiAmortizedVAE(*parts, latent_size=2, refinement=refinement)
    return model, np.random.default_rng(0).integers(0, 20, (2, 5)).astype("int32")


def _image():
    return image_models.model(), image_models.images(2)


def _exported(made, folder, **options):
    model, x = made
    model.ensure_built(tf.constant(x))
    return model, x, tf_savae.export(model, folder / "model", limits=answers.LIMITS, **options)


def _agree(model, x, exported, serve, names, asked, hostile):
    """Asks `asked` for each {what: (x, message)} of `hostile`, then for good answers of `names`."""
    definitions = program.signature_defs(exported)
    good = [(name, answers.request(definitions[name], x=x)) for name in names]
    bad = [(asked, answers.request(definitions[asked], x=value)) for value, _ in hostile.values()]
    served = serve(exported, [*bad, *good])
    for (what, (_, message)), answer in zip(hostile.items(), served, strict=False):
        assert isinstance(answer, program.Refused), (what, answer)
        assert answer.code == 3 and message in answer.message, (what, answer)
    expected = answers.keras_answers(model, x, names)
    for name, answer in zip(names, served[len(bad) :], strict=True):
        assert isinstance(answer, program.Answered), (name, answer)
        assert answer.outputs.keys() == expected[name].keys()
        for output, value in answer.outputs.items():
            wanted = expected[name][output]
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5, err_msg=name)


@needs_gcc
def test_oracle(serve, tmp_path):
    """No <pad> and no marks: every id is a word, and rows have one length."""
    names = ["infer", "generate"]
    model, x, exported = _exported(_oracle(), tmp_path, signatures=names)
    hostile = {"id": x + 20, "below 0": x - 20, "short": x[:, :4], "none": x[:0], "flat": x[0]}
    _agree(model, x, exported, serve, names, "infer", {k: (v, "x: ") for k, v in hostile.items()})


def _hostile_images(x):
    nan, infinite = x.copy(), x.copy()
    nan[0, 0, 0, 0], infinite[1, 2, 3, 0] = np.nan, np.inf
    finite = "x: expected finite numbers, got NaN or infinity"
    return {
        "NaN": (nan, finite),
        "infinity": (infinite, finite),
        "grey": (0.5 * x, "x: expected pixels of 0 or 1"),
        "huge": (1e38 * x, "x: expected pixels of 0 or 1"),
        "empty": (x[:0], "x: expected 1 to 8 examples"),
        "no channel": (x[..., 0], "x: expected shape [any, 4, 5, 1]"),
        "transposed": (x.transpose(0, 2, 1, 3), "x: expected shape [any, 4, 5, 1]"),
        "flat": (x.reshape(len(x), -1), "x: expected shape [any, 4, 5, 1]"),
    }


@needs_gcc
def test_images(serve, tmp_path):
    """Agreement with Keras, and bad pixels."""
    names = ["elbo", "reconstruct"]
    model, x, exported = _exported(_image(), tmp_path, signatures=names)
    _agree(model, x, exported, serve, names, "elbo", _hostile_images(x))


@needs_gcc
def test_the_baseline_without_a_latent_code(serve, tmp_path):
    """Its default is its exact likelihood."""
    keras.utils.set_random_seed(0)
    model = tf_savae.AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0))
    model, x, exported = _exported((model, keras_models.tokens()), tmp_path)
    definitions = program.signature_defs(exported)
    assert set(definitions) == {"log_likelihood", "generate", "serving_default"}
    names = ["serving_default", "generate"]
    requests = [(name, answers.request(definitions[name], x=x)) for name in names]
    likelihood, drawn = serve(exported, requests)
    wanted = model.log_likelihood(x).numpy()
    np.testing.assert_allclose(likelihood.outputs["log_likelihood_nats"], wanted, rtol=1e-5)
    options = {"length": answers.LIMITS.words, "temperature": answers.TEMPERATURE}
    wanted = model.generate(3, answers.SEED, **options).numpy()
    np.testing.assert_array_equal(drawn.outputs["sample"], wanted)


@needs_gcc
def test_with_xla(serve, tmp_path):
    """Compiled where XLA is allowed; a default server says that it is not."""
    made = keras_models.dense_model(), keras_models.data(2)
    made[0].compile(jit_compile=True)
    model, x, exported = _exported(made, tmp_path, signatures=["infer"], xla=True)
    request = answers.request(program.signature_defs(exported)["infer"], x=x)
    (refused,) = serve(exported, [("infer", request)])
    assert isinstance(refused, program.Refused) and "XLA compilation disabled" in refused.message
    infer = tf.saved_model.load(exported).signatures["infer"]
    got = infer(**{name: tf.constant(value) for name, value in request.items()})
    wanted = answers.keras_answers(model, x, ["infer"])["infer"]
    for output, value in got.items():
        np.testing.assert_allclose(value, wanted[output], rtol=1e-5, atol=1e-5)


def test_an_answer_that_is_not_finite_is_an_error(tmp_path):
    """Numbers that a float32 likelihood cannot hold."""
    model, x, exported = _exported((_baseline_of_numbers(), keras_models.data(2)), tmp_path)
    served = tf.saved_model.load(exported).signatures["log_likelihood"]
    assert np.isfinite(served(x=tf.constant(x))["log_likelihood_nats"]).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="the output is not finite"):
        served(x=tf.constant(1e30 * x))


def _baseline_of_numbers():
    class Standard(tf_savae.Decoder):
        """Independent standard normal features; it cannot sample."""

        def log_prob(self, x, z, seed=None, training=False):
            return -0.5 * tf.reduce_sum(tf.square(x), axis=1)

    return tf_savae.AutoregressiveModel(Standard())
