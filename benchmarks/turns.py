"""Two ways to do the same steps, timed in turns, so that whatever else the machine does meets both."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Run = Callable[[int], float]  # so many steps; seconds a step


def clock(device: torch.device) -> float:
    """Seconds of this process's own work; of an accelerator, whose work is not this process's, seconds."""
    if device.type == "cpu":
        return time.process_time()
    synchronise(device)
    return time.perf_counter()


def synchronise(device: torch.device) -> None:
    """Wait for an accelerator; ``torch.accelerator`` would need torch 2.6."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


Step = Callable[..., dict[str, float]]


def between_ends(step: Step, steps: int, device: torch.device) -> tuple[Step, list[float]]:
    """The same step, and the times before the first and after the last of so many: no other step is waited for."""
    done, ends = [0], []

    def timed(*arguments: Any, **keywords: Any) -> dict[str, float]:
        if not done[0]:
            ends.append(clock(device))
        values = step(*arguments, **keywords)
        done[0] += 1
        if done[0] == steps:
            ends.append(clock(device))
        return values

    return timed, ends


def add_options(parser: argparse.ArgumentParser, *, steps: int, rounds: int) -> None:
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=steps, help="in one turn")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each")
    parser.add_argument("-o", "--output", type=Path, help="write the figures there, as JSON")


def compare(bare: Run, ours: Run, options: argparse.Namespace, images: int) -> float:
    """Print, and write, medians and ranges over the rounds; returns by which share ours is slower than bare.

    Each round gives one ratio of two neighbours in time; their median is the answer.

    Args:
        images: in a step.
    """
    runs = {"bare": bare, "ours": ours}
    for run in runs.values():
        run(1)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds):
        for name in list(runs)[:: 1 if turn % 2 else -1]:
            seconds[name].append(runs[name](options.steps))
    more = [b / a - 1 for a, b in zip(seconds["bare"], seconds["ours"], strict=True)]
    for name, each in seconds.items():
        middle = statistics.median(each)
        spread = f"{min(each) * 1000:.1f} to {max(each) * 1000:.1f}"
        print(f"{name:<5} {middle * 1000:8.1f} ms a step ({spread}), {images / middle:8.1f} images a second")
    found = statistics.median(more)
    print(f"ours takes {100 * found:+.1f} % more time than bare ({100 * min(more):+.1f} to {100 * max(more):+.1f})")
    if options.output is not None:
        fields = {
            "settings": {k: v for k, v in vars(options).items() if k != "output"},
            "hardware": hardware(options.device),
            "torch": torch.__version__,
            "images_a_step": images,
            "ms_a_step": {name: [round(1000 * s, 2) for s in each] for name, each in seconds.items()},
            "images_a_second": {name: round(images / statistics.median(each), 2) for name, each in seconds.items()},
            "slower_by": {"median": round(found, 4), "rounds": [round(m, 4) for m in more]},
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    return found


def hardware(device: str) -> str:
    """In words, and of nobody's machine in particular."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"
