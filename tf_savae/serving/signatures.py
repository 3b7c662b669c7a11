"""The signatures of a `SemiAmortizedVAE` and of an `AutoregressiveModel`."""

import dataclasses
import inspect
from collections.abc import Callable

import keras
import tensorflow as tf

from tf_savae.networks import Decoder
from tf_savae.objectives.lookup import has_latent
from tf_savae.probability import DiagonalGaussian, FullCovarianceGaussian
from tf_savae.serving.fixed_settings import FixedSettings, score, with_fixed_settings
from tf_savae.serving.graph_vocabulary import GraphVocabulary
from tf_savae.serving.inputs import SharedInputs
from tf_savae.serving.per_example import PerExample, decoding, prior_rows
from tf_savae.serving.signature import Output, Signature

__all__ = ["parameter_names", "signatures_of", "text_signature"]

_NAMES = {DiagonalGaussian: ("mean", "log_variance"), FullCovarianceGaussian: ("mean", "scale")}


def signatures_of(
    model: keras.Model,
    inputs: SharedInputs,
    jit: Callable[[Callable], Callable],
    fixed: FixedSettings | None = None,
) -> list[Signature]:
    """Returns all signatures on tensors; the first one is the server's default.

    Args:
      model: built `SemiAmortizedVAE` or `AutoregressiveModel`.
      inputs: `SharedInputs`.
      jit: compiles functions of tensors with XLA, or returns them unchanged.
      fixed: `FixedSettings`; if None, the signatures that need them are omitted.
    """
    signatures = _on_tensors(model, inputs, jit)
    # One tf.function each, which the string variant calls too: traced and stored once.
    shared = [
        dataclasses.replace(s, compute=tf.function(s.compute, autograph=False)) for s in signatures
    ]
    return [*_of_examples_only({s.name: s for s in shared}, inputs, fixed), *shared]


def _of_examples_only(known, inputs, fixed):
    if fixed is None or "infer" not in known:
        return []
    x = inputs.joined_x()
    about = "The posterior q(z; lambda_K) of each example after K steps of SVI."
    return [
        with_fixed_settings(known["infer"], "posterior", about, x, fixed),
        score(known["elbo"], known["log_likelihood"], x, fixed),
    ]


def _on_tensors(model, inputs, jit):
    drawn = [] if _cannot_sample(model.decoder) else [_generate(model, inputs, jit)]
    if not has_latent(model):
        return [_exact_likelihood(model, inputs, jit), *drawn]
    functions = PerExample(model, jit)
    if drawn:
        drawn.append(_reconstruct(model, functions, inputs, jit))
    return [
        _infer(model, functions, inputs),
        _encode(model, functions, inputs),
        _elbo(functions, inputs),
        _log_likelihood(functions, inputs),
        *drawn,
    ]


def _cannot_sample(decoder):
    return type(decoder).sample is Decoder.sample


def parameter_names(model: keras.Model, inputs: SharedInputs) -> tuple[str, ...]:
    """Returns the names of the family's parameters, one for each output of the encoder."""
    given = tf.nest.flatten(model.encoded_parameters(tf.constant(inputs.x().example)))
    numbered = tuple(f"parameters_{i}" for i in range(len(given)))
    return _NAMES.get(type(model.family), numbered)


def _named(names, nest):
    return dict(zip(names, tf.nest.flatten(nest), strict=True))


def _posterior_outputs(model, names, which):
    of = f"of {which}, {type(model.family).__name__}"
    return tuple(Output(name, "", f"{name.replace('_', ' ')} {of}") for name in names)


def _encode(model, functions, inputs):
    names = parameter_names(model, inputs)

    def compute(x):
        return _named(names, functions.encode(x))

    return Signature(
        "encode",
        "The encoder's posterior q(z; lambda_0) of each example (the prior without an encoder).",
        (inputs.joined_x(),),
        _posterior_outputs(model, names, "q(z; lambda_0)"),
        compute,
    )


