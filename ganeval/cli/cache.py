"""``ganeval cache list | clear``."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganeval.cli.options import Command, cache_place, option, output_options, output_path
from ganeval.cli.output import answer
from ganeval.errors import ConfigError, number_of
from ganeval.parsing.layout import table_of
from ganeval.protocol import get_protocol

if TYPE_CHECKING:
    from ganeval.features.cache import FeatureCache


@click.group()
def cache() -> None:
    """List and clear the cached features of images that were measured before.

    \b
    Examples:
      ganeval cache list
      ganeval cache clear --older-than 30
    """


@cache.command("list", cls=Command)
@cache_place
@output_path
@output_options
def list_command(*, cache_dir: Path | None, fmt: str, output: Path | None) -> None:
    """List the cached features by image set, protocol and layer, most recently used first.

    \b
    Example:
      ganeval cache list
    """
    store = _open(cache_dir)
    rows = store.list()
    total = sum(row.bytes for row in rows)
    header = ("images of", "protocol", "precision", "layer", "weights", "images", "MB", "last used")
    table = [
        (
            row.spec,
            row.protocol,
            row.precision,
            row.layer,
            (row.weights or "")[:8],
            str(row.images),
            f"{row.bytes / 1e6:.1f}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(row.used)),
        )
        for row in rows
    ]
    text = table_of(header, table, fmt) if table or fmt == "md" else f"the cache is empty ({store.folder})"
    if table and fmt != "md":
        text += f"\n{total / 1e6:.1f} MB in {store.folder}"
    sets = [{name: getattr(row, name) for name in row.__slots__} for row in rows]
    fields = {"cache": {"folder": str(store.folder), "bytes": total, "sets": sets}}
    answer(fields, text, fmt=fmt, target=output)


@cache.command(cls=Command)
@option(
    "--older-than",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Remove only features that were not used for this number of days.",
)
@click.option("--protocol", metavar="NAME[:LAYER]", help="Remove only features of this protocol, with any weights.")
@cache_place
@output_path
@output_options
def clear(
    *, older_than: float | None, protocol: str | None, cache_dir: Path | None, fmt: str, output: Path | None
) -> None:
    """Remove features from the cache: all, or those that the options select. Features in use by a run stay.

    \b
    Examples:
      ganeval cache clear
      ganeval cache clear --older-than 30 --protocol ttur
    """
    if older_than is not None and not math.isfinite(older_than):
        raise ConfigError(f"--older-than is {older_than}, expected a number of days, 0 or more.")
    source = click.get_current_context().get_parameter_source("protocol")
    if source is click.core.ParameterSource.DEFAULT_MAP:
        protocol = None  # the protocol of a configuration file is for measuring, not for removing
    chosen = None if protocol is None else get_protocol(protocol)
    removed, freed, in_use = _open(cache_dir).clear(older_than=older_than, protocol=chosen)
    text = f"removed {number_of(removed, 'entry', 'entries')}, {freed / 1e6:.1f} MB"
    if in_use:
        text += f"; {number_of(in_use, 'entry is', 'entries are')} in use by a running evaluation and not removed"
    answer({"cleared": {"entries": removed, "bytes": freed, "in_use": in_use}}, text, fmt=fmt, target=output)


def _open(folder: Path | None) -> FeatureCache:
    from ganeval.features.cache import FeatureCache, default_folder

    return FeatureCache(folder or default_folder())
