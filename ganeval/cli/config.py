"""Options from a file: ``ganeval.toml``, or ``[tool.ganeval]`` in ``pyproject.toml``.

Keys are the long option names. At top level they hold for every command that has the option; in a table of a command's
name, for that command. A key that no command knows is an error. ``$schema`` may name the JSON Schema of the file.

The file of the working folder is the user's own, as a test runner's or a linter's is: it may name generators, which
are programs that the command imports and runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import click

from ganeval.cli.variables import children, parameters
from ganeval.errors import ConfigError, did_you_mean
from ganeval.parsing.documents import read_toml_tree
from ganeval.parsing.layout import SCHEMA_IDS
from ganeval.parsing.variables import says_yes

# Tables of a command that hold no options; the command itself checks what is in them.
_TABLES: Mapping[str, tuple[str, ...]] = {"gate": ("rules", "scores")}


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
            raise ConfigError(f"configuration file not found: {explicit}.")
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


def without_schema(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The table of a file without ``$schema``, which may name the schema that ``ganeval schema config`` prints.

    Raises:
        ConfigError: it names another one.
    """
    expected = SCHEMA_IDS["config"]
    if (named := table.get("$schema", expected)) != expected:
        raise ConfigError(
            f'{path}: $schema is {_shown(named)}; expected "{expected}", which `ganeval schema config` prints. '
            "Correct or remove the key."
        )
    return {key: value for key, value in table.items() if key != "$schema"}


def defaults_for(
    command: click.Command, name: str, table: Mapping[str, Any], path: Path, group: click.Group
) -> dict[str, Any]:
    """Defaults by parameter name for one command; every key of the file is checked.

    Args:
        name: the command's path below ``ganeval``, such as ``fid`` or ``stats build``.
    """
    table = without_schema(table, path)
    commands = children(group)
    everyone = {name for one in commands.values() for name in _options(one)}
    for key, value in table.items():
        if key in commands and key not in everyone and not isinstance(value, Mapping):
            raise ConfigError(f"{path}: {key} is a command; expected a table of its options, [{key}]; got {value!r}.")
        if isinstance(value, Mapping) and key in everyone and key not in commands:
            raise ConfigError(f"{path}: {key} is an option; expected a value, {key} = ...; got a table.")
    _require_known({k: v for k, v in table.items() if not isinstance(v, Mapping)}, everyone, f"{path}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            if key not in commands:
                raise ConfigError(
                    f"{path}: there is no command {key!r} for the table [{key}].{did_you_mean(key, commands)}"
                )
            known = {*_options(commands[key]), *_TABLES.get(key, ())}
            _require_known(value, known, f"{path}, table [{key}]")
            if key != name.split()[0]:
                _require_kinds(value, commands[key], f"{path}: {key}.")
    mine = _options(command)
    others = {k: v for k, v in table.items() if k not in mine and not isinstance(v, Mapping)}
    _require_kinds(others, group, f"{path}: ")
    common = {key: value for key, value in table.items() if not (key in commands and isinstance(value, Mapping))}
    merged = {**common, **table.get(name.split()[0], {})}
    by_name = {str(p.name): p for p in command.params if isinstance(p, click.Option)}
    return {
        mine[key]: value_of(by_name[mine[key]], value, f"{path}: {key}") for key, value in merged.items() if key in mine
    }


def wants_json(name: str, table: Mapping[str, Any]) -> bool:
    """Whether a table of options asks for JSON, as far as that is visible before anything in it is checked."""
    own = table.get(name.split()[0])
    merged = {**table, **(own if isinstance(own, Mapping) else {})}
    json = merged.get("json")
    return json is True or (isinstance(json, str) and says_yes(json)) or merged.get("format") == "json"


def _options(command: click.Command) -> dict[str, str]:
    """Parameter by long name, without the dashes, of a command's options, or of all the commands in a group."""
    return {
        opt.removeprefix("--"): str(parameter.name)
        for parameter in parameters(command)
        if isinstance(parameter, click.Option)
        for opt in parameter.opts
        if opt.startswith("--") and opt not in ("--help", "--version", "--config")
    }


def _require_known(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in table:
        if key not in known:
            is_rule = "rules" in known and isinstance(table[key], Mapping)
            hint = f" Rules are in tables of their own, for instance [gate.rules.{key}]." if is_rule else ""
            raise ConfigError(f"{where}: there is no option {key!r}.{hint or did_you_mean(key, known)}")


def _require_kinds(table: Mapping[str, Any], command: click.Command, where: str) -> None:
    """Check the values of options of other commands: each must be what one of these commands takes by that name."""
    for key, value in table.items():
        faults = []
        for parameter in parameters(command):
            if not isinstance(parameter, click.Option) or f"--{key}" not in parameter.opts:
                continue
            try:
                value_of(parameter, value, f"{where}{key}")
                break
            except ConfigError as error:
                faults.append(error)
        else:
            if faults:
                raise faults[0]


def value_of(option: click.Option, value: object, what: str) -> object:
    """The value of a key, checked against the option's kind, as click takes it; a text is read as on the command line.

    Args:
        what: file and key, for messages.

    Raises:
        ConfigError: the value is of another kind, or not one that the option takes.
    """
    if option.multiple:
        return [_checked(option.type, one, what) for one in (value if isinstance(value, list) else [value])]
    return _checked(option.type, value, what)


def _checked(kind: click.ParamType[Any], value: object, what: str) -> object:
    expected, fits = _kind(kind)
    if not isinstance(value, str) and not fits(value):
        raise ConfigError(f"{what} is {expected}; got {_shown(value)}.")
    try:
        kind.convert(value, None, None)
    except click.BadParameter as error:
        raise ConfigError(f"{what}: {error.message.rstrip('.')}.") from error
    return value


def _kind(kind: click.ParamType[Any]) -> tuple[str, Callable[[object], bool]]:
    """What a value must be besides a text: in words, and whether it is."""
    if isinstance(kind, click.Choice):
        return f"one of {', '.join(map(str, kind.choices))}", lambda value: False
    for known, expected, fits in _KINDS:
        if isinstance(kind, known):
            return expected, fits
    return getattr(kind, "expected", "a text, in quotes"), getattr(kind, "takes", lambda value: False)


def is_whole(value: object) -> bool:
    """Whether a value of a file is a whole number; true is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value of a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_KINDS: tuple[tuple[type, str, Callable[[object], bool]], ...] = (
    (click.types.BoolParamType, "true or false", lambda value: isinstance(value, bool)),
    (click.types.IntParamType, "a whole number", is_whole),  # a range too
    (click.types.FloatParamType, "a number", is_number),
    (click.Path, "a path, in quotes", lambda value: False),
)


def _shown(value: object) -> str:
    """A value as TOML writes it, more or less."""
    if isinstance(value, bool):
        return str(value).lower()
    return "a table" if isinstance(value, Mapping) else repr(value)


def list_of(fits: Callable[[object], bool], *, length: int | None = None) -> Callable[[object], bool]:
    """Whether a value is a list of such values."""
    return lambda value: (
        isinstance(value, list) and len(value) > 0 and length in (None, len(value)) and all(map(fits, value))
    )
