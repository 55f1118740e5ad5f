"""The choices of the estimators, which are options of the commands and arguments of ``evaluate``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ganeval.errors import ConfigError
from ganeval.parsing.arguments import convert_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Choices of single estimators; options of the commands and arguments of ``evaluate`` have the same names.

    Attributes:
        trace: how the trace of the matrix square root is computed: ``auto``, ``sqrtm``, ``svd`` or ``eigvals``.
        floor: also the distance between two halves of REAL.
        splits: parts of the Inception Score, as papers take it; None: 10, or the protocol's own rule.
        kid_kernel: ``polynomial`` or ``rbf``.
        kid_subsets: number and size of subsets, as papers take KID over them, for instance (100, 1000).
        neighbours: k of the nearest-neighbour balls; None: 3 for precision and recall, 5 for density and coverage.
        strict: leave out the border of balls (True) or not (False); None: each metric's own rule.
        radius: fixed, of all balls, in place of the k-th neighbour.
        directions: random projections of MIND.
        per_class: also the distance within each class, where both sides have class folders or labels.
        cmmd_sigma: width of CMMD's kernel, in lengths of an embedding.
    """

    trace: str = "auto"
    floor: bool = False
    splits: int | None = None
    kid_kernel: str = "polynomial"
    kid_subsets: tuple[int, int] | None = None
    neighbours: int | None = None
    strict: bool | None = None
    radius: float | None = None
    directions: int = 1000
    per_class: bool = False
    cmmd_sigma: float = 10.0

    def __post_init__(self) -> None:
        convert_fields(self)
        choices = {"trace": ("auto", "sqrtm", "svd", "eigvals"), "kid_kernel": ("polynomial", "rbf")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is one of {', '.join(allowed)}; got {getattr(self, name)!r}.")
        for name, least in (("splits", 1), ("neighbours", 1), ("directions", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ConfigError(f"{name} is a number from {least} on; got {value}.")
        if not 0 < self.cmmd_sigma < math.inf:
            raise ConfigError(f"cmmd_sigma is a width above 0; got {self.cmmd_sigma}.")
        if self.radius is not None and not self.radius > 0:
            raise ConfigError(f"radius is a distance above 0; got {self.radius}.")
        if self.kid_subsets is not None and (self.kid_subsets[0] < 1 or self.kid_subsets[1] < 2):
            raise ConfigError(f"kid_subsets is a number from 1 on and a size from 2 on; got {self.kid_subsets}.")
