"""What moves a metric without the generator being to blame is said, and nothing is said of clean input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.api import build_statistics, evaluate
from ganeval.cli.main import main
from ganeval.images.shapes import render
from ganeval.results import Evaluation
from ganeval.statistics.reference import save_statistics

Capture = pytest.CaptureFixture[str]
REAL, FAKE = (np.stack([render(i, seed=s) for i in range(24)]) for s in (1, 2))


def saved(folder: Path, images: np.ndarray, suffix: str) -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03}.{suffix}")
    return folder


def run(real: object, fake: object, *metrics: str) -> Evaluation:
    return evaluate(real, fake, metrics=metrics or ("kid",), protocol="compact", device="cpu")


def test_nothing_is_said_of_clean_input(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "one", REAL, "png"), saved(tmp_path / "other", FAKE, "png")
    assert run(one, other).warnings == ()
    assert run(REAL, FAKE, "kid", "precision", "coverage", "is", "rke").warnings == ()


@pytest.mark.parametrize("suffixes", [("jpg", "png"), ("png", "jpg"), ("bmp", "webp")])
def test_compression_on_one_side_alone(suffixes: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    sides = [saved(tmp_path / f"{i}", x, s) for i, (x, s) in enumerate(zip((REAL, FAKE), suffixes, strict=True))]
    assert main(["kid", *map(str, sides), "--protocol", "compact", "--device", "cpu", "--json"]) == 0
    out, err = capsys.readouterr()
    names = {"jpg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP"}
    assert f"file formats differ: real 24 {names[suffixes[0]]}, fake 24 {names[suffixes[1]]}" in " ".join(err.split())
    document = json.loads(out)
    assert document["real"]["formats"] == {names[suffixes[0]]: 24}
    assert any("file formats differ" in w for w in document["results"]["kid"]["warnings"])


def test_formats_are_counted_by_workers_and_kept_in_statistics(tmp_path: Path) -> None:
    real, fake = saved(tmp_path / "real", REAL, "jpg"), saved(tmp_path / "fake", FAKE, "png")
    target = save_statistics(
        tmp_path / "real.npz", build_statistics(real, protocol="compact", device="cpu", workers=1, rows=True)
    )
    assert any("real 24 JPEG, fake 24 PNG" in w for w in run(target, fake).warnings)
    assert run(real, FAKE).warnings == ()  # nobody knows what an array was before


def test_images_in_both_sets_and_copies_among_the_fakes() -> None:
    shared = FAKE.copy()
    shared[:3] = REAL[:3]
    assert any("3 images are in both real and fake, pixel by pixel" in w for w in run(REAL, shared).warnings)
    repeated = FAKE.copy()
    repeated[5:10] = FAKE[4]
    found = run(REAL, repeated, "fid").warnings
    assert "5 of 24 fake images are exact copies of another one (19 distinct)" in found
    assert any("24 real images and 24 fake images for 256 features" in w for w in found)


@pytest.mark.parametrize("side", ["real", "fake", "test"])
@pytest.mark.parametrize("route", ["array", "folder", "statistics", "zip"])
def test_copies_within_every_set_are_told_with_the_distinct_number(side: str, route: str, tmp_path: Path) -> None:
    repeated: object = np.concatenate([REAL[:6]] * 4)
    if route == "folder":
        repeated = saved(tmp_path / "copies", np.concatenate([REAL[:6]] * 4), "png")
    elif route == "zip":
        repeated = shutil.make_archive(
            str(tmp_path / "copies"), "zip", saved(tmp_path / "files", np.concatenate([REAL[:6]] * 4), "bmp")
        )
    elif route == "statistics":
        repeated = build_statistics(repeated, protocol="compact", device="cpu", rows=True)
    sides: dict[str, object] = {"real": REAL[6:], "fake": FAKE, "test": FAKE[::-1][:12] ^ 1, side: repeated}
    found = evaluate(
        sides["real"], sides["fake"], test=sides["test"], metrics=("authpct",), protocol="compact", device="cpu"
    ).warnings
    assert [w for w in found if "exact cop" in w] == [
        f"18 of 24 {side} images are exact copies of another one (6 distinct)"
    ]


def test_one_copy_is_told_in_the_singular() -> None:
    real = REAL.copy()
    real[3] = real[2]
    assert "1 of 24 real images is an exact copy of another one (23 distinct)" in run(real, FAKE).warnings


def test_unequal_numbers_where_they_matter() -> None:
    found = run(REAL, FAKE[:20], "kid", "recall", "vendi", "rke")
    assert any("depend on the numbers of images" in w for w in found["recall"].warnings)
    assert any("Vendi score grows" in w for w in found["vendi"].warnings)
    assert not found["kid"].warnings
    assert not found["rke"].warnings


@pytest.mark.parametrize(("shared", "said"), [(1, "1 image is in both real and fake, "), (2, "2 images are in both ")])
def test_a_number_agrees_with_its_noun(shared: int, said: str) -> None:
    fake = FAKE.copy()
    fake[:shared] = REAL[:shared]
    assert any(warning.startswith(said) for warning in run(REAL, fake).warnings)


def test_one_unreadable_file(tmp_path: Path) -> None:
    folder = saved(tmp_path / "fake", FAKE, "png")
    (folder / "999.png").write_bytes(b"no image")
    found = evaluate(REAL, folder, metrics=("kid",), protocol="compact", device="cpu", on_error="skip")
    assert any("1 unreadable file skipped (999.png)" in warning for warning in found.warnings)
