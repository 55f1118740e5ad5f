"""Two cores, several test processes: every process computes on one thread, so that they do not fight."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GANEVAL_OFFLINE", "1")
os.environ["GANEVAL_CACHE"] = "0"  # what a test says of networks and decoders must not depend on the tests before it
os.environ.pop("FORCE_COLOR", None)  # tests read what a pipe gets; those of colour ask for it themselves


@pytest.fixture(scope="session")
def surrogate() -> ModuleType:
    """The helper module beside this file: stand-in Inception weights and the peers' networks."""
    path = Path(__file__).with_name("surrogate.py")
    spec = importlib.util.spec_from_file_location("surrogate", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["surrogate"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def surrogate_weights(surrogate: ModuleType) -> Path:
    """A file of stand-in Inception weights in pytorch-fid's format; made once and kept in the temporary folder."""
    import torch

    import ganeval.features.inception as inception

    sources = [Path(str(module.__file__)).read_bytes() for module in (surrogate, inception)]
    digest = hashlib.sha256(b"".join([*sources, torch.__version__.encode()])).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / "ganeval-tests" / f"surrogate-inception-{digest}.pth"
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            for old in path.parent.glob("surrogate-inception-*"):
                if time.time() - old.stat().st_mtime > 86_400:  # of sources that have changed since
                    old.unlink(missing_ok=True)
            surrogate.write_surrogate(path)
    return path


@pytest.fixture(scope="session")
def peer_features(surrogate: ModuleType, surrogate_weights: Path) -> Callable[..., object]:
    """``peer_features(peer, images)``: (N, 2048) as the peer's own code makes them under the stand-in weights."""
    return functools.partial(surrogate.peer_features, weights=surrogate_weights)


@pytest.fixture
def small_clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of random weights of a small network, which stands in for CLIP ViT-L/14 while a test runs."""
    import torch
    from torch_fidelity.feature_extractor_clip import VisionTransformer

    from ganeval.features import clip

    monkeypatch.setitem(clip.SHAPES, "clip-vitl14-336", clip.Shape(336, 112, 64, 1, 768))
    torch.manual_seed(0)
    path = tmp_path / "small-clip.pth"
    torch.save(VisionTransformer(336, 112, 64, 1, 1, 768).state_dict(), path)
    return path
