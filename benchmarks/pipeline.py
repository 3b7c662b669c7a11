"""What the input pipelines cost a step: how soon batches come, and how much of them is padding.

    python benchmarks/pipeline.py --text=train.txt --images=train_images.npy

No model runs: batches are fetched one after the other, the first ten untimed. A pipeline works
beside the step, on threads of its own, so that it costs nothing as long as a batch comes sooner
than a step ends. Padding does cost: every position of a batch is computed. Without files, 4,000
sentences and 2,000 grey images are drawn.
"""

import os
import statistics
import time

import numpy as np
from absl import app, flags
from peers import results

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
FLAGS = flags.FLAGS
flags.DEFINE_string("text", None, "a text file, one sentence a line, plain or compressed")
flags.DEFINE_string("images", None, "what --images of bin/train_image.py takes")
flags.DEFINE_integer("batch_size", 32, "of text; images come by 50, as the paper's", lower_bound=1)
flags.DEFINE_list("buckets", ["1", "2", "4", "8", "16"], "numbers of lengths")
flags.DEFINE_integer("batches", 300, "how many to time", lower_bound=2)
flags.DEFINE_string("output", "benchmarks/results/pipeline.json", "figures")
_IMAGES = 50


def drawn_lines(count=4000):
    """Sentences of 3 to 80 of 5,000 words."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.gamma(4.0, 5.0, count), 3, 80).astype(int)
    return [" ".join(f"w{word}" for word in rng.integers(5000, size=n)) for n in lengths]


def fetched(stream):
    """Median milliseconds from one batch of an endless stream to the next."""
    times = []
    for x, _, _ in stream.take(10 + FLAGS.batches):
        x.numpy()
        times.append(time.perf_counter())
    return 1e3 * statistics.median(np.diff(times[9:]))


def padding(lengths, boundaries):
    """The share of a pass's positions that predict nothing, rows of weight 0 counted."""
    from tf_savae.data import plan_batches

    plan = plan_batches(lengths, FLAGS.batch_size, boundaries)
    positions = sum(FLAGS.batch_size * (batch.length - 1) for batch in plan)
    return 1.0 - (int(np.sum(lengths)) - len(lengths)) / positions


def text_rows():
    """One row for each number of lengths."""
    from tf_savae import data

    lines = data.read_lines(FLAGS.text)[0] if FLAGS.text else drawn_lines()
    corpus = data.TextCorpus.encode(lines, data.Vocabulary.build(lines))
    rows = []
    for buckets in map(int, FLAGS.buckets):
        lengths = data.bucket_lengths(corpus.lengths, buckets)
        stream = data.training_stream(corpus, FLAGS.batch_size, boundaries=lengths)
        row = {"padding": padding(corpus.lengths, lengths), "ms_a_batch": fetched(stream)}
        rows.append({"sentences": len(corpus), "lengths": lengths, **row})
    return rows


def image_row():
    """How soon images come: grey ones are drawn anew in each pass."""
    from tf_savae import data

    if FLAGS.images:
        parts = data.load_images(FLAGS.images)
        images = parts.get("train") or next(iter(parts.values()))
    else:
        grey = np.random.default_rng(0).integers(256, size=[2000, 28, 28])
        images = data.ImageSet.of(grey.astype(np.uint8), "drawn")
    rate = fetched(data.image_stream(images, _IMAGES))
    return {"images": len(images), "binary": bool(images.binary), "ms_a_batch": rate}


def main(argv):
    del argv
    text, image = text_rows(), image_row()
    print("| lengths | padding | ms a batch |\n|---|---|---|")
    for row in text:
        lengths = ", ".join(map(str, row["lengths"]))
        print(f"| {lengths} | {row['padding']:.1%} | {row['ms_a_batch']:.2f} |")
    kind = "binary" if image["binary"] else "grey"
    print(f"\n{image['images']} {kind} images: {image['ms_a_batch']:.2f} ms a batch of {_IMAGES}")
    machine = results.machine(len(os.sched_getaffinity(0)))
    figures = {"machine": machine, "batch_size": FLAGS.batch_size, "text": text, "images": image}
    results.write(FLAGS.output, figures)


if __name__ == "__main__":
    app.run(main)
