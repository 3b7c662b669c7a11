"""Pixel saliency of the latent variables z."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_savae.analysis import decoder_saliency
from tf_savae.evaluation.dataset_pass import one_pass
from tf_savae.plots.pixel_saliency import save_pixels
from tf_savae.training.finished_run import Run
from tf_savae.training.task import Split

__all__ = ["analyze_images", "pixel_saliency"]


def pixel_saliency(
    model: keras.Model, dataset: tf.data.Dataset, steps: int | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and saliency, both [N, H, W].

    The saliency of a pixel is || d log p(x_ij | previous pixels, z) / dz ||, in nats per unit of z.
    """
    of_z = decoder_saliency(model, steps)

    def rows(x, seed):
        values = np.asarray(of_z(x, seed))
        shape = values.shape[:3]  # Drops a last axis of one channel.
        return np.reshape(x, shape), np.reshape(values, shape)

    return one_pass(rows, dataset, seed, model=model, label="saliency of each pixel")


def analyze_images(run: Run, split: Split, config: Any, steps: int, folder: Any) -> dict[str, Any]:
    """Writes the figure of pixel saliency and returns averages as a JSON-compatible dict."""
    images, values = pixel_saliency(run.model, split.dataset(), steps, config.seed)
    save_pixels(images, values, folder, config.example)
    ink = images > 0.5
    return {
        "mean": float(values.mean()),
        "of_ink": float(values[ink].mean()) if ink.any() else None,
        "of_paper": float(values[~ink].mean()) if (~ink).any() else None,
    }
