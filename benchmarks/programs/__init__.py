"""Whole train steps as programs: pure functions, their StableHLO, and clients that compile it.

`train_step` and `stablehlo` need TensorFlow; `client` and `tpu` need jax and jaxlib alone; `sizes`
and `package` need neither, so that one machine can write programs and another run them.
"""
