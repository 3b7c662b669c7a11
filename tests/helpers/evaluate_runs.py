"""Folders of finished runs at toy size, without the training: what evaluation reads of them."""

import image_runs
import numpy as np
import text_runs

from tf_savae.tasks.image.data import load_image_sets
from tf_savae.tasks.image.model import build_image_model
from tf_savae.tasks.text.data import load_texts
from tf_savae.tasks.text.model import build_model
from tf_savae.training.storage.workdir import Workdir


def text_run(texts, workdir, system="savae", **changes):
    """Writes a run on the texts of `text_runs.write_texts`, of an untrained model.

    Its weights are three times those of a fresh model: z then matters.
    """
    config = text_runs.config(texts, system=system, **changes)
    loaded = load_texts(config)
    model = build_model(config, loaded)
    model.set_weights([3.0 * np.asarray(w) for w in model.get_weights()])
    folder = Workdir(workdir)
    loaded.vocabulary.save(folder / "vocabulary.txt")
    folder.claim({"configuration": config.identity(), "data": loaded.identity()})
    model.save(folder / "model.keras")
    folder.release()
    return folder.path


def image_run(folder, workdir, system="savae", **changes):
    """Writes a run on the images of `image_runs.write_images`, of an untrained model."""
    config = image_runs.config(folder, system=system, **changes)
    loaded = load_image_sets(config)
    model = build_image_model(config, loaded)
    written = Workdir(workdir)
    written.claim({"configuration": config.identity(), "data": loaded.identity()})
    model.save(written / "model.keras")
    written.release()
    return written.path
