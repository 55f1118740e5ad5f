"""One side of an evaluation: opened and looked at, decoded once, through the network once, ready for every metric."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch

from ganeval.distributed import Group, current
from ganeval.engine.accumulator import Measured, Need, Place, Tally
from ganeval.engine.loop import ProgressFactory
from ganeval.engine.reference_files import load_reference, parts_of
from ganeval.errors import ConfigError, IncomparableError, InputError, NotEnoughSamplesError, number_of
from ganeval.features.cache import FeatureCache
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.networks import published_weights
from ganeval.generators.load import is_made, open_source
from ganeval.images.grammar import as_spec, spec_or_object
from ganeval.images.open import has_items
from ganeval.images.options import GENERATOR_OPTIONS, OpenOptions, check_number
from ganeval.images.specs import Archive, Folder, Invalid, Missing, Part, Shards, Translation
from ganeval.images.threads import cores
from ganeval.images.types import ImageSource, NumberedSource
from ganeval.images.workers import worker_faults
from ganeval.metrics.types import FeatureSet
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol
from ganeval.statistics.reference import Statistics
from ganeval.statistics.rows import DEFAULT_MEMORY, FeatureRows, sampled_rows

_MOST_WORKERS = 32
_logger = logging.getLogger("ganeval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(OpenOptions):
    """How images are opened and read; the same for all sides. The fields are ``evaluate``'s arguments.

    Attributes:
        in_place: a generator runs where it is, not on ``device``.
        cache: opened; None: nothing is recalled or kept.
    """

    device: torch.device
    on_error: str = "stop"
    batch_size: int | None = None
    workers: int | None = None
    feature_memory: int = DEFAULT_MEMORY
    progress: ProgressFactory | None = None
    in_place: bool = False
    cache: FeatureCache | None = None

    def __post_init__(self) -> None:
        OpenOptions.__post_init__(self)
        require_choice("on_error", self.on_error, ("stop", "skip"))
        check_number("batch_size", self.batch_size)
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"{option('workers')} is a number of processes, 0 or more; got {self.workers}.")

    def processes(self, source: ImageSource) -> int:
        """As many as ``workers``. By default none of a user's own data set, whose open files they would share, and none
        on the CPU, where the network is the slow part; else one a core but one, at most 32.

        Only of the cores that this process may use, and of this machine's ranks each takes its share of them.
        """
        if self.workers is not None:
            return self.workers
        if not source.reopens:
            return 0
        # where processes are spawned, a script without a main guard would be run again in each: they must be asked for
        if self.device.type == "cpu" or sys.platform != "linux":
            return 0
        return max(1, min(_MOST_WORKERS, cores() - 1))


@dataclass(frozen=True, slots=True)
class Opened:
    """One image set of an evaluation: images, statistics of images, or both, of an npz file that holds both.

    Attributes:
        spec: as the user named it.
        images: None where there are statistics alone, or where no metric takes the images.
        statistics: None where there are images alone, or where no metric takes the statistics.
    """

    spec: str
    images: ImageSource | None = None
    statistics: Statistics | None = None

    @property
    def parts(self) -> str:
        """Both parts with their sizes, for messages."""
        images = "images" if self.images is None else f"{self.images.length} images"
        n = None if self.statistics is None else self.statistics.n
        return f"{images} (arr_0) and statistics of {'an unknown number of' if n is None else n} images"


def open_side(
    side: str, spec: object, reading: Reading, *, num: int | None = None, minimum: int = 2, part: Part | None = None
) -> Opened:
    """Open, and look for everything that would end the run, before any network is loaded.

    Args:
        side: ``real``, ``fake``, ``test`` or ``images``, for messages.
        num: a seeded subset of this size; of a file of both, only the images are then opened.
        minimum: fewest images that anything can be computed from.
        part: open no more than this part of a file of both.
    """
    spec = spec_or_object(spec)
    parts = parts_of(spec)
    if len(parts) > 1:
        parts &= {"images" if num is not None else part} if num is not None or part is not None else parts
    both = len(parts) > 1
    try:
        statistics = load_reference(spec) if "statistics" in parts else None
        if "images" not in parts:
            assert statistics is not None
            if num is not None:
                raise ConfigError(f"{option(f'num_{side}')} takes a subset of images; {spec} holds statistics.")
            return Opened(statistics.spec, statistics=statistics)
        where = None if reading.in_place else reading.device
        source = open_source(spec, num=num, options=reading.opening(device=where))
        if source.length is not None and not both:
            require_enough(side, source.length, source.describe(), minimum)
        source.check(reading.on_error)
    except InputError as error:
        if not both:
            raise
        raise InputError(
            f"{error} The file holds images and statistics; one part alone is {spec}:images or {spec}:statistics."
        ) from error
    return Opened(source.spec, source, statistics)


def open_images_alone(
    side: str, spec: object, reading: Reading, *, num: int | None = None, minimum: int = 2
) -> ImageSource:
    """``open_side`` where statistics are of no use: of a file of both, the images.

    Raises:
        InputError: there are statistics alone.
    """
    source = open_side(side, spec, reading, num=num, minimum=minimum, part="images").images
    if source is None:
        raise InputError(f"{spec} holds statistics. Give the images themselves.")
    return source


def shard_of(source: ImageSource, number: int, of: int) -> ImageSource:
    """One of ``of`` shares of a source's images, see ``NumberedSource.shard``.

    Raises:
        InputError: there is no such share, or the images have no numbers.
        NotEnoughSamplesError: it holds fewer than two.
    """
    if not isinstance(source, NumberedSource):
        raise InputError(f"{source.spec} cannot be cut into shards: its images come as they come. Give a data set.")
    share = source.shard(number, of)
    require_enough("images", share.length, {"kind": "shard"}, 2, name=f"shard {number}/{of} of {source.spec}")
    return share


def require_effect(specs: Sequence[object], reading: Reading) -> None:
    """Raises ConfigError for options of generators, data sets or image files where no image set is one."""
    if reading.any_suffix and not any(map(_has_files, specs)):
        raise ConfigError(
            f"{option('any_suffix')} is about image files in folders and archives, and no image set here is one. "
            "Leave it out."
        )
    if reading.image_column is not None and not any(has_items(spec) for spec in specs):
        raise ConfigError(
            f"{option('image_column')} names the image among the columns of a data set's items, and no image set "
            "here is a data set. Leave it out."
        )
    if any(is_made(spec) for spec in specs):
        return
    if reading.num_samples is not None:
        raise ConfigError(
            f"{option('num_samples')} says how many images a generator or a renderer makes, and here is none. "
            f"For a subset of existing images: {option('num_real')}, {option('num_fake')}; "
            f"of `ganeval stats build`: {option('num')}."
        )
    for name, nothing in GENERATOR_OPTIONS.items():
        if getattr(reading, name) != nothing:
            raise ConfigError(f"{option(name)} tells about a generator, and here is none. Leave it out.")


def _has_files(spec: object) -> bool:
    """Whether image files by their suffix are read; of what is no spec, or names nothing, others tell."""
    named = as_spec(spec)
    if isinstance(named, Translation):
        return _has_files(named.source)
    return isinstance(named, Folder | Archive | Shards | Missing | Invalid) or isinstance(spec, ImageSource)


def require_range_used(sources: Sequence[ImageSource], value_range: tuple[float, float] | None) -> None:
    """Raises ConfigError for a declared range of values where all images have 8 bits, which have theirs."""
    if value_range is not None and sources and not any(source.takes_range for source in sources):
        names = ", ".join(source.spec for source in sources)
        raise ConfigError(
            f"value_range (--value-range) has no effect: all images here are of 8 bits, 0 to 255 ({names}). It is for "
            "floats, other numbers, generators, and image files of one channel of more than 8 bits. Leave it out."
        )


def under_policy(protocol: Protocol, sources: Sequence[ImageSource]) -> Protocol:
    """The protocol with the decode policy of these images, where they have one by another name."""
    policies = [source.decode_policy for source in sources if source.decode_policy is not None]
    return replace(protocol, decode=policies[0]) if policies else protocol


def measure_images(
    side: str,
    source: ImageSource,
    extractors: Mapping[Protocol, FeatureExtractor],
    needs: Mapping[Place, Need],
    reading: Reading,
    stack: ExitStack,
    *,
    minimum: int = 2,
) -> Measured:
    """The one pass over a side's images.

    Args:
        extractors: by protocol; those that ``needs`` does not name do not run.
        needs: by network and layer; the extractor has a tap for each.
        stack: closes the rows, and so removes their temporary files.
    """
    group, call = current(), f"{side} images"
    tally = Tally(extractors, needs, memory=reading.feature_memory, expected=source.length)
    stack.callback(tally.close)
    fill(tally, side, source, reading, group, call)
    whole = tally.over(group, call)
    if whole is not tally:
        tally.close()
        stack.callback(whole.close)
    require_enough(side, whole.n, source.describe(), minimum, name=_with_skipped(source.spec, whole))
    if reading.cache is not None and group.rank == 0:
        _logger.debug("%s: %d of %d images recalled from the cache", side, whole.recalled, whole.n)
    measured = whole.measured(side)
    for one in (tally, whole):
        one.drop_moments()
    return measured


def _with_skipped(spec: str, tally: Tally) -> str:
    """A source's name for a message, with what was left out of it, and why the first one was."""
    if not tally.skipped:
        return spec
    _, _, name, reason = tally.skipped[0]
    return f"{spec}, without {len(tally.skipped)} that cannot be used ({name}: {reason})"


