"""Options of ``ganeval paired``: each is declared here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganeval.images.options import OpenOptions
from ganeval.parsing.arguments import (
    CALLABLE,
    DEVICE,
    DISTANCE,
    FOLDER,
    NAMES,
    NUMBER,
    PATH,
    WHOLE,
    Device,
    choice,
    declare,
)

if TYPE_CHECKING:
    from ganeval.engine.config import ProgressFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedConfig(OpenOptions):
    """Options of ``paired``."""

    metrics: Sequence[str] | None = declare(
        None,
        NAMES.or_none(),
        "paired",
        "Names of metrics, separated by commas: ssim, psnr, l1, l2, ms-ssim, lpips.",
        default_text="all that apply",
    )
    distance: str = declare(
        "lpips-alex",
        DISTANCE,
        "paired",
        "Distance of lpips. lpips-alex, lpips-vgg and lpips-squeeze are LPIPS; compact needs no download, lite only a "
        "package, and neither is comparable with published LPIPS.",
    )
    distance_weights: str | Path | None = declare(
        None, PATH.or_none(), "", "A file of weights of the distance, in place of the published ones."
    )
    channels: str = declare(
        "rgb",
        choice("rgb", "y"),
        "paired",
        "Channels of every metric but lpips: rgb, or y, the luma of BT.601 as papers on super-resolution take it.",
    )
    pair_by: str | None = declare(
        None,
        choice("stem", "name", "order").or_none(),
        "paired",
        "How images find their partners: by relative path without suffix, by relative path, or by their order.",
        default_text="stem where both sets have file names, else order",
    )
    on_unpaired: str = declare(
        "stop",
        choice("stop", "skip"),
        "paired",
        "What to do at images without a partner: stop, or skip and count them.",
    )
    group_by: str | Path | None = declare(
        None,
        FOLDER.or_none(),
        "paired",
        "Pairs that belong together count as one in every error bar: a regular expression that is searched in the name "
        "of the fake, or a CSV file with the columns image and group.",
    )
    level: float = declare(0.95, NUMBER.between(0, 1), "paired", "Confidence level of the intervals.")
    batch_size: int = declare(16, WHOLE.from_(1), "paired", "Pairs that are computed at once; changes no value.")
    workers: int = declare(0, WHOLE.from_(0), "paired", "Decoding processes of each set.")
    device: Device = declare("auto", DEVICE, "paired", "Where values are computed: auto, cpu, cuda[:i], mps.")
    progress: ProgressFactory | None = declare(
        None,
        CALLABLE.or_none(),
        "",
        "A function of a description and the number of pairs that returns a progress display.",
    )
