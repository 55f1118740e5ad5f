"""Options that several commands share, each also read from ``GANEVAL_<OPTION>`` and from the configuration file."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ganeval.cli import output, streams
from ganeval.cli.config import defaults_for, find_config, is_number, is_whole, list_of, wants_json
from ganeval.cli.places import Output, RecordFile, Source, TableFile, WeightsFile, check_places
from ganeval.engine.config import EvaluationConfig, StatisticsConfig, all_options
from ganeval.engine.paired_config import PairedConfig
from ganeval.errors import ConfigError
from ganeval.features.registry import DISTANCES
from ganeval.files import parse_size
from ganeval.images.options import LABEL_DISTRIBUTIONS
from ganeval.parsing.arguments import SIZE, Kind, Option, options_of
from ganeval.protocol import PROTOCOLS

Decorated = Callable[..., Any]


class Command(click.Command):
    """A command that takes defaults from a configuration file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        explicit = os.environ.get("GANEVAL_CONFIG") or None
        for i, argument in enumerate(args):
            if argument == "--config" and i + 1 < len(args):
                explicit = args[i + 1]
            elif argument.startswith("--config="):
                explicit = argument.removeprefix("--config=")
        found = None if "--help" in args or "-h" in args else find_config(explicit)
        if found is not None:
            path, table = found
            root = ctx.find_root()
            if isinstance(root.command, click.Group):
                name = ctx.command_path.partition(" ")[2]
                output.also_json(wants_json(name, table))  # before its check, whose error is a document then
                ctx.default_map = defaults_for(self, name, table, path, root.command)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            check_places(ctx, None if found is None else found[0])
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        with streams.only_answers():  # a user's generator may print
            return super().invoke(ctx)


def option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """``click.option``, with the variable ``GANEVAL_<LONG NAME>``."""
    long = next(name for name in names if name.startswith("--")).removeprefix("--").split("/")[0]
    settings.setdefault("envvar", f"GANEVAL_{long.upper().replace('-', '_')}")
    settings.setdefault("show_default", True)
    return click.option(*names, **settings)


