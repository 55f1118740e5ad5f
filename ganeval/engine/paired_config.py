"""Options of ``ganeval paired`` and ``ganeval diversity``: each is declared here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganeval.images.options import OpenOptions
from ganeval.parsing.arguments import (
    CALLABLE,
    DEVICE,
    DISTANCE,
    FLAG,
    FOLDER,
    NAMES,
    NUMBER,
    PATH,
    PATHS,
    TEXT,
    WHOLE,
    Device,
    choice,
    declare,
)

if TYPE_CHECKING:
    from ganeval.engine.config import ProgressFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptualOptions(OpenOptions):
    """Options of calls that compare single images with each other."""

    distance: str = declare(
        "lpips-alex",
        DISTANCE,
        "paired",
        "Perceptual distance. lpips-alex, lpips-vgg and lpips-squeeze are LPIPS; compact needs no download, lite only "
        "a package, and neither is comparable with published LPIPS.",
    )
    distance_weights: str | Path | None = declare(
        None, PATH.or_none(), "", "A file of weights of the distance, in place of the published ones."
    )
    prepare: str | None = declare(
        None,
        TEXT.or_none(),
        "paired",
        "Steps that bring all images to one size, separated by commas: center-crop[:S], adm-crop:S, resize:S:FILTER or "
        "resize:WxH:FILTER, pad[:S]. They are part of the protocol.",
    )
    on_error: str = declare(
        "stop",
        choice("stop", "skip"),
        "paired",
        "What to do at an unreadable file: stop, or skip it (of a pair, both images) and count it.",
    )
    level: float = declare(0.95, NUMBER.between(0, 1), "paired", "Confidence level of the intervals.")
    batch_size: int = declare(16, WHOLE.from_(1), "paired", "Images of a set in one batch; changes no value.")
    workers: int = declare(0, WHOLE.from_(0), "paired", "Decoding processes of each set.")
    device: Device = declare("auto", DEVICE, "paired", "Where values are computed: auto, cpu, cuda[:i], mps.")
    progress: ProgressFactory | None = declare(
        None,
        CALLABLE.or_none(),
        "",
        "A function of a description and the number of images that returns a progress display.",
    )
    sync: bool = declare(
        True,
        FLAG,
        "",
        "Under torchrun or in a process group, all ranks make this call, share the images and get the same results; "
        "False: this rank alone.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedConfig(PerceptualOptions):
    """Options of ``paired``."""

    metrics: Sequence[str] | None = declare(
        None,
        NAMES.or_none(),
        "paired",
        "Names of metrics, separated by commas: ssim, psnr, l1, l2, ms-ssim, lpips, clip-i, dino-i.",
        default_text="all that apply",
    )
    weights: str | Path | Mapping[str, str | Path] | None = declare(
        None,
        PATHS.or_none(),
        "paired",
        "Load this file instead of the published weights of a network, clip-vitb32 or dinov2-vitb14.",
    )
    channels: str = declare(
        "rgb",
        choice("rgb", "y"),
        "paired",
        "Channels of the metrics of pixels: rgb, or y, the luma of BT.601 as papers on super-resolution take it.",
    )
    pair_by: str | None = declare(
        None,
        TEXT.or_none(),
        "paired",
        "How images find their partners: stem (relative path without suffix), name (relative path), order, or a "
        "regular expression, searched in the relative path: partners agree in the part in parentheses, and what it "
        "does not match is left out.",
        default_text="stem where both sets have file names, else order",
    )
    pair_by_real: str | None = declare(None, TEXT.or_none(), "paired", "The same for REAL alone, e.g. '(.+)_real_B'.")
    pair_by_fake: str | None = declare(
        None,
        TEXT.or_none(),
        "paired",
        "The same for FAKE alone, e.g. '(.+)_fake_B'. Several fakes may have one real, e.g. by '(.+)_[0-9]+': they "
        "then count as one in the error bars.",
    )
    on_unpaired: str = declare(
        "stop",
        choice("stop", "skip"),
        "paired",
        "What to do at images without a partner: stop, or skip and count them.",
    )
    prepare_real: str | None = declare(None, TEXT.or_none(), "paired", "Steps for REAL alone, or none.")
    prepare_fake: str | None = declare(None, TEXT.or_none(), "paired", "Steps for FAKE alone, or none.")
    group_by: str | Path | None = declare(
        None,
        FOLDER.or_none(),
        "paired",
        "Pairs that belong together count as one in every error bar: a regular expression that is searched in the name "
        "of the fake, or a CSV file with the columns image and group.",
    )
    single_images: bool = declare(False, FLAG, "", "Also keep the names of the images, for tables and reports.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiversityConfig(PerceptualOptions):
    """Options of ``diversity``."""

    group_by: str | Path | None = declare(
        None,
        FOLDER.or_none(),
        "paired",
        "The input of each output: a regular expression that is searched in the name of the output, of which the part "
        "in parentheses is the input; or a CSV file with the columns image and group.",
        default_text="the prompt, of a generator with --prompts; else required",
    )
    pairs: int | None = declare(
        None,
        WHOLE.from_(1).or_none(),
        "paired",
        "Compare this number of pairs of the outputs of each input, drawn by the seed. BicycleGAN took 19.",
        default_text="all pairs",
    )
