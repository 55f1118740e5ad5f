"""Values that cannot be what was declared, and sets that differ by how they were saved: in the run and in the audit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganeval import Evaluator, evaluate
from ganeval.images.audit import audit, compare_audits
from ganeval.images.open import open_images
from ganeval.images.summary import impossible_values, listed_sizes, summarise
from ganeval.results import Evaluation

N = 24
RNG = np.random.default_rng(0)
GOOD = RNG.integers(3, 240, (N, 12, 12, 3), dtype=np.uint8)
DARK = (RNG.random(GOOD.shape) * 1.02).astype(np.uint8)
ON = {"protocol": "compact", "metrics": ("kid",)}


def folder(path: Path, images: np.ndarray) -> str:
    path.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(path / f"{i:02d}.png")
    return str(path)


def run(real: object, fake: object, **options: Any) -> Evaluation:
    return evaluate(real, fake, **{**ON, "cache": False, **options})


def spoken(evaluation: Evaluation) -> str:
    return " ".join(evaluation.warnings)


ROUTES: dict[str, Callable[[Path], object]] = {
    "array": lambda path: DARK,
    "folder": lambda path: folder(path / "dark", DARK),
    "stream": lambda path: [torch.from_numpy(DARK[i : i + 6]).permute(0, 3, 1, 2) for i in range(0, N, 6)],
    "generator": lambda path: lambda z: torch.from_numpy(DARK[: len(z)]).permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("route", list(ROUTES))
def test_values_of_0_and_1_are_no_8_bit_images(route: str, tmp_path: Path) -> None:
    options = {"num_samples": N, "latent_dim": 2} if route == "generator" else {}
    said = spoken(run(GOOD, ROUTES[route](tmp_path), **options))
    assert f"fake: no value of the {N} images is above 1, in a range of 0 to 255" in said
    if route in ("array", "folder"):
        problems = audit(open_images(ROUTES[route](tmp_path / "again") if route == "array" else str(tmp_path / "dark")))
        assert "is above 1, in a range of 0 to 255" in " ".join(problems.problems())


def test_updates_and_merged_evaluators_are_one_set() -> None:
    with Evaluator(GOOD, **ON, cache=False) as one, Evaluator(GOOD, **ON, cache=False) as other:  # type: ignore[arg-type]
        one.update(DARK[:10])
        other.update(DARK[10:])
        one.merge(other)
        whole = one.compute()
        state = one.state_dict()
    assert "no value of the 24 images is above 1" in spoken(whole)
    assert whole.fake["sizes"] == {"12x12": N}
    with Evaluator(GOOD, **ON, cache=False) as again:  # type: ignore[arg-type]
        again.load_state_dict(state)
        assert again.compute().fake["sizes"] == {"12x12": N}


@pytest.mark.parametrize("lengths", [(12, 12), (14, 10), (10, 10, 4)])
def test_the_declared_range_is_that_of_all_updates(lengths: tuple[int, ...]) -> None:
    images = torch.from_numpy(GOOD).permute(0, 3, 1, 2) / 255
    with Evaluator(GOOD, **ON, cache=False, value_range=(-1, 1)) as evaluator:  # type: ignore[arg-type]
        for part in images.split(list(lengths)):
            evaluator.update(part)
        assert "below the middle of the declared range -1..1" in spoken(evaluator.compute())


def test_a_recalled_set_is_told_of_as_a_decoded_one(tmp_path: Path) -> None:
    dark = folder(tmp_path / "dark", DARK)
    first, second = (run(GOOD, dark, cache=tmp_path / "cache") for _ in range(2))
    assert second.environment["recalled"]["fake"] == N  # type: ignore[index]
    assert second.warnings == first.warnings
    assert second.fake["sizes"] == first.fake["sizes"] == {"12x12": N}


@pytest.mark.parametrize(
    ("images", "value_range", "message"),
    [
        ((GOOD / 255).astype(np.float32), (-1, 1), r"below the middle of the declared range -1\.\.1: .* 0\.\.1"),
        ((GOOD / 255).astype(np.float32), (0, 1), None),
        ((GOOD / 127.5 - 1).astype(np.float32), (-1, 1), None),
        (np.full_like(GOOD, 7), None, "all 24 images are of one single value"),
        (np.broadcast_to(np.arange(N, dtype=np.uint8)[:, None, None, None], GOOD.shape), None, "each of the 24 images"),
        (np.where(GOOD > 200, 0, 255).astype(np.uint8), None, None),
        (DARK[:5], None, None),  # too few to say
        (GOOD.astype(np.uint16), (0, 65535), r"lowest sixteenth of the declared range 0\.\.65535"),
        (GOOD.astype(np.int32) * 16, (0, 65535), "lowest sixteenth"),  # 12 bits
        (GOOD / 255, (0, 255.5), "lowest sixteenth"),
        (GOOD.astype(np.uint16) * 257, (0, 65535), None),
        (GOOD // 20, None, None),  # 8-bit images may be dark
    ],
)
def test_declarations(images: np.ndarray, value_range: Any, message: str | None) -> None:
    counts = Counter[str]()
    for image in open_images(np.ascontiguousarray(images), value_range=value_range).batches(5):
        for one in image.images:
            counts.update(summarise(one.permute(1, 2, 0).numpy()))
    said = impossible_values(counts, value_range, len(images))
    if message is None:
        assert said == []
    else:
        assert len(said) == 1
        assert re.search(message, said[0])


def test_images_of_two_values_were_not_stretched() -> None:
    two = GOOD > 120
    said = spoken(run(two, GOOD, value_range=(0, 1)))
    assert "stretched to its own extremes" not in said
    assert "stretched to its own extremes" not in spoken(run(np.where(two, 255, 0).astype(np.uint8), GOOD))


def test_a_range_that_is_too_wide_for_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for i, image in enumerate(GOOD):
        Image.fromarray(image[..., 0].astype(np.uint16)).save(tmp_path / "deep" / f"{i:02d}.png")
    said = spoken(run(str(tmp_path / "deep"), GOOD, value_range=(0, 65535), metrics=("kid",)))
    assert f"real: all values of the {N} images are in the lowest sixteenth of the declared range 0..65535" in said


def test_what_is_not_known_whole_is_not_told() -> None:
    counts = Counter(summarise(DARK[0]))
    assert impossible_values(counts, None, N) == []
    assert listed_sizes(counts, N) is None


def coloured(seed: int, n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 80, (n, 8, 8, 3)) + np.array([150, 90, 20])).astype(np.uint8)


def test_red_and_blue_exchanged() -> None:
    for fake, told in ((coloured(2)[..., ::-1], True), (coloured(2), False), (GOOD, False)):
        assert ("red and blue exchanged" in spoken(run(coloured(1), np.ascontiguousarray(fake)))) == told


def test_each_image_stretched_to_its_extremes(tmp_path: Path) -> None:
    low, high = (
        f(f(f(GOOD, 3), 2), 1) for f in (lambda x, a: x.min(a, keepdims=True), lambda x, a: x.max(a, keepdims=True))
    )
    stretched = np.round((GOOD - low.astype(float)) / (high - low.astype(float)) * 255).astype(np.uint8)
    assert "stretched to its own extremes" in spoken(run(GOOD, stretched))
    assert "stretched" not in spoken(run(GOOD, GOOD[::-1].copy()))
    sides = [audit(open_images(folder(tmp_path / name, x))) for name, x in (("a", stretched), ("b", GOOD))]
    assert any("100% of real reach from 0 to 255 exactly" in said for said in compare_audits(*sides))


def test_sizes_of_the_two_sets() -> None:
    wide = RNG.integers(0, 256, (N, 12, 24, 3), dtype=np.uint8)
    said = spoken(run(GOOD, wide))
    assert f"sizes differ: real {N} x 12x12, fake {N} x 24x12." in said
    assert "so do their aspect ratios" in said
    assert "aspect" not in spoken(run(GOOD, GOOD.repeat(2, axis=1).repeat(2, axis=2)))
    assert "sizes differ" not in spoken(run(GOOD, GOOD[::-1].copy()))
    draws = [
        [Image.fromarray(RNG.integers(0, 256, (*RNG.integers(40, 90, 2), 3), dtype=np.uint8)) for _ in range(60)]
        for _ in range(2)
    ]
    assert "sizes differ" not in spoken(run(*draws))  # of one law, with hardly a size in common
    half = [image.resize((image.width // 2, image.height // 2)) for image in draws[1]]
    assert "sizes differ" in spoken(run(draws[0], half))
    many = [Image.fromarray(RNG.integers(0, 256, (9 + i, 9, 3), dtype=np.uint8)) for i in range(30)]
    listed = run(GOOD, many).fake["sizes"]
    assert sum(listed.values()) == 30  # type: ignore[union-attr]
    assert listed["other"] == 10  # type: ignore[index]
