"""What a person may set, and what each part is given."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Sizes, and where material is kept.

    Attributes:
        images: of each side, end to end.
        most: of each side, in the curves over their number.
        peers: that run end to end.
        before: what the part found in an earlier call, where rounds are added to it.
        keep: writes down what a part has so far.
    """

    images: int
    most: int
    rounds: int
    quick: bool
    device: str
    folder: Path
    peers: tuple[str, ...]
    threads: int
    before: dict[str, Any] | None = None
    keep: Callable[[dict[str, Any]], None] = lambda found: None


def parse(parts: Sequence[str], peers: Sequence[str], arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="This program and its peers on the same images with the same weights, in turns, beside the "
        "machine's own limit.\nWrites NAME.json, NAME.md and NAME.png; parts that are not run stand as they were.",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run? No figures to keep")
    parser.add_argument(
        "--images", type=int, help="of each side, end to end (default 1000, on an accelerator 20000; --quick: 12)"
    )
    parser.add_argument("--most", type=int, default=50_000, help="where the curves over the number of images end")
    parser.add_argument("--rounds", type=int, help="turns of each program (default 3; --quick: 1)")
    parser.add_argument("--only", action="append", choices=parts, help="a part; may be repeated (default: all)")
    parser.add_argument("--peer", action="append", choices=peers, help="a peer; may be repeated (default: all)")
    parser.add_argument("--append", action="store_true", help="add rounds to those of an earlier call of this size")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, metavar="DIR", help="default: benchmarks/results")
    parser.add_argument(
        "--material", type=Path, default=Path(tempfile.gettempdir()) / "ganeval-benchmarks", metavar="DIR",
        help="where images and weights are made and kept (default: in the temporary folder)",
    )  # fmt: skip
    found = parser.parse_args(arguments)
    if found.quick and found.output == RESULTS:  # what is measured there is kept
        found.output = Path(tempfile.gettempdir()) / "ganeval-benchmarks-quick"
    # an accelerator does 1000 images in less time than the program takes to start
    found.images = found.images or (12 if found.quick else 1000 if found.device == "cpu" else 20_000)
    found.rounds = found.rounds or (1 if found.quick else 3)
    if min(found.images, found.rounds) < 1 or found.images < 2:
        parser.error("--images takes 2 or more, --rounds 1 or more")
    if found.most < 5000:
        parser.error("--most takes 5000 or more: a curve has two points")
    return found


def options_of(found: argparse.Namespace, peers: Sequence[str]) -> Options:
    found.material.mkdir(parents=True, exist_ok=True)
    return Options(
        images=found.images, most=found.most, rounds=found.rounds, quick=found.quick, device=found.device,
        folder=found.material, peers=tuple(found.peer or peers), threads=len(os.sched_getaffinity(0)),
    )  # fmt: skip
