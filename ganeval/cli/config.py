"""Options from a file: ``ganeval.toml``, or ``[tool.ganeval]`` in ``pyproject.toml``.

Keys are the long option names. At top level they hold for every command that has the option; in a table of a command's
name, for that command. A key that no command knows is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from ganeval.documents import read_toml_tree
from ganeval.errors import ConfigError

# Tables of a command that hold no options; the command itself checks what is in them.
_TABLES: Mapping[str, tuple[str, ...]] = {"gate": ("rules",)}


def find_config(explicit: str | None, *, root: Path | None = None) -> tuple[Path, dict[str, Any]] | None:
    """The file in force and its table of options; None where there is none.

    Args:
        explicit: a file that was named.
        root: where one is looked for; the working directory by default.

    Raises:
        ConfigError: a named file does not exist, or is not TOML.
    """
    if explicit is not None:
        path = Path(explicit)
        if not path.is_file():
            raise ConfigError(f"there is no configuration file {explicit}.")
        return path, _table(path)
    for path in ((root or Path()) / name for name in ("ganeval.toml", "pyproject.toml")):
        if path.is_file() and (table := _table(path)):
            return path, table
    return None


def _table(path: Path) -> dict[str, Any]:
    content = read_toml_tree(path, what="configuration file", advice="Correct the file.", error=ConfigError)
    if path.name == "pyproject.toml":
        for key in ("tool", "ganeval"):
            content = content.get(key, {})
            if not isinstance(content, dict):
                raise ConfigError(f"{path}: {key} must be a table, [tool.ganeval].")
    return content


def defaults_for(
    command: click.Command, name: str, table: Mapping[str, Any], path: Path, group: click.Group
) -> dict[str, Any]:
    """Defaults by parameter name for one command; every key of the file is checked.

    Args:
        name: the command's path below ``ganeval``, such as ``fid`` or ``stats build``.
    """
    context = click.Context(group)
    commands = {n: group.get_command(context, n) for n in group.list_commands(context)}
    everyone = {name for c in commands.values() if c is not None for name in _options(c)}
    _require_known({k: v for k, v in table.items() if not isinstance(v, Mapping)}, everyone, f"{path}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            if key not in commands:
                raise ConfigError(f"{path}: there is no command {key!r} for the table [{key}].{_hint(key, commands)}")
            known = {*_options(commands[key]), *_TABLES.get(key, ())}  # type: ignore[arg-type]
            _require_known(value, known, f"{path}, table [{key}]")
    mine = _options(command)
    merged = {**table, **table.get(name.split()[0], {})}
    several = {p.name for p in command.params if isinstance(p, click.Option) and p.multiple}
    values = {mine[key]: value for key, value in merged.items() if key in mine}
    for parameter in command.params:
        _require_kind(parameter, values.get(str(parameter.name)), f"{path}: {parameter.opts[-1].lstrip('-')}")
    return {name: [v] if name in several and not isinstance(v, list) else v for name, v in values.items()}


def _options(command: click.Command) -> dict[str, str]:
    """Parameter by long name, without the dashes, of a command's options, or of all the commands in a group."""
    names = {
        opt.removeprefix("--"): str(parameter.name)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for opt in parameter.opts
        if opt.startswith("--") and opt not in ("--help", "--version", "--config")
    }
    if isinstance(command, click.Group):
        for child in command.commands.values():
            names |= _options(child)
    return names


def _require_known(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: there is no option {key!r}.{_hint(key, known)}")


def _require_kind(parameter: click.Parameter, value: Any, what: str) -> None:
    """What click itself would stumble over: it expects the texts of a command line."""
    if value is None:
        return
    if isinstance(parameter.type, click.Path) and not isinstance(value, str):
        raise ConfigError(f"{what} is a path, in quotes; got {value!r}.")
    if isinstance(parameter.type, click.types.BoolParamType) and not isinstance(value, bool | str):
        raise ConfigError(f"{what} is true or false; got {value!r}.")


def _hint(key: str, known: Collection[str]) -> str:
    close = get_close_matches(key, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
