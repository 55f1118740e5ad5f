"""How the network that ships is trained: the augmentation, the folding, and a whole training on a few images."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ganeval.features.compact import CLASSES, CompactNet, load_compact
from ganeval.features.registry import COMPACT_FILE
from ganeval.features.weights import load_state_dict

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train_compact.py"
SPEC = importlib.util.spec_from_file_location("train_compact", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
train_compact = importlib.util.module_from_spec(SPEC)
sys.modules["train_compact"] = train_compact  # dataclasses look up the module they are defined in
SPEC.loader.exec_module(train_compact)

CPU = torch.device("cpu")
CARD = json.loads(COMPACT_FILE.with_suffix(".json").read_text())


def test_help() -> None:
    run = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "--continue-from" in run.stdout


def test_augmentation_moves_erases_and_mirrors_only() -> None:
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(32.0).expand(400, 3, 32, 32) + 1  # grey levels along the columns
    out = train_compact.augment(ramp, generator, shift=3, hole=8)
    assert set(out.unique().tolist()) <= {0.0, *range(1, 33)}
    erased = (out == 0).float().mean(dim=(1, 2, 3))
    assert 0 < float(erased.max()) <= (8 / 32) ** 2
    slopes = (out[:, 0, 16, 12] < out[:, 0, 16, 19]).float().mean()
    assert 0.3 < float(slopes) < 0.7  # about half are mirrored


def test_cutmix_shares_are_the_pixels_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 3, 32, 32).contiguous()
    mixed, partner, share = train_compact.cutmix(images, generator)
    own = (mixed == images).float().mean(dim=(1, 2, 3))
    moved = partner != torch.arange(64)
    assert torch.allclose(own[moved], share[moved])
    assert 0.3 < float((share < 1).float().mean()) < 0.7


def test_deepening_and_folding_change_nothing() -> None:
    torch.manual_seed(0)
    shallow = CompactNet(folded=False, deep=False)
    x = torch.randn(16, 3, 32, 32)
    shallow.train()(x)  # gives the normalisation something to fold
    before = shallow.eval()(x)["logits"]
    deep = train_compact.deepened(shallow.state_dict()).eval()
    assert torch.equal(deep(x)["logits"], before)
    assert torch.allclose(deep.fold()(x)["logits"], before, atol=1e-4)


def test_unfolding_undoes_folding() -> None:
    """In evaluation mode the same answers; in training mode the same too, on the images that it was done with."""
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model = CompactNet(folded=False)
    model.load_state_dict(train_compact.unfolded(COMPACT_FILE, images))
    expected = load_compact(load_state_dict(COMPACT_FILE), device=CPU).network(train_compact.scaled(images))["logits"]
    with torch.inference_mode():
        assert torch.allclose(model.eval()(train_compact.scaled(images))["logits"], expected, atol=1e-3)
        assert torch.allclose(model.train()(train_compact.scaled(images))["logits"], expected, atol=2e-2)


@pytest.mark.nightly
def test_training_from_nothing_to_a_card(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, n in (("train", 3), ("test", 2)):
        for name in CLASSES:
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(n):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                    tmp_path / split / name / f"{i}.png"
                )
    arguments = ["--data", tmp_path / "train", "--test", tmp_path / "test", "-o", tmp_path / "out"]
    run = CliRunner().invoke(train_compact.main, [*map(str, arguments), "--epochs", "1", "1", "--batch-size", "10"])
    assert run.exit_code == 0, run.output
    card = json.loads((tmp_path / "out" / "compact-v1.json").read_text())
    assert card["sha256"] == hashlib.sha256((tmp_path / "out" / "compact-v1.safetensors").read_bytes()).hexdigest()
    assert [c["epoch"] for c in card["curve"]] == [1, 2]
    again = [
        *map(str, arguments[:-1]),
        str(tmp_path / "more"),
        "--continue-from",
        str(tmp_path / "out/stage-2.safetensors"),
    ]
    run = CliRunner().invoke(train_compact.main, [*again, "--epochs", "1", "1", "--batch-size", "10"])
    assert run.exit_code == 0, run.output
    assert [c["epoch"] for c in json.loads((tmp_path / "more/compact-v1.json").read_text())["curve"]] == [1]
    load_compact(load_state_dict(tmp_path / "out" / "compact-v1.safetensors"), device=CPU)


@pytest.mark.nightly
@pytest.mark.skipif("GANEVAL_TEST_DATA" not in os.environ, reason="GANEVAL_TEST_DATA names no folder with CIFAR-10")
@pytest.mark.timeout(1200)  # seventy thousand images through the network
def test_accuracy_is_what_the_card_says() -> None:
    images, labels = train_compact.load_labelled(str(Path(os.environ["GANEVAL_TEST_DATA"]) / "cifar10-test.zip"))
    network = load_compact(load_state_dict(COMPACT_FILE), device=CPU).network
    right = train_compact.accuracy(train_compact.Classifier(network), images, labels)
    assert right == pytest.approx(CARD["test_accuracy"], abs=0.001)
    assert train_compact.accuracy(network, images, labels) == pytest.approx(
        CARD["test_accuracy_of_one_view"], abs=0.001
    )
