"""How far from the limit: the network beside the machine's convolutions, the whole program beside the bare network."""

from __future__ import annotations

import functools
from statistics import median
from typing import Any

from benchmarks import material
from benchmarks.end_to_end import ours, warm
from benchmarks.machine import peaks, synchroniser
from benchmarks.options import Options
from benchmarks.runs import Figures, job, row, timed

BATCHES, BATCHES_THERE = (4, 8, 16, 32, 64), (64, 128, 256, 512)  # on a CPU, on an accelerator
OF_PEAK, OF_BARE = ">= 0.75", ">= 0.9"


def operations() -> float:
    """GFLOP an image takes up to the 2048 features, a multiply-add counted as two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ganeval.features.inception import FIDInception

    with torch.device("meta"):
        net, image = FIDInception(), torch.empty(1, 3, 299, 299)
    with FlopCounterMode(display=False) as counter:
        net(image)
    return float(counter.get_total_flops()) / 1e9


def sizes(device: str, images: int) -> list[int]:
    """Batches that the network is timed with; an accelerator is not filled by those that suit a CPU."""
    every = BATCHES if device == "cpu" else BATCHES_THERE
    return [batch for batch in every if batch <= images] or [images]


def bare(weights: str, device: str, images: int, limit: bool = True) -> dict[str, Any]:
    """Images a second of the network alone, on images that are resized already, and the machine's peaks.

    ``folded``: normalisation in the convolutions, channels last, at the batch that suits it best. ``own``: the network
    as this program runs it.
    """
    from pathlib import Path
    from types import SimpleNamespace

    import torch

    from ganeval.arithmetic import inference
    from ganeval.features.extractor import FeatureExtractor
    from ganeval.features.inception import load_inception
    from ganeval.protocol import get_protocol

    synchronise = synchroniser(device)
    found: dict[str, Any] = {"peaks": peaks(device)} if limit else {}
    net = load_inception(torch.load(weights, weights_only=True), device=device)
    rates = {}
    with torch.inference_mode(), inference("float32", torch.device(device)):
        for batch in sizes(device, images):
            x = torch.rand(batch, 3, 299, 299, device=device).to(memory_format=torch.channels_last) * 2 - 1
            net(x)
            turns = [timed(lambda: net(x), synchronise)["wall"] for _ in range(max(2, images // batch))]  # noqa: B023
            rates[batch] = batch / median(turns)
    best = max(rates, key=rates.__getitem__)
    extractor = FeatureExtractor(get_protocol("ttur"), device=torch.device(device), weights=Path(weights))
    x = torch.rand(min(images, extractor.batch_size), 3, 299, 299) * 255
    extractor(SimpleNamespace(images=x))
    turns = [
        timed(lambda: extractor(SimpleNamespace(images=x)), synchronise)["wall"] for _ in range(-(-images // len(x)))
    ]
    own = len(x) / median(turns)
    return found | {"batch": best, "folded": rates[best], "own": own, "by batch": rates}


def rate_beyond(few: Figures, many: Figures) -> float:
    """Images a second of what a longer run has beyond a short one: start and distance cancel. 0: noise hides it."""
    images, wall = many["images"] - few["images"], many["wall"] - few["wall"]
    return float(images / wall) if images > 0 and wall > 0 else 0.0


def measure(options: Options) -> dict[str, Any]:
    weights, (real, fake) = material.weights(options.folder), material.folders(options.folder, options.images)
    few = 96 if options.device == "cpu" else 2048  # that the network alone is timed on
    images, work = (8 if options.quick else few), job("inception:operations")
    program = functools.partial(ours, str(real), str(fake), weights, options.device)
    alone = functools.partial(job, "inception:bare", weights=str(weights), device=options.device, images=images)
    start = warm(options, weights)
    rounds: list[dict[str, Any]] = []
    for turn in range(options.rounds):
        found: dict[str, Figures] = {}
        for name in ("bare", "program")[:: -1 if turn % 2 else 1]:
            found[name] = alone() if name == "bare" else program()
        if options.device == "cpu":  # lanes, each a core of its own, are bound by what one core can do alone
            single = job("machine:peaks", threads=1, device="cpu")["convolution"]
            found["bare"]["peaks"]["convolution, one core, times the cores"] = single * options.threads
        rounds.append(found)
    limits = [each["bare"]["peaks"] for each in rounds]
    convolution = max(peak[name] for peak in limits for name in peak if name.startswith("convolution"))
    whole = [2 * options.images / each["program"]["wall"] for each in rounds]
    started = [rate_beyond(start, each["program"]) for each in rounds]
    folded, own = ([each["bare"][kind] for each in rounds] for kind in ("folded", "own"))
    rows = [
        row("network as it runs / measured convolution peak", [work * rate / convolution for rate in own], "", OF_PEAK),
        row("folded network / measured convolution peak", [work * rate / convolution for rate in folded], ""),
        row("whole program / folded network", [a / b for a, b in zip(whole, folded, strict=True)], "", OF_BARE),
        row("whole program / network as it runs", [a / b for a, b in zip(whole, own, strict=True)], ""),
        row("network as it runs", own, "images/s"),
        *([row("whole program, beyond a start with few images", started, "images/s")] if min(started) > 0 else []),
        row("folded network", folded, "images/s"),
        row("whole program, start and distance included", whole, "images/s"),
        *(row(f"the machine's {name}", [peak[name] for peak in limits], "GFLOP/s") for name in limits[0]),
    ]
    about = {"images of each side": options.images, "device": options.device, "GFLOP an image": round(work, 2)}
    return {"settings": about, "rounds": rounds, "rows": rows}
