"""The image sets of a run: opened, and checked for everything that would end the run later."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ganeval.engine.config import EvaluationConfig, InputOptions
from ganeval.engine.paired_config import PerceptualOptions
from ganeval.engine.reference_files import images_in, load_reference, parts_of
from ganeval.errors import ConfigError, InputError, NotEnoughSamplesError, number_of
from ganeval.generators.load import is_made, open_source
from ganeval.images.class_labels import like_real
from ganeval.images.grammar import as_spec, spec_or_object
from ganeval.images.grouping import UNKNOWN, Grouping
from ganeval.images.indexed import IndexedSource
from ganeval.images.names import is_column_of_files
from ganeval.images.open import has_items
from ganeval.images.options import GENERATOR_OPTIONS, OpenOptions
from ganeval.images.preparation import combined, of_set, parse_preparation, prepared
from ganeval.images.prompts import read_prompts, require_column_used
from ganeval.images.side_files import labels_from_table
from ganeval.images.specs import Archive, Folder, Invalid, Missing, Part, Rendered, Shards, Translation
from ganeval.images.types import ImageSource, NumberedSource
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol, get_protocol
from ganeval.statistics.reference import Statistics

LATER = object()  # in place of an image set whose images come later, from a training loop
ImageSets = Mapping[str, object]  # by name (real, fake, test), what the user named


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """One image set of an evaluation: images, statistics of images, or both, of an npz file that holds both.

    Attributes:
        spec: as the user named it.
        images: None where there are statistics alone, or where no metric takes the images.
        statistics: None where there are images alone, or where no metric takes the statistics.
        labels: (n,) class names, where the statistics are of feature rows that have some.
    """

    spec: str
    images: ImageSource | None = None
    statistics: Statistics | None = None
    labels: np.ndarray | None = None

    @property
    def parts(self) -> str:
        """Both parts with their sizes, for messages."""
        images = "images" if self.images is None else f"{self.images.length} images"
        n = None if self.statistics is None else self.statistics.n
        return f"{images} (arr_0) and statistics of {'an unknown number of' if n is None else n} images"


OpenedSets = Mapping[str, ImageSet | None]  # None: images that come later


def open_image_set(
    name: str,
    spec: object,
    options: InputOptions,
    *,
    device: torch.device | None,
    num: int | None = None,
    minimum: int = 2,
    part: Part | None = None,
    drawn: bool = True,
) -> ImageSet:
    """Open an image set, and look for everything that would end the run, before any network is loaded.

    Args:
        name: ``real``, ``fake``, ``test`` or ``images``, for messages.
        device: where a generator runs; None: where it is.
        num: a seeded subset of this size; of a file of both, only the images are then opened.
        minimum: fewest images that anything can be computed from.
        part: open no more than this part of a file of both.
        drawn: whether the images themselves are needed, and not only the generator that makes them.
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
                raise ConfigError(f"{option(f'num_{name}')} takes a subset of images; {spec} holds statistics.")
            return ImageSet(statistics.spec, statistics=statistics)
        source = open_source(images_in(spec), num=num, options=options.opening(device=device))
        if (table := getattr(options, f"labels_{name}", None)) is not None:
            source = labelled(source, Path(table), f"labels_{name}")
        if text := preparation_of(options, name):
            source = prepared(source, parse_preparation(text), options.seed)
        if source.length is not None and not both:
            require_enough(name, source.length, source.describe(), minimum)
        if drawn:
            source.check(options.on_error)
    except InputError as error:
        if not both:
            raise
        raise InputError(
            f"{error} The file holds images and statistics; one part alone is {spec}:images or {spec}:statistics."
        ) from error
    return ImageSet(source.spec, source, statistics)


def labelled(source: ImageSource, table: Path, name: str) -> ImageSource:
    """The same images with the classes of a CSV file.

    Raises:
        InputError: no such table, an image without a class, or images that are no files.
    """
    if not isinstance(source, IndexedSource) or not source.images.encoded:
        raise InputError(f"{option(name)} names the classes of image files; {source.spec} holds none.")
    images = [source.images.name(index) for index in range(len(source.images))]
    source.given_labels = labels_from_table(table, name, source.spec, images)
    return source


