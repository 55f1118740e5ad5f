"""Options that several commands share, each also read from ``GANEVAL_<OPTION>`` and from the configuration file."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ganeval.cli import output, streams
from ganeval.cli.config import defaults_for, find_config, is_number, is_whole, list_of, wants_json
from ganeval.cli.places import Output, RecordFile, Source, WeightsFile, check_places
from ganeval.errors import ConfigError
from ganeval.files import parse_size
from ganeval.protocol import PRECISIONS, PROTOCOLS

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


class Range(click.ParamType[Any]):
    """``LOW,HIGH``, two finite numbers."""

    name = "LOW,HIGH"
    expected = "two numbers, [LOW, HIGH]"
    takes = staticmethod(list_of(is_number, length=2))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        try:
            low, high = (float(x) for x in (value.split(",") if isinstance(value, str) else value))
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not two numbers, for instance -1,1", param, ctx)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            self.fail(f"{value!r}: the first must be below the second, both finite", param, ctx)
        return low, high


class Latent(click.ParamType[Any]):
    """The shape of one latent, ``100`` or ``100,1,1``: whole numbers from 1 on."""

    name = "N[,N...]"
    expected = "a whole number, or a list of them"
    takes = staticmethod(lambda value: is_whole(value) or list_of(is_whole)(value))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        try:
            shape = tuple(int(x) for x in (str(value).split(",") if isinstance(value, (str, int)) else value))
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not the shape of a latent, for instance 100 or 100,1,1", param, ctx)
        if not shape or min(shape) < 1:
            self.fail(f"{value!r}: every size is at least 1", param, ctx)
        return shape[0] if len(shape) == 1 else shape


class Size(click.ParamType[Any]):
    """Bytes, with the units KB, MB, GB: ``256MB``."""

    name = "SIZE"
    expected = 'a number of bytes, or a size such as "256MB"'
    takes = staticmethod(is_whole)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        size = parse_size(str(value))
        return self.fail(f"{value!r} is not a size, for instance 256MB or 2GB", param, ctx) if size is None else size


class Pair(click.ParamType[Any]):
    """``NUMBERxSIZE``, two whole numbers from 1 on."""

    name = "NUMBERxSIZE"
    expected = "two whole numbers, [NUMBER, SIZE]"
    takes = staticmethod(list_of(is_whole, length=2))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        try:
            number, size = (int(x) for x in (value.lower().split("x") if isinstance(value, str) else value))
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not NUMBERxSIZE, for instance 100x1000", param, ctx)
        if number < 1 or size < 2:
            self.fail(f"{value!r}: at least 1 subset, of at least 2 images", param, ctx)
        return number, size


class Shard(click.ParamType[Any]):
    """``I/N``, whole numbers with 1 <= I <= N."""

    name = "I/N"
    expected = "two whole numbers, [I, N]"
    takes = staticmethod(list_of(is_whole, length=2))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        try:
            number, of = (int(x) for x in (value.split("/") if isinstance(value, str) else value))
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not I/N, for instance 1/4", param, ctx)
        if not 1 <= number <= of:
            self.fail(f"{value!r}: the shards of N are 1/N to N/N", param, ctx)
        return number, of


class Names(click.ParamType[Any]):
    """``NAME,NAME``; in a configuration file a list of names too."""

    name = "NAME,NAME"
    expected = "a list of names"
    takes = staticmethod(list_of(lambda value: isinstance(value, str)))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if isinstance(value, str) else ",".join(value)


def _one_each(
    ctx: click.Context, param: click.Parameter, value: tuple[tuple[str, Path], ...]
) -> dict[str, Path] | None:
    files = dict(value)
    if len(files) < len(value):
        raise ConfigError("--weights names two files for one network. Say which is for which: --weights NETWORK=PATH.")
    return files or None


def _stack(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    return lambda f: functools.reduce(lambda g, decorate: decorate(g), reversed(decorators), f)


def output_options(f: Decorated, *, formats: tuple[str, ...] = ("text", "json", "md")) -> Decorated:
    """``--json --format -q -v --config``: sets up ``output`` and passes ``fmt``."""

    @functools.wraps(f)
    def wrapper(*args: Any, json: bool, fmt: str, quiet: bool, verbose: bool, config: str | None, **kwargs: Any) -> Any:
        fmt = "json" if json else fmt
        output.configure(json=fmt == "json", quiet=quiet, verbose=verbose)
        return f(*args, fmt=fmt, **kwargs)

    return _stack(
        option("--json", is_flag=True, help="Exactly one JSON document on stdout, also on failure."),
        option("--format", "fmt", type=click.Choice(formats), default="text", help="Form of the result."),
        option("-q", "--quiet", is_flag=True, help="No progress and no notes."),
        option("-v", "--verbose", is_flag=True, help="Say more on stderr."),
        click.option(
            "--config",
            envvar="GANEVAL_CONFIG",
            type=click.Path(dir_okay=False),
            help="Configuration file; default ganeval.toml, then pyproject.toml.",
        ),
    )(wrapper)


def source_options(f: Decorated) -> Decorated:
    """What opening images takes, whatever is done with them."""
    return _stack(
        option("--num-samples", type=click.IntRange(min=1), help="Images to draw from a generator or a renderer."),
        option("--value-range", type=Range(), help="Ends of the range of float images, for instance -1,1."),
        option("--data-root", type=click.Path(file_okay=False), help="Folder of torchvision data sets."),
        option("--download", is_flag=True, help="Let torchvision download a data set."),
        option("--seed", type=int, default=0, help="Of subsets, and of rendered and generated images."),
        option("--any-suffix", is_flag=True, help="Read files whatever their suffix, by their first bytes."),
        option("--image-column", metavar="NAME", help="Key or column that holds the image of a data set's items."),
        option(
            "--max-image-bytes", type=Size(), default="512MB", help="The largest image file that is read in an archive."
        ),
    )(f)


def generator_options(f: Decorated) -> Decorated:
    """What a generator takes."""
    return _stack(
        option("--latent-dim", type=Latent(), help="Shape of a latent, for generators that do not declare it."),
        option("--num-classes", type=click.IntRange(min=1), help="Classes, for generators that take a label too."),
        option(
            "--label-distribution",
            type=click.Choice(["uniform", "balanced", "like-real"]),
            help="Frequencies of a generator's labels.  [default: uniform]",
        ),
        option("--labels", type=click.Path(dir_okay=False), help="File with the label of every generated image."),
        option(
            "--keep-mode", is_flag=True, help="Leave a generator in the mode that it is in: training or evaluation."
        ),
    )(f)


def image_options(f: Decorated) -> Decorated:
    """``source_options``, generators, and what to do about files that cannot be read."""
    return _stack(
        source_options,
        generator_options,
        option(
            "--on-error",
            type=click.Choice(["stop", "skip"]),
            default="stop",
            help="At an unreadable file: stop, or skip and count it.",
        ),
    )(f)


def cache_place(f: Decorated) -> Decorated:
    return option(
        "--cache-dir",
        type=click.Path(file_okay=False),
        callback=lambda ctx, param, value: Path(value) if value else None,
        help="Folder of the cache.  [default: below the user's cache folder]",
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
            help="Recall the features of files that were seen before, and keep others.",
        ),
        option("--cache-size", type=Size(), default="4GB", help="Bound of the cache; what was used last stays."),
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
    return _stack(
        option("--protocol", default=protocol, metavar="NAME[:LAYER]", help=f"One of {', '.join(PROTOCOLS)}."),
        option(
            "--weights",
            type=WeightsFile(),
            multiple=True,
            callback=_one_each,
            help="Load this file instead of the published weights; repeat it for several networks.",
        ),
        option("--device", default="auto", metavar="auto|cpu|cuda[:i]|mps", help="Where networks and generators run."),
        option(
            "--batch-size", type=click.IntRange(min=1), help="Images in one forward pass.  [default: suits the device]"
        ),
        option(
            "--workers",
            type=click.IntRange(min=0),
            help="Decoding processes.  [default: 0 on the CPU, else a core less than there are, at most 32]",
        ),
        option(
            "--precision",
            type=click.Choice(PRECISIONS),
            help="Arithmetic of the networks; part of the protocol.  [default: float32]",
        ),
        option("--compile", is_flag=True, help="Compile the networks first: for many images, where a compiler is."),
        option(
            "--feature-memory",
            type=Size(),
            default="64MB",
            help="Features kept in memory; the rest goes to a temporary file.",
        ),
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
            help="A network of your own in place of a protocol's: TorchScript.",
        ),
        option("--network-size", type=click.IntRange(min=1), help="Height and width that it takes, in pixels."),
        option("--network-resize", help=f"How images are brought to that size: {', '.join(_RESIZES)}."),
        option("--network-scale", help=f"The map from 0..255 to its values: {', '.join(_SCALES)}."),
    )(wrapper)


_RESIZES = list(dict.fromkeys(p.resize for p in PROTOCOLS.values()))
_SCALES = ["x", "x/255", *dict.fromkeys(p.scale for p in PROTOCOLS.values())]


def _own_network(options: dict[str, Any]) -> Any:
    """The CustomNetwork of ``--network``, or None.

    Raises:
        ConfigError: not all of its options are there, or ``--protocol`` is there too.
    """
    given = {"--" + name.replace("_", "-"): value for name, value in options.items() if value is not None}
    if not given:
        return None
    if len(given) < len(options):
        missing = ["--" + name.replace("_", "-") for name, value in options.items() if value is None]
        raise ConfigError(
            f"{', '.join(given)} needs {', '.join(missing)}: nothing is guessed about a network of yours."
        )
    source = click.get_current_context().get_parameter_source("protocol")
    if source not in (None, click.core.ParameterSource.DEFAULT):
        raise ConfigError("--network stands in place of --protocol; give one of them.")
    from ganeval.features.custom import CustomNetwork

    return CustomNetwork(
        network=options["network"], size=options["network_size"], resize=options["network_resize"],
        scale=options["network_scale"],
    )  # fmt: skip


def report_path(f: Decorated) -> Decorated:
    return option(
        "--report", type=Output(), metavar="FILE.html", help="Also write a page to look at: plots and images."
    )(f)


def output_path(f: Decorated, *, kind: Output | None = None) -> Decorated:
    kind = kind or Output()
    return option("-o", "--output", type=kind, help="Write the JSON document to this file, whole or not at all.")(f)


record_path = functools.partial(output_path, kind=RecordFile())
