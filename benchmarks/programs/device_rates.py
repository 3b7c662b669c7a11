"""A device's own rates, by which counted operations become seconds; measured through jax."""

import time

from programs.client import import_jax

__all__ = ["measured"]

_REPEATS, _IN_A_ROW = 5, 10


def measured(precision, small=False):
    """{"matmul_gflops", "convolution_gflops"}: the best of a few runs.

    A product of text at the paper's size, [2560, 1024] by [1024, 20001], and a convolution of the
    PixelCNN's middle, 4 x 7 taps, 32 to 64 channels on 50 images of 28 x 28, in the precision that
    the program computes in.

    Args:
      precision: of `programs.sizes.PRECISIONS`.
      small: a tenth of the sizes, for a trial on a CPU.
    """
    jax = import_jax()
    exact = jax.lax.Precision.HIGHEST if precision == "float32" else jax.lax.Precision.DEFAULT
    dtype = "bfloat16" if precision == "bfloat16" else "float32"
    rows, columns, images = (256, 2000, 5) if small else (2560, 20001, 50)

    def normal(*shape):
        return jax.random.normal(jax.random.key(0), shape, dtype)

    def product(left, right):
        return jax.numpy.matmul(left, right, precision=exact)

    def convolution(images, kernel):
        order = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "VALID", dimension_numbers=order, precision=exact
        )

    matrices = normal(rows, 1024), normal(1024, columns)
    maps = normal(images, 31, 34, 32), normal(4, 7, 32, 64)
    counts = 2 * rows * 1024 * columns, 2 * images * 28 * 28 * 28 * 32 * 64
    return {
        "matmul_gflops": 1e-9 * counts[0] / _best(jax.jit(product), *matrices),
        "convolution_gflops": 1e-9 * counts[1] / _best(jax.jit(convolution), *maps),
    }


def _best(function, *arguments):
    """Seconds of one call of several in a row, so that the time to launch them hides."""
    function(*arguments).block_until_ready()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        for _ in range(_IN_A_ROW):
            result = function(*arguments)
        result.block_until_ready()
        seconds.append((time.perf_counter() - start) / _IN_A_ROW)
    return min(seconds)
