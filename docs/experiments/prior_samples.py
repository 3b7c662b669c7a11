#!/usr/bin/env python3
"""How far log p(x) by samples from the prior stays off where posteriors are narrow.

A linear Gaussian model in two dimensions, z ~ N(0, I), x | z ~ N(z, s^2 I), whose log p(x) is
known. -log of the mean weight of S samples from the prior, less the true one, in nats: an upper
bound on average, the looser the further the posterior is from the prior.

    python docs/experiments/prior_samples.py
"""

import argparse

import numpy as np
from scipy.special import logsumexp


def bias(scale, samples, points, generator):
    """Mean KL(posterior || prior), and mean and standard error of the estimate's error."""
    x = generator.normal(size=[points, 2]) * np.sqrt(1 + scale**2)
    variance = scale**2 / (1 + scale**2)
    mean = x / (1 + scale**2)
    kl = 0.5 * np.sum(mean**2 + variance - 1 - np.log(variance), axis=1)
    true = -0.5 * np.sum(x**2, axis=1) / (1 + scale**2) - np.log(2 * np.pi * (1 + scale**2))
    z = generator.normal(size=[points, samples, 2])
    gaps = np.sum((x[:, None] - z) ** 2, axis=2)
    logs = -0.5 * gaps / scale**2 - np.log(2 * np.pi * scale**2)
    errors = true - (logsumexp(logs, axis=1) - np.log(samples))
    return kl.mean(), errors.mean(), errors.std() / np.sqrt(points)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scales", type=float, nargs="+", default=[0.22, 0.155, 0.1])
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--points", type=int, default=1500)
    options = parser.parse_args()
    print("| KL | S | nats too high |\n|---|---|---|")
    for scale in options.scales:
        for samples in options.samples:
            generator = np.random.default_rng(0)
            kl, error, spread = bias(scale, samples, options.points, generator)
            print(f"| {kl:.1f} | {samples:,} | {error:.3f} ± {spread:.3f} |")


if __name__ == "__main__":
    main()
