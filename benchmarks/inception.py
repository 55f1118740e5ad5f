"""How far from the limit: the network beside the machine's convolutions, the whole program beside the bare network."""

from __future__ import annotations

import functools
from statistics import median
from typing import Any

from benchmarks import material
from benchmarks.end_to_end import ours
from benchmarks.machine import peaks, synchroniser
from benchmarks.options import Options
from benchmarks.runs import Figures, job, row, timed

BATCHES = (4, 8, 16, 32, 64)
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


def bare(weights: str, device: str, images: int, limit: bool = True) -> dict[str, Any]:
    """Images a second of the folded network alone, at the batch that suits it best, and the machine's peaks."""
    import torch

    from ganeval.features.inception import load_inception
    from ganeval.features.precision import strict_float32

    synchronise = synchroniser(device)
    found: dict[str, Any] = {"peaks": peaks(device)} if limit else {}
    net = load_inception(torch.load(weights, weights_only=True), device=device)
    rates = {}
    with torch.inference_mode(), strict_float32():
        for batch in BATCHES:
            if batch > images:
                continue
            x = torch.rand(batch, 3, 299, 299, device=device).to(memory_format=torch.channels_last) * 2 - 1
            net(x)
            turns = [timed(lambda: net(x), synchronise)["wall"] for _ in range(max(2, images // batch))]  # noqa: B023
            rates[batch] = batch / median(turns)
    best = max(rates, key=rates.__getitem__)
    return found | {"batch": best, "images a second": rates[best], "by batch": rates}


def measure(options: Options) -> dict[str, Any]:
    weights, (real, fake) = material.weights(options.folder), material.folders(options.folder, options.images)
    images, work = (8 if options.quick else 96), job("inception:operations")
    program = functools.partial(ours, str(real), str(fake), weights, options.device)
    alone = functools.partial(job, "inception:bare", weights=str(weights), device=options.device, images=images)
    ours(*(str(f) for f in material.folders(options.folder, 8)), weights, options.device)
    rounds: list[dict[str, Any]] = []
    for turn in range(options.rounds):
        found: dict[str, Figures] = {}
        for name in ("bare", "program")[:: -1 if turn % 2 else 1]:
            found[name] = alone() if name == "bare" else program()
        if turn == options.rounds - 1:  # the network on both sides of the last run of the program
            found["bare again"] = alone(limit=False)
        rounds.append(found)
    rates = [each["bare"]["images a second"] for each in rounds]
    convolution = max(each["bare"]["peaks"]["convolution"] for each in rounds)
    whole = [2 * options.images / each["program"]["wall"] for each in rounds]
    rows = [
        row(
            "bare folded network / measured convolution peak",
            [work * rate / convolution for rate in rates],
            "",
            OF_PEAK,
        ),
        row("whole program / bare folded network", [a / b for a, b in zip(whole, rates, strict=True)], "", OF_BARE),
        row("bare folded network", [work * rate for rate in rates], "GFLOP/s"),
        row("bare folded network", rates, "images/s"),
        row("whole program, start and distance included", whole, "images/s"),
        *(
            row(f"the machine's {name}", [each["bare"]["peaks"][name] for each in rounds], "GFLOP/s")
            for name in rounds[0]["bare"]["peaks"]
        ),
    ]
    about = {"images of each side": options.images, "device": options.device, "GFLOP an image": round(work, 2)}
    return {"settings": about, "rounds": rounds, "rows": rows}
