"""What everything is measured on: rendered images in folders, and weights that stand in for the published ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from benchmarks.runs import ROOT, job


def surrogate() -> ModuleType:
    """The helper of the tests that makes weights with which a distance is a sane number that means nothing."""
    spec = importlib.util.spec_from_file_location("surrogate", ROOT / "tests" / "surrogate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(path: Path, function: str, **arguments: object) -> Path:
    """Made once, by a process of its own: what this process has in memory would count in the peaks of its children."""
    if not path.exists():
        job(f"material:{function}", path=str(path), **arguments)
    return path


def weights(folder: Path) -> Path:
    """A file in pytorch-fid's format."""
    return made(folder / "inception.pth", "make_weights")


def make_weights(path: str) -> None:
    surrogate().write_surrogate(Path(path))


def folders(folder: Path, images: int, size: int = 32) -> tuple[Path, Path]:
    """Two folders of so many PNG images each, of other scenes and of another kind: no image is 299 x 299."""
    real, fake = (
        made(folder / f"{side}-{images}x{size}", "make_folder", images=images, size=size, seed=seed, variant=variant)
        for seed, (side, variant) in enumerate((("real", "plain"), ("fake", "striped")))
    )
    return real, fake


def make_folder(path: str, images: int, size: int, seed: int, variant: str) -> None:
    from PIL import Image

    from ganeval.images.shapes import render

    place = Path(path).with_suffix(".part")
    place.mkdir(parents=True, exist_ok=True)
    for i in range(images):
        Image.fromarray(render(i, seed=seed, size=size, variant=variant)).save(place / f"{i:06}.png")
    place.rename(path)


def wide_network(folder: Path) -> Path:
    """A TorchScript network of 2048 features that costs next to nothing: all else then shows."""
    return made(folder / "wide.pt", "make_wide_network")


def make_wide_network(path: str) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 128, 8, stride=8), nn.ReLU(), nn.Flatten()).eval()
    torch.jit.trace(net, torch.zeros(1, 3, 32, 32)).save(path)
