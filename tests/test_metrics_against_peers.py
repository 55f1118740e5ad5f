"""End to end, files to Inception Score, KID, precision and recall, under one state dict: the peers' own values.

None of the images is 299 x 299, where every resize is the identity and a wrong one would not show.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.peers import needs_peer

from ganeval.api import evaluate

SIZES = ((32, 32), (120, 90), (64, 64))


def save(folder: Path, n: int, seed: int, sharpness: float) -> list[np.ndarray]:
    """Smooth colour fields and noise, in mixed sizes; the last two images repeat the first two."""
    folder.mkdir()
    rng, pixels = np.random.default_rng(seed), []
    for i in range(n - 2):
        height, width = SIZES[i % len(SIZES)]
        small = Image.fromarray(rng.integers(0, 256, (rng.integers(2, 9), 5, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), float)
        pixels.append(np.clip(smooth + sharpness * rng.normal(0, 60, smooth.shape), 0, 255).astype(np.uint8))
    pixels += pixels[:2]
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:03}.png")
    return pixels


@needs_peer("torch_fidelity")
def test_inception_score_and_subsets_against_torch_fidelity(
    tmp_path: Path, surrogate_weights: Path, surrogate: object
) -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, fake = save(tmp_path / "real", 30, 1, 0.1), save(tmp_path / "fake", 33, 2, 0.6)
    ours = evaluate(
        tmp_path / "real", tmp_path / "fake", metrics=("is", "kid"), protocol="ttur", weights=surrogate_weights,
        device="cpu", kid_subsets=(12, 20), splits=5,
    )  # fmt: skip
    reals, fakes = (surrogate.peer_taps("torch-fidelity", x, surrogate_weights) for x in (real, fake))  # type: ignore[attr-defined]
    theirs = isc_features_to_metric(
        torch.from_numpy(fakes["logits_unbiased"]), splits=5, shuffle=True, rng_seed=2020
    )  # fmt: skip
    splits = ours["is"].details["splits"]
    assert splits["mean"] == pytest.approx(theirs["inception_score_mean"], rel=1e-5)  # type: ignore[index]
    assert splits["std"] == pytest.approx(theirs["inception_score_std"], rel=1e-4)  # type: ignore[index]
    assert theirs["inception_score_std"] > 1e-3  # the surrogate tells images apart
    theirs = kid_features_to_metric(
        torch.from_numpy(fakes["2048"]), torch.from_numpy(reals["2048"]), kid_subsets=12, kid_subset_size=20,
        verbose=False, rng_seed=2020,
    )  # fmt: skip
    subsets = ours["kid"].details["subsets"]
    assert subsets["mean"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)  # type: ignore[index]
    assert subsets["std"] == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-4)  # type: ignore[index]


@needs_peer("torch_fidelity", "torchmetrics")
@pytest.mark.parametrize("threshold", [0.1, 1e-6])
def test_mifid_against_torchmetrics(
    tmp_path: Path, surrogate_weights: Path, peer_features: Callable[..., np.ndarray], threshold: float
) -> None:
    """The surrogate's features are near each other: under the usual threshold all are copies."""
    from torchmetrics.image.mifid import _mifid_compute

    real, fake = save(tmp_path / "real", 24, 5, 0.1), save(tmp_path / "fake", 20, 6, 0.5)
    ours = evaluate(
        tmp_path / "real", tmp_path / "fake", metrics=("mifid",), protocol="torchmetrics", weights=surrogate_weights,
        device="cpu", mifid_threshold=threshold,
    )["mifid"]  # fmt: skip
    sides = [torch.from_numpy(peer_features("torchmetrics", x).astype(np.float64)) for x in (real, fake)]
    parts = [part for x in sides for part in (x.mean(0), torch.cov(x.T), x)]
    assert ours.value == pytest.approx(float(_mifid_compute(*parts, cosine_distance_eps=threshold)), rel=1e-5)


@needs_peer("prdc", "torch_fidelity", "torchmetrics")
def test_counts_against_prdc(tmp_path: Path, surrogate_weights: Path, peer_features: Callable[..., np.ndarray]) -> None:
    """Shares of 30 and 26 images, exactly: there is nothing between two counts. Copies are in both sets."""
    from prdc import compute_prdc

    names = ("precision", "recall", "density", "coverage")
    real, fake = save(tmp_path / "real", 30, 3, 0.1), save(tmp_path / "fake", 26, 4, 0.3)
    ours = evaluate(
        tmp_path / "real", tmp_path / "fake", metrics=names, protocol="torchmetrics", weights=surrogate_weights,
        device="cpu", neighbours=5, strict=True,
    )  # fmt: skip
    features = [peer_features("torchmetrics", x).astype(np.float64) for x in (real, fake)]
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = compute_prdc(*features, nearest_k=5)
    for name in names:
        assert ours[name].value == pytest.approx(theirs[name], abs=1e-12), name
    assert 0 < theirs["precision"] < 1 or 0 < theirs["recall"] < 1