def preparation_of(options: InputOptions | PerceptualOptions, name: str) -> str:
    """The steps that were asked for an image set, in the form that is part of a protocol; empty: none.

    Raises:
        ConfigError: they are no steps.
    """
    own = getattr(options, "prepare_fake" if name == "fake" else "prepare_real", None)
    text = options.prepare if own is None else own
    if text is None:  # a protocol may have steps of its own
        protocol = getattr(options, "protocol", None)
        protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
        text = protocol.prepare if isinstance(protocol, Protocol) else ""
    return "" if text in ("", "none") else parse_preparation(text).text


def preparation_of_run(sets: OpenedSets, config: EvaluationConfig) -> str:
    """The steps of all image sets, as the protocol of the run has them.

    Statistics were made under steps of their own. They have to agree with the options, unless the options name the
    steps of FAKE alone.
    """
    texts = {name: preparation_of(config, name) for name in sets}
    real = sets.get("real")
    stats = real.statistics if real is not None and real.images is None else None
    only_fake = config.prepare_fake is not None and config.prepare is None and config.prepare_real is None
    if only_fake and stats is not None and stats.protocol is not None:
        texts["real"] = of_set(stats.protocol.prepare, "real")
    return combined(texts)


def open_images_alone(
    name: str,
    spec: object,
    options: InputOptions,
    *,
    device: torch.device | None,
    num: int | None = None,
    minimum: int = 2,
) -> ImageSource:
    """``open_image_set`` where statistics are of no use: of a file of both, the images.

    Raises:
        InputError: there are statistics alone.
    """
    source = open_image_set(name, spec, options, device=device, num=num, minimum=minimum, part="images").images
    if source is None:
        raise InputError(f"{spec} holds statistics. Give the images themselves.")
    return source


def open_image_sets(
    given: ImageSets, config: EvaluationConfig, device: torch.device, minimum: int, *, drawn: bool = True
) -> OpenedSets:
    """Every image set of a run, opened and checked, by name; None for images that come later.

    Args:
        drawn: as for ``open_image_set``.

    Raises:
        InputError: images or statistics that cannot be used.
        NotEnoughSamplesError: fewer images than a metric needs.
        ConfigError: an option has no effect on these image sets.
    """
    numbers = {"real": config.num_real, "fake": config.num_fake}
    of_reals = replace(config, label_distribution=None, labels=None)  # those are of the fakes
    sets: dict[str, ImageSet | None] = {}
    for name, spec in given.items():
        if spec is LATER:
            sets[name] = None
            continue
        real = sets.get("real")
        options = like_real(config, None if real is None else real.images) if name == "fake" else of_reals
        sets[name] = open_image_set(
            name, spec, options, device=device, num=numbers.get(name), minimum=minimum, drawn=drawn
        )
    if None not in sets.values():
        require_range_used(opened_images(sets), config.value_range)
    return sets


def opened_images(sets: OpenedSets) -> list[ImageSource]:
    """The images of all sets that have some."""
    return [one.images for one in sets.values() if one is not None and one.images is not None]


def groupings_of(config: EvaluationConfig, sets: OpenedSets) -> dict[str, Grouping]:
    """Which images belong together, by image set: as the user says, or else as the images themselves tell.

    Raises:
        ConfigError: what the user says is no grouping, or groups no image.
        InputError: some images of a set have a group and others have none.
    """
    if config.group_by is not None:
        grouping = Grouping(config.group_by)
        require_groups(grouping, sets)
        return dict.fromkeys(sets, grouping)
    opened = {name: one.images for name, one in sets.items() if one is not None and one.images is not None}
    known = {name: source.groups() for name, source in opened.items()}
    return {name: Grouping(groups) for name, groups in known.items() if groups is not None}


def require_groups(grouping: Grouping, sets: OpenedSets) -> None:
    """Look for images without a group before any network is loaded, where the images are files.

    Raises:
        ConfigError: no image of any set has one, or no set has images.
        InputError: some images of a set have one and others have none.
    """
    named = {name: one.images for name, one in sets.items() if one is not None and one.images is not None}
    known = {name: source.names() for name, source in named.items()}
    for name, images in known.items():
        if images is not None:
            grouping.require_complete(name, named[name].spec, images)
    later = any(one is None for one in sets.values()) or None in known.values()
    if not later and not any(images and (grouping(images) != UNKNOWN).any() for images in known.values()):
        grouping.reject({name: images[0] for name, images in known.items() if images})


