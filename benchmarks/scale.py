"""What a billion images would cost: CPU seconds an image of each network, seconds and bytes of a shard and of a merge.

    python benchmarks/scale.py [--images N]

One thread; CPU time of this process, not time on the clock, so that other programs disturb it little. Networks whose
weights are not at hand run with random ones, which takes as long. A network that needs a library that is not installed
is left out. docs/scale.md is written from its output.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ganeval.features.registry import COMPACT_FILE
from ganeval.features.weights import load_state_dict
from ganeval.images.open import open_images
from ganeval.images.shapes import render
from ganeval.protocol import get_protocol
from ganeval.statistics.merging import merge_statistics
from ganeval.statistics.moments import Moments
from ganeval.statistics.reference import Statistics, load_statistics, save_statistics


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def networks() -> Iterator[tuple[str, int, int, nn.Module]]:
    """Name, side of its input, features, network: ``module(x, taps)``."""
    from torchvision.models import vgg16

    from ganeval.features.compact import load_compact
    from ganeval.features.inception import FIDInception
    from ganeval.features.single_tap import SingleTap
    from ganeval.features.vgg16 import VGG16

    yield "compact-v1", 32, 256, load_compact(load_state_dict(COMPACT_FILE), device=torch.device("cpu"))
    yield "inception-2015-12-05", 299, 2048, FIDInception()
    yield "vgg16", 224, 4096, VGG16(vgg16(weights=None))
    try:
        import timm
    except ImportError:
        return
    with torch.device("meta"):  # its own way to random weights takes minutes
        model = timm.create_model("vit_large_patch14_dinov2", pretrained=False, num_classes=0, img_size=224)
    model = model.to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.normal_(std=0.02)
    yield "dinov2-vitl14", 224, 1024, SingleTap(model, "1024")


def of_networks(images: int) -> None:
    print(f"{'network':<22} {'features':>8} {'CPU s/image':>12} {'images/s/core':>14}")
    for name, side, features, module in networks():
        module.eval()
        batch = 64 if side == 32 else 8
        x = torch.randn(batch, 3, side, side)
        with torch.inference_mode():
            module(x, (str(features),))
            repeats = max(1, images // batch)
            spent = seconds(lambda: [module(x, (str(features),)) for _ in range(repeats)]) / (repeats * batch)  # noqa: B023
        print(f"{name:<22} {features:>8} {spent:>12.4f} {1 / spent:>14.1f}", flush=True)


def of_decoding(folder: Path, images: int) -> None:
    from PIL import Image

    for side in (32, 256):
        for i in range(images):
            picture = Image.fromarray(render(i)).resize((side, side))
            picture.save(folder / f"{side}-{i}.jpg", quality=90)
        source = open_images(np.zeros((1, 1, 1, 3), np.uint8))
        (folder / str(side)).mkdir()
        for path in folder.glob(f"{side}-*.jpg"):
            path.rename(folder / str(side) / path.name)
        source = open_images(folder / str(side))
        spent = seconds(lambda: list(source.batches(64))) / images  # noqa: B023
        print(f"decode JPEG {side} x {side}, digest: {spent * 1e3:.3f} ms an image")


def of_moments(d: int) -> None:
    rows = np.random.default_rng(0).standard_normal((512, d)).astype(np.float32)
    moments = Moments(d)
    spent = seconds(lambda: [moments.update(rows[i : i + 64]) for i in range(0, 512, 64)]) / 512
    print(f"moments of {d} features: {spent * 1e3:.3f} ms an image in batches of 64")


def of_merging(folder: Path, d: int, parts: int, digests: int) -> None:
    random = np.random.default_rng(0)
    moments = Moments(d)
    moments.update(random.standard_normal((2 * d, d)).astype(np.float32))
    gaussian = moments.finish()
    meta = {"protocol": get_protocol("compact").to_dict(), "source": {}, "warnings": []}
    paths = []
    for i in range(parts):
        ids = random.integers(0, 2**64, digests, dtype=np.uint64)
        part = Statistics(gaussian.mean, gaussian.covariance, digests, 1, meta=meta, digests=ids)
        paths.append(save_statistics(folder / f"{d}-{i}", part))
    loaded = seconds(lambda: [load_statistics(path) for path in paths]) / parts
    merged = seconds(lambda: merge_statistics(load_statistics(path) for path in paths)) / parts
    size = paths[0].stat().st_size
    print(
        f"shard of {d} features and {digests} digests: {size / 2**20:.1f} MiB; load and check {loaded:.3f} s, "
        f"load and merge {merged:.3f} s a shard ({parts} shards)"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=64, help="of each measurement of a network")
    images = parser.parse_args().images
    torch.set_num_threads(1)
    torch.manual_seed(0)
    of_networks(images)
    with tempfile.TemporaryDirectory() as name:
        of_decoding(Path(name), 256)
        for d in (256, 2048):
            of_moments(d)
            of_merging(Path(name), d, 8, 10**6)


if __name__ == "__main__":
    main()
