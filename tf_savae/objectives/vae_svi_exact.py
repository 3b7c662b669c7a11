"""VAE + SVI whose decoder and update rule are trained through the steps.

The encoder is trained on the ELBO at lambda_0, as that of a VAE; refinement step 0 computes its
gradient. Theta and the weights of the update rule are trained on the total derivative of the ELBO
at lambda_K, with lambda_0 held constant. The objective is an ablation of `savae`: it kept the gain
of refinement, and its encoder was better (docs/results.md). With `path_weight`, theta and the rule
also receive the derivatives of the ELBOs at lambda_1 to lambda_{K-1}, through the steps.
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
    path_weight = 0.0

    def refined(self, batch: BatchObjective, initial: Nest) -> tuple[Nest, RefinementInfo | None]:
        """Returns (lambda_K, `RefinementInfo` or None); only theta and the rule get gradients."""
        return batch.refined(tf.nest.map_structure(tf.stop_gradient, initial))
