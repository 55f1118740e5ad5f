"""Two cores, several test processes: every process computes on one thread, so that they do not fight."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

FOREIGN = ("GANEVAL_", "XDG_", "HF_", "TORCH_HOME", "HUGGINGFACE_", "FORCE_COLOR", "NO_COLOR")
OURS = "GANEVAL_TEST_"  # where to find what some tests need: GANEVAL_TEST_DATA, _CIFAR10, _WEIGHTS


def leave_the_machine_out() -> None:
    """Let no folder and no setting of the user reach a test, nor a process that a test starts.

    Workers of xdist inherit what the first process has set.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and "GANEVAL_TEST_HOME" in os.environ:
        return
    for name in list(os.environ):
        if name.startswith(FOREIGN) and not name.startswith(OURS):
            del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="ganeval-home-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    fonts = Path(tempfile.gettempdir()) / "ganeval-tests" / "matplotlib"  # its list of fonts takes seconds to make
    fonts.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "GANEVAL_TEST_HOME": str(home), "HOME": str(home), "USERPROFILE": str(home),
        "TORCH_HOME": str(home / "torch"), "HF_HOME": str(home / "huggingface"), "MPLCONFIGDIR": str(fonts),
        "XDG_CACHE_HOME": str(home / ".cache"), "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local"), "XDG_STATE_HOME": str(home / ".state"),
        "GANEVAL_OFFLINE": "1",
        "GANEVAL_CACHE": "0",  # what a test says of networks and decoders must not depend on the tests before it
    }  # fmt: skip


leave_the_machine_out()
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked ``weights`` look into the folder that GANEVAL_TEST_WEIGHTS names, and nothing else does."""
    if item.get_closest_marker("weights") and "GANEVAL_TEST_WEIGHTS" in os.environ:
        os.environ["GANEVAL_WEIGHTS_DIR"] = os.environ["GANEVAL_TEST_WEIGHTS"]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    if item.get_closest_marker("weights"):
        os.environ.pop("GANEVAL_WEIGHTS_DIR", None)


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
    from support.weights import clip_image_side

    from ganeval.features.registry import NETWORKS

    shape = {"image_size": 336, "patch_size": 112, "width": 64, "layers": 1, "output_dim": 768}
    small = dataclasses.replace(NETWORKS["clip-vitl14-336"], options=shape)
    monkeypatch.setitem(NETWORKS, "clip-vitl14-336", small)
    path = tmp_path / "small-clip.pth"
    torch.save(clip_image_side(shape), path)
    return path
