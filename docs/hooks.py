"""Hooks of mkdocs that write facts of the package into the pages, so that each fact is declared once.

``<!-- NAME -->`` becomes a table or help texts; ``_TABLES`` has the names.
The tags after the language of a fence (see ``tests/readme.py``) are removed, because Markdown does not have them. Pages
that the navigation in mkdocs.yml does not name are added at its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig

from ganeval.cli.main import ganeval_command
from ganeval.engine.config import EvaluationConfig, StatisticsConfig, all_options
from ganeval.engine.public_statistics import listed_statistics
from ganeval.features.published import SPECS
from ganeval.metrics.registry import METRICS
from ganeval.parsing.arguments import Option

_FENCE = re.compile(r"^```(\w+)(?: [a-z-]+)+$", re.MULTILINE)
_WIDTH = 96


def metrics() -> str:
    lines = [
        "| metric | | better | layer | fewest images | command |",
        "|---|---|---|---|---|---|",
    ]
    for m in METRICS.values():
        better = "higher" if m.higher_is_better else "lower"
        kinds = {"the generator itself": m.generator, "pairs of images": m.pairs, "images and captions": m.captions}
        alone = next((f"none: {kind}" for kind, applies in kinds.items() if applies), "")
        layer = alone or m.layer + (f" of `{m.protocol}`" if m.protocol else "")
        command = m.command or m.name
        lines.append(f"| `{m.name}` | {m.title} | {better} | {layer} | {m.minimum} | `ganeval {command}` |")
    return "\n".join(lines)


def options() -> str:
    declared = {**all_options(EvaluationConfig), **all_options(StatisticsConfig)}
    lines = ["| Python | command line | default | |", "|---|---|---|---|"]
    for one in declared.values():
        flag = f"`--{one.name.replace('_', '-')}`" if one.group else ""
        lines.append(f"| `{one.name}` | {flag} | {_default_of(one)} | {one.help} |")
    return "\n".join(lines)


def _default_of(one: Option) -> str:
    if one.default_text or one.default is None:
        return one.default_text
    if one.kind is not None and one.kind.name == "size":
        return f"{one.default // 2**20} MB"
    value = ",".join(one.default) if isinstance(one.default, tuple) else one.default
    return f"`{value}`"


def commands() -> str:
    return "\n\n".join(_helps(ganeval_command, "ganeval", None))


def _helps(command: click.Command, name: str, parent: click.Context | None) -> list[str]:
    context = click.Context(command, info_name=name.split()[-1], parent=parent, terminal_width=_WIDTH)
    context.max_content_width = _WIDTH
    parts = [f"## {name}" if parent else "", f"```text\n{command.get_help(context)}\n```"]
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            parts += _helps(found, f"{name} {child}", context)
    return [part for part in parts if part]


def weights() -> str:
    lines = ["| name | what | licence | MB | SHA-256 | published at |", "|---|---|---|---|---|---|"]
    for spec in SPECS.values():
        size = "" if spec.bytes is None else f"{spec.bytes / 1e6:.0f}"
        digest = "not published" if spec.sha256 is None else f"`{spec.sha256[:16]}...`"
        address = f"<{spec.url}>" if spec.url else f"`{spec.command}`"
        lines.append(f"| `{spec.name}` | {spec.what} | {spec.licence} | {size} | {digest} | {address} |")
    return "\n".join(lines)


def statistics() -> str:
    lines = [
        "| name | data set | pixels | images | protocol | licence | SHA-256 | address |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in listed_statistics():
        size, n = (value or "not stated" for value in (entry.resolution, entry.n))
        digest = "not published" if entry.sha256 is None else f"`{entry.sha256[:16]}...`"
        address = "ships with ganeval" if entry.url is None else f"<{entry.url}>"
        if entry.url is not None and not entry.url.startswith("https://"):
            address += " (http: `--allow-http`)"
        cells = (f"`{entry.name}`", entry.dataset, size, n, f"`{entry.protocol}`", entry.licence, digest, address)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


_TABLES: Mapping[str, Callable[[], str]] = {
    "metrics": metrics,
    "options": options,
    "commands": commands,
    "weights": weights,
    "statistics": statistics,
}


def _pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from _pages_of(entry)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    folder = Path(config.docs_dir)
    pages = sorted(page.relative_to(folder).as_posix() for page in folder.rglob("*.md"))
    if others := [page for page in pages if page not in set(_pages_of(config.nav))]:
        config.nav = [*(config.nav or []), {"More": others}]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    for name, table in _TABLES.items():
        mark = f"<!-- {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, table())
    return _FENCE.sub(r"```\1", markdown)
