"""The options of a training run: each is declared once, for Python and for ``ganeval train``, with help and limits.

Nothing heavy is imported here, so that the command line starts at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    choice,
    convert_fields,
    declare,
    option,
)

PRECISIONS = ("float32", "bf16", "tf32")
LOSSES = ("non-saturating", "minimax", "least-squares", "hinge")
_STEPS, _COUNT = WHOLE.from_(0), WHOLE.from_(1)
_WEIGHT = replace(NUMBER, least=0, below=math.inf)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The options that every model has.

    Raises:
        ConfigError: a value is of another kind, or outside its limits.
    """

    steps: int = declare(20_000, _COUNT, "train", "Updates of each player.")
    num_samples: int | None = declare(
        None, _COUNT.or_none(), "train", "Size of a seeded subset; of rendered images, their number."
    )
    seed: int = declare(
        0,
        _STEPS,
        "train",
        "Seed of all random numbers; runs repeat bit for bit at one thread count.",
    )
    device: Device = declare("auto", DEVICE, "train", "Where to train.")
    precision: str = declare(
        "float32",
        choice(*PRECISIONS),
        "train",
        "bf16 is mixed precision, tf32 (CUDA) has 10 bits a factor: faster where they are supported.",
    )
    average: float = declare(
        0.999, replace(NUMBER, least=0, below=1), "train", "Decay of the exponential average of the generator."
    )
    protocol: str = declare("compact", TEXT, "train", "Protocol of the evaluations.")
    metrics: Sequence[str] | None = declare(
        None,
        NAMES.or_none(),
        "train",
        "Metrics of the evaluations.",
        default_text="fid, and precision, recall, ind where they can be measured",
    )
    log_every: int = declare(20, _COUNT, "train", "Steps between lines of the log.")
    sample_every: int = declare(500, _STEPS, "train", "Steps between sample grids; 0 for none.")
    eval_every: int = declare(1000, _STEPS, "train", "Steps between evaluations; 0 for none.")
    checkpoint_every: int = declare(500, _COUNT, "train", "Steps between checkpoints.")
    max_minutes: float | None = declare(
        None, NUMBER.between(0).or_none(), "train", "Stop after this time; the run can be resumed."
    )
    resume: bool = declare(False, FLAG, "train", "Continue the run in the folder.")
    overwrite: bool = declare(False, FLAG, "train", "Replace the run in the folder.")
    on_error: str = declare(
        "stop", choice("stop", "skip"), "train", "At an unreadable file: stop, or skip it with a note."
    )
    data_root: str | Path | None = declare(None, FOLDER.or_none(), "train", "Folder of torchvision data sets.")
    download: bool = declare(False, FLAG, "train", "Let torchvision download a data set.")

    def __post_init__(self) -> None:
        convert_fields(self)

    def chosen(self, *names: str) -> dict[str, Any]:
        """The named options, for instance for a model card."""
        return {name: getattr(self, name) for name in names}

    def opening(self) -> dict[str, Any]:
        """How image sources are opened, as ``load_images`` takes it."""
        return self.chosen("seed", "on_error", "data_root", "download")


@dataclass(frozen=True, kw_only=True)
class DCGANConfig(TrainingConfig):
    """The options of ``train_dcgan``."""

    sample_every: int = declare(1000, _STEPS, "train", "Steps between sample grids; 0 for none.")
    eval_every: int = declare(2000, _STEPS, "train", "Steps between evaluations; 0 for none.")
    size: int = declare(
        32, WHOLE, "train", "Side of the images: 32, 64 or 128 pixels; others are cropped to a square and resized."
    )
    width: int = declare(64, WHOLE, "train", "Channels of the widest layers are a multiple of it; the paper has 128.")
    batch_size: int = declare(128, WHOLE.from_(2), "train", "Real images, and generated images, in a step.")
    channels: int = declare(3, WHOLE, "train", "Channels of the images: 3, or 1 for grey.")
    latent_dim: int = declare(100, WHOLE, "train", "Size of a latent vector.")
    loss: str = declare("non-saturating", choice(*LOSSES), "train", "Loss of both players.")
    learning_rate: float = declare(
        2e-4, NUMBER.between(0), "train", "Learning rate of Adam for both players; beta1 is 0.5."
    )
    flip: bool = declare(False, FLAG, "train", "Mirror the real images at random.")
    channels_last: bool = declare(True, FLAG, "train", "Memory layout of the networks; faster where convolutions are.")
    value_range: tuple[float, float] | None = declare(
        None, RANGE.or_none(), "train", "The values of black and white in float images, for instance -1,1."
    )
    eval_samples: int = declare(2000, WHOLE.from_(2), "train", "Generated images in an evaluation.")
    final_samples: int = declare(10_000, WHOLE.from_(2), "train", "Generated images in the last evaluation.")
    eval_reference: Any = declare(
        None, None, "train", "Statistics or images to compare with.", default_text="the training images"
    )


