"""Counted cost: the arithmetic that a step cannot do without, in multiply-add FLOPs.

F is the decoder's forward pass in what depends on z. A VAE step costs 3 F, a refinement step 2 F,
an exact Hessian-vector product 6 F with recomputation and 4 F with all activations kept; encoder
and what the decoder prepares once cost 3 forward passes.
"""

__all__ = ["counted_flops", "forward_flops", "once_flops"]


def forward_flops(case):
    """F of a batch.

    >>> from peers.cases import CASES
    >>> round(forward_flops(CASES["text_paper"]) / 1e9)
    95
    """
    if case.model == "image":
        return 2.0 * case.batch * case.shape[0] * case.shape[1] * _pixel_weights(case)
    words = case.batch * case.length
    recurrent = 4 * case.units**2 if case.model == "text" else 0
    return 2.0 * words * (case.units * case.vocabulary + recurrent)


def _pixel_weights(case):
    """Weights that each pixel meets after the first layer's linear part, z's share included."""
    width, total = case.channels, 0
    for index, size in enumerate(case.kernels):
        total += width * width  # out
        if index:
            taps = size // 2 + 1
            total += 2 * width * width * (taps * size + taps + 1)
    return total + width * width + width + 4 * width * case.latent


def once_flops(case):
    """A forward pass of what is done once: the encoder, and the decoder's part without z."""
    if case.model == "image":
        return 2.0 * case.batch * _residual_weights(case)
    words, gates = case.batch * case.length, 4 * case.units
    encoder = gates * (case.units + case.embedding)
    prepared = gates * case.embedding
    if case.model == "oracle":
        prepared += gates * case.units + case.units**2
    return 2.0 * words * (encoder + prepared)


def _residual_weights(case):
    """Multiplications of one image's encoder."""
    height, width, channels, total = *case.shape, 1, 0
    for count in case.blocks:
        height, width = -(-height // 2), -(-width // 2)
        total += height * width * count * (10 * channels + 9 * count)
        channels = count
    return total + 2 * height * width * channels * case.latent


def counted_flops(case, steps, unrolled=False):
    """FLOPs of a training step with K `steps`: (8K + 3) F, or (6K + 3) F with memory to match."""
    per_step = 6 if unrolled else 8
    return (per_step * steps + 3) * forward_flops(case) + 3 * once_flops(case)
