"""VAE + SVI whose decoder and update rule are trained through the steps.

The encoder is trained as a VAE's, on the ELBO at lambda_0, whose gradient step 0 of the refinement
takes anyway; theta and the weights of the update rule on the total derivative of the ELBO at
lambda_K, in which lambda_0 is a constant. It stands between `vae_svi` and `savae`: in an ablation
of the total derivative it kept what the steps gain, and had the better encoder (docs/results.md).
"""

import tensorflow as tf

from tf_savae.core.typing import Nest
from tf_savae.objectives.batch_objective import BatchObjective, RefinementInfo
from tf_savae.objectives.vae_svi import VAESVI

__all__ = ["VAESVIExact"]


class VAESVIExact(VAESVI):
    """Refined ELBO, end to end, for theta and the rule; amortized ELBO for the encoder."""

    name = "vae_svi_exact"
    crosses_refinement = True
    encoder_crosses = False

    def refined(self, batch: BatchObjective, initial: Nest) -> tuple[Nest, RefinementInfo | None]:
        """(lambda_K, `RefinementInfo` or None); gradients reach theta and the rule alone."""
        return batch.refined(tf.nest.map_structure(tf.stop_gradient, initial))
