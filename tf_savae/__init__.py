"""Semi-amortized variational autoencoders for TensorFlow and Keras."""

from tf_savae import svi

__all__ = ["svi"]
__version__ = "0.1.0"