def _infer(model, functions, inputs):
    names = parameter_names(model, inputs)

    def compute(x, steps, seed):
        return _named(names, functions.infer(x, steps, seed))

    return Signature(
        "infer",
        "The posterior q(z; lambda_K) of each example after K steps of SVI.",
        (inputs.x(), inputs.steps(), inputs.seed()),
        _posterior_outputs(model, names, "q(z; lambda_K)"),
        compute,
    )


def _elbo(functions, inputs):
    def compute(x, steps, seed):
        amortized, refined = functions.elbo(x, steps, seed)
        return {"amortized_elbo_nats": amortized, "refined_elbo_nats": refined}

    return Signature(
        "elbo",
        "The ELBO of each example, a lower bound on log p(x), from one sample of z.",
        (inputs.x(), inputs.steps(), inputs.seed()),
        (
            Output("amortized_elbo_nats", "nats", "the ELBO at lambda_0"),
            Output("refined_elbo_nats", "nats", "the ELBO at lambda_K"),
        ),
        compute,
    )


def _log_likelihood(functions, inputs):
    def compute(x, samples, steps, seed):
        return {"log_likelihood_nats": functions.log_likelihood(x, samples, steps, seed)}

    about = "log of the mean of S importance weights, proposals from q(z; lambda_K)"
    return Signature(
        "log_likelihood",
        "Importance-weighted estimate of log p(x) (Burda et al. 2016), a lower bound on average.",
        (inputs.x(), inputs.samples(), inputs.steps(), inputs.seed()),
        (Output("log_likelihood_nats", "nats", about),),
        compute,
    )


def _exact_likelihood(model, inputs, jit):
    log_prob = jit(lambda x: model.decoder(x, None))

    def compute(x):
        return {"log_likelihood_nats": log_prob(x)}

    return Signature(
        "log_likelihood",
        "log p(x) of each example, exact.",
        (inputs.joined_x(),),
        (Output("log_likelihood_nats", "nats", "log p(x)"),),
        compute,
    )


def _drawing(model, inputs, jit):
    """Returns the inputs that are options of the decoder's `sample`, and the sampling function."""
    known = inspect.signature(model.decoder.sample).parameters
    takes = (inputs.temperature(),) if "temperature" in known else ()
    fixed = {"length": inputs.length()} if "length" in known else {}
    return takes, decoding(model, jit, fixed, [i.name for i in takes])


def _reconstruct(model, functions, inputs, jit):
    takes, decode = _drawing(model, inputs, jit)

    def compute(x, steps, seed, *given):
        return {"reconstruction": decode(*functions.code(x, steps, seed), *given)}

    return Signature(
        "reconstruct",
        "One x' for each example: z from its refined posterior, x' from p(x | z).",
        (inputs.x(), inputs.steps(), inputs.seed(), *takes),
        (Output("reconstruction", "", "an example for each row of x"),),
        compute,
    )


def _generate(model, inputs, jit):
    takes, decode = _drawing(model, inputs, jit)

    def compute(n, seed, *given):
        return {"sample": decode(*prior_rows(model, n, seed), *given)}

    return Signature(
        "generate",
        "n samples of x from the model; sample i depends only on (seed, i).",
        (inputs.count(), inputs.seed(), *takes),
        (Output("sample", "", "n examples"),),
        compute,
    )


def text_signature(
    signature: Signature, inputs: SharedInputs, vocabulary: GraphVocabulary
) -> Signature:
    """Returns the variant of `signature` with strings instead of token rows.

    Args:
      signature: a signature on token rows.
      inputs: `SharedInputs`.
      vocabulary: `GraphVocabulary`.
    """
    reads = signature.inputs[0].name == "x"
    rows = {"reconstruction", "sample"}

    def compute(first, *rest):
        answer = signature.compute(vocabulary.encode(first) if reads else first, *rest)
        return {n: vocabulary.decode(t) if n in rows else t for n, t in answer.items()}

    taken = (inputs.text(), *signature.inputs[1:]) if reads else signature.inputs
    name, about = f"{signature.name}_text", f"{signature.about} On strings."
    return Signature(name, about, taken, signature.outputs, compute)
