"""Images of several kinds in folders, and weights that stand in for the published ones."""

from __future__ import annotations

import os
import random
from multiprocessing import get_context
from pathlib import Path

from benchmarks.accelerator.bench import Bench, Found

# height and width (None: drawn for each picture), suffix, files, different pictures
KINDS: dict[str, tuple[int | None, str, int, int]] = {
    "png32": (32, "png", 8000, 64), "jpg32": (32, "jpg", 8000, 64), "png256": (256, "png", 3000, 48),
    "jpg256": (256, "jpg", 6000, 48), "png1024": (1024, "png", 256, 8), "jpg1024": (1024, "jpg", 384, 12),
    "mixed": (None, "jpg", 1500, 300),
}  # fmt: skip
QUICK = 8  # files of each kind


def draw(path: str, size: tuple[int, int], seed: int) -> None:
    """A smooth picture with some noise, which compresses about as a photograph does."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(seed)
    width, height = size
    small = noise.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    pixels = np.clip(smooth + noise.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, **({"quality": 90} if path.endswith(".jpg") else {}))


def images(bench: Bench) -> Found:
    """Files are links to fewer pictures, in an order that gives no two blocks of the cache the same bytes."""
    jobs, links = [], []
    numbers = random.Random(0)
    for kind, (pixels, suffix, files, different) in KINDS.items():
        if bench.quick:
            pixels, files, different = pixels and min(pixels, 64), QUICK, 4
        folder, store = bench.folder / kind, bench.folder / "pictures" / kind
        folder.mkdir(parents=True, exist_ok=True), store.mkdir(parents=True, exist_ok=True)
        for i in range(different):
            drawn = bench.pick((200, 521), (40, 70))
            size = (pixels, pixels) if pixels else (numbers.randrange(*drawn), numbers.randrange(*drawn))
            jobs.append((str(store / f"{i:04}.{suffix}"), size, i))
        links += [
            (store / f"{numbers.randrange(different):04}.{suffix}", folder / f"{i:05}.{suffix}") for i in range(files)
        ]
    workers = bench.pick(max(1, min(12, len(os.sched_getaffinity(0)) - 1)), 1)
    if workers == 1:
        for job in jobs:
            draw(*job)
    else:
        with get_context("fork").Pool(workers) as pool:
            pool.starmap(draw, jobs, chunksize=4)
    for source, target in links:
        if not target.exists():
            os.link(source, target)
    return {"pictures": len(jobs), "files": len(links), "MB": sum(Path(job[0]).stat().st_size for job in jobs) / 1e6}


def weights(bench: Bench) -> Found:
    from benchmarks.material import surrogate

    if not bench.weights.exists():
        surrogate().write_surrogate(bench.weights)
    return {"bytes": bench.weights.stat().st_size}


CHECKS = {"images": images, "weights": weights}
