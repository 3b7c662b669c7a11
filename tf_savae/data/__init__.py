"""Text and image data: reads files and dataset libraries, and makes batches of static shape."""

from tf_savae.core.tokens import END, PAD, START, UNK
from tf_savae.data.builtin.load import Labelled, load_sentences, load_shapes
from tf_savae.data.images.image_set import ImageSet
from tf_savae.data.images.pipeline import image_batches, image_steps_per_epoch, image_stream
from tf_savae.data.images.source import load_images, load_pictures, split_images
from tf_savae.data.sources import is_name, readable
from tf_savae.data.splits import split_lines, spread
from tf_savae.data.text.buckets import bucket_lengths, plan_batches
from tf_savae.data.text.corpus import TextCorpus, load_corpus
from tf_savae.data.text.lines import LineReport, read_lines
from tf_savae.data.text.pipeline import batches, pad_rows, steps_per_epoch, training_stream
from tf_savae.data.text.vocabulary import SPECIALS, Vocabulary

__all__ = [
    "END",
    "PAD",
    "SPECIALS",
    "START",
    "UNK",
    "ImageSet",
    "Labelled",
    "LineReport",
    "TextCorpus",
    "Vocabulary",
    "batches",
    "bucket_lengths",
    "image_batches",
    "image_steps_per_epoch",
    "image_stream",
    "is_name",
    "load_corpus",
    "load_images",
    "load_pictures",
    "load_sentences",
    "load_shapes",
    "pad_rows",
    "plan_batches",
    "read_lines",
    "readable",
    "split_images",
    "split_lines",
    "spread",
    "steps_per_epoch",
    "training_stream",
]
