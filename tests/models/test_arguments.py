"""Every argument with NumPy scalars, arrays, tensors, None, strings and bools: right, or named."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import FEATURES, LATENT, compiled, data, dense_decoder, dense_encoder, dense_model

import tf_savae
from tf_savae import networks, svi

NAN, HALF, TWO = float("nan"), np.float32(0.5), np.int64(2)
ARRAY, DICT, COMPLEX = np.ones(2), {}, np.complex64(1j)
# Kind of argument -> values that mean the same as the plain one after them, and refused ones.
SAME = {
    "count": [(TWO, 2)],
    "number": [(TWO, 2.0), (HALF, 0.5), (np.float64(2.0), 2.0)],
    "share": [(HALF, 0.5)],
    "seed": [(TWO, 2), (np.array(2), 2), (tf.constant(2), 2)],
    "switch": [(np.True_, True)],
    "choice": [],
    "part": [],
}
COMMON = ["3", [2.0, 3.0], ARRAY, DICT, COMPLEX, NAN]
REFUSED = {
    "count": [*COMMON, HALF, 2.0, True, np.True_, -1, np.array(2), tf.constant(2)],
    "number": [*COMMON, True, -1, np.array(0.5)],
    "share": [*COMMON, True, -1, 2.0, np.array(0.5), tf.constant(0.5)],
    "seed": ["3", [1, 2, 3], ARRAY, DICT, COMPLEX, NAN, 0.5, True, 2**40],
    "switch": ["True", 1, 0.0, ARRAY, DICT, None, tf.constant(True)],
    "choice": ["other", 3, True, ARRAY, DICT, tf.constant(2), NAN],
    "part": ["3", 3, HALF, True, ARRAY, {"a": 1}, tf.constant(2)],
}


def _vae(**given):
    refinement = tf_savae.SemiAmortizedRefinement(steps=1)
    parts = {"encoder": dense_encoder(), "decoder": dense_decoder(), "refinement": refinement}
    return tf_savae.SemiAmortizedVAE(**{**parts, "latent_size": LATENT, **given})


def _distribution_decoder(network=None, likelihood="normal"):
    network = keras.layers.Dense(FEATURES) if network is None else network
    return networks.DistributionDecoder(network, likelihood)


def _text(kind, latent_size=LATENT, **given):
    sizes = {"vocabulary_size": 20, "embedding_size": 4, "units": 5, **given}
    return kind(latent_size=latent_size, **sizes)


def _baseline(decoder=None, seed=0):
    decoder = _text(networks.TextDecoder, latent_size=0) if decoder is None else decoder
    return tf_savae.AutoregressiveModel(decoder, seed=seed)


# Constructor -> {argument: kind}; an argument that may be None has a "?".
CONSTRUCTORS = {
    "SemiAmortizedVAE": (
        _vae,
        {
            "encoder": "part", "decoder": "part", "refinement": "part?", "objective": "choice",
            "family": "part?", "prior": "part?", "latent_size": "count?", "beta": "number",
            "free_bits": "number", "seed": "seed",
        },
    ),
    "SemiAmortizedRefinement": (
        tf_savae.SemiAmortizedRefinement,
        {
            "steps": "count", "momentum": "share", "clip_norm": "number?", "adjoint": "choice",
            "hvp": "choice?", "adjoint_clip_norm": "number?", "samples": "count",
            "learn_step_size": "switch", "decoder": "part?", "prior": "part?", "family": "part?",
            "seed": "seed", "keep": "choice?", "fall_back": "count", "keep_budget": "count?",
        },
    ),
    "DistributionDecoder": (_distribution_decoder, {"network": "part?", "likelihood": "choice"}),
    "TextDecoder": (
        lambda **given: _text(networks.TextDecoder, **given),
        {
            "vocabulary_size": "count", "embedding_size": "count", "units": "count",
            "latent_size": "count", "dropout": "share", "word_dropout": "share",
            "initial_scale": "number",
        },
    ),
    "TextEncoder": (
        lambda **given: _text(networks.TextEncoder, **given),
        {
            "vocabulary_size": "count", "embedding_size": "count", "units": "count",
            "latent_size": "count", "family": "part?", "initial_scale": "number",
        },
    ),
    "OracleDecoder": (
        networks.OracleDecoder,
        {
            "vocabulary_size": "count", "units": "count", "latent_size": "count",
            "scale": "number", "latent_scale": "number", "output_scale": "number", "seed": "count",
        },
    ),
    "PixelCNNDecoder": (
        lambda **given: networks.PixelCNNDecoder(**{"channels": 4, **given}),
        {"latent_size": "count", "channels": "count", "latent_maps": "count"},
    ),
    "ResidualEncoder": (networks.ResidualEncoder, {"latent_size": "count", "family": "part?"}),
    "StandardNormalPrior": (networks.StandardNormalPrior, {"latent_size": "count"}),
    "AutoregressiveModel": (_baseline, {"decoder": "part?", "seed": "seed"}),
    "CyclicalKLWeight": (
        lambda steps=4, **given: tf_savae.CyclicalKLWeight(steps, **given),
        {
            "steps": "count", "cycles": "count", "ramp": "share", "start": "number",
            "end": "number",
        },
    ),
    "linear_kl_weight": (
        lambda steps=4, **given: tf_savae.linear_kl_weight(steps, **given),
        {"steps": "count", "start": "number", "end": "number"},
    ),
}  # fmt: skip


def _named(call, name, kind):
    values = list(REFUSED[kind.rstrip("?")])
    if not kind.endswith("?") and kind not in ("seed", "switch"):
        values.append(None)
    for value in values:
        try:
            call(value)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(name) or f" {name}: " in str(error), (value, error)
            assert "expected" in str(error), (value, error)
        else:
            raise AssertionError(f"{name}={value!r} passed")


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
def test_arguments_of_constructors(constructor):
    make, arguments = CONSTRUCTORS[constructor]
    for name, kind in arguments.items():
        for value, plain in SAME[kind.rstrip("?")]:
            configs = [json.dumps(_config(make(**{name: v})), default=str) for v in (value, plain)]
            assert configs[0] == configs[1], name
        _named(lambda value, n=name: make(**{n: value}), name, kind)


def _config(made):
    """The configuration, less the names that Keras counts up."""
    config = json.loads(json.dumps(made.get_config()))
    return _without_names(config)


def _without_names(config):
    if isinstance(config, dict):
        return {k: _without_names(v) for k, v in config.items() if k != "name"}
    return [_without_names(v) for v in config] if isinstance(config, list) else config


def test_step_sizes():
    for value in (0.5, HALF, [0.5], np.float64(0.5)):
        assert np.ravel(tf_savae.SemiAmortizedRefinement(step_size=value).step_size) == [0.5]
    for value in ("3", True, ARRAY, COMPLEX, NAN, -1.0, [], [True], DICT):
        with pytest.raises(ValueError, match="^step_size: expected"):
            tf_savae.SemiAmortizedRefinement(step_size=value)


def _refine(**given):
    def objective(parameters, theta, seed):
        return tf.reduce_sum((parameters - theta) ** 2, axis=1)

    settings = {"steps": 2, "step_size": 0.1, "seed": 0, **given}
    return svi.refine(objective, tf.zeros([2, 3]), tf.ones([3]), **settings)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("steps", "count"), ("momentum", "share"), ("clip_norm", "number?"), ("seed", "seed"),
        ("adjoint", "choice"), ("hvp", "choice?"), ("adjoint_clip_norm", "number?"),
        ("samples", "count"), ("keep", "choice?"), ("return_trace", "switch"),
    ],
)  # fmt: skip
def test_arguments_of_refine(name, kind):
    for value, plain in SAME[kind.rstrip("?")]:
        got, wanted = (tf.nest.flatten(_refine(**{name: v})) for v in (value, plain))
        np.testing.assert_array_equal(got[0], wanted[0])
        assert len(got) == len(wanted)
    if name == "steps":  # A tensor is possible, in inference.
        for value in REFUSED["count"]:
            with pytest.raises(ValueError, match="^steps: (expected an integer >= 0|a tensor is)"):
                _refine(steps=value)
        return
    _named(lambda value: _refine(**{name: value}), name, kind)


@pytest.fixture(scope="module")
def model():
    return compiled(dense_model("vae"), data())


METHODS = {
    "infer": {
        "steps": "count?", "seed": "seed", "early_stopping": "number?", "samples": "count?",
        "fall_back": "count?",
    },
    "negative_elbo": {"steps": "count?", "seed": "seed"},
    "log_likelihood": {"samples": "count", "steps": "count?", "seed": "seed"},
    "generate": {"n": "count", "first": "count", "seed": "seed"},
    "reconstruct": {"steps": "count?", "first": "count", "seed": "seed", "mean": "switch"},
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_arguments_of_methods(model, method):
    fixed = {"n": 2} if method == "generate" else {"x": data()}
    if method == "log_likelihood":
        fixed["samples"] = 2

    def call(**given):
        answer = getattr(model, method)(**{**fixed, **given})
        return answer if tf.is_tensor(answer) else answer.mean()

    for name, kind in METHODS[method].items():
        for value, plain in SAME[kind.rstrip("?")][:1]:
            np.testing.assert_array_equal(call(**{name: plain}), call(**{name: value}))
        # After the plain ones, whose compiled functions an equal value must not get.
        _named(lambda value, n=name: call(**{n: value}), name, kind)


def test_settings_of_one_way_of_decoding():
    """Given for another way they would be ignored."""
    decoder = _text(networks.TextDecoder)
    z = tf.zeros([2, LATENT])
    for given in ({"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.5}):
        for decoding in ("greedy", "beam"):
            with pytest.raises(
                ValueError, match=f'^{next(iter(given))}: expected decoding="sample", '
            ):
                decoder.sample(z, length=2, decoding=decoding, **given)
    for given in ({"beam_size": TWO}, {"length_penalty": 0.0}):
        for decoding in ("greedy", "sample"):
            with pytest.raises(
                ValueError, match=f'^{next(iter(given))}: expected decoding="beam", '
            ):
                decoder.sample(z, length=2, decoding=decoding, **given)
        assert decoder.sample(z, length=TWO, decoding="beam", **given).shape == (2, 3)
