"""pytorch-fid and this program on the same two folders, start to number, with like arithmetic."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.accelerator.bench import Bench, Found, NotHere
from benchmarks.end_to_end import ours, peer
from benchmarks.runs import agree

PEER = "pytorch-fid"


def pytorch_fid(bench: Bench) -> Found:
    """Float32 on both sides: TF32, which PyTorch allows convolutions by default, is off for the peer."""
    if find_spec("pytorch_fid") is None:
        raise NotHere("pytorch-fid is not installed")
    real, fake = (bench.folder / kind for kind in bench.pick(("png256", "jpg256"), ("png32", "jpg32")))
    device = str(bench.device)
    mine = ours(str(real), str(fake), bench.weights, device, "--protocol", PEER)
    theirs = peer(PEER, real, fake, bench.weights, device, NVIDIA_TF32_OVERRIDE="0")
    n = sum(len(list(folder.iterdir())) for folder in (real, fake))
    found = {
        name: {"s": one["wall"], "images/s": n / one["wall"], "value": one["value"]}
        for name, one in (("ganeval", mine), (PEER, theirs))
    }
    if not bench.quick:  # the covariances of so few images are singular, and the peer alters them
        agree({name: one["value"] for name, one in found.items()}, [("ganeval", PEER)], 1e-4)
    return {**found, "images": n, "times as fast": theirs["wall"] / mine["wall"]}


CHECKS = {PEER: pytorch_fid}
