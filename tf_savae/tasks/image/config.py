"""Configurations of image training, with their named presets."""

import dataclasses

from tf_savae.core import validation
from tf_savae.training.config import RunConfig, setting

__all__ = ["IMAGE_CONFIGS", "ImageConfig", "omniglot", "small", "tiny"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(RunConfig):
    """Configuration of a run on images; defaults are those of the paper.

    Images are a .npz, .npy, .mat or .amat file, FILE@FIELD, a folder of .png or .jpg files,
    builtin:shapes, which ships with the package, `tfds:NAME` or `hf:NAME`. If the source of the
    training images has validation or test images, these are used; missing parts are drawn from the
    training images. Sizes may be comma-separated strings: kernels="9,7,5".

    Raises:
      ValueError: a field is out of range; the message contains its name.

    >>> ImageConfig(images="a.npz", kernels="7,5,3").kernels
    (7, 5, 3)
    """

    images: str = setting(
        "",
        "images, all or for training: .npz, .npy, .mat, .amat, a folder of .png or .jpg, "
        "builtin:shapes, tfds:NAME or hf:NAME",
        affects_results=False,
        group="Images",
    )
    valid_images: str = setting(
        "", "validation images, if stored separately", affects_results=False
    )
    test_images: str = setting("", "test images, if stored separately", affects_results=False)
    valid_size: int = setting(
        2000, "number of images split off for validation if there is no such part"
    )
    test_size: int = setting(
        8070, "number of images split off for the test if there is no such part"
    )
    data_seed: int = setting(
        0, "seed of the split, and of the binarisation of greyscale images in evaluation"
    )
    image_size: int = setting(
        0,
        "height and width to which the centre square of every image is resized; 0: no resizing, "
        "images of one size",
    )
    to_grey: bool = setting(False, "convert colours to greyscale; without it, colours are an error")
    max_train_images: int = setting(
        0, "maximum number of training images, sampled with data_seed; 0: all"
    )
    max_eval_images: int = setting(
        0, "maximum number of validation and test images, sampled with data_seed; 0: all"
    )
    batch_size: int = setting(50, "batch size (B)")
    encoder_channels: tuple = setting(
        (64, 64, 64), "channels of the encoder's residual blocks, comma-separated", group="Networks"
    )
    kernels: tuple = setting(
        (9, 9, 9, 7, 7, 7, 5, 5, 5, 3, 3, 3),
        "odd kernel sizes of the decoder's layers, comma-separated",
    )
    channels: int = setting(32, "channels of the decoder (C)")
    latent_maps: int = setting(4, "feature maps of z in the first layer of the decoder")
    svi_step_size: float = setting(1 / 50, "step size of refinement, per example")
    optimizer: str = setting("adam", "optimizer of the networks", choices=("sgd", "adam"))
    learning_rate: float = setting(0.001, "initial learning rate")
    min_learning_rate: float = setting(
        0.0001, "stop training when the learning rate falls below this"
    )
    epochs: int = setting(100, "maximum number of epochs", group="Training")
    decay_from_epoch: int = setting(
        30, "after this epoch, once validation stops improving, halve the learning rate each epoch"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("encoder_channels", "kernels"):
            object.__setattr__(self, name, _sizes(name, getattr(self, name)))
        if any(size < 3 or size % 2 == 0 for size in self.kernels):
            raise ValueError(f"kernels: expected odd integers >= 3, got {self.kernels}.")
        for name in ("channels", "latent_maps", "valid_size", "test_size"):
            validation.positive_int(name, getattr(self, name))
        for name in ("max_train_images", "max_eval_images", "data_seed", "image_size"):
            validation.non_negative_int(name, getattr(self, name))
        validation.boolean("to_grey", self.to_grey)


def _sizes(name, value):
    """Returns a tuple of positive ints from a sequence or a comma-separated string."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        sizes = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected comma-separated integers, got {value!r}.") from None
    if not sizes:
        raise ValueError(f"{name}: expected at least one integer, got {value!r}.")
    return tuple(validation.positive_int(name, size) for size in sizes)


def omniglot() -> ImageConfig:
    """Kim et al. (2018), section 4.3: Omniglot at 28 x 28, full-size model.

    train_image.py --config=omniglot --system=savae --images=chardata.mat --workdir=omniglot_savae

    Run time: requires a GPU; the cost is 163 decoder passes per step, 447 steps per epoch and up to
    100 epochs. Expected (reported by the paper, negative ELBO in nats, on the split of
    chardata.mat): Gated PixelCNN 90.59, VAE 90.43 (KL 0.98), SVI 90.51, VAE+SVI 90.19, VAE+SVI+KL
    90.21, SA-VAE 90.05 (KL 2.78). The paper does not give the number of epochs, the KL annealing
    and the learning-rate rule; these are chosen here.
    """
    return ImageConfig()


def small() -> ImageConfig:
    """Kim et al. (2018): the image experiment at a size for 2 CPU cores.

    train_image.py --config=small --system=savae --images=omniglot28.npz --workdir=small_savae

    Run time in processor seconds per step on one core: autoregressive 0.02, VAE 0.03, SVI, VAE+SVI
    and VAE+SVI+KL 0.08, SA-VAE 0.20. XLA would be several times slower, so "auto" disables it here.
    With 400 steps per epoch, SA-VAE takes 7 minutes. Expected (seed 0): on MNIST a bound of 85.9
    nats with a KL of 7.7. All systems: docs/results_images.md. For more than the 5 epochs set
    --decay_from_epoch too.
    """
    return ImageConfig(
        batch_size=25,
        encoder_channels=(8, 16, 16),
        kernels=(7, 5, 3),
        channels=8,
        latent_size=8,
        svi_steps=5,
        svi_step_size=0.02,
        amortized_weight=0.1,
        learning_rate=0.003,
        min_learning_rate=0.0005,
        epochs=5,
        decay_from_epoch=4,
        kl_anneal_epochs=2.0,
        max_train_images=10_000,
        max_eval_images=1_000,
        hvp="reverse_over_reverse",  # As fast as the other one; "auto" would measure both.
        iw_samples=50,
    )


def tiny() -> ImageConfig:
    """Kim et al. (2018): the image experiment at the size of a test.

    train_image.py --config=tiny --system=savae --images=images.npz --workdir=tiny_savae

    Run time: one minute, mostly for tracing. Expected: it runs; the numbers are meaningless.
    """
    return ImageConfig(
        batch_size=8,
        valid_size=10,
        test_size=10,
        encoder_channels=(3,),
        kernels=(3, 3),
        channels=3,
        latent_maps=2,
        latent_size=2,
        svi_steps=2,
        epochs=2,
        decay_from_epoch=1,
        kl_anneal_epochs=1.0,
        iw_samples=5,
        checkpoint_every=3,
        hvp="reverse_over_reverse",
    )


IMAGE_CONFIGS = {"omniglot": omniglot, "small": small, "tiny": tiny}
