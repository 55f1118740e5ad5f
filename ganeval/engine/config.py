"""Options of an evaluation: each one is declared here, with its type, default, help and limits, and nowhere else.

``EvaluationConfig`` is what ``evaluate`` and ``Evaluator`` take, ``StatisticsConfig`` what ``build_statistics`` takes.
Two groups of options are declared where they are used and are part of both: how images are opened
(``ganeval.images.options.OpenOptions``) and choices of single estimators (``ganeval.metrics.settings.Settings``).
Signatures, click options, keys of ``ganeval.toml`` and the tables of the documentation are derived from these classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ganeval.images.options import OpenOptions
from ganeval.metrics.settings import Settings as Settings
from ganeval.parsing import arguments as kinds
from ganeval.parsing.arguments import Device, Option, declare, options_of, require_known
from ganeval.protocol import PRECISIONS

if TYPE_CHECKING:
    from ganeval.features.cache import FeatureCache
    from ganeval.features.custom import CustomNetwork
    from ganeval.protocol import Protocol as FeatureProtocol

FEATURE_MEMORY = 64 * 2**20
MAX_WORKERS = 32

F = TypeVar("F", bound=Callable[..., Any])


class Progress(Protocol):
    """Receives the number of images that are done; see ``ganeval.cli.output.progress`` for one that shows it."""

    def update(self, n: int) -> None: ...

    def close(self) -> None: ...


ProgressFactory = Callable[[str, int | None], Progress]


@contextmanager
def shown_progress(factory: ProgressFactory | None, what: str, n: int | None) -> Iterator[Callable[[int], object]]:
    """Show the progress of the block; yields what takes the number of things that are done."""
    if factory is None:
        yield lambda done: None
    else:
        with closing(factory(what, n)) as bar:
            yield bar.update


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions(OpenOptions):
    """How images are opened and decoded; the same for every image set."""

    prepare: str | None = declare(
        None,
        kinds.TEXT.or_none(),
        "compute",
        "Steps before the protocol's own resize, separated by commas: center-crop[:S], adm-crop:S, resize:S:FILTER, "
        "pad[:S], patches:SxN. They are part of the protocol.",
    )
    on_error: str = declare(
        "stop", kinds.choice("stop", "skip"), "reading", "What to do at an unreadable file: stop, or skip and count it."
    )
    batch_size: int | None = declare(
        None, kinds.WHOLE.from_(1).or_none(), "compute", "Images in one forward pass.", default_text="suits the device"
    )
    workers: int | None = declare(
        None,
        kinds.WHOLE.from_(0).or_none(),
        "compute",
        "Decoding processes.",
        default_text=f"0 on the CPU, else the number of cores less one, at most {MAX_WORKERS}",
    )
    feature_memory: int = declare(
        FEATURE_MEMORY,
        kinds.SIZE,
        "compute",
        "Memory for the features of one image set; the rest goes to a temporary file.",
    )
    progress: ProgressFactory | None = declare(
        None,
        kinds.CALLABLE.or_none(),
        "",
        "A function of a description and the number of images that returns a progress display.",
    )
    cache: bool | str | Path | FeatureCache | None = declare(
        None,
        None,
        "",
        "Where features of files are cached: True for the user's cache folder; a folder; False for no cache. None is "
        "True, unless GANEVAL_CACHE=0.",
    )

    def progress_of(self, what: str, n: int | None) -> AbstractContextManager[Callable[[int], object]]:
        """Show the progress of the block; gives what takes the number of images that are done."""
        return shown_progress(self.progress, what, n)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions(InputOptions):
    """The networks of a run, and where they compute."""

    protocol: str | FeatureProtocol | CustomNetwork = declare(
        "ttur",
        None,
        "protocol",
        "Which network computes the features, and how images are prepared for it: a name such as ttur or "
        "pytorch-fid:768 (in Python also a Protocol or a CustomNetwork).",
    )
    device: Device = declare(
        "auto", kinds.DEVICE, "compute", "Where networks and generators run: auto, cpu, cuda[:i], mps."
    )
    weights: str | Path | Mapping[str, str | Path] | None = declare(
        None,
        kinds.PATHS.or_none(),
        "weights",
        "Load this file instead of the published weights of the run's network; or files by the network's name.",
    )
    precision: str | None = declare(
        None,
        kinds.choice(*PRECISIONS).or_none(),
        "compute",
        "Arithmetic of the networks. It is part of the protocol, and a warning says how far it moves the features. The "
        "distance of ppl stays float32.",
        default_text="the protocol's own, float32",
    )
    compile: bool = declare(
        False,
        kinds.FLAG,
        "compute",
        "Compile the networks first, which is faster for many images. Values move by float32 noise.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig(NetworkOptions):
    """Options of ``evaluate`` and ``Evaluator``."""

    metrics: Sequence[str] | None = declare(
        ("fid",),
        kinds.NAMES.or_none(),
        "metrics",
        "Names of metrics, separated by commas or in a list; in Python, None: all that apply to these image sets.",
    )
    test: object = declare(None, None, "test", "Held-out real images, for metrics of memorisation.")
    relative_to: object = declare(
        None,
        None,
        "heldout",
        "Held-out real images: also divide the distance of the fakes by that of as many of these.",
    )
    reference: str | None = declare(
        None,
        kinds.choice("sample", "population").or_none(),
        "comparison",
        "sample: both image sets are samples. population: REAL is the target itself and has no sampling error.",
        default_text="sample for images, population for statistics",
    )
    level: float = declare(0.95, kinds.NUMBER.between(0, 1), "result", "Confidence level of the intervals.")
    num_real: int | None = declare(
        None, kinds.WHOLE.from_(1).or_none(), "comparison", "Use a seeded subset of REAL of this size."
    )
    num_fake: int | None = declare(
        None, kinds.WHOLE.from_(1).or_none(), "result", "Use a seeded subset of FAKE of this size."
    )
    prepare_real: str | None = declare(None, kinds.TEXT.or_none(), "comparison", "Steps for REAL alone, or none.")
    prepare_fake: str | None = declare(None, kinds.TEXT.or_none(), "result", "Steps for FAKE alone, or none.")
    labels_real: str | Path | None = declare(
        None, kinds.PATH.or_none(), "comparison", "Classes of REAL: a CSV file with the columns image and label."
    )
    labels_fake: str | Path | None = declare(
        None, kinds.PATH.or_none(), "result", "Classes of FAKE: a CSV file with the columns image and label."
    )
    group_by: str | Path | None = declare(
        None,
        kinds.PATH.or_none(),
        "result",
        "Images that belong together, such as frames of one film, count as one in every error bar: a regular "
        "expression that is searched in an image's name, of which the part in parentheses is the group; or a CSV file "
        "with the columns image and group.",
    )
    assume_protocol: bool = declare(
        False,
        kinds.FLAG,
        "comparison",
        "Assume that a statistics file of unknown origin has this run's protocol with its published weights.",
    )
    features: bool = declare(
        False,
        kinds.FLAG,
        "features",
        "REAL and FAKE are not images, but features that another program computed: .npy or .npz files (in Python also "
        "arrays) of one row per item, shape (n, d).",
    )
    features_name: str | None = declare(
        None,
        kinds.TEXT.or_none(),
        "features",
        "Name of the network of these features. Only features of equal names and widths are compared.",
    )
    sync: bool = declare(
        True,
        kinds.FLAG,
        "",
        "Under torchrun or in a process group, all ranks make this call, share the work and get the same results; "
        "False: this rank alone.",
    )
    single_images: bool = declare(
        False,
        kinds.FLAG,
        "",
        "Also compute what tables and reports show of single images: file names, nearest neighbours across the sets, "
        "and the Frechet distance of fewer fakes, where the features of both sets are known.",
    )
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsConfig(NetworkOptions):
    """Options of ``build_statistics``."""

    num: int | None = declare(None, kinds.WHOLE.from_(1).or_none(), "statistics", "Use a seeded subset of this size.")
    shard: tuple[int, int] | None = declare(
        None,
        kinds.SHARD.or_none(),
        "statistics",
        "Process only shard I of N, counted from 1. `stats merge` (merge_statistics) combines all N shards.",
    )
    rows: bool = declare(
        False, kinds.FLAG, "statistics", "Keep the features too, so that the file can be used as a sample."
    )
    table: bool = declare(
        False,
        kinds.FLAG,
        "statistics",
        "Keep all that the table of FID, sFID, precision and recall under this protocol takes of the real images: the "
        "statistics of both layers, and the features, under stylegan those of VGG16.",
    )
    sample_rows: int | None = declare(
        None,
        kinds.WHOLE.from_(2).or_none(),
        "statistics",
        "Keep the features of N images, drawn evenly, in half precision: they calibrate comparisons of models by few "
        "images (fewer than 2.5 for each feature). 2500 are enough.",
    )
    note: str | None = declare(
        None,
        kinds.TEXT.or_none(),
        "statistics",
        "A note about these images, shown where the statistics are used.",
    )


# its reference is its argument, its fakes come in updates
NOT_IN_EVALUATOR = ("relative_to", "reference", "num_fake", "single_images", "features", "features_name")

C = TypeVar("C", bound=NetworkOptions)


def all_options(declaration: type[Any]) -> dict[str, Option]:
    """Every option of a call, those of the metrics' settings included."""
    own = options_of(declaration)
    return own | options_of(Settings) if any(one.name == "settings" for one in fields(declaration)) else own


def configure(declaration: type[C], given: Mapping[str, Any]) -> C:
    """The checked, frozen options of a call.

    Raises:
        ConfigError: an unknown option, a value of another kind, or one outside its limits.
    """
    require_known(given, all_options(declaration))
    settings = {name: given[name] for name in options_of(Settings) if name in given}
    own = {name: value for name, value in given.items() if name not in settings}
    if settings:
        own["settings"] = Settings(**settings)
    return declaration(**own)


def documented(declaration: type[Any], *, without: Collection[str] = ()) -> Callable[[F], F]:
    """Decorate a function that takes ``**options``: its signature and docstring list what the class declares.

    Args:
        without: options that do not exist here.
    """
    declared = {name: one for name, one in all_options(declaration).items() if name not in without}

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation)
            for name, one in declared.items()
        ]
        function.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
        lines = "\n".join(f"    {name}: {one.help}" for name, one in declared.items())
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nOptions:\n{lines}"
        return function

    return decorate
