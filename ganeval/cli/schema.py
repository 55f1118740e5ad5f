"""``ganeval schema``: what editors and other programs check documents and configuration files by."""

from __future__ import annotations

import json

import click

from ganeval.cli.options import Command
from ganeval.cli.output import say


@click.command(cls=Command)
@click.argument("of", type=click.Choice(("result", "config")), metavar="result|config")
@click.pass_context
def schema(ctx: click.Context, *, of: str) -> None:
    """Print the JSON Schema of a result, or of ganeval.toml.

    An editor completes and checks ganeval.toml if its first line is `#:schema ./ganeval.schema.json`. Documents name
    the `$id` of their schema as `$schema`.

    \b
    Examples:
      ganeval schema result
      ganeval schema config
    """
    from ganeval.cli.schemas import config_schema, result_schema

    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    say(json.dumps(result_schema() if of == "result" else config_schema(group), indent=2, ensure_ascii=False))
