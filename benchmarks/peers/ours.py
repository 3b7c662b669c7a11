"""Our contender: `SemiAmortizedVAE`'s objective and gradients for one batch, without optimizer."""

import tensorflow as tf

import tf_savae
from peers import weights
from peers.batches import batch
from tf_savae.core import seeds

__all__ = ["METHODS", "Ours", "model_of", "noise", "prepare"]

_SEED = 7
METHODS = {  # adjoint, Hessian-vector product, and what steps keep for it
    "vae": ("exact", "forward_over_reverse", None),
    "infer": ("exact", "forward_over_reverse", None),
    "exact_forward": ("exact", "forward_over_reverse", None),
    "exact_auto": ("exact", None, "auto"),  # The default.
    "exact_states": ("exact", "forward_over_reverse", "states"),
    "exact_all": ("exact", "forward_over_reverse", "all"),
    "exact_reverse": ("exact", "reverse_over_reverse", None),
    "unrolled": ("unrolled", None, "auto"),
}


def model_of(case, steps, method="exact_forward", dtype="float32", optimizer="sgd"):
    """Our model of a case, with weights from a fixed seed, compiled as jit_compile="auto" chooses.

    Args:
      case: a `Case`.
      steps: K; 0 is the VAE.
      method: a key of `METHODS`: adjoint, Hessian-vector product, what is kept.
      dtype: Keras dtype policy: "float32", "float64" or "mixed_bfloat16".
      optimizer: as of `Model.compile`.

    >>> from peers.cases import CASES
    >>> model_of(CASES["tiny_oracle"], 3).built
    True
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}.")
    tf.keras.utils.set_random_seed(1)
    encoder, decoder = _networks(case, dtype)
    adjoint, hvp, keep = METHODS[method]
    refinement = tf_savae.SemiAmortizedRefinement(
        steps=steps,
        step_size=case.step_size,
        momentum=case.momentum,
        clip_norm=case.clip_norm,
        adjoint=adjoint,
        hvp=hvp,
        keep=keep,
        dtype=dtype,
    )
    model = tf_savae.SemiAmortizedVAE(
        encoder,
        decoder,
        refinement=refinement,
        objective="savae" if steps else "vae",
        amortized_weight=0.0,  # The peers train on the ELBO at lambda_K alone.
        latent_size=case.latent,
        dtype=dtype,
        prior=tf_savae.networks.StandardNormalPrior(case.latent, dtype=dtype),
    )
    model.compile(optimizer, jit_compile="auto")
    model.ensure_built(tf.constant(batch(case, 1)))
    return model


def _networks(case, dtype):
    nets = tf_savae.networks
    if case.model == "image":
        shape = dict(image_shape=case.shape, channels=case.channels, kernel_sizes=case.kernels)
        return (
            nets.ResidualEncoder(case.latent, case.blocks, dtype=dtype),
            nets.PixelCNNDecoder(latent_size=case.latent, dtype=dtype, **shape),
        )
    if case.model == "oracle":
        sizes = (case.vocabulary, case.units, case.latent)
        same = {"dtype": dtype}
        return nets.OracleEncoder(*sizes, **same), nets.OracleDecoder(*sizes, **same)
    sizes = (case.vocabulary, case.embedding, case.units, case.latent)
    decoder = nets.TextDecoder(*sizes, dropout=0.0, dtype=dtype)
    return nets.TextEncoder(*sizes, dtype=dtype), decoder


def _tensor(x, dtype):
    return tf.constant(x, dtype) if x.dtype.kind == "f" else tf.constant(x)


def noise(model, steps, rows):
    """The noise of refinement steps 0 .. K - 1 and of the last sample: [K + 1, B, Z].

    Drawn as the model draws it: compiled numbers differ from eager ones for the same seed.
    """

    def draw(seed):
        _, inner = seeds.split(seed, 2)
        shape = [rows, model.latent_size]
        zeros = tf.zeros(shape, model.variable_dtype)
        posterior = model.family.distribution((zeros, zeros))
        first = [seeds.split(seeds.fold(inner, k), 2)[0] for k in range(steps + 1)]
        return tf.stack([posterior.sample(seed=seed) for seed in first])

    function = tf.function(draw, jit_compile=model.jit_compile, autograph=False)
    return function(seeds.as_seed(_SEED)).numpy()


class Ours:
    """The contender: `step()`, `gradients()` and `infer()` of our model.

    Args:
      case: a `Case`; steps: K; method: a key of `METHODS`; data: what `prepare` wrote (its weights
        and x; the noise is our own); dtype: of all weights.
    """

    def __init__(self, case, steps, method, data, dtype="float32"):
        self._model = model_of(case, steps, method, dtype)
        self._names = weights.names(case)
        self._variables = [weights.walk(self._model, name) for name in self._names]
        _check_all(self._model, self._variables)
        for name, variable in zip(self._names, self._variables, strict=True):
            variable.assign(data[name])
        self._x = _tensor(data["x"], dtype)
        jit = self._model.jit_compile
        self.mode = "XLA" if jit else "graph"
        self.keeps = None  # What the default chose to keep: "all", "states" or "none".
        if method == "exact_auto":
            self._model.prepare_fit(self._x)
            self.keeps = self._model.keep or "none"
        self._run = tf.function(self._loss_and_gradients, jit_compile=jit, autograph=False)
        self._seed = seeds.as_seed(_SEED)
        self._infer = tf.function(
            lambda x, seed: self._model.refined_parameters(x, steps, seed),
            jit_compile=jit,
            autograph=False,
        )

    def _loss_and_gradients(self, x, seed):
        model = self._model
        with tf.GradientTape() as tape:
            problem = model.batch_objective(x, seed, 1.0, training=True)
            loss = tf.reduce_mean(model.objective.loss(problem).loss)
        gradients = tape.gradient(loss, self._variables)
        return loss, [tf.convert_to_tensor(g) for g in gradients]

    def step(self):
        """One loss with all gradients; returns when they are there."""
        self._run(self._x, self._seed)[0].numpy()

    def gradients(self):
        """(loss, {name: gradient}) as NumPy values."""
        loss, gradients = self._run(self._x, self._seed)
        named = zip(self._names, gradients, strict=True)
        return float(loss), {name: gradient.numpy() for name, gradient in named}

    def infer(self):
        """(mean, log-variance) of the refined posterior.

        `model.infer` returns the same as a TFP distribution, whose construction in Python takes
        longer than the oracle's refinement.
        """
        mean, log_variance = self._infer(self._x, self._seed)
        return mean.numpy(), log_variance.numpy()


def _check_all(model, variables):
    found, wanted = {id(v) for v in variables}, {id(v) for v in model.trainable_variables}
    if found != wanted:
        raise ValueError(f"weights: named {len(found)} of the model's {len(wanted)}.")


def prepare(case, steps, rows=None, dtype="float32"):
    """What all contenders receive: {"x", "noise", and every weight by name}, NumPy arrays."""
    model = model_of(case, steps, dtype=dtype)
    x = batch(case, rows)
    named = {name: weights.walk(model, name).numpy() for name in weights.names(case)}
    floats = x.astype(dtype) if x.dtype.kind == "f" else x
    return {"x": floats, "noise": noise(model, steps, len(x)), **named}
