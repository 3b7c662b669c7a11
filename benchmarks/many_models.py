#!/usr/bin/env python3
"""Memory that stays after a model is deleted: python benchmarks/many_models.py

Compiles, trains and deletes MODELS small dense models one after the other, in a process for each
case, and prints how much memory the process holds in addition for each of them. The first model is
left out. What XLA has compiled stays in TensorFlow's cache until the process ends. The last column
says whether any deleted model was still alive. Linux only.
"""

import argparse
import ctypes
import gc
import subprocess
import sys
import weakref

import numpy as np

CASES = {
    "savae xla": "SA-VAE, K = 3, XLA",
    "savae graph": "SA-VAE, K = 3, without XLA",
    "keras xla": "Keras model, XLA",
}


def make(kind, xla):
    """A compiled model of 64 numbers, and the arguments of its `fit`."""
    import keras

    import tf_savae

    x = (np.random.default_rng(0).random([400, 64]) > 0.5).astype("float32")

    def network(outputs):
        return keras.Sequential([keras.layers.Dense(64, "relu"), keras.layers.Dense(outputs)])

    if kind == "keras":
        model = network(64)
        model.compile("adam", "mse", jit_compile=xla)
        return model, (x, x)
    model = tf_savae.SemiAmortizedVAE(
        network(16),
        tf_savae.DistributionDecoder(network(64), "bernoulli"),
        latent_size=8,
        refinement=tf_savae.SemiAmortizedRefinement(steps=3),
    )
    model.compile("adam", jit_compile=xla)
    return model, (x,)


def measure(case, models):
    """(MiB for each model after the first, number of deleted models that are alive)."""
    from peers import memory

    kind, mode = case.split()
    begun, references = None, []
    for _ in range(models + 1):
        model, data = make(kind, mode == "xla")
        model.fit(*data, batch_size=50, verbose=0)
        references.append(weakref.ref(model))
        del model
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # Free memory is no memory that stays.
        begun = memory.held() if begun is None else begun
    return (memory.held() - begun) / models, sum(ref() is not None for ref in references)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=4, help="models of a case, after the first")
    parser.add_argument("--case", choices=CASES, help="only this case, in this process")
    flags = parser.parse_args()
    if flags.case:
        growth, alive = measure(flags.case, flags.models)
        print(f"| {CASES[flags.case]} | {growth:.0f} | {alive} |")
        return
    print("| model | MiB for each | alive |\n|---|---|---|", flush=True)
    for case in CASES:
        command = [sys.executable, __file__, f"--case={case}", f"--models={flags.models}"]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
