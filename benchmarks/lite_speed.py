"""How many times the images a second of Inception does `lite` compute on a CPU?

    python -m benchmarks.lite_speed [--threads 2] [--rounds 7]

Both networks run as `--protocol lite` and `--protocol ttur` run them, on images in memory that are resized too, in
turns in one process. Each round gives one ratio of processor times an image; their median is the answer. What is
promised: at least 7.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks import material
from ganeval.features.extractor import FeatureExtractor
from ganeval.images.types import ImageBatch
from ganeval.protocol import get_protocol

NEEDED = 7.0
IMAGES = {"ttur": 4, "lite": 24}  # in a turn and for each thread: about the same time


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=256, help="of the images, in pixels")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folder = Path(tempfile.gettempdir()) / "ganeval-benchmarks"
    folder.mkdir(exist_ok=True)
    extractors = {
        name: FeatureExtractor(get_protocol(name), device=torch.device("cpu"), weights=weights)
        for name, weights in (("ttur", material.weights(folder)), ("lite", None))
    }
    random, batches = torch.Generator().manual_seed(0), {}
    for name, number in IMAGES.items():
        shape = (number * options.threads, 3, options.size, options.size)
        images = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
        batches[name] = ImageBatch(images, [str(i) for i in range(len(images))], None)

    def seconds(name: str) -> float:
        """Processor time an image, of all threads."""
        started = time.process_time()
        extractors[name](batches[name])
        return (time.process_time() - started) / len(batches[name].names)

    for name in extractors:  # weights are laid out for oneDNN
        seconds(name)
    turns = [
        {name: seconds(name) for name in list(extractors)[:: 1 if turn % 2 else -1]} for turn in range(options.rounds)
    ]
    for name in extractors:
        each = [turn[name] * 1000 for turn in turns]
        print(f"{name:<5} {median(each):7.1f} ms of processor time an image ({min(each):.1f} to {max(each):.1f})")
    ratios = [turn["ttur"] / turn["lite"] for turn in turns]
    found = median(ratios)
    print(f"lite is {found:.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f}); promised at least {NEEDED:g}")
    return found


if __name__ == "__main__":
    main()
