"""The contest's programs in PyTorch."""

import sys

if "tensorflow" in sys.modules:
    # Loading Triton 3.7's library after TensorFlow 2.21's ends the process (segmentation fault).
    # PyTorch takes None for "not installed". Only programs for GPUs would use it.
    sys.modules.setdefault("triton", None)