@dataclass(frozen=True, kw_only=True)
class CycleGANConfig(TrainingConfig):
    """The options of ``train_cyclegan``. The paper is Zhu, Park, Isola and Efros 2017."""

    size: int = declare(64, WHOLE, "train", "Side of the square images in pixels: a multiple of 4, at least 16.")
    width: int = declare(32, _COUNT, "train", "Channels of the generators' first convolution; the paper has 64.")
    batch_size: int = declare(1, _COUNT, "train", "Images of each domain in a step; the paper has 1.")
    blocks: int = declare(
        6, _COUNT, "train", "Residual blocks of the generators; the paper has 6 at 128 pixels, 9 from 256 on."
    )
    skip: bool = declare(
        False, FLAG, "train", "The generators make what is added to their input; a departure from the paper."
    )
    discriminator_width: int = declare(
        64, _COUNT, "train", "Channels of the discriminators' first convolution; the paper has 64."
    )
    patch: int | None = declare(
        None,
        WHOLE.or_none(),
        "train",
        "Receptive field of the discriminators: 16, 34 or 70 pixels.",
        default_text="suits the size",
    )
    rate: float = declare(
        2e-4, NUMBER.between(0, 1), "train", "Learning rate of Adam; it falls linearly to 0 in the second half."
    )
    cycle_weight: float = declare(10.0, _WEIGHT, "train", "Weight of the cycle loss: lambda in the paper.")
    identity_weight: float = declare(
        5.0, _WEIGHT, "train", "Weight of the identity loss, in the paper half of lambda; 0 saves its computation."
    )
    identity_every: int = declare(
        1, _COUNT, "train", "Steps from one identity loss, so many times heavier, to the next; 1 in the paper."
    )
    # Self-regularisation, as the paper of the image pool has it (Shrivastava et al. 2017). It anchors colours.
    keep_weight: float = declare(
        0.0, _WEIGHT, "train", "Weight of the change that a translation makes, in L1; 0 in the paper."
    )
    pool_size: int = declare(50, _STEPS, "train", "Earlier translations kept for each discriminator.")
    # The noise erases messages that the two translators hide from the discriminators (Chu et al. 2017).
    cycle_noise: float = declare(
        0.0, _WEIGHT, "train", "Standard deviation, on [-1, 1], of noise on the way back; 0 in the paper."
    )
    # At 0 each translator learns to undo the other, and none learns to leave hints.
    cycle_through: float = declare(
        1.0,
        _WEIGHT,
        "train",
        "Share of the cycle loss's gradient that reaches the first of the two translators; 1 in the paper.",
    )
    names: tuple[str, str] = declare(("a", "b"), None, "train", "Names of the domains, for the cards.")
    test_a: Any = declare(None, None, "train", "Images to evaluate on.", default_text="the first ones of the domain")
    test_b: Any = declare(None, None, "train", "The same of the second domain.")
    paired_test: bool = declare(False, FLAG, "train", "Image i of both tests are true counterparts.")
    num_test: int = declare(
        1000, WHOLE.from_(2), "train", "Images of each domain in an evaluation; of pairs twice as many are read."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cycle_through > 1:
            raise ConfigError(f"{option('cycle_through')} must be from 0 to 1; got {self.cycle_through}.")
