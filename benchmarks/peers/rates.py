"""The machine's float32 rates, by which counted operations become seconds."""

import time

__all__ = ["measured"]

_REPEATS = 8


def measured():
    """{"matmul_gflops", "convolution_gflops"}: best of a few runs of TensorFlow's kernels.

    A product of text at the paper's size, [1920, 1024] by [1024, 20001], and a convolution of the
    PixelCNN's middle, 4 x 7 taps, 32 to 64 channels on 50 images of 28 x 28.
    """
    import tensorflow as tf

    left, right = tf.random.normal([1920, 1024]), tf.random.normal([1024, 20001])
    images, kernel = tf.random.normal([50, 31, 34, 32]), tf.random.normal([4, 7, 32, 64])
    product = _best(tf.function(lambda: tf.matmul(left, right)))
    convolution = _best(tf.function(lambda: tf.nn.conv2d(images, kernel, 1, "VALID")))
    return {
        "matmul_gflops": 2e-9 * 1920 * 1024 * 20001 / product,
        "convolution_gflops": 2e-9 * 50 * 28 * 28 * 28 * 32 * 64 / convolution,
    }


def _best(function):
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function().numpy()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
