"""The network that ships: that it is the one its card describes, that its features stay, and how it is trained."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ganeval.features.compact import CLASSES, CompactNet, load_compact
from ganeval.features.extractor import load_extractor
from ganeval.features.networks import COMPACT_WEIGHTS
from ganeval.images.open import open_images
from ganeval.protocol import get_protocol
from ganeval.training.compact import (
    Classifier,
    accuracy,
    augment,
    cutmix,
    deepened,
    load_labelled,
    main,
    scaled,
    unfolded,
)

CPU = torch.device("cpu")
CARD = json.loads(COMPACT_WEIGHTS.with_suffix(".json").read_text())


def test_card() -> None:
    content = COMPACT_WEIGHTS.read_bytes()
    assert CARD["sha256"] == hashlib.sha256(content).hexdigest()
    assert CARD["bytes"] == len(content) <= 6_000_000
    assert CARD["parameters"] == sum(p.numel() for p in CompactNet().parameters())


def test_features_of_fixed_images_are_pinned() -> None:
    """Features of four rendered images, as torch 2.15.0 on x86-64 gives them: the extractor on ``dataset:shapes@7``."""
    extractor = load_extractor(get_protocol("compact"), device=CPU)
    (batch,) = open_images("dataset:shapes@7", num_samples=4).batches(4)
    rows = extractor(batch)["256"].double()
    assert rows.shape == (4, 256)
    assert rows.norm(dim=1).tolist() == pytest.approx(PINNED_NORMS, rel=1e-5)
    assert rows[:, ::51].flatten().tolist() == pytest.approx(PINNED_VALUES, abs=1e-5 * float(rows.abs().max()))


def test_maps_and_logits() -> None:
    network = load_compact(COMPACT_WEIGHTS, CPU).network
    out = network(torch.zeros(2, 3, 32, 32))
    shapes = {name: tuple(x.shape) for name, x in out.items()}
    assert shapes == {
        "block1": (2, 64, 15, 15), "block2": (2, 256, 7, 7), "block3": (2, 256, 3, 3), "features": (2, 256),
        "logits": (2, 10),
    }  # fmt: skip


def test_augmentation_moves_erases_and_mirrors_only() -> None:
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(32.0).expand(400, 3, 32, 32) + 1  # grey levels along the columns
    out = augment(ramp, generator, shift=3, hole=8)
    assert set(out.unique().tolist()) <= {0.0, *range(1, 33)}
    erased = (out == 0).float().mean(dim=(1, 2, 3))
    assert 0 < float(erased.max()) <= (8 / 32) ** 2
    slopes = (out[:, 0, 16, 12] < out[:, 0, 16, 19]).float().mean()
    assert 0.3 < float(slopes) < 0.7  # about half are mirrored


def test_cutmix_shares_are_the_pixels_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 3, 32, 32).contiguous()
    mixed, partner, share = cutmix(images, generator)
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
    deep = deepened(shallow.state_dict()).eval()
    assert torch.equal(deep(x)["logits"], before)
    assert torch.allclose(deep.fold()(x)["logits"], before, atol=1e-4)


def test_unfolding_undoes_folding() -> None:
    """In evaluation mode the same answers; in training mode the same too, on the images that it was done with."""
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model = CompactNet(folded=False)
    model.load_state_dict(unfolded(COMPACT_WEIGHTS, images))
    expected = load_compact(COMPACT_WEIGHTS, CPU).network(scaled(images))["logits"]
    with torch.inference_mode():
        assert torch.allclose(model.eval()(scaled(images))["logits"], expected, atol=1e-3)
        assert torch.allclose(model.train()(scaled(images))["logits"], expected, atol=2e-2)


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
    run = CliRunner().invoke(main, [*map(str, arguments), "--epochs", "1", "1", "--batch-size", "10"])
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
    run = CliRunner().invoke(main, [*again, "--epochs", "1", "1", "--batch-size", "10"])
    assert run.exit_code == 0, run.output
    assert [c["epoch"] for c in json.loads((tmp_path / "more/compact-v1.json").read_text())["curve"]] == [1]
    load_compact(tmp_path / "out" / "compact-v1.safetensors", CPU)


@pytest.mark.nightly
@pytest.mark.skipif("GANEVAL_TEST_DATA" not in os.environ, reason="GANEVAL_TEST_DATA names no folder with CIFAR-10")
@pytest.mark.timeout(1200)  # seventy thousand images through the network
def test_accuracy_is_what_the_card_says() -> None:
    images, labels = load_labelled(str(Path(os.environ["GANEVAL_TEST_DATA"]) / "cifar10-test.zip"))
    network = load_compact(COMPACT_WEIGHTS, CPU).network
    right = accuracy(Classifier(network), images, labels)
    assert right == pytest.approx(CARD["test_accuracy"], abs=0.001)
    assert accuracy(network, images, labels) == pytest.approx(CARD["test_accuracy_of_one_view"], abs=0.001)


def test_logits_are_the_mean_of_six_views() -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    module = load_compact(COMPACT_WEIGHTS, CPU)

    def of(image: torch.Tensor) -> torch.Tensor:
        return (module.network(image)["logits"] + module.network(image.flip(3))["logits"]) / 2

    def moved(image: torch.Tensor, rows: list[int]) -> torch.Tensor:
        return image[:, :, rows][:, :, :, rows]

    def shifted(rows: list[int]) -> torch.Tensor:
        both = (moved(x, rows), moved(x.flip(3), rows))
        return sum(module.network(image)["logits"] for image in both) / 2  # type: ignore[return-value]

    down, up = [1, *range(31)], [*range(1, 32), 30]  # the border is reflected
    expected = of(x) / 2 + shifted(down) / 4 + shifted(up) / 4
    with torch.inference_mode():
        assert torch.allclose(module(x, ("logits",))["logits"], expected, atol=1e-5)
    assert not torch.allclose(of(x), expected, atol=1e-2)


def test_logits_do_not_depend_on_the_side() -> None:
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    module = load_compact(COMPACT_WEIGHTS, CPU)
    assert torch.allclose(module(x, ("logits",))["logits"], module(x.flip(3), ("logits",))["logits"], atol=1e-5)
    assert not torch.allclose(module(x, ("256",))["256"], module(x.flip(3), ("256",))["256"], atol=1e-2)


PINNED_NORMS = [19.56897, 17.0646, 17.08938, 17.34626]
PINNED_VALUES = [
    0.321425,
    1.60964,
    1.457353,
    0.047069,
    0.409196,
    1.367333,
    -0.013463,
    -0.035968,
    0.966127,
    -0.017367,
    -0.08386,
    2.097915,
    0.603134,
    0.848902,
    1.240468,
    0.283373,
    0.00262,
    1.95319,
    0.725362,
    0.534435,
    1.30046,
    1.104478,
    1.441881,
    1.637097,
]
