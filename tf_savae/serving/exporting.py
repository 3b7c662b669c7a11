"""`export`: write a Keras model as a versioned SavedModel."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.progress import stages
from tf_savae.core.typing import PathLike
from tf_savae.data import Vocabulary
from tf_savae.models import AutoregressiveModel, SemiAmortizedVAE
from tf_savae.serving.documentation import describe, write_documentation
from tf_savae.serving.fixed_settings import fixed_settings
from tf_savae.serving.graph_vocabulary import GraphVocabulary
from tf_savae.serving.inputs import SharedInputs
from tf_savae.serving.limits import Limits
from tf_savae.serving.request_checks import reads_text
from tf_savae.serving.signature import Signature
from tf_savae.serving.signatures import signatures_of, text_signature
from tf_savae.serving.versions import new_version
from tf_savae.serving.warmup import write_warmup

__all__ = ["export"]


def export(
    model: keras.Model,
    path: PathLike,
    *,
    vocabulary: Vocabulary | None = None,
    version: int | None = None,
    limits: Limits | None = None,
    steps: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    signatures: Sequence[str | Callable[..., Signature]] | None = None,
    xla: bool = False,
) -> Path:
    """Writes `model` as a SavedModel for TF Serving; see docs/serving.md.

    All signatures have a dynamic batch size. Those of a `SemiAmortizedVAE` are: `posterior` (also
    `serving_default`), `score` and `encode`, whose only input is the examples, so that a server may
    batch requests; `infer`, `elbo` and `log_likelihood`, whose requests include K and a seed; and,
    if the decoder can sample, `generate` and `reconstruct`. Those of an `AutoregressiveModel` are
    `log_likelihood`, whose only input is the examples, and `generate`.
    With a vocabulary, each signature also has a variant on strings, such as `infer_text`. Inputs
    and outputs are documented in VERSION/assets.extra/signatures.md and .json.

    Row i of every output equals the Keras model's result for a batch that consists of example i,
    with the same seed. It does not depend on the rest of the request. The program validates its
    inputs; an output that is not finite is an error.

    Args:
      model: a built `SemiAmortizedVAE` or `AutoregressiveModel`, whose examples are one tensor.
        Requests have the shape that the model was built with; texts may have any length.
      path: folder of the model's versions.
      vocabulary: the `tf_savae.data.Vocabulary` of a text model.
      version: version number; by default one more than the largest in `path`.
      limits: `tf_savae.serving.Limits`, bounds on one request.
      steps: K of `posterior` and `score`; by default that of training (at most `limits.steps`).
      samples: S of `score`; by default 100 (at most `limits.samples`).
      seed: seed of the noise of `posterior` and `score`, from 0 to 2**31 - 1.
      signatures: the signatures to export: names such as ("infer", "elbo"), and custom functions
        (model, inputs) -> `tf_savae.serving.Signature`. There, `inputs` is a
        `tf_savae.serving.SharedInputs`, whose methods such as `inputs.x()` return validated inputs.
        By default all signatures of the model. A server needs about a second to optimise each
        signature at its first request.
      xla: whether to compile the computation (not the tokenisation) with XLA. The server must then
        allow XLA, each new shape is compiled at its first request, and the noise differs from that
        of a model that is not compiled with XLA.

    Returns:
      The `Path` of the new version, which is created atomically.

    Raises:
      ValueError: the model is not built, has NaN or infinite weights, does not match the
        vocabulary or lacks a signature; a setting is out of range; or the folder cannot be written
        or already contains this version.

    >>> import tempfile, tf_savae
    >>> model = tf_savae.AutoregressiveModel(tf_savae.networks.TextDecoder(9, 2, 3, latent_size=0))
    >>> scores = model(tf.constant([[2, 5, 3]]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     exported = export(model, folder)
    ...     served = tf.saved_model.load(exported)
    >>> sorted(served.signatures), exported.name
    (['generate', 'log_likelihood', 'serving_default'], '1')
    """
    validation.boolean("xla", xla)
    if isinstance(signatures, str):
        raise ValueError(f"signatures: expected a sequence of names, got the text {signatures!r}.")
    limits = Limits() if limits is None else limits
    words = _checked(model, vocabulary, limits)
    fixed = fixed_settings(model, limits, steps, samples, seed)
    chosen = _signatures(model, words, limits, fixed, _compiler(xla), signatures)
    with new_version(path, version) as written:
        archive = keras.export.ExportArchive()
        if words is not None:
            archive.track(words.table)
        functions = _traced(archive, chosen)
        with stages.stage("Writing the SavedModel"):
            archive.write_out(str(written["path"]), verbose=False)
        extra = written["path"] / "assets.extra"
        extra.mkdir()
        described = {s.name: describe(s, functions[s.name]) for s in chosen}
        write_documentation(extra, _facts(model, vocabulary, limits, fixed, xla), described)
        # A batching server cannot run the other signatures and would fail to load the model.
        requests = {s.name: s.example() for s in chosen if s.joins()}
        write_warmup(extra / "tf_serving_warmup_requests", Path(path).resolve().name, requests)
    return written["path"]


def _traced(archive, signatures):
    """Adds the signatures to the archive; returns {name: function}."""
    functions = {}
    with stages.stage(f"Tracing {len(signatures)} signatures"):
        for s in signatures:
            stages.detail(s.name)
            functions[s.name] = archive.add_endpoint(s.name, s.function(), s.specs())
    return functions


def _checked(model, vocabulary, limits):
    """Validates the arguments of `export`; returns the `GraphVocabulary` or None."""
    if not isinstance(model, (SemiAmortizedVAE, AutoregressiveModel)):
        raise ValueError(
            "model: expected a SemiAmortizedVAE or an AutoregressiveModel, got "
            f"{type(model).__name__}."
        )
    if not isinstance(limits, Limits):
        raise ValueError(f"limits: expected tf_savae.serving.Limits(...), got {limits!r}.")
    if not model.built or model.data_spec is None:
        raise ValueError(
            "model: expected a built model, got one without weights. Call fit, call the model on "
            "one batch, or load a trained model."
        )
    for variable in model.weights:
        remedy = "Export an earlier checkpoint."
        validation.finite(f"weights {variable.path}", variable.numpy(), remedy)
    if vocabulary is None:
        return None
    size = model.decoder.vocabulary_size if reads_text(model.decoder) else None
    if size != len(vocabulary):
        raise ValueError(
            f"vocabulary: expected the one that the model was trained with, of "
            f"{size or 'no'} tokens, got one of {len(vocabulary)}."
        )
    return GraphVocabulary(vocabulary, limits.words)


def _compiler(xla):
    if not xla:
        return lambda function: function
    return lambda function: tf.function(function, jit_compile=True, autograph=False)


def _signatures(model, words, limits, fixed, jit, chosen):
    """Returns the chosen signatures (all for None) and their variants on strings."""
    inputs = SharedInputs(model, limits)
    known = {s.name: s for s in signatures_of(model, inputs, jit, fixed)}
    chosen = list(known) if chosen is None else list(chosen)
    names = [name for name in chosen if not callable(name)]
    own = [_own_signature(make, model, inputs) for make in chosen if callable(make)]
    if not chosen or not set(names) <= set(known):
        raise ValueError(
            f"signatures: expected some of {', '.join(known)}, or functions (model, inputs) -> "
            f"Signature; got {', '.join(map(str, names)) or 'none'}."
        )
    taken = [s.name for s in own if s.name in known or [o.name for o in own].count(s.name) > 1]
    if taken:
        raise ValueError(
            f"signatures: expected new names for custom signatures, got {', '.join(taken)}."
        )
    kept = [*(known[name] for name in known if name in names), *own]
    return kept if words is None else [*kept, *(text_signature(s, inputs, words) for s in kept)]


def _own_signature(make, model, inputs):
    signature = make(model, inputs)
    if not isinstance(signature, Signature):
        raise ValueError(
            f"signatures: expected {getattr(make, '__name__', make)}(model, inputs) to return a "
            f"tf_savae.serving.Signature, got {type(signature).__name__}."
        )
    traced = tf.function(signature.compute, autograph=False)
    return dataclasses.replace(signature, compute=traced)


def _facts(model, vocabulary, limits, fixed, xla):
    """Returns the facts about all signatures."""
    facts = {
        "model": type(model).__name__,
        "decoder": type(model.decoder).__name__,
        "objective": model.objective.name,
        "trained with K": getattr(model, "inference_steps", 0),
        "limits": vars(limits),
        "XLA": bool(xla),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    if fixed is not None:
        facts |= {"fixed settings": vars(fixed)}
    if vocabulary is not None:
        facts |= {"vocabulary": vocabulary.fingerprint()}
    return facts
