"""How images are opened: the options of every call that opens images, declared once and checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganeval.errors import ConfigError, InputError
from ganeval.parsing import arguments as kinds
from ganeval.parsing.arguments import Device, convert_fields, declare, option, options_of

if TYPE_CHECKING:
    import torch

MAX_IMAGE_BYTES = 512 * 2**20
COUNT = kinds.WHOLE.from_(1).or_none()
LABEL_DISTRIBUTIONS = ("uniform", "balanced", "like-real")
CAPTION_COLUMNS = ("caption", "text", "prompt")


@dataclass(frozen=True, slots=True)
class LikeReal:
    """The label distribution ``like-real``, once the real images are known.

    Attributes:
        frequencies: of the classes 0, 1, ...; they add up to 1.
    """

    frequencies: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """Options of ``open_images`` and ``open_source``.

    Raises:
        ConfigError: a value of another kind, or outside its limits, see ``ganeval.parsing.arguments``.
        InputError: an unknown label distribution, or a seed of 2^63 and more.
    """

    num_samples: int | None = declare(None, COUNT, "source", "Number of images that a generator or a renderer makes.")
    value_range: tuple[float, float] | None = declare(
        None, kinds.RANGE.or_none(), "source", "The values of black and white in float images, for instance -1,1."
    )
    clamp: bool = declare(
        False,
        kinds.FLAG,
        "source",
        "Move values outside --value-range to its ends, and count the images, instead of stopping.",
    )
    data_root: str | Path | None = declare(None, kinds.FOLDER.or_none(), "source", "Folder of torchvision data sets.")
    download: bool = declare(False, kinds.FLAG, "source", "Let torchvision download a data set that is missing.")
    seed: int = declare(0, kinds.WHOLE.from_(0), "source", "Seed of subsets, and of rendered and generated images.")
    any_suffix: bool = declare(
        False, kinds.FLAG, "source", "Read files of any suffix; their first bytes tell whether they are images."
    )
    image_column: str | None = declare(
        None, kinds.TEXT.or_none(), "source", "Key or column that holds the image of a data set's items."
    )
    label_column: str | None = declare(
        None, kinds.TEXT.or_none(), "source", "Key or column that holds the class of a data set's items."
    )
    caption_column: str | None = declare(
        None,
        kinds.TEXT.or_none(),
        "source",
        "Column of texts: of the table of --prompts; in clip-score also of that of --captions, or of the rows that "
        "hold the images (Parquet, Arrow, hf:NAME; in Python also a data set of dictionaries).",
        default_text=", ".join(CAPTION_COLUMNS),
    )
    max_image_bytes: int = declare(
        MAX_IMAGE_BYTES, kinds.SIZE.from_(1), "source", "The largest image file that is read from an archive."
    )
    latent_dim: int | tuple[int, ...] | None = declare(
        None, kinds.LATENT.or_none(), "generator", "Shape of one latent, for generators that do not declare it."
    )
    num_classes: int | None = declare(
        None, COUNT, "generator", "Number of classes, for generators that take labels too."
    )
    label_distribution: str | LikeReal | None = declare(
        None,
        None,
        "generator",
        f"Frequencies of a generator's labels: {', '.join(LABEL_DISTRIBUTIONS)}.",
        default_text="uniform",
    )
    labels: str | Path | Sequence[int] | None = declare(
        None,
        None,
        "generator",
        "The label of every generated image: a text file with one label a line (in Python, integers).",
    )
    prompts: str | Path | Sequence[str] | None = declare(
        None,
        None,
        "generator",
        "Prompts, for generators that take text: a .txt file with one a line, or a column of a CSV, JSON Lines or "
        "Parquet file (in Python also a list). Image i takes prompt i modulo their number, which is also the default "
        "of --num-samples.",
    )
    keep_mode: bool = declare(
        False, kinds.FLAG, "generator", "Leave a generator in its current mode, training or evaluation."
    )
    device: Device = declare(None, kinds.DEVICE.or_none(), "", "Where a generator runs; None: where it is.")

    def __post_init__(self) -> None:
        convert_fields(self)
        if self.clamp and self.value_range is not None:
            from ganeval.images.pixels import ClampedRange

            object.__setattr__(self, "value_range", ClampedRange(self.value_range))
        distribution = self.label_distribution
        if distribution not in (None, *LABEL_DISTRIBUTIONS) and not isinstance(distribution, LikeReal):
            raise InputError(
                f"{option('label_distribution')} must be one of {', '.join(LABEL_DISTRIBUTIONS)}; got {distribution!r}."
            )
        classes = ("num_classes", "labels", "label_distribution")
        if self.prompts is not None and (given := [name for name in classes if getattr(self, name) is not None]):
            raise ConfigError(
                f"{option('prompts')} is for generators that take text, and {option(given[0])} for those that take "
                "class labels. Give one of them."
            )
        if self.seed >= 2**63:
            raise InputError("A seed must be below 2^63, so that every generator of random numbers takes it.")

    @property
    def place(self) -> torch.device | None:
        """Where a generator runs.

        Raises:
            ConfigError: the text names no device.
        """
        import torch

        if self.device is None:
            return None
        try:
            return torch.device(self.device)
        except RuntimeError:
            raise ConfigError(f"device must be a device such as 'cpu' or 'cuda:0'; got {self.device!r}.") from None

    def opening(self, **changes: Any) -> OpenOptions:
        """These options alone, of an object that may hold more."""
        return OpenOptions(**{**{name: getattr(self, name) for name in OPTION_NAMES}, **changes})

    def at_most(self, num: int | None, *, generated: bool = False) -> OpenOptions:
        """The same, where a subset of ``num`` says how many images to make if nothing else does.

        Args:
            generated: a generator makes them, whose labels or prompts tell their number too.
        """
        told = generated and (self.labels is not None or self.prompts is not None)
        return self if self.num_samples is not None or num is None or told else replace(self, num_samples=num)


OPTION_NAMES = tuple(field.name for field in fields(OpenOptions))
# what is about a generator alone, with the values that say nothing
GENERATOR_OPTIONS: Mapping[str, Any] = {
    name: one.default for name, one in options_of(OpenOptions).items() if one.group == "generator"
}
