"""End to end, files to FID, under one state dict: our value is the peer's own, computed by the peer's own code.

None of the images is 299 x 299, where every resize is the identity and a wrong one would not show.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.peers import needs_peer

import ganeval

# The peer, and the sizes that it takes: pytorch-fid batches images of one size only; one at a time it takes any.
PROTOCOLS = {"pytorch-fid": "pytorch-fid", "ttur": "torch-fidelity", "torchmetrics": "torchmetrics", "clean": "clean"}
SIZES = ((32, 32), (200, 150), (64, 64), (350, 320))


def images(n: int, seed: int, sharpness: float) -> list[np.ndarray]:
    """Smooth colour fields and noise, in mixed sizes."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        height, width = SIZES[i % len(SIZES)]
        small = Image.fromarray(rng.integers(0, 256, (rng.integers(2, 9), 5, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), float)
        noise = rng.normal(0, 60, smooth.shape)
        out.append(np.clip(smooth + sharpness * noise, 0, 255).astype(np.uint8))
    return out


def save(folder: Path, pixels: list[np.ndarray]) -> Path:
    folder.mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:03}.png")
    return folder


def peer_fid(peer: str, real: np.ndarray, fake: np.ndarray) -> float:
    """The peer's own arithmetic on the peer's own features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if peer == "torchmetrics":
            from torchmetrics.image.fid import FrechetInceptionDistance, _compute_fid

            del FrechetInceptionDistance
            x, y = (torch.from_numpy(f).double() for f in (real, fake))
            return float(_compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)))
        if peer == "pytorch-fid":
            from pytorch_fid.fid_score import calculate_frechet_distance

            moments = [(f.astype(float).mean(0), np.cov(f.astype(float), rowvar=False)) for f in (real, fake)]
            return float(calculate_frechet_distance(*moments[0], *moments[1]))
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        statistics = [fid_features_to_statistics(torch.from_numpy(f)) for f in (real, fake)]
        return float(fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"])


@needs_peer("pytorch_fid", "torch_fidelity", "torchmetrics", "cleanfid")
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_fid_against_peer(
    protocol: str, tmp_path: Path, surrogate_weights: Path, peer_features: Callable[..., np.ndarray]
) -> None:
    peer = PROTOCOLS[protocol]
    real, fake = images(40, 1, 0.1), images(36, 2, 0.6)
    result = ganeval.fid(
        save(tmp_path / "real", real), save(tmp_path / "fake", fake),
        protocol=protocol, weights=surrogate_weights, device="cpu",
    )  # fmt: skip
    theirs = peer_fid(peer, peer_features(peer, real), peer_features(peer, fake))
    assert result.value == pytest.approx(theirs, rel=1e-5)
    assert result.label.startswith("FD[inception-")
    assert result.interval is not None  # of few images: by leaving out one at a time
    assert result.interval.low < theirs < result.interval.high
