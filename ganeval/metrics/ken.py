"""What FAKE has and REAL has not: kernel-based entropic novelty, and the modes that it is made of.

With unit rows u_i of the fakes and w_j of the reals, the cosine kernel, and eigenvalues l of

    D = (1/n) sum_i u_i u_i^T - eta (1/m) sum_j w_j w_j^T,      S = sum of the l above 0
    KEN = sum_{l > 0} l log(S / l)                              (Zhang, Li & Farnia 2024)

D has d x d numbers; its eigenvalues other than 0 are those of the (n + m) x (n + m) kernel matrix of the paper. An
eigenvector of a large eigenvalue is a mode that is more than eta times as frequent among the fakes, and the fakes along
it show which one.

Noise makes some eigenvalues positive for equal distributions too, so KEN falls with the number of images: compare
values at equal numbers. There is no standard error: the first-order one was 1.2 to 1.9 times the deviation in
simulations, because the eigenvectors of those eigenvalues follow the noise of the images themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ganeval.metrics.build_result import build_result
from ganeval.metrics.diversity import second_moment, unit_blocks
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult
from ganeval.statistics.rows import FeatureRows

MODES = 3  # whose images a report shows
_LISTED = 10


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """Kernel-based entropic novelty of a set against another.

    Attributes:
        value: KEN, in [0, inf).
        eigenvalues: (k,) those above 0, the largest first.
        vectors: (d, k) their eigenvectors.
    """

    value: float
    eigenvalues: np.ndarray
    vectors: np.ndarray


def novelty(real: FeatureRows, fake: FeatureRows, *, eta: float = 1.0) -> Novelty:
    """Compute KEN under the cosine kernel; equals that of the (n + m) x (n + m) kernel matrix to 1e-9.

    Args:
        eta: how many times as frequent as among the reals a mode of the fakes has to be, to be new.

    Raises:
        InputError: a row of zeros has no direction.
        NotEnoughSamplesError: fewer than two rows.
    """
    values, vectors = eigh(second_moment(fake) - eta * second_moment(real))
    kept = values > fake.dimension * np.finfo(np.float64).eps * np.abs(values).max()
    values, vectors = values[kept][::-1], vectors[:, kept][:, ::-1]
    return Novelty(float(values @ np.log(values.sum() / values)), values, vectors)


def along_modes(found: Novelty, fake: FeatureRows, modes: int = MODES) -> list[np.ndarray]:
    """(u^T v)^2 of every fake, 0 to 1, for each of the largest modes."""
    vectors = found.vectors[:, :modes]
    squares = np.concatenate([(block @ vectors) ** 2 for block in unit_blocks(fake)])
    return list(squares.T)


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """KEN of the fakes against the reals.

    ``details``: ``eta``, ``novel_share`` (S, of all fakes), ``eigenvalues`` (the largest ten).
    """
    real, fake, eta = inputs.real_rows(), inputs.fake_rows(), inputs.settings.ken_eta
    found = novelty(real, fake, eta=eta)
    result = build_result(
        inputs,
        "ken",
        found.value,
        settings={"eta": eta},
        details={
            "eta": eta,
            "novel_share": float(found.eigenvalues.sum()),
            "eigenvalues": found.eigenvalues[:_LISTED].tolist(),
        },
        per_image={f"ken_mode{k}_fake": squares for k, squares in enumerate(along_modes(found, fake), 1)},
    )
    return {"ken": result}