def fill(tally: Tally, side: str, source: ImageSource, reading: Reading, group: Group | None, call: str) -> None:
    """One pass over a source, of which each rank of a group takes its share, with a progress display."""
    bar = reading.progress(f"{side}: {source.spec}", source.length) if reading.progress else None
    try:
        with worker_faults():
            tally.add(
                source, call=call, group=group, batch_size=reading.batch_size, workers=reading.processes(source),
                on_error=reading.on_error, progress=bar, cache=reading.cache,
            )  # fmt: skip
    finally:
        if bar is not None:
            bar.close()


def measure_statistics(
    stats: Statistics,
    protocols: Sequence[Protocol],
    reading: Reading,
    stack: ExitStack,
    *,
    rows: bool,
    sample: bool = False,
) -> Measured:
    """A statistics file as an image set: its layers, with rows only if the file has them.

    Args:
        protocols: those under which the file stands for features; see ``serves``.
        sample: also some rows, for a calibration.
    """
    kept = None
    if rows and stats.rows is not None:
        kept = stack.enter_context(
            FeatureRows(stats.rows.shape[1], memory_limit=reading.feature_memory, expected=len(stats.rows))
        )
        kept.append(stats.rows)
    digests = stats.digests if stats.digests is not None else np.empty(0, np.uint64)
    layers = {
        "features": FeatureSet(
            n=stats.n,
            gaussian=stats.gaussian(),
            rows=kept,
            row_sample=_row_sample(stats, stack) if sample else None,
            digest=stats.digest,
            image_digests=digests,
        ),
        "spatial": FeatureSet(n=stats.n, gaussian=stats.spatial_gaussian(), digest=stats.spatial_digest),
    }
    provenance = {"spec": stats.spec, "kind": "statistics", "n": stats.n, "digest": stats.digest, "meta": stats.meta}
    found = {
        (protocol, layer): features
        for protocol in protocols for layer, features in layers.items() if features.gaussian is not None
    }  # fmt: skip
    return Measured(found, stats.n, stats.digest, digests, provenance, stats.warnings)


