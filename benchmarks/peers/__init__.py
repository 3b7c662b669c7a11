"""The contest's parts: the same step written for TensorFlow (ours), JAX and PyTorch.

Each file holds one idea; `contest.py` in the folder above is the command. The peers follow the
paper's description of the method and the text of our networks, not anybody's program.
"""
