"""The findings of all sections as Markdown: a heading a section, a line a figure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def listing(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of Markdown."""
    lines: list[str] = []
    for name, checks in sections.items():
        lines += [f"### {name}", ""]
        for check, found in checks.items():
            if not isinstance(found, Mapping):
                lines.append(f"- {check}: {shown(found)}")
                continue
            lines.append(f"- {check}")
            lines += [f"    - {line}" for line in figures(found)]
        lines.append("")
    return lines


def figures(found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        if name != "traceback":
            yield f"{name}: {shown(value)}"


def shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, (str, int)) else json.dumps(value, default=str)
