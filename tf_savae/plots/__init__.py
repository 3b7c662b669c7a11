"""Plots: functions that return a matplotlib Figure and optionally write it to a file.

The input is a result of `tf_savae.evaluation`, `tf_savae.analysis` or `fit`, or a model and data.
matplotlib is imported by the first plot. The functions named save_* also write the plotted arrays;
trainers and commands use them.
"""

from tf_savae.plots.figure import new_figure
from tf_savae.plots.history import history_arrays, plot_history, save_history
from tf_savae.plots.image_grid import Grid, save_grid
from tf_savae.plots.inference_gap import plot_gap, save_gap
from tf_savae.plots.landscape import plot_landscape, save_landscape
from tf_savae.plots.latent_space import plot_latent_space
from tf_savae.plots.pixel_saliency import save_pixels
from tf_savae.plots.reconstructions import plot_reconstructions
from tf_savae.plots.refinement_path import plot_path, save_path
from tf_savae.plots.saliency import save_corpus, save_sentence
from tf_savae.plots.steps_curve import plot_steps, save_steps

__all__ = [
    "Grid",
    "history_arrays",
    "new_figure",
    "plot_gap",
    "plot_history",
    "plot_landscape",
    "plot_latent_space",
    "plot_path",
    "plot_reconstructions",
    "plot_steps",
    "save_corpus",
    "save_gap",
    "save_grid",
    "save_history",
    "save_landscape",
    "save_path",
    "save_pixels",
    "save_sentence",
    "save_steps",
]
