"""What everything is measured on: rendered images in folders, and weights that stand in for the published ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from benchmarks.runs import ROOT


def surrogate() -> ModuleType:
    """The helper of the tests that makes weights with which a distance is a sane number that means nothing."""
    spec = importlib.util.spec_from_file_location("surrogate", ROOT / "tests" / "surrogate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights(folder: Path) -> Path:
    """A file in pytorch-fid's format, made once a folder."""
    path = folder / "inception.pth"
    return path if path.exists() else surrogate().write_surrogate(path)


def folders(folder: Path, images: int, size: int = 32) -> tuple[Path, Path]:
    """Two folders of so many PNG images each, of other scenes and of another kind: no image is 299 x 299."""
    from PIL import Image

    from ganeval.images.shapes import render

    sides = []
    for seed, (side, variant) in enumerate((("real", "plain"), ("fake", "striped"))):
        place = folder / f"{side}-{images}x{size}"
        sides.append(place)
        if place.exists():
            continue
        place.mkdir(parents=True)
        for i in range(images):
            Image.fromarray(render(i, seed=seed, size=size, variant=variant)).save(place / f"{i:06}.png")
    return sides[0], sides[1]


def wide_network(path: Path) -> Path:
    """A TorchScript network of 2048 features that costs next to nothing: all else then shows."""
    import torch
    from torch import nn

    if not path.exists():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 128, 8, stride=8), nn.ReLU(), nn.Flatten()).eval()
        torch.jit.trace(net, torch.zeros(1, 3, 32, 32)).save(str(path))
    return path
