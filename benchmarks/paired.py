"""Pairs of images: SSIM, PSNR and L1 of two folders by this program and by a loop over torchmetrics.

The command is compared with the loop from start to end, and the values of decoded pairs within one process; one thread
each. Memory is flat where a quarter of the pairs takes as much.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import material
from benchmarks.options import Options
from benchmarks.runs import Figures, Rounds, agree, child, in_turns, job, python, ratio, row, timed

SIZE = 256  # pixels of a side
METRICS = ("ssim", "psnr", "l1")
AS_FAST, FLAT = ">= 1", "<= 1.05"
OURS, PEER, QUARTER = "ganeval", "torchmetrics", "a quarter"


def measure(options: Options) -> dict[str, Any]:
    pairs = min(options.images, 1000)
    folders = material.folders(options.folder, pairs, SIZE)
    few = material.folders(options.folder, max(2, pairs // 4), SIZE)
    values = job("paired:values", threads=1, rounds=1 if options.quick else 5, pairs=min(pairs, 32))
    runs = {OURS: lambda: ours(folders), PEER: lambda: peer(folders), QUARTER: lambda: ours(few)}

    def found(rounds: Rounds) -> dict[str, Any]:
        for name in METRICS:
            # in float32, as its users run it, the peer is off by some 1e-5
            agree({OURS: rounds[-1][OURS][name], PEER: rounds[-1][PEER][name]}, [(OURS, PEER)], 1e-4)
        settings = {"pairs": pairs, "pixels": f"{SIZE} x {SIZE}", "metrics": list(METRICS), "threads": 1}
        return {"settings": settings, "rounds": rounds, "values": values, "rows": rows(rounds, values["ratio"], pairs)}

    return found(in_turns(runs, options.rounds, after=lambda rounds: options.keep(found(rounds))))


def rows(rounds: Rounds, of_values: list[float], pairs: int) -> list[dict[str, object]]:
    return [
        row(f"{PEER} / {OURS}, wall time", ratio(rounds, PEER, OURS), "x", AS_FAST),
        row(f"{PEER} / {OURS}, processor time", ratio(rounds, PEER, OURS, "processor"), "x", AS_FAST),
        row(f"{PEER} / {OURS}, values of decoded pairs", of_values, "x", AS_FAST),
        row(f"{OURS}: pairs a second of processor", [pairs / each[OURS]["processor"] for each in rounds], ""),
        row(f"{PEER}: pairs a second of processor", [pairs / each[PEER]["processor"] for each in rounds], ""),
        row(f"{OURS}: peak memory", [each[OURS]["peak"] / 1e9 for each in rounds], "GB"),
        row(f"{OURS}: peak memory / that of {QUARTER} of the pairs", ratio(rounds, OURS, QUARTER, "peak"), "x", FLAT),
    ]


def ours(folders: tuple[Path, Path]) -> Figures:
    options = ("--metrics", ",".join(METRICS), "--device", "cpu", "--json", "-q")
    figures, written = child(python("ganeval", "paired", *map(str, folders), *options), threads=1)
    results = json.loads(written)["results"]
    return figures | {name: results[name]["value"] for name in METRICS}


def peer(folders: tuple[Path, Path]) -> Figures:
    figures, written = child(python("benchmarks.paired", *map(str, folders)), threads=1)
    return figures | json.loads(written.splitlines()[-1])


def loop(real: str, fake: str) -> dict[str, float]:
    """Pair by pair, which is faster than in batches: one pair stays in the cache of a processor."""
    import numpy as np
    import torch
    from PIL import Image

    metrics = _peers()

    def load(path: Path) -> torch.Tensor:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous().float() / 255

    for path in sorted(Path(real).iterdir()):
        target, output = load(path), load(Path(fake) / path.name)
        for metric in metrics.values():
            metric.update(output, target)
    return {name: float(metric.compute()) for name, metric in metrics.items()}


def _peers() -> dict[str, Any]:
    from torchmetrics import MeanAbsoluteError
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

    return {
        "ssim": StructuralSimilarityIndexMeasure(data_range=1.0),
        "psnr": PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3)),
        "l1": MeanAbsoluteError(),
    }


def values(pairs: int, rounds: int) -> dict[str, Any]:
    """Decoded pairs, without files: ratios of neighbours in time, by processor time."""
    import torch

    from ganeval.engine.pair_values import pair_values

    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randint(256, (pairs, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator) for _ in "ab")
    metrics = _peers()

    def theirs() -> None:
        for target, output in zip(real.split(1), fake.split(1), strict=True):
            for metric in metrics.values():
                metric.update(output.float() / 255, target.float() / 255)

    runs = {
        OURS: lambda: timed(lambda: pair_values(METRICS, real, fake)),
        PEER: lambda: timed(theirs),
    }
    in_turns(runs, 1)
    found = in_turns(runs, rounds)
    seconds = {name: median(each[name]["processor"] for each in found) / pairs for name in runs}
    return {"ratio": ratio(found, PEER, OURS, "processor"), "seconds a pair": seconds}


if __name__ == "__main__":
    print(json.dumps(loop(*sys.argv[1:])))
