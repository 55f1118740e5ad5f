"""Options and arguments that name files; no output may replace a file that the command reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ganeval.errors import ConfigError, InputError


class Source(click.ParamType[Any]):
    """Text that names an input: an image spec, statistics, or a path."""

    name = "SPEC"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class WeightsFile(click.ParamType[Any]):
    """``[NETWORK=]PATH``: the name of a network, or an empty name, and the file."""

    name = "[NETWORK=]PATH"
    envvar_list_splitter = os.pathsep

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        network, equals, path = value.partition("=")
        return ("", Path(value)) if not equals or Path(value).exists() else (network, Path(path))


class Output(click.Path):
    """A file to write, or with ``folder`` a folder, or either of them with ``either``."""

    def __init__(self, *, folder: bool = False, either: bool = False) -> None:
        super().__init__(path_type=Path, dir_okay=folder or either, file_okay=not folder)

    def written(self, path: Path) -> tuple[Path, ...]:
        """All the files that this option writes."""
        return (path,)


class RecordFile(Output):
    """The document of a run, with the values of single images in a second file."""

    def written(self, path: Path) -> tuple[Path, ...]:
        from ganeval.files import is_stream
        from ganeval.result_files import samples_file

        return (path,) if is_stream(path) else (path, samples_file(path))


class TableFile(Output):
    """The table of single images."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ganeval.report.table import require_form

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        require_form(path)
        return path


class StatisticsFile(Output):
    """An npz file; the suffix is appended where it is missing."""

    def written(self, path: Path) -> tuple[Path, ...]:
        from ganeval.statistics.npz import with_suffix_npz

        return (with_suffix_npz(path),)


def check_places(ctx: click.Context, config: Path | None) -> None:
    """Refuse outputs that replace each other or an input, and outputs that cannot be written.

    Args:
        config: the configuration file in force.

    Raises:
        ConfigError: two outputs name one file.
        InputError: an output is read by the command, or cannot be written.
    """
    outputs = [
        (max(param.opts, key=len), param.type, Path(ctx.params[str(param.name)]))
        for param in ctx.command.params
        if isinstance(param.type, Output) and ctx.params.get(str(param.name)) is not None
    ]
    if not outputs:
        return
    from ganeval.files import is_stream, require_writable
    from ganeval.images.spec_files import is_input

    inputs = [*_inputs(ctx), *([] if config is None else [config])]
    places: dict[str, str] = {}
    for flag, kind, named in outputs:
        for path in kind.written(named):
            if is_input(path, *inputs):
                raise InputError(
                    f"{path} is an input of this command, and would be overwritten by its result. Choose another name."
                )
            if is_stream(path):
                continue
            other = places.setdefault(os.path.realpath(path), flag)
            if other != flag:
                raise ConfigError(f"{other} and {flag} name the same file, {path}. Give each its own file.")
        if not kind.dir_okay:
            require_writable(kind.written(named)[0])


def _inputs(ctx: click.Context) -> Iterator[str | Path]:
    """The inputs that options and arguments name; of a document also its file of values of single images."""
    from ganeval.result_files import samples_file

    for param in ctx.command.params:
        if isinstance(param.type, Source | WeightsFile | click.Path) and not isinstance(param.type, Output):
            for one in _flat(ctx.params.get(str(param.name))):
                yield one
                if str(one).endswith(".json"):
                    yield samples_file(Path(one))


def _flat(value: object) -> Iterator[str | Path]:
    if isinstance(value, str | Path):
        yield value
    elif isinstance(value, Mapping):
        yield from _flat(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _flat(one)
