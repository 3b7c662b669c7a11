"""The last stage of the input pipelines: no tuner that an epoch's end would have to wait for."""

import numpy as np
import pytest

from tf_savae import data

_LINES = ["a b", "b a b", "a"]


def _corpus():
    return data.TextCorpus.encode(_LINES, data.Vocabulary.build(_LINES))


def _images():
    return data.ImageSet.of(np.ones([5, 2, 2]), "example")


@pytest.mark.parametrize(
    "pipeline",
    [
        lambda: data.batches(_corpus(), 2),
        lambda: data.training_stream(_corpus(), 2),
        lambda: data.image_batches(_images(), 2),
        lambda: data.image_stream(_images(), 2),
    ],
    ids=["batches", "training_stream", "image_batches", "image_stream"],
)
def test_pipelines_are_not_autotuned(pipeline):
    dataset = pipeline()
    assert dataset.options().autotune.enabled is False
    assert len(next(iter(dataset))) == 3