def shard_of(source: ImageSource, number: int, of: int) -> ImageSource:
    """One of ``of`` shares of a source's images, see ``NumberedSource.shard``.

    Raises:
        InputError: there is no such share, or the images have no numbers.
        NotEnoughSamplesError: it holds fewer than two.
    """
    if not isinstance(source, NumberedSource):
        raise InputError(f"{source.spec} cannot be cut into shards: its images come as they come. Give a data set.")
    share = source.shard(number, of)
    require_enough("images", share.length, {"kind": "shard"}, 2, spec=f"shard {number}/{of} of {source.spec}")
    return share


def require_effect(given: Collection[object], options: OpenOptions) -> None:
    """Look for options of generators, data sets or image files where no image set is one.

    Raises:
        ConfigError: there are some.
        InputError: the prompts of a generator that comes later cannot be used.
    """
    specs = [spec for spec in given if spec is not LATER]
    require_column_used(options)
    if len(specs) < len(given) and options.prompts is not None:
        read_prompts(options.prompts, options.caption_column)  # so that a fault is reported before the first epoch
    if len(specs) < len(given):  # all but ``num_samples`` may apply to images that come later
        options = replace(options, **GENERATOR_OPTIONS, image_column=None, label_column=None, caption_column=None)
    if options.any_suffix and not any(map(_has_files, specs)):
        raise ConfigError(
            f"{option('any_suffix')} is about image files in folders and archives, and no image set here is one. "
            "Leave it out."
        )
    for name, column in (("image_column", options.image_column), ("label_column", options.label_column)):
        archives = name == "image_column" and is_column_of_files(column)
        if column is not None and not any(has_items(spec, archives=archives) for spec in specs):
            raise ConfigError(
                f"{option(name)} names a column of a data set's items, and no image set here is a data set or a file "
                "of several columns. Leave it out."
            )
    if (
        options.clamp
        and options.value_range is None
        and not any(map(_is_generator, specs))
        and len(specs) == len(given)
    ):
        raise ConfigError(f"{option('clamp', True)} is about the values of {option('value_range')}. Give both.")
    if options.num_samples is not None and not any(map(is_made, specs)):
        subsets = [option(name) for name in ("num_real", "num_fake", "num") if hasattr(options, name)]
        advice = f"For a subset of existing images: {', '.join(subsets)}." if subsets else "Leave it out."
        raise ConfigError(
            f"{option('num_samples')} says how many images a generator or a renderer makes, and here is none. {advice}"
        )
    for name, nothing in GENERATOR_OPTIONS.items():
        applies = _is_generator if name == "keep_mode" else _takes_inputs
        if getattr(options, name) is not nothing and not any(map(applies, specs)):
            raise ConfigError(f"{option(name)} tells about a generator, and here is none. Leave it out.")


def _is_generator(spec: object) -> bool:
    """Whether a model makes the images, whose values may be any."""
    named = as_spec(spec)
    if isinstance(named, Translation):
        return True
    return is_made(spec) and not isinstance(named, Rendered)


def _takes_inputs(spec: object) -> bool:
    """Whether a generator makes the images, or those that are translated."""
    named = as_spec(spec)
    if isinstance(named, Translation):
        return _takes_inputs(named.source)
    return is_made(spec) and not isinstance(named, Rendered)


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


def require_enough(
    name: str, n: int, source: Mapping[str, object], minimum: int, *, spec: object | None = None
) -> None:
    """Raises NotEnoughSamplesError, with advice for this kind of source.

    Args:
        source: how it describes itself, see ``ImageSource.describe``.
        spec: of the source, for the message.
    """
    if n < minimum:
        spec = spec or source.get("spec", "what was given")
        advice = _MORE.get(str(source.get("kind")), _MORE_FILES)
        if source.get("subset") is not None:
            advice = "Take a larger subset of the images."
        kind = "" if name == "images" else f"{name} "
        raise NotEnoughSamplesError(
            f"this needs at least {minimum} {kind}images; found {number_of(n, 'image')} in {spec}. {advice}"
        )
