#!/usr/bin/env python3
"""How long a served model takes to answer, in a C program without Python and XLA.

    python benchmarks/serving_latency.py [--cases=oracle,text,image] [--times=11]
        [--json=benchmarks/results/serving_latency.json]

encode, and infer with K = 1, 5, 20, for batches of 1, 8 and 64 examples: the median of --times
requests one after the other, in one session with one thread, by tests/helpers/serving/serve.c. It
is the program's own time: a server adds its protocol and its queue. The models are at the sizes of
the configurations that they are named after, with fresh weights, which cost what trained ones do.
Needs gcc. About six minutes on an idle core, nearly all of it images.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from serving import program  # noqa: E402

import tf_savae  # noqa: E402
from tf_savae import networks  # noqa: E402
from tf_savae.tasks import TEXT_CONFIGS, ImageConfig  # noqa: E402

BATCHES, STEPS, WORDS = (1, 8, 64), (1, 5, 20), 50


def oracle():
    """The paper's oracle: 5 words of 1,000, H = 100, Z = 2."""
    parts = networks.OracleEncoder(), networks.OracleDecoder()
    return parts, 2, lambda rows: np.zeros([rows, 5], np.int32)


def text():
    """train_text.py --config=small: V = 2,000, H = 64, Z = 8; texts of 50 words."""
    config = TEXT_CONFIGS["small"]()
    sizes = config.vocabulary_size, config.embedding_size, config.units, config.latent_size

    def rows(count):
        return np.array([[2, *[7] * WORDS, 3]] * count, np.int32)

    return (networks.TextEncoder(*sizes), networks.TextDecoder(*sizes)), config.latent_size, rows


def image():
    """train_image.py --config=omniglot, the paper's: 28 x 28, 32 channels, 12 layers, Z = 32."""
    config = ImageConfig(images="unused")
    decoder = networks.PixelCNNDecoder(
        (28, 28), config.latent_size, config.channels, config.kernels, config.latent_maps
    )
    encoder = networks.ResidualEncoder(config.latent_size, config.encoder_channels)
    return (encoder, decoder), config.latent_size, lambda rows: np.ones([rows, 28, 28, 1], "f4")


CASES = {"oracle": oracle, "text": text, "image": image}


def exported(case, folder):
    """Exports a fresh model; returns the folder and a function that makes examples."""
    keras.utils.set_random_seed(0)
    parts, latent_size, examples = CASES[case]()
    refinement = tf_savae.SemiAmortizedRefinement(steps=5, step_size=0.05)
    model = tf_savae.SemiAmortizedVAE(*parts, latent_size=latent_size, refinement=refinement)
    model(tf.constant(examples(1)))
    signatures = ("infer", "encode")
    return tf_savae.export(model, Path(folder) / case, signatures=signatures), examples


def requests(examples):
    """(row of the results without its time, (signature, request)) of everything measured."""
    for rows in BATCHES:
        x = examples(rows)
        yield {"variant": "encode", "steps": 0, "rows": rows}, ("encode", {"x": x})
        for steps in STEPS:
            inputs = {"x": x, "steps": np.int32(steps), "seed": np.int32(0)}
            yield {"variant": "infer", "steps": steps, "rows": rows}, ("infer", inputs)


def measured(case, times, folder):
    """The rows of one case."""
    served, examples = exported(case, folder)
    rows, asked = zip(*requests(examples), strict=True)
    answers = program.run(program.build(folder), served, asked, times, timeout=3600)
    return [
        {"case": case, **row, "times": times, "seconds": answer.milliseconds / 1e3}
        for row, answer in zip(rows, answers, strict=True)
    ]


def table(rows):
    """Markdown, milliseconds: a row for each case and signature, a column for each batch."""
    lines = [f"| model | signature | {' | '.join(f'B = {b}' for b in BATCHES)} |"]
    lines.append(f"|---|---|{'---|' * len(BATCHES)}")
    found = {(r["case"], r["variant"], r["steps"], r["rows"]): 1e3 * r["seconds"] for r in rows}
    for case, variant, steps in dict.fromkeys(key[:3] for key in found):
        name = variant if variant == "encode" else f"{variant}, K = {steps}"
        cells = [f"{found[case, variant, steps, b]:.3g} ms" for b in BATCHES]
        lines.append(f"| {case} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machine(load):
    """What the times depend on; `load` is what others kept the machine busy with before."""
    return {
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "tensorflow": tf.__version__,
        "load_average_before": load,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--times", type=int, default=11)
    parser.add_argument("--json")
    options = parser.parse_args()
    if program.compiler() is None:
        sys.exit("serving_latency.py: expected gcc on the PATH, found none.")
    load, rows = os.getloadavg()[0], []
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases.split(","):
            rows += measured(case, options.times, folder)
            print(f"{case} measured", file=sys.stderr)
    print(table(rows))
    if options.json:
        content = {"machine": machine(load), "rows": rows}
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
