"""The file of results: parts that were measured at different times, their table, and their figure."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from benchmarks.accelerator.report import listing


def path_of(folder: Path, about: dict[str, Any], device: str) -> Path:
    """``cpu-2-cores.json``, or the name of the accelerator."""
    name = f"cpu-{about['cores']}-cores" if device == "cpu" else about["hardware"]
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def load(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"parts": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def store(path: Path, about: dict[str, Any], key: str, part: dict[str, Any]) -> None:
    """Put one part into the file; the others stay. Each keeps the machine and versions that it was measured with."""
    found = load(path)
    found["parts"][key] = {"machine": about, **part}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps(rounded(found), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def rounded(value: Any, key: str = "") -> Any:
    """Four significant digits of what was timed; all of them of a value that has to agree."""
    if isinstance(value, float) and key not in ("value", "by sqrtm"):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(inner, name) for name, inner in value.items()}
    return [rounded(inner, key) for inner in value] if isinstance(value, list) else value


def markdown(found: dict[str, Any]) -> str:
    """A table a part: medians, ranges, what is needed; behind it the findings of its sections, if it has some."""
    out: list[str] = []
    for key, part in found["parts"].items():
        machine = part["machine"]
        settings = ", ".join(f"{name} {_words(value)}" for name, value in part["settings"].items())
        versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items())
        out += [f"## {key}", "", f"{machine['hardware']}, {machine['cores']} cores; {versions}; {settings}.", ""]
        out += ["| | median | range | rounds | needed | |", "|---|---|---|---|---|---|"]
        for line in part["rows"]:
            unit = f" {line['unit']}" if line["unit"] else ""
            spread = f"{line['low']:.3g} to {line['high']:.3g}" if line["n"] > 1 else ""
            verdict = {None: "", True: "met", False: "**not met**"}[line["met"]]
            out.append(
                f"| {line['what']} | {line['median']:.3g}{unit} | {spread} | {line['n']} | {line['need'] or ''} | "
                f"{verdict} |"
            )
        out.append("")
        out += listing(part.get("sections", {}))
    return "\n".join(out)


def _words(value: Any) -> str:
    return ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)


def publish(path: Path) -> str:
    """Table and figure beside the JSON file; returns the table."""
    from benchmarks.figure import draw

    found = load(path)
    text = markdown(found)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    draw(found, path.with_suffix(".png"))
    return text
