"""What a trained model answers: posterior, bound, likelihood, samples."""

import tensorflow as tf

from tf_savae.ground import checks, seeds
from tf_savae.models.data_checks import check_arrays
from tf_savae.probability import importance_weighted_log_likelihood

__all__ = ["Inference"]


class Inference:
    """Inference methods of `SemiAmortizedVAE`; each is compiled once per set of options."""

    def infer(self, x, steps=None, seed=None, early_stopping=None):
        """The posterior q(z; lambda_K) of each example, a TFP distribution.

        Args:
          x: data [B, ...].
          steps: K; by default the refinement layer's own (0 with objective "vae", whose posterior
            is the encoder's).
          seed: int or stateless seed [2]; 0 by default: the answer is reproducible. An example's
            noise belongs to its row: at another place in x it draws other noise.
          early_stopping: nats; stop refining an example after a step that gains less.
        """
        run = self._compiled(
            ("infer", steps, early_stopping),
            lambda x, seed: self.refined_parameters(x, steps, seed, early_stopping),
        )
        return self.family.distribution(run(self._arrays(x), _seed(seed)))

    def refined_parameters(self, x, steps=None, seed=0, early_stopping=None):
        """lambda_K for x: no gradient crosses, dropout off, beta 1."""
        steps = self.inference_steps if steps is None else steps
        checks.non_negative_int("steps", steps)
        problem = self.problem(x, _seed(seed), steps=steps)
        initial = problem.encode()
        return self.refinement.refine(
            problem.objective,
            initial,
            problem.theta,
            problem.seed,
            steps=steps,
            adjoint="stop",
            early_stopping=early_stopping,
        )

    def negative_elbo(self, x, steps=None, seed=None):
        """The negative ELBO of each example after K steps, beta 1, [B] nats.

        One sample of z per example, drawn afresh after the last step. steps=0 gives the amortized
        bound. Refining on test data is fair: any posterior gives a bound.
        """

        def run(x, seed):
            problem = self.problem(x, seed, steps=steps)
            refined, _ = problem.refined(problem.encode(), adjoint="stop")
            return problem.outcome_at(refined).terms.bound

        return self._compiled(("negative_elbo", steps), run)(self._arrays(x), _seed(seed))

    def log_likelihood(self, x, samples=500, steps=None, seed=None):
        """Importance-weighted estimate of log p(x), [B] float64 nats (Burda et al. 2016).

        The proposal is the refined posterior (steps=0: the encoder's). Memory does not grow with
        `samples`.
        """
        checks.positive_int("samples", samples)

        def run(x, seed):
            first, second = seeds.split(seed, 2)
            problem = self.problem(x, first, steps=steps)
            refined, _ = problem.refined(problem.encode(), adjoint="stop")
            return importance_weighted_log_likelihood(
                lambda z, noise: problem.generator.log_likelihood(z, problem.theta, noise),
                self.family.distribution(refined),
                self.prior.distribution(),
                samples,
                second,
            )

        return self._compiled(("log_likelihood", samples, steps), run)(self._arrays(x), _seed(seed))

    def generate(self, n, seed=None, **options):
        """n samples of x: z from the prior, x from the decoder (`options` go to its `sample`)."""
        checks.positive_int("n", n)
        first, second = seeds.split(_seed(seed), 2)
        z = self.prior.distribution().sample(n, seed=first)
        return self.decoder.sample(z, seed=second, **options)

    def reconstruct(self, x, seed=None, steps=None, **options):
        """One sample of x' per example, from z drawn from the refined posterior of x."""
        first, second, third = seeds.split(_seed(seed), 3)
        z = self.infer(x, steps=steps, seed=first).sample(seed=second)
        return self.decoder.sample(z, seed=third, **options)

    def _arrays(self, x):
        """x as tensors in the weights' precision, checked; makes the weights if there are none."""
        x = self._standard(x)
        check_arrays(x, getattr(self.decoder, "vocabulary_size", None))
        self._ensure_built(x)
        return x

    def _compiled(self, key, function):
        """`function(x, seed)` as a tf.function, made once per key."""
        if "_functions" not in self.__dict__:
            self.__dict__["_functions"] = {}
        functions = self.__dict__["_functions"]
        if key not in functions:
            jit = self.jit_compile is True if self.compiled else False
            functions[key] = tf.function(function, jit_compile=jit, autograph=False)
        return functions[key]


def _seed(seed):
    return seeds.as_seed(0 if seed is None else seed)
