"""The generators that ship: files as their cards say, small, and good for what they are."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ganeval.api import fid
from ganeval.generators.checkpoint import WEIGHTS, load_generator
from ganeval.images.open import open_images
from ganeval.images.specs import SHIPPED
from ganeval.training.loop import load_images
from ganeval.training.translation import Yardstick, l1, translator

TRANSLATORS = ("cyclegan-plain2striped", "cyclegan-striped2plain")


def test_all_ship_and_are_small() -> None:
    assert {path.stem for path in WEIGHTS.glob("*.safetensors")} == set(SHIPPED)
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 25_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_cards(name: str) -> None:
    card = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    content = (WEIGHTS / f"{name}.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert {"model", "arguments", "data", "recipe", "seed", "steps", "hardware", "seconds", "curve"} <= set(card)
    assert card["steps"] > card["curve"][-1]["step"] > card["curve"][0]["step"] == 0
    metrics, way = card["metrics"], f"{card['direction']}_" if card["model"] == "cyclegan" else ""
    assert metrics[f"{way}fd"] < card["curve"][0][f"{way}fd"]
    if way:
        low, high = metrics[f"{way}fd_interval"]
        assert low < metrics[f"{way}fd_corrected"] < high
        assert metrics[f"{way}fd_difference_interval"][1] < 0
    else:
        assert metrics["fd_low"] < metrics["fd_corrected"] < metrics["fd_high"]
        floor, *others = card["compare"].values()
        assert floor["fd"] < metrics["fd"] < min(fd for other in others for fd in other["fd"])


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.skipif("GANEVAL_TEST_DATA" not in os.environ, reason="GANEVAL_TEST_DATA names no folder with CIFAR-10")
def test_dcgan_is_nearer_than_five_classes() -> None:
    """FD to cifar10-test at 10 000 samples: below real images of five of the ten classes, and what its card says."""
    names, images = [], []
    source = open_images(str(Path(os.environ["GANEVAL_TEST_DATA"]) / "cifar10-train.zip"))
    labels = np.array(source.labels())
    for half in (sorted(set(labels))[:5], sorted(set(labels))[5:]):
        rows = np.flatnonzero(np.isin(labels, half))
        names.append(half)
        images.append(source.part(np.sort(np.random.default_rng(0).permutation(rows)[:10_000])))
    settings = {"protocol": "compact", "device": "cpu"}
    dcgan = fid("stats:cifar10-test", "gen:dcgan-cifar10", num_samples=10_000, **settings)
    card = json.loads((WEIGHTS / "dcgan-cifar10.json").read_text(encoding="utf-8"))
    assert dcgan.value == pytest.approx(card["metrics"]["fd"], rel=0.01)  # other latents than the card's
    for half, some, written in zip(names, images, card["compare"]["five_classes"]["fd"], strict=True):
        bar = fid("stats:cifar10-test", some, **settings).value
        assert dcgan.value < bar, half
        assert bar == pytest.approx(written, rel=0.03)  # another draw of the same classes


def scenes(variant: str, n: int, seed: int = 404) -> torch.Tensor:
    return load_images(f"dataset:shapes-{variant}:64@{seed}", size=64, num_samples=n)


def test_translators_keep_the_scene() -> None:
    """On scenes of no training: at most half as far from the true pair as the untranslated image, and back again."""
    there, back = (translator(load_generator(WEIGHTS / f"{name}.safetensors").module) for name in TRANSLATORS)
    plain, striped = scenes("plain", 100), scenes("striped", 100)
    for source, target, first, second in ((plain, striped, there, back), (striped, plain, back, there)):
        made = first(source)
        assert l1(made, target) <= 0.5 * l1(source, target)
        assert l1(second(made), source) <= 0.10


@pytest.mark.nightly
def test_translators_move_the_domain() -> None:
    """The whole interval of FD(translated) - FD(untranslated) is below 0, both ways, with 900 scenes a side; the scene
    is kept: pair at most half of the untranslated, cycle at most 0.10."""
    there, back = (translator(load_generator(WEIGHTS / f"{name}.safetensors").module) for name in TRANSLATORS)
    plain, striped = scenes("plain", 1800), scenes("striped", 1800)
    for source, target, first, second in ((plain, striped, there, back), (striped, plain, back, there)):
        found = Yardstick(source[:900], target[900:], pairs=target[:900])(first, second)
        assert found.interval is not None
        assert found.interval.high < 0
        assert found.pair <= 0.5 * found.pair_untranslated
        assert found.cycle <= 0.10
