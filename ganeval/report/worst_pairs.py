"""The worst pairs of a run: target, output and their difference side by side."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from ganeval.errors import InputError, number_of
from ganeval.metrics.registry import METRICS
from ganeval.report.grids import Grid, Tile, data_uri, name_of
from ganeval.report.reopen import Look
from ganeval.result_files import Record

_MOST = 12
_ORDER = ("lpips", "dino-i", "clip-i", "ms-ssim", "ssim", "psnr", "l1", "l2")  # by the first of these that was measured


def is_paired(record: Record) -> bool:
    """Whether the run is one of pairs, with a value of each."""
    names = list(record.evaluation.results)
    return bool(names) and all(name in _ORDER and f"{name}_score_fake" in record.arrays for name in names)


def worst_pairs(record: Record, look: Look) -> Grid:
    """The pairs with the worst values of one metric, and what the others say of them."""
    arrays, results = record.arrays, record.evaluation.results
    name = next(one for one in _ORDER if one in results)
    values = np.asarray(arrays[f"{name}_score_fake"], np.float64)
    places = np.argsort(values if METRICS[name].higher_is_better else -values, kind="stable")[:_MOST].tolist()
    title = f"Worst pairs by {results[name].label}"
    try:
        real, fake = (look(side, places) for side in ("real", "fake"))
    except InputError as error:
        return Grid(title, "", missing=f"Left out: {error}.")
    shown = [i for i in places if i in real and i in fake and real[i].shape == fake[i].shape]
    if not shown:
        return Grid(title, "", missing="Left out: all of these images have changed since the measurement.")
    differences = {i: np.abs(real[i].astype(np.int16) - fake[i]) for i in shown}
    bright = float(np.percentile(np.concatenate([one.ravel() for one in differences.values()]), 99))
    factor = max(1, int(255 / max(1.0, bright)))
    tiles = []
    for i in shown:
        digits = [f"{metric} {float(arrays[f'{metric}_score_fake'][i]):.4g}" for metric in results]
        names = [name_of(arrays, side, i) for side in ("real", "fake")]
        images = (real[i], fake[i], np.minimum(factor * differences[i], 255).astype(np.uint8))
        texts = (f"real image {names[0]}", f"fake image {names[1]}", f"difference of {names[0]} and {names[1]}")
        tiles.append(
            Tile(
                tuple((data_uri(image), alt) for image, alt in zip(images, texts, strict=True)),
                f"{PurePosixPath(names[1]).name}: {', '.join(digits)}",
            )
        )
    brighter = f", {factor} times as bright" if factor > 1 else ""
    lost = len(places) - len(shown)
    note = f"{number_of(lost, 'pair has', 'pairs have')} changed since the measurement." if lost else None
    text = f"Left the real, then the fake, right the absolute difference of the two{brighter}; the worst pair first."
    return Grid(title, text, tuple(tiles), note=note)
