"""What a plain difference of Frechet distances prefers below 2.5 images a feature: the figure of docs/intervals.md.

    python benchmarks/small_samples.py ROWS.npz [--figure docs/shrunk.png] [--runs 200]

ROWS.npz: statistics of real images with rows (``ganeval stats build cifar10-test.zip --rows --protocol compact``).
Real images whose features are pulled 5 % towards their mean are compared with the real images themselves, at the same
number of images, with the reference fixed: plainly, calibrated by rows of the reals, and calibrated by Gaussian rows.
"""

from __future__ import annotations

import argparse
from math import sqrt
from pathlib import Path

import numpy as np

from ganeval.metrics.calibration import kappa
from ganeval.metrics.leave_one_out import LeaveOneOut, leave_one_out, singular_values
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.reference import load_statistics
from ganeval.statistics.rows import FeatureRows

SHARES = (0.1, 0.25, 0.5, 1.0, 2.0)
KINDS = ("plain", "calibrated", "calibrated, Gaussian rows")


def kept(array: np.ndarray) -> tuple[Gaussian, FeatureRows]:
    rows, moments = FeatureRows(array.shape[1], memory_limit=array.size * 4), Moments(array.shape[1])
    rows.append(array.astype(np.float32))
    moments.update(array.astype(np.float32))
    return moments.finish(), rows


def differences(real: Gaussian, pool: np.ndarray, n: int, spread: float, runs: int) -> dict[str, np.ndarray]:
    """(runs, 2) of each kind: the paired difference, shrunk less full, and its standard error."""
    rows = kept(pool)[1]
    kappas = [None, kappa(real, n, rows).value, kappa(real, n).value]
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for run in range(runs):
        drawn = pool[np.random.default_rng([n, run]).integers(0, len(pool), n)]
        sides = [kept(real.mean + c * (drawn - real.mean)) for c in (1.0, spread)]
        parts = [singular_values(real, gaussian, one) for gaussian, one in sides]
        for kind, value in zip(KINDS, kappas, strict=True):
            full, shrunk = (
                leave_one_out(real, gaussian, one, kappa=value, parts=part)
                for (gaussian, one), part in zip(sides, parts, strict=True)
            )
            found[kind].append((shrunk.value - full.value, _error(full, shrunk)))
    return {kind: np.array(values) for kind, values in found.items()}


def _error(a: LeaveOneOut, b: LeaveOneOut) -> float:
    return sqrt(float(np.var(b.pseudo_fake - a.pseudo_fake, ddof=1)) / len(a.pseudo_fake))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--spread", type=float, default=0.95)
    options = parser.parse_args()
    stats = load_statistics(options.rows)
    assert stats.rows is not None
    pool = np.asarray(stats.rows, dtype=np.float64)
    real = Gaussian(None, pool.mean(axis=0), np.cov(pool.T, ddof=0))
    truth = (1 - options.spread) ** 2 * float(np.trace(real.covariance))
    sizes = [round(share * pool.shape[1]) for share in SHARES]
    print(f"population: {truth:+.2f}")
    table: dict[str, list[tuple[float, float, float, float]]] = {kind: [] for kind in KINDS}
    for n in sizes:
        for kind, values in differences(real, pool, n, options.spread, options.runs).items():
            value, error = values.T
            better = float((value + 1.645 * error < 0).mean())
            covers = float((np.abs(value - truth) <= 1.96 * error).mean())
            table[kind].append((float(value.mean()), float(value.std()), better, covers))
            print(
                f"n={n:4} {kind:26} {value.mean():+.2f}  better than real {better:.0%}  covers {covers:.0%}", flush=True
            )
    if options.figure:
        draw(sizes, table, truth, options.figure)


def draw(sizes: list[int], table: dict[str, list[tuple[float, float, float, float]]], truth: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for kind, colour in zip(KINDS[:2], ("#c2571a", "#1b6ca8"), strict=True):
        mean, deviation, better, _ = np.array(table[kind]).T
        left.plot(sizes, mean, marker="o", color=colour, label=kind)
        left.fill_between(sizes, mean - deviation, mean + deviation, color=colour, alpha=0.18)
        right.plot(sizes, 100 * better, marker="o", color=colour, label=kind)
    left.axhline(truth, color="#444", linewidth=0.8, linestyle="--", label="between the distributions")
    left.axhline(0, color="#444", linewidth=0.8)
    left.set_ylabel("distance of shrunk reals less that of reals")
    right.set_ylabel("called better than real, % of runs")
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xticks(sizes, [str(n) for n in sizes])
        ax.minorticks_off()
        ax.set_xlabel("images (256 features)")
        ax.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
