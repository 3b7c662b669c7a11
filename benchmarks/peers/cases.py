"""The contest's cases: which model, at what size, with which numbers of refinement steps."""

from typing import Any, NamedTuple

__all__ = ["CASES", "Case"]


class Case(NamedTuple):
    """One model at one size; B examples a batch.

    Sizes of text and oracle are V, E, H, Z and T predicted words; of images channels C, kernel
    sizes and encoder blocks. Step sizes are per example and short enough for stable refinement:
    otherwise rounding grows through the steps and no two programs agree.
    """

    model: str  # "oracle", "text" or "image".
    batch: int
    latent: int
    steps: tuple  # The numbers K that the case is run with; 0 is the VAE.
    step_size: float
    vocabulary: int = 0
    embedding: int = 0
    units: int = 0
    length: int = 0
    ragged: bool = False  # Whether rows end at different places.
    shape: tuple = (28, 28)
    channels: int = 32
    kernels: tuple = ()
    blocks: tuple = ()
    momentum: float = 0.5
    clip_norm: float = 5.0
    limit: float = 1e-4  # Of the relative norm by which float32 gradients of a weight may differ.


_PIXELCNN = (9, 9, 9, 7, 7, 7, 5, 5, 5, 3, 3, 3)


def _text(batch, latent, steps, sizes, **kwargs):
    names = ("vocabulary", "embedding", "units", "length")
    named = dict(zip(names, sizes, strict=True))
    return Case("text", batch, latent, steps, 0.02, **named, **kwargs)


def _oracle(batch, steps, sizes):
    vocabulary, units, length = sizes
    return Case(
        "oracle", batch, 2, steps, 0.005, vocabulary, embedding=units, units=units, length=length
    )


def _image(batch, steps, **sizes):
    # Twelve layers round: float32 gradients of two programs are up to 0.8% apart; all agree to
    # 1e-10 in float64.
    return Case("image", batch, 32, steps, 0.005, limit=2e-2, **sizes)


CASES: dict[str, Any] = {
    "oracle": _oracle(50, (0, 1, 5, 20), (1000, 100, 5)),
    "text_small": _text(32, 32, (0, 1, 5, 20), (5000, 128, 256, 40)),
    "text_paper": _text(32, 32, (0, 1, 5, 20), (20001, 512, 1024, 60)),
    "image": _image(50, (0, 1, 5), kernels=_PIXELCNN, blocks=(64, 64, 64)),
    "tiny_oracle": _oracle(4, (0, 3), (12, 6, 4)),
    "tiny_text": _text(4, 3, (0, 3), (15, 5, 6, 7), ragged=True),
    "tiny_image": _image(3, (0, 2), shape=(8, 6), channels=4, kernels=(5, 3, 3), blocks=(4, 6)),
}
