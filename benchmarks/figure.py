"""One figure of all parts: against the peers, against the machine, and as the number of images grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, THEIRS, LIMIT = "#1b6ca8", "#b0b7bf", "#e0e3e7"


def draw(found: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    parts = found["parts"]
    panels = [(_peers, key) for key in parts if key.startswith("end-to-end")]
    panels += [(draw_part, key) for key, draw_part in PANELS.items() if key in parts]
    if not panels:
        return
    wide = min(3, len(panels))
    high = -(-len(panels) // wide)
    figure, axes = plt.subplots(high, wide, figsize=(4.8 * wide, 3.4 * high), squeeze=False, layout="constrained")
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (panel, key) in zip(axes.flat, panels, strict=False):
        panel(ax, parts[key])
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    machine = next(iter(parts.values()))["machine"]
    figure.suptitle(f"{machine['hardware']}, {machine['cores']} cores", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(ax: Any, names: list[str], values: list[float], colours: list[str], form: str) -> None:
    ax.barh(range(len(names)), values, color=colours)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.18 * max(values))
    for i, value in enumerate(values):
        ax.text(value, i, f" {value:{form}}", va="center", fontsize=8)


def _sizes(ax: Any, n: list[int]) -> None:
    ax.set_xscale("log")
    ax.set_xticks(n, [f"{each:,}" for each in n])
    ax.minorticks_off()
    ax.set_xlabel("images of each side", fontsize=8)


def _medians(part: dict[str, Any], ending: str) -> dict[str, float]:
    return {line["what"].removesuffix(ending): line["median"] for line in part["rows"] if line["what"].endswith(ending)}


def _peers(ax: Any, part: dict[str, Any]) -> None:
    rates = _medians(part, ": images a second")
    colours = [OURS if name.startswith("ganeval") else THEIRS for name in rates]
    _bars(ax, list(rates), list(rates.values()), colours, ".1f")
    ax.set_title(f"FID of 2 x {part['settings']['images of each side']} images, end to end", fontsize=9)
    ax.set_xlabel("images a second", fontsize=8)


def _limit(ax: Any, part: dict[str, Any]) -> None:
    lines = {line["what"]: line["median"] for line in part["rows"]}
    work = part["settings"]["GFLOP an image"]
    limits = {name.removeprefix("the machine's "): v for name, v in lines.items() if name.startswith("the machine's ")}
    names = {"folded network": THEIRS, "network as it runs": OURS, "whole program, start and distance included": OURS}
    found = {name: value for name, value in limits.items() if "float64" not in name}
    found |= {name.partition(",")[0]: work * lines[name] for name in names}
    colours = [LIMIT] * (len(found) - len(names)) + list(names.values())
    _bars(ax, list(found), list(found.values()), colours, ".0f")
    ax.set_title(f"How far from the limit ({part['settings']['images of each side']} images a side)", fontsize=9)
    ax.set_xlabel("GFLOP/s", fontsize=8)


def _frechet(ax: Any, part: dict[str, Any]) -> None:
    threads = max(part["rounds"], key=int)
    rows = {line["what"]: line["median"] for line in part["rows"] if line["unit"] == "s"}
    end = f", {threads} thread{'s' * (int(threads) > 1)}"
    times = {what.removesuffix(end): value for what, value in rows.items() if what.endswith(end)}
    _bars(ax, list(times), list(times.values()), [THEIRS, *[OURS] * (len(times) - 1)], ".2f")
    ax.set_title(f"Frechet distance, d = {part['settings']['d']}{end}", fontsize=9)
    ax.set_xlabel("seconds", fontsize=8)


def _images(ax: Any, part: dict[str, Any]) -> None:
    n = [point["n"] for point in part["curve"]]
    ax.plot(n, [1000 * p["processor"] / (2 * p["n"]) for p in part["curve"]], "o-", color=OURS, label="ms an image")
    _sizes(ax, n)
    ax.set_ylim(0)
    ax.set_ylabel("processor time an image, ms", fontsize=8, color=OURS)
    memory = ax.twinx()
    memory.plot(n, [p["peak"] / 1e9 for p in part["curve"]], "s--", color="#c0562f")
    memory.axhline(1.5, color="#c0562f", linewidth=0.6, linestyle=":")
    memory.set_ylim(0, 1.7)
    memory.set_ylabel("peak memory, GB", fontsize=8, color="#c0562f")
    memory.spines["top"].set_visible(False)
    ax.set_title("Number of images, network of no cost", fontsize=9)


def _neighbours(ax: Any, part: dict[str, Any]) -> None:
    for name, colour in (("bare", LIMIT), ("values", OURS), ("with errors", "#7fb2d6"), ("prdc", THEIRS)):
        points = [(p["n"], p["seconds"][name]) for p in part["curve"] if name in p["seconds"]]
        if points:
            ax.plot(*zip(*points, strict=True), "o-", color=colour if name != "bare" else "#555", label=name)
    _sizes(ax, [point["n"] for point in part["curve"]])
    ax.set_yscale("log")
    ax.set_ylabel("seconds", fontsize=8)
    ax.set_title(f"Precision and recall, d = {part['settings']['d']}", fontsize=9)
    ax.legend(fontsize=8, frameon=False)


PANELS = {"inception": _limit, "frechet": _frechet, "images": _images, "neighbours": _neighbours}