def _row_sample(stats: Statistics, stack: ExitStack) -> FeatureRows | None:
    """Rows for a calibration: those that the file has for it, or some of all of them."""
    rows = stats.row_sample
    if rows is None and stats.rows is not None:
        chosen = sampled_rows(len(stats.rows))
        rows = np.asarray(stats.rows[chosen])
    if rows is None:
        return None
    kept = stack.enter_context(FeatureRows(rows.shape[1], memory_limit=rows.size * 4))
    kept.append(rows)
    return kept


def made_under(stats: Statistics, protocol: Protocol) -> bool:
    """Whether statistics say that they were made under a protocol; its weights may be others."""
    own = stats.protocol
    return own is not None and replace(own, weights=None).key() == replace(protocol, weights=None).key()


def serves(stats: Statistics, protocol: Protocol, main: Protocol) -> bool:
    """Whether a statistics file stands for features under ``protocol``: the run's own, unless the file says another."""
    return protocol == main or made_under(stats, protocol)


def require_protocol(side: str, stats: Statistics, protocol: Protocol, *, assume: bool) -> Protocol:
    """The protocol of the run, once this statistics file has its say; an error where they cannot meet."""
    if stats.protocol is None and stats.mean.size != int(protocol.layer):
        raise IncomparableError(
            f"{stats.spec} holds statistics of {stats.mean.size} features; the protocol {protocol.name} has "
            f"{protocol.layer}. Name the protocol, or the layer, that they were made with: "
            f"{option('protocol', 'NAME:LAYER')}."
        )
    if stats.protocol is not None:
        if protocol.weights is None and replace(stats.protocol, weights=None).key() == protocol.key():
            weights = stats.protocol.weights or ""  # no network was loaded, the file says which it was
            return protocol.with_weights(weights, verified=weights == published_weights(protocol.extractor))
        protocol.require_same(stats.protocol, f"the {side} statistics in {stats.spec}")
        return protocol
    if not assume:
        raise IncomparableError(
            f"{stats.spec} does not say under which protocol its statistics were made, so nothing can be compared with "
            f"them. If you know that it is {protocol.name}, add {option('assume_protocol', True)}; otherwise "
            f"build statistics from the images: ganeval stats build IMAGES -o FILE.npz --protocol {protocol.name}, or "
            f"build_statistics(images, protocol={protocol.name!r})"
        )
    if protocol.weights is None:
        return protocol.with_weights(published_weights(protocol.extractor), verified=True)
    return protocol


