"""The generators that ship: files as their cards say, small, and good for what they are."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from ganeval.generators.checkpoint import WEIGHTS, load_generator
from ganeval.generators.load import SHIPPED
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
    assert {"model", "arguments", "data", "recipe", "seed", "steps", "hardware", "curve"} <= set(card)


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


@pytest.mark.slow
def test_translators_move_the_domain() -> None:
    """The whole interval of FD(translated) - FD(untranslated) is below 0, both ways, with 900 scenes a side."""
    there, back = (translator(load_generator(WEIGHTS / f"{name}.safetensors").module) for name in TRANSLATORS)
    plain, striped = scenes("plain", 1800), scenes("striped", 1800)
    for source, target, first, second in ((plain, striped, there, back), (striped, plain, back, there)):
        found = Yardstick(source[:900], target[900:], pairs=target[:900])(first, second)
        assert found.interval is not None
        assert found.interval.high < 0
