"""Inception weights that stand in for the published ones, and the peers' networks under them.

``python tests/surrogate.py OUT.pth`` writes the file for use outside the tests: random values with calibrated batch
normalisation, in the format of pytorch-fid's file. Distances on them are sane numbers that mean nothing.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from ganeval.features.inception import FIDInception

PEERS = ("pytorch-fid", "torch-fidelity", "torchmetrics", "clean")


def surrogate_state_dict(seed: int = 0) -> dict[str, Tensor]:
    """472 tensors: He-scaled convolutions; normalisation statistics from one pass of images, layer after layer.

    As with trained weights, features are non-negative, of order one, and vary between images; scale and shift of the
    normalisation are neither 1 nor 0, so that forgetting them shows. Most units stay on (the shift is near 1): a random
    network that switches half of its units off is chaotic, and enlarges float32 noise a hundredfold.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        net = FIDInception()
    net = net.to_empty(device="cpu")
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=random)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.6, 1.4, generator=random)
            module.bias.normal_(1.0, 0.3, generator=random)
            module.num_batches_tracked.zero_()
            module.register_forward_pre_hook(_calibrate)
        elif isinstance(module, nn.Linear):
            module.weight.normal_(0.0, 0.05, generator=random)
            module.bias.normal_(0.0, 0.5, generator=random)
    with torch.inference_mode():
        net(_pictures(random), taps=("2048",))
    return {
        name: tensor.clone() for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")
    }


def _calibrate(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Runs just before each normalisation of the one pass, so it sees what the calibrated layers before it make."""
    (x,) = inputs
    norm.running_mean.copy_(x.mean(dim=(0, 2, 3)))
    norm.running_var.copy_(x.var(dim=(0, 2, 3)) + 1e-4)


def _pictures(random: torch.Generator, count: int = 8, size: int = 299) -> Tensor:
    """Random noise of many coarsenesses on random colours: white noise alone would leave nothing to tell apart."""
    out = []
    for i in range(count):
        grain = (2, 4, 9, 20, 50, 110, 200, 299)[i % 8]
        noise = torch.rand(1, 3, grain, grain, generator=random) * 2 - 1
        picture = nn.functional.interpolate(noise, (size, size), mode="bilinear", align_corners=False)
        colour = torch.rand(1, 3, 1, 1, generator=random) * 1.4 - 0.7
        out.append((picture * torch.rand(1, generator=random) + colour).clamp(-1, 1))
    return torch.cat(out)


def write_surrogate(path: Path) -> Path:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    torch.save(surrogate_state_dict(), temporary)
    os.replace(temporary, path)
    return path


def peer_taps(peer: str, images: Sequence[np.ndarray], weights: Path) -> dict[str, np.ndarray]:
    """What the peer's own code makes of uint8 (H, W, 3) images of any sizes, under the weights of that file.

    Args:
        peer: one of ``PEERS``; ``clean`` is clean-fid's resizer in front of torch-fidelity's network.

    Returns:
        float32 (N, width) by tap, made one image at a time: 2048 from all; 64, 192, 768 from all but clean; logits and
        logits_unbiased from torch-fidelity and torchmetrics.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' warnings are none of ours
        network = _PEERS[peer](str(weights))
        with torch.inference_mode():
            rows = [network(image) for image in images]
    return {tap: np.concatenate([row[tap].reshape(1, -1).numpy() for row in rows]) for tap in rows[0]}


def peer_features(peer: str, images: Sequence[np.ndarray], weights: Path) -> np.ndarray:
    """The 2048 features of ``peer_taps``."""
    return peer_taps(peer, images, weights)["2048"]


Network = Callable[[np.ndarray], dict[str, Tensor]]


def _batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]


@functools.cache
def _pytorch_fid(weights: str) -> Network:
    import pytorch_fid.inception
    from torchvision.transforms.functional import to_tensor

    state_dict = torch.load(weights, weights_only=True)
    with mock.patch.object(pytorch_fid.inception, "load_state_dict_from_url", return_value=state_dict):
        net = pytorch_fid.inception.InceptionV3([0, 1, 2, 3]).eval()

    def features(image: np.ndarray) -> dict[str, Tensor]:
        maps = net(to_tensor(np.ascontiguousarray(image))[None])
        return {str(x.shape[1]): nn.functional.adaptive_avg_pool2d(x, 1) for x in maps}

    return features


_TAPS = ["64", "192", "768", "2048", "logits_unbiased", "logits"]


@functools.cache
def _torch_fidelity(weights: str) -> Network:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    net = FeatureExtractorInceptionV3("inception", _TAPS, feature_extractor_weights_path=weights)
    return lambda image: dict(zip(_TAPS, net(_batch(image)), strict=True))


@functools.cache
def _torchmetrics(weights: str) -> Network:
    from torchmetrics.image.fid import NoTrainInceptionV3

    net = NoTrainInceptionV3("inception", _TAPS, feature_extractor_weights_path=weights)
    return lambda image: dict(zip(_TAPS, net._torch_fidelity_forward(_batch(image)), strict=True))


@functools.cache
def _clean(weights: str) -> Network:
    from cleanfid.resize import build_resizer
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=weights)
    layers = nn.Sequential(*[layer for name, layer in net.named_children() if name != "fc"])
    resizer = build_resizer("clean")
    return lambda image: {"2048": layers((torch.from_numpy(resizer(image).transpose(2, 0, 1))[None] - 128) / 128)}


_PEERS: dict[str, Callable[[str], Network]] = {
    "pytorch-fid": _pytorch_fid,
    "torch-fidelity": _torch_fidelity,
    "torchmetrics": _torchmetrics,
    "clean": _clean,
}


if __name__ == "__main__":
    print(write_surrogate(Path(sys.argv[1])))
