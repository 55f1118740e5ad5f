"""``python -m benchmarks.peers PEER REAL FAKE WEIGHTS DEVICE``: the FID of two folders by a peer, as its users run it.

The peer's own command where it has one, its own function otherwise, with the defaults that it has; only the weights are
given, by a file or in the place of its download. The value is the last line of stdout, with all its digits.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from unittest import mock

PROTOCOLS = {  # the protocol under which this program gives the same number
    "pytorch-fid": "pytorch-fid",
    "torch-fidelity": "ttur",
    "clean-fid": "pytorch-fid",  # in the mode legacy_pytorch: its default mode takes no other file of weights
    "torchmetrics": "torchmetrics",
}


def pytorch_fid(real: str, fake: str, weights: str, device: str) -> float:
    import pytorch_fid.fid_score as peer
    import pytorch_fid.inception
    import torch

    found: list[float] = []

    def kept(*arguments: object, **keywords: object) -> float:  # its command prints all digits, behind a word
        found.append(original(*arguments, **keywords))
        return found[-1]

    original = peer.calculate_fid_given_paths
    state_dict = torch.load(weights, weights_only=True)
    with (
        mock.patch.object(pytorch_fid.inception, "load_state_dict_from_url", return_value=state_dict),
        mock.patch.object(peer, "calculate_fid_given_paths", kept),
        mock.patch.object(sys, "argv", ["pytorch-fid", real, fake, "--device", device]),
    ):
        peer.main()
    return found[0]


def torch_fidelity(real: str, fake: str, weights: str, device: str) -> float:
    from torch_fidelity import calculate_metrics

    found = calculate_metrics(
        input1=fake, input2=real, cuda=device != "cpu", fid=True, feature_extractor_weights_path=weights, cache=False,
    )  # fmt: skip
    return float(found["frechet_inception_distance"])


def clean_fid(real: str, fake: str, weights: str, device: str) -> float:
    import cleanfid.inception_pytorch
    import torch
    from cleanfid import fid

    state_dict = torch.load(weights, weights_only=True)
    # Its twelve decoding processes would be more than the machine has cores.
    workers = min(12, len(os.sched_getaffinity(0)))
    with mock.patch.object(cleanfid.inception_pytorch, "load_state_dict_from_url", return_value=state_dict):
        return float(
            fid.compute_fid(real, fake, mode="legacy_pytorch", device=torch.device(device), num_workers=workers)
        )


def torchmetrics(real: str, fake: str, weights: str, device: str) -> float:
    """It has no command: the loop of its documentation over a folder, with a loader of torch."""
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchvision.io import ImageReadMode, decode_image

    class Folder(Dataset[torch.Tensor]):
        def __init__(self, folder: str) -> None:
            self.paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> torch.Tensor:
            return decode_image(self.paths[index], ImageReadMode.RGB)

    metric = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=weights).to(device)
    for folder, is_real in ((real, True), (fake, False)):
        for batch in DataLoader(Folder(folder), batch_size=50, num_workers=min(8, len(os.sched_getaffinity(0)))):
            metric.update(batch.to(device), real=is_real)
    return float(metric.compute())


PEERS: dict[str, Callable[[str, str, str, str], float]] = {
    "pytorch-fid": pytorch_fid,
    "torch-fidelity": torch_fidelity,
    "clean-fid": clean_fid,
    "torchmetrics": torchmetrics,
}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # none of ours
    print(repr(float(PEERS[sys.argv[1]](*sys.argv[2:]))))
