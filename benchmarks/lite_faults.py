"""Which faults of 256-pixel images each network sees: the table of docs/lite.md.

    python -m benchmarks.lite_faults [--networks lite,compact,fwd,inception-random] [-o FILE.json]

The images are crops of the photographs that scikit-image and scikit-learn ship in their wheels. Of the crops of a
photograph every other one is a reference, the rest are the fakes, first as they are and then with each fault. The
growth is FD of the faulty fakes less FD of the same fakes without a fault, against the same reference; its standard
error is that of the paired difference, where all crops of a photograph count as one. The photographs hold fewer than 80
disjoint crops of 256 pixels, so crops of one photograph overlap. The reference is taken as fixed.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

import ganeval
from benchmarks import material
from ganeval.metrics.intervals import variance_of_mean

Images = NDArray[np.uint8]
SIDE = 256
PHOTOGRAPHS = {
    "skimage/data": "astronaut.png brick.png camera.png cell.png chelsea.png clock_motion.png coffee.png coins.png "
    "grass.png gravel.png hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png retina.jpg rocket.jpg",
    "sklearn/datasets/images": "china.jpg flower.jpg",
}
# what --protocol is called, and what the table calls the distance
NETWORKS = {
    "lite": "FD[efficientnet-lite0]",
    "compact": "FD[compact-v1]",
    "fwd": "FWD",
    "inception-random": "FD of Inception with random weights",
}


def photographs() -> list[Path]:
    """The files of the photographs, of those packages that are installed."""
    found = []
    for folder, names in PHOTOGRAPHS.items():
        package, _, inside = folder.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found += [Path(spec.origin).parent / inside / name for name in names.split()]
    return found


def crops(number: int) -> tuple[Images, NDArray[np.int64]]:
    """``number`` crops of each photograph, from left to right and from above, and the photograph of each.

    Their distance is the largest multiple of 8 pixels at which a photograph holds so many.

    Shape: uint8 (N, 256, 256, 3), (N,).
    """
    images, owners = [], []
    for owner, path in enumerate(photographs()):
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        for step in range(SIDE, 0, -8):
            height, width = (range(0, size - SIDE + 1, step) for size in pixels.shape[:2])
            places = [(y, x) for y in height for x in width]
            if len(places) >= number:
                break
        for i in np.linspace(0, len(places) - 1, number).round().astype(int):
            y, x = places[i]
            images.append(pixels[y : y + SIDE, x : x + SIDE])
            owners.append(owner)
    return np.stack(images), np.array(owners)


def blur(images: Images, sigma: float) -> Images:
    return _bytes(ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0), mode="reflect"))


def jpeg(images: Images, quality: float) -> Images:
    out = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=int(quality))
        out.append(np.asarray(Image.open(file)))
    return np.stack(out)


def checkerboard(images: Images, level: float) -> Images:
    """Every second row and column is brighter, the others darker, by half of that share of 255 each.

    Transposed convolutions of stride 2 whose kernels overlap unevenly leave such a grid.
    """
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    return _bytes(images + level * 127.5 * ((-1.0) ** y + (-1.0) ** x)[None, :, :, None])


def noise(images: Images, level: float) -> Images:
    """Gaussian noise with a standard deviation of that share of 255."""
    drawn = np.random.default_rng(0).standard_normal(images.shape, dtype=np.float32)
    return _bytes(images + level * 255 * drawn)


def reduced(images: Images, factor: float) -> Images:
    """Resized to a resolution that is smaller by that factor, and back (bicubic)."""
    size = round(SIDE / factor)
    there = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in there])


# by name: the fault, and its levels; the one in the middle has to be seen
FAULTS: dict[str, tuple[Callable[[Images, float], Images], tuple[float, float, float]]] = {
    "blur, sigma in pixels": (blur, (0.5, 1, 2)),
    "JPEG, quality": (jpeg, (90, 75, 50)),
    "checkerboard, share of 255": (checkerboard, (0.025, 0.05, 0.1)),
    "noise, share of 255": (noise, (0.01, 0.02, 0.04)),
    "resolution, reduced and back": (reduced, (1.5, 2, 4)),
}


@dataclass(frozen=True, slots=True)
class Growth:
    """What a fault adds to the distance.

    Attributes:
        value: the distance with the fault.
        growth: the same less the distance without it.
        error: the standard error of that difference.
    """

    network: str
    fault: str
    level: float
    value: float
    growth: float
    error: float


def measure(
    network: str, *, number: int, levels: slice = slice(None), faults: tuple[str, ...] = tuple(FAULTS)
) -> list[Growth]:
    """The growth of the distance on a network by each fault at each level.

    Args:
        network: one of ``NETWORKS``.
        number: crops of each photograph, half of them the reference.
        levels: which of the three levels.
    """
    images, owners = crops(number)
    real, fakes, owners = images[::2], images[1::2], owners[1::2]
    options = _options(network)
    metrics = options.pop("metrics")
    if network != "fwd":
        real = ganeval.build_statistics(real, **options)

    def run(changed: Images) -> tuple[float, NDArray[np.float64]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ganeval.GanEvalWarning)
            found = ganeval.evaluate(real, changed, metrics=metrics, reference="population", **options)
        (name,) = found.results
        return found[name].value, found[name].per_image[f"{name}_influence_fake"]

    before, influence = run(fakes)
    rows = []
    for fault in faults:
        change, known = FAULTS[fault]
        for level in known[levels]:
            started = time.monotonic()
            value, moved = run(change(fakes, level))
            error = sqrt(variance_of_mean(moved - influence, owners))
            rows.append(Growth(network, fault, level, value, value - before, error))
            print(f"{rows[-1]}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return rows


def _options(network: str) -> dict[str, Any]:
    """The options of ``evaluate`` for one of ``NETWORKS``."""
    if network == "fwd":
        return {"metrics": ("fwd",)}
    if network == "inception-random":
        folder = Path(tempfile.gettempdir()) / "ganeval-benchmarks"
        folder.mkdir(exist_ok=True)
        return {"metrics": ("fid",), "protocol": "ttur", "weights": material.weights(folder)}
    return {"metrics": ("fid",), "protocol": network}


def table(rows: list[Growth]) -> str:
    """A row a fault, a column a network: at each level the growth, and in brackets its standard errors."""
    networks = list(dict.fromkeys(row.network for row in rows))
    lines = [f"| fault | {' | '.join(NETWORKS[one] for one in networks)} |", f"|---{'|---' * len(networks)}|"]
    for fault in dict.fromkeys(row.fault for row in rows):
        cells = [
            "; ".join(
                f"{row.level:g}: {row.growth:.3g} ({row.growth / row.error:.1f})"
                for row in rows
                if (row.fault, row.network) == (fault, one)
            )
            for one in networks
        ]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="lite,compact", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--number", type=int, default=24, help="crops of each photograph")
    parser.add_argument("--middle", action="store_true", help="only the level in the middle")
    parser.add_argument("-o", "--output", type=Path, help="add the figures to those in this file")
    options = parser.parse_args(arguments)
    rows: list[Growth] = []
    if options.output is not None and options.output.exists():
        rows = [Growth(**row) for row in json.loads(options.output.read_text(encoding="utf-8"))]
    for network in options.networks.split(","):
        rows = [row for row in rows if row.network != network]
        rows += measure(network, number=options.number, levels=slice(1, 2) if options.middle else slice(None))
        if options.output is not None:
            options.output.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    print(table(rows))


def _bytes(values: NDArray[np.floating]) -> Images:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
