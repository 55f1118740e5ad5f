"""What must be reached, from what the sections found; a figure that was not measured has no line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.runs import row

Sections = Mapping[str, Mapping[str, Any]]

# share of min(bare network, decoders alone) that files of each kind must reach
OF_FILES = {
    "png32": 0.8, "jpg32": 0.8, "png256": 0.8, "jpg256": 0.8, "png1024": 0.7, "jpg1024": 0.7, "mixed": 0.7,
}  # fmt: skip
OF_GENERATOR, OF_COMPILED, OF_PEER = 0.8, 0.7, 3
FEATURES, FID = 1e-4, 1e-5


def at(sections: Sections, *path: str) -> Any:
    """What is at a path of names, or None."""
    found: Any = sections
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def best(sections: Sections, check: str, precision: str) -> float | None:
    """The highest rate of the network in one arithmetic, over the sizes of a batch."""
    of = at(sections, "network", check) or {}
    rates = [one["images/s"] for name, one in of.items() if name.split()[0] == precision and isinstance(one, dict)]
    return max(rates, default=None)


def rows(sections: Sections) -> list[dict[str, Any]]:
    """Lines of the table, with ``met`` where there is a need."""
    return [line for part in (agreement, speed, precision, others) for line in part(sections)]


def agreement(sections: Sections) -> list[dict[str, Any]]:
    out = []
    failed = at(sections, "gpu-tests", "marked gpu", "failed")
    if failed is not None:
        out.append(row("tests marked gpu that fail", [failed], "", "<= 0"))
    of = at(sections, "agreement", "features") or {}
    apart = [value for one in of.values() if isinstance(one, dict) for value in one.values()]
    if apart:
        out.append(row("features, device against CPU, of the largest", [max(apart)], "", f"<= {FEATURES}"))
    for name in ("compact", "ttur"):
        relative = at(sections, "agreement", "distances", name, "fid", "relative")
        if relative is not None:
            out.append(row(f"FID ({name}), device against CPU, relative", [relative], "", f"<= {FID}"))
    left = at(sections, "memory", "between calls", "MB left over after an update")
    if left is not None:
        out.append(row("memory left over after an update", [left], "MB", "<= 0"))
    return out


def speed(sections: Sections) -> list[dict[str, Any]]:
    """End to end in float32, of the slower of network and decoders."""
    out: list[dict[str, Any]] = []
    network = best(sections, "bare network", "float32")
    if network is None:
        return out
    for kind, share in OF_FILES.items():
        whole = at(sections, "end-to-end", "files", f"{kind} float32", "images/s")
        alone = at(sections, "end-to-end", "decoders", f"{kind} alone", "images/s")
        if whole and alone:
            what = f"{kind}: end to end / min(bare network, decoders alone)"
            out.append(row(what, [whole / min(network, alone)], "", f">= {share}"))
    whole = at(sections, "end-to-end", "generators", "ttur float32", "images/s")
    alone = at(sections, "end-to-end", "generator", "alone", "images/s")
    if whole and alone:
        what = "generator: end to end / min(bare network, generator alone)"
        out.append(row(what, [whole / min(network, alone)], "", f">= {OF_GENERATOR}"))
    return out


def precision(sections: Sections) -> list[dict[str, Any]]:
    """Lower precisions end to end, on images that cost the decoders nothing to speak of."""
    out = []
    for name in ("tf32", "bf16"):
        whole = at(sections, "end-to-end", "files", f"png32 {name}", "images/s")
        bare = at(sections, "variants", "compiled", f"{name} compiled", "images/s")
        if whole and bare:
            what = f"{name}, png32: end to end / bare compiled network"
            out.append(row(what, [whole / bare], "", f">= {OF_COMPILED}"))
    return out


def others(sections: Sections) -> list[dict[str, Any]]:
    out = []
    times = at(sections, "peers", "pytorch-fid", "times as fast")
    if times is not None:
        out.append(row("pytorch-fid / ganeval, wall time, float32 on both sides", [times], "x", f">= {OF_PEER}"))
    for name in ("DCGAN", "CycleGAN"):
        ratio = at(sections, "training", "steps a second", f"{name} float32, time of this loop / bare")
        if ratio is not None:
            out.append(row(f"{name}, time of this loop / bare loop", [ratio], "x"))
    return out
