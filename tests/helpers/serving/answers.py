"""Requests to exported models, and what the Keras models answer to the same."""

import numpy as np

from tf_savae.serving import Limits

# Of the signatures that take examples alone, as those of requests.
FIXED = {"steps": 5, "samples": 7, "seed": 3}
LIMITS = Limits(rows=8, steps=20, samples=50, words=12)
STEPS, SAMPLES, SEED = FIXED.values()
TEMPERATURE = 0.7
SCALARS = {
    "steps": np.int32(STEPS),
    "seed": np.int32(SEED),
    "samples": np.int32(SAMPLES),
    "n": np.int32(3),
    "temperature": np.float32(TEMPERATURE),
}


def request(definition, **inputs):
    """{input: value} for a SignatureDef: the scalars above unless `inputs` has others."""
    return {name: {**SCALARS, **inputs}[name] for name in definition.inputs}


def keras_answers(model, x, names=None):
    """{signature: {output: array}} of a `SemiAmortizedVAE`, each row of x asked for alone."""
    ways = {
        "posterior": lambda: ways["infer"](),
        "score": lambda: {**ways["elbo"](), **ways["log_likelihood"]()},
        "encode": lambda: _named(_alone(model.encoded_parameters, x)),
        "infer": lambda: _named(_alone(lambda row: _gaussian(model.infer(row, STEPS, SEED)), x)),
        "elbo": lambda: {
            "amortized_elbo_nats": -_alone(lambda row: model.negative_elbo(row, 0, SEED), x),
            "refined_elbo_nats": -_alone(lambda row: model.negative_elbo(row, STEPS, SEED), x),
        },
        "log_likelihood": lambda: {
            "log_likelihood_nats": _alone(
                lambda row: model.log_likelihood(row, SAMPLES, STEPS, SEED), x
            )
        },
        "generate": lambda: {"sample": model.generate(3, SEED, **_options(model)).numpy()},
        "reconstruct": lambda: {
            "reconstruction": _alone(
                lambda row: model.reconstruct(row, SEED, STEPS, **_options(model)), x
            )
        },
    }
    return {name: ways[name]() for name in names or ways}


def _options(model):
    """What `sample` of the model's decoder is told."""
    options = {"temperature": TEMPERATURE} if _has_temperature(model) else {}
    if hasattr(model.decoder, "count_tokens"):
        options["length"] = LIMITS.words
    return options


def _has_temperature(model):
    return type(model.decoder).__name__ != "DistributionDecoder"


def _gaussian(posterior):
    return posterior.mean().numpy(), 2.0 * np.log(posterior.stddev().numpy())


def _named(parameters):
    return dict(zip(("mean", "log_variance"), parameters, strict=True))


def _alone(function, x):
    """`function` of each row of x by itself, put together."""
    rows = [function(x[i : i + 1]) for i in range(len(x))]
    if isinstance(rows[0], tuple | list):
        return tuple(np.concatenate(part) for part in zip(*rows, strict=True))
    return np.concatenate(rows)
