"""Files to FID: this program against each peer, under the protocol that gives the peer's number."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from benchmarks import material
from benchmarks.options import Options
from benchmarks.peers import PROTOCOLS
from benchmarks.runs import Figures, Rounds, agree, child, in_turns, python, ratio, row

NEEDED = {"pytorch-fid": ">= 3", "torch-fidelity": ">= 4.5", "clean-fid": ">= 3", "torchmetrics": None}
MEMORY = "<= 1.5"  # GB


def ours(real: str, fake: str, weights: Path, device: str, *more: str) -> Figures:
    command = python("ganeval", "fid", real, fake, "--weights", str(weights), "--device", device, "--json", "-q", *more)
    figures, written = child(command)
    document = json.loads(written)
    images = sum(document[side]["n"] for side in ("real", "fake"))
    return figures | {"value": document["results"]["fid"]["value"], "images": images}


def warm(options: Options, weights: Path) -> Figures:
    """One run of few images first: how many at a time suit the machine is measured once, and remembered."""
    few = material.folders(options.folder, 4 if options.quick else 96)
    return ours(*(str(folder) for folder in few), weights, options.device)


def peer(name: str, real: Path, fake: Path, weights: Path, device: str, **environment: str) -> Figures:
    figures, written = child(
        python("benchmarks.peers", name, str(real), str(fake), str(weights), device), **environment
    )
    return figures | {"value": float(written.splitlines()[-1])}


def measure(options: Options) -> dict[str, Any]:
    weights, (real, fake) = material.weights(options.folder), material.folders(options.folder, options.images)
    runs, pairs = {}, []
    for name in options.peers:
        protocol = PROTOCOLS[name]
        mine = f"ganeval ({protocol})"
        runs[mine] = functools.partial(
            ours, str(real), str(fake), weights, options.device, "--protocol", protocol
        )  # fmt: skip
        runs[name] = functools.partial(peer, name, real, fake, weights, options.device)
        pairs.append((mine, name))
        if options.device != "cpu":  # TF32 is their default there; like arithmetic is float32 on both sides
            strict = f"{name}, float32"
            runs[strict] = functools.partial(runs[name], NVIDIA_TF32_OVERRIDE="0")
            pairs[-1] = (mine, strict)
    warm(options, weights)
    about = {"images of each side": options.images, "device": options.device, "peers": list(options.peers)}

    def found(rounds: Rounds) -> dict[str, Any]:
        agree({name: figures["value"] for name, figures in rounds[-1].items()}, pairs)
        return {"settings": about, "rounds": rounds, "rows": rows(rounds, pairs, options.images)}

    before = options.before["rounds"] if options.before and options.before["settings"] == about else None
    return found(in_turns(runs, options.rounds, before, after=lambda rounds: options.keep(found(rounds))))


def rows(rounds: Rounds, pairs: list[tuple[str, str]], images: int) -> list[dict[str, object]]:
    out = []
    for mine, name in pairs:
        title = name.partition(",")[0]
        out.append(row(f"{name} / {mine}, wall time", ratio(rounds, name, mine), "x", NEEDED[title]))
        out.append(row(f"{name} / {mine}, processor time", ratio(rounds, name, mine, "processor"), "x"))
    for name in rounds[0]:
        need = MEMORY if name.startswith("ganeval") else None
        out.append(row(f"{name}: peak memory", [each[name]["peak"] / 1e9 for each in rounds], "GB", need))
    for name in rounds[0]:
        out.append(row(f"{name}: images a second", [2 * images / each[name]["wall"] for each in rounds], ""))
    return out
