"""Sample z and x with noise per row, so that results do not depend on the batch.

All noise of row i is derived from (seed, i): z of the prior and of the posterior, the noise of
refinement, and that of the decoder.
"""

import inspect
from typing import Any

import tensorflow as tf

from tf_savae.core import batch_shard
from tf_savae.core.typing import Distribution, Nest, Seed
from tf_savae.models.compilation import trace_cache
from tf_savae.models.compilation.jit import xla_for_decoding
from tf_savae.networks.decoder import Decoder
from tf_savae.probability import Family
from tf_savae.samplers.per_row import map_rows, row_seeds

__all__ = [
    "SamplingOverride",
    "check_built",
    "check_options",
    "decode_rows",
    "family_of_shard",
    "options_of_rows",
    "posterior_codes",
    "posterior_of_rows",
    "prior_codes",
]


class SamplingOverride(Family):
    """A family whose posteriors are sampled by the method `draw`.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> class Means(SamplingOverride):
    ...     def draw(self, parameters, seed):
    ...         return parameters[0]
    >>> zeros = DiagonalGaussian().zeros(1, 2)
    >>> Means(DiagonalGaussian()).distribution(zeros).sample(seed=0).numpy().tolist()
    [[0.0, 0.0]]
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self.symmetric = family.symmetric

    def distribution(self, parameters: Nest) -> Distribution:
        posterior = self._family.distribution(parameters)
        # Set on the instance, without a wrapper: closed-form KLs are dispatched on its class.
        posterior.sample = lambda seed: self.draw(parameters, seed)
        return posterior

    def draw(self, parameters: Nest, seed: Seed) -> tf.Tensor:
        """Samples z [B, Z] from the posteriors with these parameters, differentiably."""
        raise NotImplementedError


def family_of_shard(family: Family) -> Family:
    """Returns `family` with samples that equal those of a single process for a replica's rows.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> zeros = DiagonalGaussian().zeros(8, 3)
    >>> whole = DiagonalGaussian().distribution(zeros).sample(seed=[0, 1])
    >>> with batch_shard.shard_scope(batch_shard.Shard(tf.constant(6), tf.zeros([8]))):
    ...     mine = family_of_shard(DiagonalGaussian())
    >>> last = mine.distribution([p[6:] for p in zeros]).sample(seed=[0, 1])
    >>> bool(tf.reduce_all(last == whole[6:]))
    True
    """
    shard = batch_shard.current_shard()
    return family if shard is None else _ShardedFamily(family, shard)


class _ShardedFamily(SamplingOverride):
    """A family whose samples are rows of the global batch's sample."""

    def __init__(self, family, shard):
        super().__init__(family)
        self._shard = shard

    def draw(self, parameters, seed):
        """Samples z [B, Z]: rows of a global sample, in which other replicas' rows are dummies."""
        count = tf.shape(tf.nest.flatten(parameters)[0])[0]
        places = tf.range(self._shard.size()) - self._shard.first
        places = tf.clip_by_value(places, 0, count - 1)
        whole = tf.nest.map_structure(lambda p: _rows(p, places), parameters)
        sample = self._family.distribution(whole).sample(seed=seed)
        return _rows(sample, self._shard.rows(count))


def _rows(tensor, numbers):
    """Returns `tensor[numbers]` with a dense gradient: forward mode lacks IndexedSlices."""
    return tf.squeeze(tf.gather_nd(tensor, numbers[:, None, None]), axis=1)


def check_built(model: Any, method: str = "generate") -> None:
    """Raises ValueError unless the model has weights; `method` is named in the message."""
    if not model.built:
        raise ValueError(
            f"{method}: expected a model with weights, got one that is not built. Call fit, or "
            "build((None, ...)), or call the model on one batch, or load a trained model."
        )


def check_options(decoder: Decoder, options: dict[str, Any]) -> None:
    """Raises ValueError unless the decoder's `sample` takes each of `options`, a dict."""
    parameters = inspect.signature(decoder.sample).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    known = [name for name in parameters if name not in ("z", "seed")]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: {type(decoder).__name__}.sample has no such option; expected "
            f"{'one of ' + ', '.join(known) if known else 'none'}."
        )


def decode_rows(model: Any, z: tf.Tensor, seed: Seed, first: int = 0, **options: Any) -> Nest:
    """Samples one x for each row of z [B, Z] with `model.decoder.sample`.

    Compiled once per set of options. A decoder whose `sample` accepts one seed per row declares it
    by `seeds_by_row = True`; other decoders are mapped over the rows.

    Args:
      model: a built `SemiAmortizedVAE` or `AutoregressiveModel`.
      z: [B, Z]; [B, 0] for a model without latent variables.
      seed: stateless seed [2], or one for each row, [B, 2].
      first: number of the first row.
      options: other arguments of `sample`; see `options_of_rows`.

    Raises:
      ValueError: `sample` has no such option, or an array does not have one entry per row.
    """
    decoder = model.decoder
    check_options(decoder, options)
    common, by_row = options_of_rows(options, z.shape[0])

    def sample(z, own, by_row):
        if getattr(decoder, "seeds_by_row", False):
            return decoder.sample(z, seed=own, **common, **by_row)

        def one(seed, z, by_row):
            return decoder.sample(z, seed=seed, **common, **by_row)

        return map_rows(one, own, z, by_row)

    # The key includes types: 5.0 and True equal 5 and 1, but may be invalid where these are valid.
    chosen = ((name, type(value), value) for name, value in sorted(common.items()))
    asked = getattr(model, "_asked", {}).get("jit_compile")
    run = _compiled(model, ("decode", *chosen), sample, xla_for_decoding(asked, common))
    return run(z, row_seeds(seed, tf.shape(z)[0], first), by_row)


