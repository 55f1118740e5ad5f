"""How images are opened: the options of every door, declared once and checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganeval.errors import ConfigError, InputError
from ganeval.parsing.arguments import DEVICE, convert_fields

if TYPE_CHECKING:
    import torch

MAX_IMAGE_BYTES = 512 * 2**20
LABEL_DISTRIBUTIONS = ("uniform", "balanced", "like-real")


@dataclass(frozen=True, slots=True)
class LikeReal:
    """``like-real``, once the real images are known.

    Attributes:
        frequencies: of the classes 0, 1, ...; they add up to 1.
    """

    frequencies: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """Options of ``open_images`` and ``open_source``.

    Attributes:
        seed: of a subset, of rendered images, and of latents, labels and noise of a generator.
        value_range: the values of black and white in float images, for example (-1, 1).
        num_samples: how many images to render or to generate.
        latent_dim: shape of one latent, for generators that do not declare it.
        num_classes: for generators that take a label (N,) beside the latents.
        label_distribution: of a generator's labels: ``uniform`` (drawn independently), ``balanced`` (equal counts), or
            ``like-real`` (the frequencies of the real images' labels). None: uniform.
        labels: the label of every generated image, in order: integers, or a text file with one a line.
        keep_mode: leave a generator in the mode (training or evaluation) that it is in.
        data_root: where torchvision datasets are kept.
        download: fetch such a dataset where it is missing.
        any_suffix: read files whatever their suffix, by their first bytes.
        image_column: the key or column that holds the image of a dataset's items.
        max_image_bytes: the largest image file that is read from an archive.
        device: where a generator runs; None for where it is.

    Raises:
        ConfigError: a value of another kind, see ``ganeval.parsing.arguments``.
        InputError: a number of images or classes below 1, a seed below 0 or of 2^63 and more, a range that is none.
    """

    seed: int = 0
    value_range: tuple[float, float] | None = None
    num_samples: int | None = None
    latent_dim: int | tuple[int, ...] | None = None
    num_classes: int | None = None
    label_distribution: str | LikeReal | None = None
    labels: str | Path | Sequence[int] | None = None
    keep_mode: bool = False
    data_root: str | Path | None = None
    download: bool = False
    any_suffix: bool = False
    image_column: str | None = None
    max_image_bytes: int = MAX_IMAGE_BYTES
    device: torch.device | None = None

    def __post_init__(self) -> None:
        from ganeval.images.pixels import check_range

        convert_fields(self)
        object.__setattr__(self, "value_range", check_range(self.value_range))
        object.__setattr__(self, "device", _device(self.device))
        if self.label_distribution not in (None, *LABEL_DISTRIBUTIONS) and not isinstance(
            self.label_distribution, LikeReal
        ):
            raise InputError(
                f"label_distribution is one of {', '.join(LABEL_DISTRIBUTIONS)}; got {self.label_distribution!r}."
            )
        check_number("num_samples", self.num_samples)
        check_number("num_classes", self.num_classes)
        check_number("max_image_bytes", self.max_image_bytes)
        if self.seed < 0:
            raise InputError(f"A seed must not be negative; got {self.seed}.")
        if self.seed >= 2**63:
            raise InputError("A seed must be below 2^63, so that every generator of random numbers takes it.")

    def opening(self, **changes: Any) -> OpenOptions:
        """These options alone, of an object that may hold more."""
        return OpenOptions(**{**{name: getattr(self, name) for name in OPTION_NAMES}, **changes})

    def at_most(self, num: int | None) -> OpenOptions:
        """The same, where a subset of ``num`` says how many images to make if nothing else does."""
        return self if self.num_samples is not None or num is None else replace(self, num_samples=num)


# What tells about a generator alone, with the values that say nothing.
GENERATOR_OPTIONS: Mapping[str, Any] = {
    "latent_dim": None, "num_classes": None, "label_distribution": None, "labels": None, "keep_mode": False,
}  # fmt: skip

OPTION_NAMES = tuple(field.name for field in fields(OpenOptions))


def split_options(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keyword arguments that say how images are opened, and the others."""
    opening = {name: value for name, value in given.items() if name in OPTION_NAMES}
    return opening, {name: value for name, value in given.items() if name not in OPTION_NAMES}


def _device(device: Any) -> torch.device | None:
    """The device that was given, or that a text such as ``cuda:0`` names.

    Raises:
        ConfigError: it names none.
    """
    import torch

    if device is None or isinstance(device, torch.device):
        return device
    try:
        return torch.device(DEVICE("device", device))
    except RuntimeError:
        raise ConfigError(f"device must be a device such as 'cpu' or 'cuda:0', or None; got {device!r}.") from None


def check_number(name: str, number: int | None) -> None:
    """Raises InputError for a number below 1."""
    if number is not None and number < 1:
        raise InputError(f"--{name.replace('_', '-')} must be at least 1; got {number} ({name}={number}).")
