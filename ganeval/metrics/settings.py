"""The choices of the estimators, which are options of the commands and arguments of ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass

from ganeval.errors import ConfigError
from ganeval.parsing.arguments import FLAG, NUMBER, SUBSETS, WHOLE, choice, convert_fields, declare


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Choices of single estimators. Each metric of the registry names those that it reads."""

    trace: str = declare(
        "auto",
        choice("auto", "sqrtm", "svd", "eigvals"),
        "setting",
        "How the trace of the matrix square root is computed.",
    )
    floor: bool = declare(
        False,
        FLAG,
        "setting",
        "Also compute the distance between two halves of REAL, the value of a perfect generator.",
    )
    splits: int | None = declare(
        None,
        WHOLE.from_(1).or_none(),
        "setting",
        "Parts of the Inception Score, as papers compute it.",
        default_text="10, or the protocol's rule",
    )
    kid_kernel: str = declare("polynomial", choice("polynomial", "rbf"), "setting", "Kernel of KID.")
    kid_subsets: tuple[int, int] | None = declare(
        None,
        SUBSETS.or_none(),
        "setting",
        "Also compute KID as papers do, over a number of subsets of one size, for instance 100x1000.",
    )
    neighbours: int | None = declare(
        None,
        WHOLE.from_(1).or_none(),
        "setting",
        "k of the nearest-neighbour balls: the radius is the distance to the k-th neighbour.",
        default_text="3 for precision and recall, 5 for density and coverage",
    )
    strict: bool | None = declare(
        None,
        FLAG.or_none(),
        "setting",
        "Exclude the border of the nearest-neighbour balls.",
        default_text="the rule of each metric",
    )
    radius: float | None = declare(
        None,
        NUMBER.between(0).or_none(),
        "setting",
        "One radius for all balls, instead of the distance to the k-th neighbour.",
    )
    rarity: bool = declare(
        False,
        FLAG,
        "setting",
        "Also compute the rarity of each fake: the radius of the smallest ball around a real image that it is in.",
    )
    mifid_threshold: float = declare(
        0.1,
        NUMBER.between(0, 1),
        "setting",
        "MiFID divides by the mean cosine distance of the reals from their nearest fakes if that is below this number.",
    )
    directions: int = declare(1000, WHOLE.from_(1), "setting", "Random projections of MIND.")
    vendi_order: str = declare(
        "1",
        choice("0.5", "1", "2", "inf"),
        "setting",
        "Order q of the Vendi score: below 1 it counts rare kinds of images more, above 1 less.",
    )
    ken_eta: float = declare(
        1.0,
        NUMBER.between(0),
        "setting",
        "How many times as frequent as in REAL a mode of FAKE has to be, for KEN to count it as new.",
    )
    wavelet_level: int = declare(
        4,
        WHOLE.from_(1),
        "setting",
        "Steps of the wavelet packets of fwd: 4^level frequency bands, of images whose sides 2^level divides.",
    )
    per_class: bool = declare(
        False,
        FLAG,
        "setting",
        "Also compute the distance within each class, where both image sets have class folders or labels.",
    )
    cmmd_sigma: float = declare(
        10.0, NUMBER.between(0), "setting", "Width of CMMD's kernel, in lengths of an embedding."
    )
    pairs: int | None = declare(
        None,
        WHOLE.from_(2).or_none(),
        "setting",
        "Pairs of latents for path length. Papers use 50000 or 100000.",
        default_text="10000 for ppl alone, else the number of fakes",
    )
    space: str = declare("z", choice("z", "w"), "setting", "Paths are great circles in z, or lines in w.")
    sampling: str = declare(
        "full", choice("full", "end"), "setting", "Step anywhere on the path (full), or at its start (end)."
    )
    epsilon: float = declare(1e-4, NUMBER.between(0), "setting", "Step length on the path.")
    crop: bool = declare(
        False,
        FLAG,
        "setting",
        "Use only the part where StyleGAN's faces are: rows 3/8 to 7/8, columns 2/8 to 6/8.",
    )
    resize: int | None = declare(
        None,
        WHOLE.from_(1).or_none(),
        "setting",
        "Height and width before the distance, in pixels.",
        default_text="averaged down to 256 if larger",
    )
    trim: bool = declare(True, FLAG, "setting", "Drop the outer percentiles, as in StyleGAN's scripts.")
    unit: bool = declare(
        False, FLAG, "setting", "Use great circles of radius 1 in z, instead of the radius of the latents."
    )
    distance: object = declare(
        None,
        None,
        "setting",
        "Perceptual distance of path length: lpips-vgg, lpips-alex, lpips-squeeze; compact needs no download, lite "
        "only a package.",
        default_text="lpips-vgg, or compact or lite under the protocol of that name",
    )

    def __post_init__(self) -> None:
        convert_fields(self)
        if self.unit and self.space == "w":
            raise ConfigError("--unit (unit=True) needs --space z: in w, paths are straight.")
