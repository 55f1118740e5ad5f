"""Options of ``ganeval clip-score``: each is declared here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganeval.images.captions import NAME_COLUMNS, Captions
from ganeval.images.options import OpenOptions
from ganeval.metrics.clip_score import SCALINGS
from ganeval.parsing.arguments import (
    CALLABLE,
    DEVICE,
    FLAG,
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

# networks with a text side, the one of the paper first
CLIP_NETWORKS = ("clip-vitb32", "clip-vitb16", "clip-vitl14", "clip-vitl14-336")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScoreConfig(OpenOptions):
    """Options of ``clip_score``."""

    captions: Captions | None = declare(
        None,
        None,
        "clip-score",
        "The captions: a CSV, JSON Lines or Parquet file with a name and a caption in each row; a .txt file with one "
        "caption a line, in the order of the images; or a folder of .txt files. In Python also a list in the order of "
        "the images, or a mapping by name.",
        default_text="the prompts of a generator; a column of the rows that hold the images; the .txt file next to "
        "each image",
    )
    name_column: str | None = declare(
        None,
        TEXT.or_none(),
        "clip-score",
        "Column of the captions' table with the name of the image.",
        default_text=f"{', '.join(NAME_COLUMNS)}; without any of them, captions are in the order of the images",
    )
    scaling: str = declare(
        "100",
        choice(*SCALINGS),
        "clip-score",
        "What a score is, from the cosine of both embeddings: "
        f"{'; '.join(f'{name}: {one.described}' for name, one in SCALINGS.items())}.",
    )
    clip_network: str = declare(CLIP_NETWORKS[0], choice(*CLIP_NETWORKS), "clip-score", "Which network of CLIP.")
    weights: str | Path | Mapping[str, str | Path] | None = declare(
        None,
        PATHS.or_none(),
        "clip-score",
        "Load this file instead of the published weights of the network.",
    )
    on_unpaired: str = declare(
        "stop",
        choice("stop", "skip"),
        "clip-score",
        "What to do at images without a caption: stop, or skip and count them.",
    )
    group_by: str | Path | None = declare(
        None,
        PATH.or_none(),
        "clip-score",
        "Images that belong together count as one in the error bar: caption, for the images of one caption; a regular "
        "expression that is searched in the name of the image; or a CSV file with the columns image and group.",
    )
    level: float = declare(0.95, NUMBER.between(0, 1), "clip-score", "Confidence level of the interval.")
    batch_size: int | None = declare(
        None,
        WHOLE.from_(1).or_none(),
        "clip-score",
        "Images in one forward pass.",
        default_text="suits the device",
    )
    workers: int = declare(0, WHOLE.from_(0), "clip-score", "Decoding processes.")
    device: Device = declare("auto", DEVICE, "clip-score", "Where the networks run: auto, cpu, cuda[:i], mps.")
    single_images: bool = declare(
        False, FLAG, "", "Also keep the names of the images and their captions, for tables and reports."
    )
    progress: ProgressFactory | None = declare(
        None,
        CALLABLE.or_none(),
        "",
        "A function of a description and a number that returns a progress display.",
    )