def _stack(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    return lambda f: functools.reduce(lambda g, decorate: decorate(g), reversed(decorators), f)


@dataclass(frozen=True)
class Syntax:
    """How a value of a declared kind is written.

    Attributes:
        metavar: for the help.
        text: what a text must be, with an example.
        parse: the value that the text stands for; raises ValueError for anything else.
        toml: what a value of a configuration file must be besides a text.
        fits: whether such a value is one.
    """

    metavar: str
    text: str
    parse: Callable[[str], Any]
    toml: str
    fits: Callable[[object], bool]


class Text(click.ParamType[Any]):
    """A value of a declared kind, written as text; in a configuration file also as TOML has it."""

    def __init__(self, kind: Kind, syntax: Syntax) -> None:
        self.kind, self.syntax = kind, syntax
        self.name, self.expected, self.takes = syntax.metavar, syntax.toml, syntax.fits

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.kind("", self.syntax.parse(value) if isinstance(value, str) else value)
        except (TypeError, ValueError, ConfigError):
            self.fail(f"{value!r} is not {self.syntax.text}", param, ctx)


def _bytes(text: str) -> int:
    if (size := parse_size(text)) is None:
        raise ValueError
    return size


def _wholes(separator: str) -> Callable[[str], list[int]]:
    return lambda text: [int(part) for part in text.lower().split(separator)]


_PAIR = list_of(is_whole, length=2)
_SYNTAX: Mapping[str, Syntax] = {
    "range": Syntax(
        "LOW,HIGH",
        "two finite numbers, the first below the second, for instance -1,1",
        lambda text: [float(part) for part in text.split(",")],
        "two numbers, [LOW, HIGH]",
        list_of(is_number, length=2),
    ),
    "latent": Syntax(
        "N[,N...]",
        "the shape of a latent, for instance 100 or 100,1,1",
        lambda text: sizes[0] if len(sizes := _wholes(",")(text)) == 1 else sizes,
        "a whole number, or a list of them",
        lambda value: is_whole(value) or list_of(is_whole)(value),
    ),
    "size": Syntax(
        "SIZE", "a size, for instance 256MB or 2GB", _bytes, 'a number of bytes, or a size such as "256MB"', is_whole
    ),
    "subsets": Syntax(
        "NUMBERxSIZE",
        "a number of subsets and a size of at least 2, for instance 100x1000",
        _wholes("x"),
        "two whole numbers, [NUMBER, SIZE]",
        _PAIR,
    ),
    "shard": Syntax(
        "I/N", "a share from 1/N to N/N, for instance 1/4", _wholes("/"), "two whole numbers, [I, N]", _PAIR
    ),
    "names": Syntax(
        "NAME,NAME", "a list of names", str, "a list of names", list_of(lambda value: isinstance(value, str))
    ),
}


def _click_type(one: Option) -> dict[str, Any]:
    """What click needs to know of a declared option besides its name, default and help."""
    kind = one.kind
    if one.name in _SPECIAL:
        return _SPECIAL[one.name]()
    assert kind is not None, one.name
    if kind.name == "flag":
        return {} if kind.optional or one.default else {"is_flag": True}
    if kind.choices:
        return {"type": click.Choice(kind.choices)}
    if kind.name in _SYNTAX:
        return {"type": Text(kind, _SYNTAX[kind.name])}
    plain: Mapping[str, Any] = {
        "whole": click.INT if kind.least is None else click.IntRange(min=kind.least),
        "number": click.FloatRange(
            kind.least if kind.above is None else kind.above, kind.below, min_open=kind.above is not None, max_open=True
        ),
        "folder": click.Path(file_okay=False),
        "text": None,
    }
    return {"type": plain[kind.name]}


# options whose values are looked at where they are used
_SPECIAL: Mapping[str, Callable[[], dict[str, Any]]] = {
    "protocol": lambda: {"metavar": "NAME[:LAYER]"},
    "device": lambda: {"metavar": "auto|cpu|cuda[:i]|mps"},
    "weights": lambda: {"type": WeightsFile(), "multiple": True, "callback": _one_each},
    "label_distribution": lambda: {"type": click.Choice(LABEL_DISTRIBUTIONS)},
    **dict.fromkeys(("labels", "prompts"), lambda: {"type": click.Path(dir_okay=False)}),
    "captions": lambda: {"type": click.Path(), "metavar": "FILE|FOLDER"},
    **dict.fromkeys(("test", "relative_to", "test_a", "test_b", "eval_reference"), lambda: {"type": Source()}),
    **dict.fromkeys(("labels_real", "labels_fake"), lambda: {"type": click.Path(dir_okay=False)}),
    "group_by": lambda: {"metavar": "REGEX|FILE"},
    **dict.fromkeys(("pair_by", "pair_by_real", "pair_by_fake"), lambda: {"metavar": "stem|name|order|REGEX"}),
    **dict.fromkeys(("prepare", "prepare_real", "prepare_fake"), lambda: {"metavar": "STEP,STEP"}),
    "names": lambda: {"nargs": 2},
    "distance": lambda: {"type": click.Choice(list(DISTANCES))},
}

OPTIONS: Mapping[str, Option] = {**all_options(EvaluationConfig), **all_options(StatisticsConfig)}


def declared(*names: str, **changes: Any) -> Callable[[Decorated], Decorated]:
    """The click options of declared options, in this order.

    Args:
        changes: what is different on this command, for click.
    """
    return _stack(*(_declared(OPTIONS[name], changes) for name in names))


def declared_by(declaration: type[Any], **changes: Mapping[str, Any]) -> Callable[[Decorated], Decorated]:
    """The same as ``all_declared``, without the options that are for Python alone."""
    shown = (one for one in options_of(declaration).values() if one.group)
    return _stack(*(_declared(one, changes.get(one.name, {})) for one in shown))


def declared_pairs(*names: str, **changes: Mapping[str, Any]) -> Callable[[Decorated], Decorated]:
    """The click options of options of ``paired``, on a command that also has those of ``evaluate``.

    Args:
        changes: by option, what is different on this command, for click.
    """
    known = options_of(PairedConfig)
    return _stack(*(_declared(known[name], changes.get(name, {})) for name in names))


def all_declared(declaration: type[Any], **changes: Mapping[str, Any]) -> Callable[[Decorated], Decorated]:
    """The click options of everything that a dataclass declares.

    Args:
        changes: by option, what is different on this command, for click.
    """
    return _stack(*(_declared(one, changes.get(one.name, {})) for one in options_of(declaration).values()))


def group(*groups: str) -> tuple[str, ...]:
    """The names of the options that are declared in these groups."""
    return tuple(one.name for one in OPTIONS.values() if one.group in groups)


def _declared(one: Option, changes: Mapping[str, Any]) -> Callable[[Decorated], Decorated]:
    flag = "--" + one.name.replace("_", "-")
    settings = _click_type(one)
    if one.kind is not None and one.kind.name == "flag" and "is_flag" not in settings:
        flag = f"{flag}/--no-{flag[2:]}"
    text = f"{one.help}  [default: {one.default_text}]" if one.default_text else one.help
    if not settings.get("multiple"):
        is_size = one.kind is not None and one.kind.name == "size"
        settings["default"] = f"{one.default // 2**20}MB" if is_size else one.default
    return option(flag, **{"help": text, **settings, **changes})


def _one_each(
    ctx: click.Context, param: click.Parameter, value: tuple[tuple[str, Path], ...]
) -> dict[str, Path] | None:
    files = dict(value)
    if len(files) < len(value):
        raise ConfigError(
            "--weights names two files for one network. Name the network of each: --weights NETWORK=PATH."
        )
    return files or None


def output_options(f: Decorated, *, formats: tuple[str, ...] = ("text", "json", "md")) -> Decorated:
    """``--json --format -q -v --config``: sets up ``output`` and passes ``fmt``."""

    @functools.wraps(f)
    def wrapper(*args: Any, json: bool, fmt: str, quiet: bool, verbose: bool, config: str | None, **kwargs: Any) -> Any:
        fmt = "json" if json else fmt
        output.configure(json=fmt == "json", quiet=quiet, verbose=verbose)
        return f(*args, fmt=fmt, **kwargs)

    return _stack(
        option("--json", is_flag=True, help="Print exactly one JSON document on stdout, also on failure."),
        option("--format", "fmt", type=click.Choice(formats), default="text", help="Output format."),
        option("-q", "--quiet", is_flag=True, help="Print no progress and no notes."),
        option("-v", "--verbose", is_flag=True, help="Print more on stderr."),
        click.option(
            "--config",
            envvar="GANEVAL_CONFIG",
            type=click.Path(dir_okay=False),
            help="Configuration file.  [default: ganeval.toml, then pyproject.toml]",
        ),
    )(wrapper)


source_options = declared(*group("source"))  # what opening images takes, for any use
generator_options = declared(*group("generator"))
image_options = declared(*group("source", "generator", "reading"))


def cache_place(f: Decorated) -> Decorated:
    return option(
        "--cache-dir",
        type=click.Path(file_okay=False),
        callback=lambda ctx, param, value: Path(value) if value else None,
        help="Folder of the cache.  [default: in the user's cache folder]",
    )(f)


def cache_options(f: Decorated) -> Decorated:
    """Whether features are kept and recalled, and where; passes ``cache``, as ``evaluate`` takes it."""

    @functools.wraps(f)
    def wrapper(*args: Any, cache: bool, cache_dir: Path | None, cache_size: int, **kwargs: Any) -> Any:
        return f(*args, cache=_cache(cache_dir, cache_size) if cache else False, **kwargs)

    return _stack(
        option(
            "--cache/--no-cache",
            default=True,
            help="Reuse the features of files that were measured before, and store new ones.",
        ),
        option(
            "--cache-size",
            type=Text(SIZE, _SYNTAX["size"]),
            default="4GB",
            help="Size limit of the cache. Entries that were not used for longest are removed first.",
        ),
        cache_place,
    )(wrapper)


def _cache(folder: Path | None, size: int) -> Any:
    from ganeval.features.cache import FeatureCache, default_folder

    return FeatureCache(folder or default_folder(), size=size)


def compute_options(f: Decorated, *, protocol: str | None = "ttur") -> Decorated:
    """Protocol, network, device and cache.

    Args:
        protocol: the default; None where the command finds it out by itself.
    """
    names = f"One of {', '.join(PROTOCOLS)}."
    return _stack(
        declared(
            "protocol",
            default=protocol,
            help=f"{OPTIONS['protocol'].help} {names}",
            shell_complete=lambda ctx, param, incomplete: [name for name in PROTOCOLS if name.startswith(incomplete)],
        ),
        declared("weights"),
        declared(*group("compute")),
        cache_options,
    )(f)


def network_options(f: Decorated) -> Decorated:
    """A network of the user's own in place of ``--protocol``; passes ``protocol``, a name or a CustomNetwork."""

    @functools.wraps(f)
    def wrapper(*args: Any, protocol: str, **kwargs: Any) -> Any:
        own = {name: kwargs.pop(name) for name in ("network", "network_size", "network_resize", "network_scale")}
        return f(*args, protocol=_own_network(own) or protocol, **kwargs)

    return _stack(
        option(
            "--network",
            type=Source(),
            metavar="FILE.pt",
            help="Your own network, a TorchScript file, in place of the protocol's.",
        ),
        option("--network-size", type=click.IntRange(min=1), help="Input height and width of --network, in pixels."),
        option("--network-resize", help=f"How images are resized to that size: {', '.join(_RESIZES)}."),
        option("--network-scale", help=f"Map from 0..255 to the input values of --network: {', '.join(_SCALES)}."),
    )(wrapper)


_RESIZES = list(dict.fromkeys(p.resize for p in PROTOCOLS.values()))
_SCALES = ["x", "x/255", *dict.fromkeys(p.scale for p in PROTOCOLS.values())]


def _own_network(options: dict[str, Any]) -> Any:
    """The CustomNetwork of ``--network``, or None.

    Raises:
        ConfigError: not all of its options are there, or ``--protocol`` is there too.
    """
    flags = {"--" + name.replace("_", "-"): value for name, value in options.items()}
    given = [flag for flag, value in flags.items() if value is not None]
    if not given:
        return None
    if missing := [flag for flag in flags if flag not in given]:
        raise ConfigError(
            f"{', '.join(given)} needs {', '.join(missing)}: ganeval does not guess how to use your network."
        )
    source = click.get_current_context().get_parameter_source("protocol")
    if source not in (None, click.core.ParameterSource.DEFAULT):
        raise ConfigError("--network replaces --protocol. Give one of them.")
    from ganeval.features.custom import CustomNetwork

    return CustomNetwork(**{name.removeprefix("network_"): value for name, value in options.items()})


def report_path(f: Decorated) -> Decorated:
    return option(
        "--report", type=Output(), metavar="FILE.html", help="Also write an HTML page with plots and images."
    )(f)


def per_image_path(text: str) -> Callable[[Decorated], Decorated]:
    """``--per-image``, with the columns of its table in the help."""
    return option("--per-image", type=TableFile(), metavar="FILE.csv|.npz", help=text)


def output_path(f: Decorated, *, kind: Output | None = None) -> Decorated:
    kind = kind or Output()
    return option("-o", "--output", type=kind, help="Write the JSON document to this file, atomically.")(f)


record_path = functools.partial(output_path, kind=RecordFile())
