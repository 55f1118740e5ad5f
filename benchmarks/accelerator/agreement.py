"""The device against the CPU on the same inputs: arithmetic, resizes, features, distances, generators."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch

from benchmarks.accelerator.bench import Bench, Found, apart, extractor

METRICS = ("fid", "kid", "is", "precision", "recall", "density", "coverage", "ind")
MODES = ("tf1-bilinear", "torch-bilinear", "torch-bilinear-antialias", "torch-bicubic-antialias")


def noise(n: int, height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def batch(images: Any) -> Any:
    from ganeval.images.types import ImageBatch

    return ImageBatch(images, [""] * len(images), None)


def arithmetic(bench: Bench) -> Found:
    """Is it strict float32 inside, whatever the surrounding program has set?"""
    from ganeval.arithmetic import strict_float32

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(512, 512, generator=generator) for _ in "ab")
    x, w = torch.randn(8, 64, 32, 32, generator=generator), torch.randn(64, 64, 3, 3, generator=generator)
    product, convolution = a.double() @ b.double(), torch.nn.functional.conv2d(x.double(), w.double())
    a, b, x, w = (tensor.to(bench.device) for tensor in (a, b, x, w))

    def errors() -> dict[str, float]:
        made = torch.nn.functional.conv2d(x, w)
        return {"product": apart((a @ b).cpu(), product), "convolution": apart(made.cpu(), convolution)}

    found: Found = {}
    before = torch.get_float32_matmul_precision()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.set_float32_matmul_precision("high")
        found["outside, high"] = errors()
        with strict_float32():
            found["strict"] = errors()
        with strict_float32(tf32=True):
            found["tf32"] = errors()
        found["outside again"] = errors()
        torch.set_float32_matmul_precision(before)
    return found | {"warnings": sorted({str(one.message)[:160] for one in caught})}


def resizes(bench: Bench) -> Found:
    from ganeval.images.resize import resize

    found: Found = {}
    for height, width in bench.pick(((32, 32), (256, 256), (611, 407)), ((32, 40),)):
        x = noise(2, height, width, 1).float()
        for mode in MODES:
            here, there = resize(x, 299, mode), resize(x.to(bench.device), 299, mode).cpu()
            found[f"{mode} {height} x {width}"] = {
                "equal bits": torch.equal(here, there), "grey levels": float((here - there).abs().max()),
            }  # fmt: skip
    return found


def features(bench: Bench) -> Found:
    """Of the largest feature, by protocol, kind of image and layer."""
    from ganeval.images.open import open_images

    n = bench.pick(16, 2)
    pictures, found = noise(n, 80, 64, 2), {}
    for name in bench.pick(("compact", "ttur", "pytorch-fid", "torchmetrics", "clean"), ("compact",)):
        layers = ("features", "logits", "spatial") if name == "ttur" else ("features",)
        rows: dict[str, list[torch.Tensor]] = {}
        for device in (torch.device("cpu"), bench.device):
            network = extractor(bench, name, device=device, layers=layers)
            (shapes,) = open_images("dataset:shapes:64", num_samples=n).batches(n, prepare=network.prepare)
            mixed = batch([pictures[0], pictures[1, :, :50, :41]])
            for what, given in (("shapes", shapes), ("noise", batch(pictures)), ("mixed sizes", mixed)):
                for tap, made in network(given).items():
                    rows.setdefault(f"{what} {tap}", []).append(made.float().cpu())
        found[name] = {what: apart(there, here) for what, (here, there) in rows.items()}
    return found


def precisions(bench: Bench) -> Found:
    """Every arithmetic against float32, whether it repeats, and whether a part of a batch has the rows of the whole."""
    found: Found = {}
    pictures, exact, name = batch(noise(bench.pick(16, 2), 80, 64, 2)), None, bench.pick("ttur", "compact")
    for precision in ("float32", "tf32", "fp16", "bf16") if bench.cuda else ("float32", "bf16"):
        network = extractor(bench, name, precision)
        (tap,) = network.taps
        rows, again = (network(pictures)[tap].float().cpu() for _ in range(2))
        exact = rows if exact is None else exact
        found[precision] = {"from float32": apart(rows, exact), "repeats to the bit": torch.equal(rows, again)}
    many, network = noise(bench.pick(128, 3), 64, 64, 3), extractor(bench, name)
    whole = network(batch(many))[tap].cpu()
    for size in bench.pick((1, 13, 64), (1,)):
        found[f"first {size} of {len(many)} alone"] = apart(network(batch(many[:size]))[tap].cpu(), whole[:size])
    return found


def distances(bench: Bench) -> Found:
    from ganeval.api import evaluate

    runs: dict[str, dict[str, Any]] = {"compact": {"num_samples": bench.pick(600, 24)}}
    if not bench.quick:
        runs["ttur"] = {"num_samples": 120, "weights": bench.weights}
    found: Found = {}
    for name, options in runs.items():
        results, seconds = [], []
        for device in ("cpu", str(bench.device)):
            started = time.perf_counter()
            results.append(
                evaluate(
                    "dataset:shapes-plain:64", "dataset:shapes-striped:64", protocol=name, device=device,
                    metrics=METRICS, cache=False, **options,
                )
            )  # fmt: skip
            seconds.append(time.perf_counter() - started)
        here, there = results
        found[name] = {
            metric: {
                "cpu": here[metric].value, "device": there[metric].value,
                "relative": abs(there[metric].value - here[metric].value) / max(abs(here[metric].value), 1e-12),
                "error, relative": None if not here[metric].standard_error else abs(
                    (there[metric].standard_error or 0) / here[metric].standard_error - 1
                ),
            }
            for metric in METRICS if metric in here.results and metric in there.results
        }  # fmt: skip
        found[name] |= {"seconds": seconds, "digests agree": here.fake["digest"] == there.fake["digest"]}
    return found


def path_length(bench: Bench) -> Found:
    from ganeval import path_length

    found: Found = {}
    for device in dict.fromkeys(("cpu", str(bench.device))):
        pairs, started = bench.pick(200, 16), time.perf_counter()
        one = path_length("gen:dcgan-cifar10", pairs=pairs, distance="compact", device=device)
        taken = time.perf_counter() - started
        found[device] = {"value": one.value, "error": one.standard_error, "seconds": taken}
    return found


def generators(bench: Bench) -> Found:
    from ganeval.generators.load import open_source

    n, found = bench.pick(130, 4), {}
    for spec in ("gen:dcgan-cifar10", "gen:cyclegan-plain2striped(dataset:shapes-plain:64)"):

        def draw(device: torch.device, size: int, spec: str = spec) -> torch.Tensor:
            source = open_source(spec, num_samples=n, device=device)
            return torch.cat([torch.as_tensor(part.images) for part in source.batches(size)])

        here, there, again = draw(torch.device("cpu"), 64), draw(bench.device, 64), draw(bench.device, 7)
        found[spec] = {
            "made on": str(there.device), "levels from the CPU": int((there.cpu().int() - here.int()).abs().max()),
            "share of pixels": float((there.cpu() != here).float().mean()),
            "equal bits at another batch size": torch.equal(there, again),
        }  # fmt: skip
    return found


CHECKS = {
    "arithmetic": arithmetic, "resizes": resizes, "features": features, "precisions": precisions,
    "distances": distances, "path length": path_length, "generators": generators,
}  # fmt: skip
