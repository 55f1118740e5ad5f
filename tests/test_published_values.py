"""Values that others published, under the published Inception weights.

The weights are not part of the project, so these tests run only where they are: in the torch hub folder or in
GANEVAL_WEIGHTS_DIR. Those on CIFAR-10 also need the original PNG-quality images, through torchvision
(GANEVAL_TEST_CIFAR10: the folder that holds ``cifar-10-batches-py``); JPEG copies move the values.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ganeval.api import fid
from ganeval.errors import WeightsError
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.published import INCEPTION
from ganeval.features.weights import verify
from ganeval.images.open import open_images
from ganeval.protocol import get_protocol

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module", autouse=True)
def weights() -> None:
    try:
        verify(INCEPTION)
    except WeightsError as error:
        pytest.skip(f"needs the published Inception weights: {error}")


@pytest.fixture(scope="module")
def cifar10() -> dict[str, np.ndarray]:
    root = os.environ.get("GANEVAL_TEST_CIFAR10")
    if not root or not (Path(root) / "cifar-10-batches-py").is_dir():
        pytest.skip("needs the original CIFAR-10; set GANEVAL_TEST_CIFAR10 to the folder with cifar-10-batches-py")
    from torchvision.datasets import CIFAR10

    return {split: CIFAR10(root, train=split == "train").data for split in ("train", "test")}


def test_the_published_weights_load() -> None:
    extractor = FeatureExtractor(get_protocol("ttur"), device=torch.device("cpu"))
    assert extractor.protocol.verified
    assert extractor.protocol.label() == "FID"
    (batch,) = open_images("dataset:shapes:64", num_samples=4).batches(4)
    rows = extractor(batch)["2048"]
    assert rows.shape == (4, 2048)
    assert bool((rows >= 0).all())


@pytest.mark.nightly
def test_cifar10_5000_against_5000(cifar10: dict[str, np.ndarray]) -> None:
    """torch-fidelity's test, checked against TensorFlow: 10.3233274 +- 1e-4."""
    sides = []
    for split in ("train", "test"):
        images = cifar10[split]
        sides.append(images[np.random.RandomState(2020).choice(len(images), 5000, replace=False)])
    assert fid(sides[1], sides[0], protocol="ttur").value == pytest.approx(10.3233274, abs=1e-4)


@pytest.mark.nightly
@pytest.mark.parametrize(("protocol", "value", "tolerance"), [("ttur", 3.1508, 1e-3), ("pytorch-fid", 3.1525319, 1e-3)])
def test_cifar10_train_against_test(
    protocol: str, value: float, tolerance: float, cifar10: dict[str, np.ndarray]
) -> None:
    """3.1508 by TTUR; 3.1525319 with PyTorch's bilinear resize (pytorch-image-generation-metrics)."""
    result = fid(cifar10["test"], cifar10["train"], protocol=protocol)
    assert result.value == pytest.approx(value, rel=tolerance)
    assert result.label == "FID"
