"""Pixel saliency of the latent variables z."""

import numpy as np

from tf_savae.analysis import decoder_saliency
from tf_savae.evaluation.dataset_pass import one_pass
from tf_savae.plots.pixel_saliency import save_pixels

__all__ = ["analyze_images", "pixel_saliency"]


def pixel_saliency(model, dataset, steps=None, seed=0):
    """Returns images and saliency, both [N, H, W].

    The saliency of a pixel is || d log p(x_ij | previous pixels, z) / dz ||, in nats per unit of z.
    """
    of_z = decoder_saliency(model, steps)

    def rows(x, seed):
        values = np.asarray(of_z(x, seed))
        shape = values.shape[:3]  # Drops a last axis of one channel.
        return np.reshape(x, shape), np.reshape(values, shape)

    return one_pass(rows, dataset, seed, model=model, label="saliency of each pixel")


def analyze_images(run, split, config, steps, folder):
    """Writes the figure of pixel saliency and returns averages as a JSON-compatible dict."""
    images, values = pixel_saliency(run.model, split.dataset(), steps, config.seed)
    save_pixels(images, values, folder, config.example)
    ink = images > 0.5
    return {
        "mean": float(values.mean()),
        "of_ink": float(values[ink].mean()) if ink.any() else None,
        "of_paper": float(values[~ink].mean()) if (~ink).any() else None,
    }
