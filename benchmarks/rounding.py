#!/usr/bin/env python3
"""Who rounds how much: python benchmarks/rounding.py [--case=image] [--steps=0]

Float32 gradients of contenders that are exact, against PyTorch's in float64, with the same weights,
data and noise: the largest and the median relative error of a weight's gradient. It tells rounding
from a mistake where two float32 programs disagree. Needs the extra `bench`.
"""

import numpy as np
from absl import app, flags
from peers import contenders, ours
from peers.agreement import largest_error
from peers.cases import CASES

FLAGS = flags.FLAGS
flags.DEFINE_enum("case", "image", list(CASES), "model and size")
flags.DEFINE_integer("steps", 0, "K; 0 is the VAE")
flags.DEFINE_list("contenders", [], "which FRAMEWORK:METHOD; ours and torch's by default")


def gradients(contender, case, steps, data, dtype):
    """{weight: gradient} of one contender in a precision."""
    data = {name: a.astype(dtype) if a.dtype.kind == "f" else a for name, a in data.items()}
    return contenders.make(contender, case, steps, data, dtype).gradients()[1]


def main(argv):
    del argv
    case, steps = CASES[FLAGS.case], FLAGS.steps
    methods = ("exact", "exact_reverse") if steps else ("vae", "vae")
    judge, own = f"torch:{methods[0]}", f"ours:{methods[1]}"
    data = ours.prepare(case, steps)
    truth = gradients(judge, case, steps, data, "float64")
    for name in FLAGS.contenders or [own, judge]:
        found = gradients(name, case, steps, data, "float32")
        errors = [largest_error({k: found[k]}, {k: truth[k]})[0] for k in truth]
        _, worst = largest_error(found, truth)
        print(f"{name}: largest {max(errors):.1e} ({worst}), median {np.median(errors):.1e}")


if __name__ == "__main__":
    app.run(main)
