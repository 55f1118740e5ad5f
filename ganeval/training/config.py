"""The options of a training run: each is declared once, for Python and for ``ganeval train``, with help and limits.

Nothing heavy is imported here, so that the command line starts at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ganeval.errors import ConfigError
from ganeval.parsing.arguments import (
    DEVICE,
    FLAG,
    FOLDER,
    NAMES,
    NUMBER,
    RANGE,
    TEXT,
    WHOLE,
    Device,
    Kind,
    choice,
    convert_fields,
    declare,
    option,
    options_of,
    require_known,
)

PRECISIONS = ("float32", "bf16", "tf32")
LOSSES = ("non-saturating", "minimax", "least-squares", "hinge")
_STEPS, _COUNT = WHOLE.from_(0), WHOLE.from_(1)
_WEIGHT = replace(NUMBER, least=0, below=math.inf)


def _declare(default: Any, kind: Kind | None, help: str, *, default_text: str = "") -> Any:
    """An option of ``ganeval train``."""
    return declare(default, kind, "train", help, default_text=default_text)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The options that every model has.

    Raises:
        ConfigError: a value is of another kind, or outside its limits.
    """

    steps: int = _declare(20_000, _COUNT, "Updates of each player.")
    num_samples: int | None = _declare(
        None, _COUNT.or_none(), "Size of a seeded subset; of rendered images, their number."
    )
    seed: int = _declare(0, _STEPS, "Seed of all random numbers; runs repeat bit for bit at one thread count.")
    device: Device = _declare("auto", DEVICE, "Where to train.")
    precision: str = _declare(
        "float32",
        choice(*PRECISIONS),
        "bf16 is mixed precision, tf32 (CUDA) has 10 bits a factor: faster where they are supported.",
    )
    average: float = _declare(
        0.999, replace(NUMBER, least=0, below=1), "Decay of the exponential average of the generator."
    )
    protocol: str = _declare("compact", TEXT, "Protocol of the evaluations.")
    metrics: Sequence[str] | None = _declare(
        None,
        NAMES.or_none(),
        "Metrics of the evaluations.",
        default_text="fid, and precision, recall, ind where they can be measured",
    )
    log_every: int = _declare(20, _COUNT, "Steps between lines of the log.")
    sample_every: int = _declare(500, _STEPS, "Steps between sample grids; 0 for none.")
    eval_every: int = _declare(1000, _STEPS, "Steps between evaluations; 0 for none.")
    checkpoint_every: int = _declare(500, _COUNT, "Steps between checkpoints.")
    max_minutes: float | None = _declare(
        None, NUMBER.between(0).or_none(), "Stop after this time; the run can be resumed."
    )
    resume: bool = _declare(False, FLAG, "Continue the run in the folder.")
    overwrite: bool = _declare(False, FLAG, "Replace the run in the folder.")
    on_error: str = _declare("stop", choice("stop", "skip"), "At an unreadable file: stop, or skip it with a note.")
    data_root: str | Path | None = _declare(None, FOLDER.or_none(), "Folder of torchvision data sets.")
    download: bool = _declare(False, FLAG, "Let torchvision download a data set.")

    def __post_init__(self) -> None:
        convert_fields(self)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The config of keyword arguments; an unknown one is an error."""
        require_known(options, options_of(cls))
        return cls(**options)

    def chosen(self, *names: str) -> dict[str, Any]:
        """The named options, for instance for a model card."""
        return {name: getattr(self, name) for name in names}

    def opening(self) -> dict[str, Any]:
        """How image sources are opened, as ``load_images`` takes it."""
        return self.chosen("seed", "on_error", "data_root", "download")


@dataclass(frozen=True, kw_only=True)
class DCGANConfig(TrainingConfig):
    """The options of ``train_dcgan``."""

    sample_every: int = _declare(1000, _STEPS, "Steps between sample grids; 0 for none.")
    eval_every: int = _declare(2000, _STEPS, "Steps between evaluations; 0 for none.")
    size: int = _declare(
        32, WHOLE, "Side of the images: 32, 64 or 128 pixels; others are cropped to a square and resized."
    )
    width: int = _declare(64, WHOLE, "Channels of the widest layers are a multiple of it; the paper has 128.")
    discriminator_width: int | None = _declare(
        None, WHOLE.or_none(), "Width of the discriminator, where it is not the generator's.", default_text="--width"
    )
    batch_size: int = _declare(128, WHOLE.from_(2), "Real images, and generated images, in a step.")
    channels: int = _declare(3, WHOLE, "Channels of the images: 3, or 1 for grey.")
    latent_dim: int = _declare(100, WHOLE, "Size of a latent vector.")
    loss: str = _declare("non-saturating", choice(*LOSSES), "Loss of both players.")
    learning_rate: float = _declare(2e-4, NUMBER.between(0), "Learning rate of Adam for both players; beta1 is 0.5.")
    flip: bool = _declare(False, FLAG, "Mirror the real images at random.")
    augment: bool = _declare(
        False, FLAG, "Change colours, shift and cut out of all that the discriminator sees; not in the paper."
    )
    # It hides what is finer than any picture needs, such as the smooth colours of images that were stored as JPEG.
    instance_noise: float = _declare(
        0.0, _WEIGHT, "Standard deviation, on [-1, 1], of noise on all that the discriminator sees; 0 in the paper."
    )
    # JPEG stores colours at half the resolution, so a discriminator knows real images by their smooth colours.
    chroma_noise: float | None = _declare(
        None,
        _WEIGHT.or_none(),
        "The same of the colour differences alone, where it is another: the luma keeps the noise above.",
        default_text="--instance-noise",
    )
    channels_last: bool = _declare(True, FLAG, "Memory layout of the networks; faster where convolutions are.")
    value_range: tuple[float, float] | None = _declare(
        None, RANGE.or_none(), "The values of black and white in float images, for instance -1,1."
    )
    eval_samples: int = _declare(2000, WHOLE.from_(2), "Generated images in an evaluation.")
    final_samples: int = _declare(10_000, WHOLE.from_(2), "Generated images in the last evaluation.")
    eval_reference: Any = _declare(
        None, None, "Statistics or images to compare with.", default_text="the training images"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chroma_noise is not None and self.channels == 1:
            raise ConfigError(f"{option('chroma_noise')} needs images with colours; got {option('channels')} 1.")


@dataclass(frozen=True, kw_only=True)
class CycleGANConfig(TrainingConfig):
    """The options of ``train_cyclegan``. The paper is Zhu, Park, Isola and Efros 2017."""

    size: int = _declare(64, WHOLE, "Side of the square images in pixels: a multiple of 4, at least 16.")
    width: int = _declare(32, _COUNT, "Channels of the generators' first convolution; the paper has 64.")
    batch_size: int = _declare(1, _COUNT, "Images of each domain in a step; the paper has 1.")
    blocks: int = _declare(
        6, _COUNT, "Residual blocks of the generators; the paper has 6 at 128 pixels, 9 from 256 on."
    )
    skip: bool = _declare(False, FLAG, "The generators make what is added to their input; a departure from the paper.")
    discriminator_width: int = _declare(
        64, _COUNT, "Channels of the discriminators' first convolution; the paper has 64."
    )
    patch: int | None = _declare(
        None,
        WHOLE.or_none(),
        "Receptive field of the discriminators: 16, 34 or 70 pixels.",
        default_text="suits the size",
    )
    rate: float = _declare(
        2e-4, NUMBER.between(0, 1), "Learning rate of Adam; it falls linearly to 0 in the second half."
    )
    cycle_weight: float = _declare(10.0, _WEIGHT, "Weight of the cycle loss: lambda in the paper.")
    identity_weight: float = _declare(
        5.0, _WEIGHT, "Weight of the identity loss, in the paper half of lambda; 0 saves its computation."
    )
    identity_every: int = _declare(
        1, _COUNT, "Steps from one identity loss, so many times heavier, to the next; 1 in the paper."
    )
    # Self-regularisation, as the paper of the image pool has it (Shrivastava et al. 2017). It anchors colours.
    keep_weight: float = _declare(0.0, _WEIGHT, "Weight of the change that a translation makes, in L1; 0 in the paper.")
    pool_size: int = _declare(50, _STEPS, "Earlier translations kept for each discriminator.")
    # The noise erases messages that the two translators hide from the discriminators (Chu et al. 2017).
    cycle_noise: float = _declare(
        0.0, _WEIGHT, "Standard deviation, on [-1, 1], of noise on the way back; 0 in the paper."
    )
    # At 0 each translator learns to undo the other, and none learns to leave hints.
    cycle_through: float = _declare(
        1.0,
        _WEIGHT,
        "Share of the cycle loss's gradient that reaches the first of the two translators; 1 in the paper.",
    )
    names: tuple[str, str] = _declare(("a", "b"), None, "Names of the domains, for the cards.")
    test_a: Any = _declare(None, None, "Images to evaluate on.", default_text="the first ones of the domain")
    test_b: Any = _declare(None, None, "The same of the second domain.")
    paired_test: bool = _declare(False, FLAG, "Image i of both tests are true counterparts.")
    num_test: int = _declare(
        1000, WHOLE.from_(2), "Images of each domain in an evaluation; of pairs twice as many are read."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cycle_through > 1:
            raise ConfigError(f"{option('cycle_through')} must be from 0 to 1; got {self.cycle_through}.")