def require_spatial(stats: Statistics, extractor: FeatureExtractor) -> None:
    """Raises IncomparableError for statistics of a layer that keeps places and has another size."""
    wanted = extractor.dimensions[extractor.tap("spatial")]
    if stats.spatial is not None and stats.spatial[0].size != wanted:
        raise IncomparableError(
            f"{stats.spec} holds spatial statistics (mu_s) of {stats.spatial[0].size} features; the layer "
            f"{extractor.tap('spatial')} of {extractor.protocol.extractor} has {wanted}. Take a file of this network."
        )


def require_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        names = ", ".join(str(c) for c in choices if c is not None)
        raise ConfigError(f"{name} is one of {names}; got {value!r}.")


# What to do where an image set is too small, by what its source says that it is; a folder's advice is for all others.
_MORE = {
    **dict.fromkeys(("zip", "tar", "shards"), "Give an archive that holds more images."),
    **dict.fromkeys(("array", "npy", "npz"), "Give an array of more images, (N, H, W, 3) or (N, 3, H, W)."),
    "dataset": "Give a data set of more images.",
    "stream": "Give a DataLoader or an iterable that yields more images.",
    "updates": "Add images with update or update_from.",
    **dict.fromkeys(("generator", "shapes"), "Have it make more of them: num_samples (--num-samples)."),
    "translation": "Translate more images.",
    "shard": "Cut the images into fewer shards.",
}
_MORE_FILES = "Point at the folder that holds the images."


def require_enough(side: str, n: int, source: Mapping[str, object], minimum: int, *, name: str | None = None) -> None:
    """Raises NotEnoughSamplesError, with advice for this kind of source.

    Args:
        source: what it says of itself, see ``ImageSource.describe``.
        name: of the source, for the message.
    """
    if n < minimum:
        spec = name or source.get("spec", "what was given")
        advice = _MORE.get(str(source.get("kind")), _MORE_FILES)
        if source.get("subset") is not None:
            advice = "Take a larger subset of the images."
        kind = "" if side == "images" else f"{side} "
        raise NotEnoughSamplesError(
            f"this needs at least {minimum} {kind}images; found {number_of(n, 'image')} in {spec}. {advice}"
        )
