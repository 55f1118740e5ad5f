"""Cost an image and memory as the number of images grows, neighbours likewise, and ranks of torch.distributed."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import material
from benchmarks.options import Options
from benchmarks.runs import ROOT, child, in_turns, python, row

FLAT, MEMORY = "<= 1.3", "<= 1.5"


def images(options: Options) -> dict[str, Any]:
    """``ganeval fid`` on N + N rendered images with a network of 2048 features that costs next to nothing."""
    network = material.wide_network(options.folder)
    sizes = (100, 300) if options.quick else (1000, 4000, 16_000, 50_000)
    points = []
    for n in (n for n in sizes if n <= options.most):
        figures, _ = child(
            python(
                "ganeval", "fid", "dataset:shapes-plain", "dataset:shapes-striped", "--num-samples", str(n),
                "--network", str(network), "--network-size", "32", "--network-resize", "torch-bilinear",
                "--network-scale", "x/255", "--device", options.device, "--json", "-q",
            )
        )  # fmt: skip
        points.append({"n": n, **figures})
    last = points[-1]
    # From the second on: the distance itself, which no number of images changes, weighs too much in the first.
    cost = [1000 * p["processor"] / (2 * p["n"]) for p in points]
    rows = [
        row(f"processor time an image, {last['n']} / {points[-2]['n']} a side", [cost[-1] / cost[-2]], "x", FLAT),
        *(row(f"processor time an image, {p['n']} a side", [c], "ms") for p, c in zip(points, cost, strict=True)),
        *(row(f"peak memory, {p['n']} a side", [p["peak"] / 1e9], "GB", MEMORY) for p in points),
    ]
    return {"settings": {"network": "2048 features, a stand-in"}, "curve": points, "rows": rows}


def neighbours(options: Options) -> dict[str, Any]:
    """Precision and recall at growing n; prdc only where its n x n matrices have room and time."""
    sizes, d = ((300, 600), 64) if options.quick else ((5000, 10_000, 20_000, 50_000), 2048)
    points, rows = [], []
    for n in (n for n in sizes if n <= options.most):
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "found.json"
            beside = n <= 10_000
            rounds = options.rounds if beside else 1
            command = [
                sys.executable, str(ROOT / "benchmarks" / "neighbours.py"), "--n", str(n), "--rounds", str(rounds),
                "--dimension", str(d), "--device", options.device, "-o", str(written), *(["--prdc"] if beside else []),
            ]  # fmt: skip
            figures, _ = child(command)
            found = json.loads(written.read_text(encoding="utf-8"))
        points.append({"n": n, "peak": figures["peak"], **found})
        promised = n == 10_000
        for title, need in (("values / bare", "<= 1.3"), ("prdc / values", ">= 3")):
            each = found["ratios"].get(f"{title}, wall")
            if each:
                rows.append(row(f"{title}, {n} x {n}", each, "x", need if promised else None))
        options.keep({"settings": {"d": d}, "curve": points, "rows": rows})
    return {"settings": {"d": d}, "curve": points, "rows": rows}


def ranks(options: Options) -> dict[str, Any]:
    """One process with all cores, and one process a core, on the same images."""
    weights = material.weights(options.folder)
    n = 8 if options.quick else 96
    real, fake = material.folders(options.folder, n)
    tail = ("fid", str(real), str(fake), "--weights", str(weights), "--device", options.device, "--json", "-q")

    def run(count: int) -> dict[str, Any]:
        launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m", "ganeval")
        figures, written = child(python(*launcher, *tail), threads=max(1, options.threads // count))
        return figures | {"value": json.loads(written[written.index("{") :])["results"]["fid"]["value"]}

    rounds = in_turns({"1 rank": lambda: run(1), "2 ranks": lambda: run(2)}, options.rounds)
    rows = [
        row("1 rank / 2 ranks, wall time", [r["1 rank"]["wall"] / r["2 ranks"]["wall"] for r in rounds], "x"),
        *(row(f"{name}: images a second", [2 * n / r[name]["wall"] for r in rounds], "") for name in rounds[0]),
        *(row(f"{name}: peak of a process", [r[name]["peak"] / 1e9 for r in rounds], "GB") for name in rounds[0]),
    ]
    return {"settings": {"images of each side": n}, "rounds": rounds, "rows": rows}