def options_of_rows(
    options: dict[str, Any], rows: int | None
) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
    """Separates options into shared and per-row ones: (dict, dict of [rows, ...]).

    Numbers, strings, None and scalar tensors are shared by all rows. An array, tensor, list or
    tuple must have one entry per row, shape [rows, ...], or one for all rows, shape [1, ...].

    Args:
      options: {name: value}.
      rows: B, or None if it is not known yet.

    Raises:
      ValueError: an array has another number of entries.

    >>> common, by_row = options_of_rows({"length": 3, "label": [4, 5]}, 2)
    >>> common, by_row["label"].numpy().tolist()
    ({'length': 3}, [4, 5])
    """
    by_row = {name: value for name, value in options.items() if _has_entries(value)}
    common = {name: value for name, value in options.items() if name not in by_row}
    return common, {name: _entries(name, value, rows) for name, value in by_row.items()}


def _has_entries(value):
    """Returns whether `value` is an array, tensor, list or tuple, and not a scalar."""
    return isinstance(value, (list, tuple)) or getattr(value, "shape", ()) != ()


def _entries(name, value, rows):
    value = tf.convert_to_tensor(value)
    count = value.shape[0]
    if None not in (rows, count) and count not in (1, rows):
        raise ValueError(
            f"{name}: expected one entry for each of the {rows} rows, shape [{rows}, ...], or one "
            f"for all, shape [1, ...]; got shape {value.shape.as_list()}."
        )
    return tf.repeat(value, rows, axis=0) if count == 1 and rows is not None else value


def prior_codes(model: Any, n: int, seed: Seed, first: int = 0) -> tf.Tensor:
    """Samples z [n, Z] from the prior: row i from (seed, first + i), equal with and without XLA."""
    prior = model.prior

    def draw(own):
        distribution = prior.distribution()
        signature = tf.TensorSpec(distribution.event_shape, distribution.dtype)

        def one(seed):
            return distribution.sample(seed=seed)

        return tf.map_fn(one, own, fn_output_signature=signature)

    return _compiled(model, ("prior_codes",), draw, xla=False)(row_seeds(seed, n, first))


def posterior_of_rows(
    model: Any, x: Nest, seed: Seed, first: int = 0, steps: int | None = None
) -> Nest:
    """Returns lambda_K as `model.infer` does, but with the noise of (seed, first + i) for row i.

    Args:
      model: a built `SemiAmortizedVAE`.
      x: nest of tensors [B, ...], already validated.
      seed: stateless seed [2].
      first: number of the first row.
      steps: K; by default the model's own.

    Returns:
      The variational parameters, a nest of [B, ...].
    """
    steps = model._steps(steps)

    def refine(x, seed, first):
        batch_objective = model.batch_objective(
            x, seed, steps=steps, family=_ByRow(model.family, first)
        )
        refined, _ = batch_objective.refined(batch_objective.encode(), adjoint="stop")
        return refined

    key = ("posterior_of_rows", steps)
    run = _compiled(model, key, refine)
    return run(x, seed, tf.constant(first))


def posterior_codes(model: Any, parameters: Nest, seed: Seed, first: int = 0) -> tf.Tensor:
    """Samples z [B, Z] from the posteriors with these parameters: row i from (seed, first + i)."""
    draw = _compiled(
        model,
        ("posterior_codes",),
        lambda parameters, seed, first: _ByRow(model.family, first).draw(parameters, seed),
        xla=False,
    )
    return draw(parameters, seed, tf.constant(first))


class _ByRow(SamplingOverride):
    """A family in which each row is sampled from its own seed."""

    def __init__(self, family, first):
        super().__init__(family)
        self._first = first

    def draw(self, parameters, seed):
        """Samples z [B, Z], each row from its own seed; differentiable in the parameters."""
        rows = tf.shape(tf.nest.flatten(parameters)[0])[0]
        return map_rows(
            lambda own, parameters: self._family.distribution(parameters).sample(seed=own),
            row_seeds(seed, rows, self._first),
            parameters,
        )


def _compiled(model, key, function, xla=True):
    """Returns `function` as a tf.function cached by the model, or unchanged without a model."""
    if not trace_cache.keeps_traces(model):  # Parts of a model, already in a graph.
        return function
    return trace_cache.compiled(model, key, function, xla)
