"""Steps before the resize of a protocol: each against its library, and what runs make of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from ganeval.api import build_statistics, evaluate
from ganeval.cli.main import main
from ganeval.errors import ConfigError, IncomparableError
from ganeval.evaluator import Evaluator
from ganeval.images.decode import UnreadableImage
from ganeval.images.preparation import FILTERS, adm_crop, combined, of_set, parse_preparation
from ganeval.protocol import get_protocol
from ganeval.results import MetricResult
from ganeval.statistics.reference import save_statistics

Capture = pytest.CaptureFixture[str]
ON = {"protocol": "compact", "device": "cpu", "metrics": ("fid",)}
pytestmark = pytest.mark.filterwarnings("ignore::ganeval.errors.GanEvalWarning")


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng([seed, width, height])
    smooth = np.kron(random.integers(0, 256, (height // 7 + 1, width // 7 + 1, 3)), np.ones((7, 7, 1)))[:height, :width]
    return np.clip(smooth + random.integers(-30, 30, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [16, 64])
def test_adm_crop_is_the_public_definition(size: int) -> None:
    """Boxes of two while the shorter side allows, bicubic to the size, the middle: pixel by pixel, on 40 sizes."""
    random = np.random.default_rng(1)
    for width, height in random.integers(9, 400, (40, 2)).tolist():
        image = Image.fromarray(picture(width, height))
        w, h = image.size
        while min(w, h) // size >= 2:
            w, h = w // 2, h // 2
            image = image.resize((w, h), resample=Image.BOX)  # type: ignore[attr-defined]
        factor = size / min(w, h)
        image = image.resize((round(w * factor), round(h * factor)), resample=Image.BICUBIC)  # type: ignore[attr-defined]
        array = np.array(image)
        y, x = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
        assert np.array_equal(adm_crop(picture(width, height), size), array[y : y + size, x : x + size])


@pytest.mark.parametrize("name", FILTERS)
def test_resize_is_its_librarys(name: str) -> None:
    image = picture(53, 41)
    found = parse_preparation(f"resize:32x24:{name}")(image)
    if name.startswith("torch-"):
        mode, _, antialias = name.removeprefix("torch-").partition("-")
        data = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        data = interpolate(data, (24, 32), mode=mode, antialias=bool(antialias), align_corners=False)
        expected = data.round().clamp(0, 255)[0].permute(1, 2, 0).to(torch.uint8).numpy()
    else:
        expected = np.asarray(Image.fromarray(image).resize((32, 24), getattr(Image.Resampling, name.upper())))
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_crop_and_pad() -> None:
    image = picture(9, 6)
    assert np.array_equal(parse_preparation("center-crop")(image), image[:, 1:7])
    assert np.array_equal(parse_preparation("center-crop:4")(image), image[1:5, 2:6])
    padded = parse_preparation("pad")(image)
    assert padded.shape == (9, 9, 3)
    assert np.array_equal(padded[1:7], image)
    assert not padded[[0, 7, 8]].any()
    assert parse_preparation("pad:12")(image).shape == (12, 12, 3)
    assert parse_preparation("pad , center-crop:3").text == "pad,center-crop:3"


@pytest.mark.parametrize(
    ("text", "size"), [("center-crop:64", (40, 90)), ("pad:32", (40, 20)), ("patches:64x2", (40, 90))]
)
def test_an_image_of_the_wrong_size_is_told(text: str, size: tuple[int, int]) -> None:
    preparation = parse_preparation(text)
    with pytest.raises(UnreadableImage, match=f"it has {size[0]} x {size[1]} pixels"):
        preparation.patch(preparation(picture(*size)), 0, 0, 0) if preparation.patches else preparation(picture(*size))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resize:64", "expected a filter of nearest, box"),
        ("resize:64:best", "expected a filter of nearest, box"),
        ("crop:64", "expected center-crop"),
        ("", "expected center-crop"),
        ("center-crop:0", "expected whole numbers from 1"),
        ("pad:99999", "expected whole numbers from 1"),
        ("patches:8x2,pad", "patches come last"),
    ],
)
def test_what_is_no_step_is_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_preparation(text)


def test_steps_of_a_run() -> None:
    assert combined({"real": "", "fake": ""}) == ""
    text = combined({"real": "pad,center-crop:3", "fake": ""})
    assert [of_set(text, name) for name in ("real", "fake")] == ["pad,center-crop:3", ""]
    assert of_set("pad", "fake") == "pad"


# --- through a run ------------------------------------------------------------------------------------------------


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Two folders of images of many sizes, and the same images after the steps ``STEPS``."""
    for side, seed in (("real", 1), ("fake", 2)):
        for number, (width, height) in enumerate(np.random.default_rng(seed).integers(60, 110, (24, 2)).tolist()):
            image = picture(width, height, 100 * seed + number)
            for folder, array in ((side, image), (f"{side}-prepared", parse_preparation(STEPS)(image))):
                (tmp_path / folder).mkdir(exist_ok=True)
                Image.fromarray(array).save(tmp_path / folder / f"{number:02}.png")
    return tmp_path


STEPS = "center-crop,resize:48:lanczos"


def fid(real: object, fake: object, **options: object) -> MetricResult:
    return evaluate(real, fake, **{**ON, **options})["fid"]  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_with_steps_equals_one_on_prepared_files(sets: Path, workers: int, tmp_path: Path) -> None:
    expected = fid(sets / "real-prepared", sets / "fake-prepared")
    for cache in (False, tmp_path / "cache", tmp_path / "cache"):
        found = fid(sets / "real", sets / "fake", prepare=STEPS, workers=workers, cache=cache)
        assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert found.reference == expected.reference  # digests are of the prepared images
    assert found.protocol.prepare == STEPS
    assert found.protocol.key() != expected.protocol.key()
    assert fid(sets / "real", sets / "fake", cache=tmp_path / "cache").value != pytest.approx(expected.value, rel=1e-3)


def test_the_cache_knows_the_set_that_has_no_steps(sets: Path, tmp_path: Path) -> None:
    on = {**ON, "cache": tmp_path / "cache"}
    evaluate(sets / "real-prepared", sets / "fake-prepared", **on)  # type: ignore[arg-type]
    run = evaluate(sets / "real-prepared", sets / "fake", prepare_fake=STEPS, **on)  # type: ignore[arg-type]
    assert run.environment["recalled"] == {"real": 24, "fake": 0}


def test_steps_of_one_set_alone(sets: Path) -> None:
    expected = fid(sets / "real-prepared", sets / "fake-prepared")
    found = fid(sets / "real-prepared", sets / "fake", prepare_fake=STEPS)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert found.protocol.prepare == f"real none; fake {STEPS}"
    both = fid(sets / "real", sets / "fake-prepared", prepare=STEPS, prepare_fake="none")
    assert both.value == pytest.approx(expected.value, rel=1e-9)
    with pytest.raises(IncomparableError, match="prepare: "):
        found.require_comparable(both)


def test_a_protocol_may_have_steps_of_its_own(sets: Path) -> None:
    expected = fid(sets / "real", sets / "fake", prepare=STEPS)
    found = fid(sets / "real", sets / "fake", protocol=replace(get_protocol("compact"), prepare=STEPS))
    assert (found.value, found.protocol.key()) == (expected.value, expected.protocol.key())


def test_arrays_and_generators_take_steps() -> None:
    arrays = [np.stack([picture(50, 40, seed + i) for i in range(12)]) for seed in (0, 100)]
    cropped = [np.stack([parse_preparation("center-crop:32")(one) for one in array]) for array in arrays]
    expected = fid(*cropped)
    assert fid(*arrays, prepare="center-crop:32").value == pytest.approx(expected.value, rel=1e-9)
    streams = [[torch.from_numpy(one.transpose(2, 0, 1).copy())[None] for one in array] for array in arrays]
    assert fid(*map(iter, streams), prepare="center-crop:32").value == pytest.approx(expected.value, rel=1e-9)
    plain = fid(cropped[0], "gen:dcgan-cifar10", num_samples=12)
    padded = fid(cropped[0], "gen:dcgan-cifar10", num_samples=12, prepare_fake="pad:40")
    assert padded.value != pytest.approx(plain.value, rel=1e-3)


def test_statistics_keep_their_steps(sets: Path, tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    save_statistics(path, build_statistics(sets / "real", protocol="compact", device="cpu", prepare=STEPS))
    expected = fid(sets / "real", sets / "fake", prepare=STEPS, reference="population")
    assert fid(path, sets / "fake", prepare=STEPS).value == pytest.approx(expected.value, rel=1e-9)
    assert fid(path, sets / "fake-prepared", prepare_fake="none").protocol.prepare == f"real {STEPS}; fake none"
    with pytest.raises(IncomparableError, match=f"prepare: none against {STEPS}"):
        fid(path, sets / "fake")
    with pytest.raises(IncomparableError, match="prepare: pad against"):
        fid(path, sets / "fake", prepare="pad")


def test_an_evaluator_prepares_its_fakes(sets: Path) -> None:
    expected = fid(sets / "real", sets / "fake", prepare=STEPS)
    with Evaluator(sets / "real", protocol="compact", device="cpu", metrics=("fid",), prepare=STEPS) as evaluator:
        evaluator.update(sets / "fake")
        assert evaluator.compute()["fid"].value == pytest.approx(expected.value, rel=1e-9)


def test_patches_are_seeded_and_count_as_one_image(sets: Path) -> None:
    found = fid(sets / "real", sets / "fake", prepare="patches:32x3", cache=False)
    assert (found.n_real, found.n_fake) == (72, 72)
    assert found.details["degrees_of_freedom"] == 23
    assert fid(sets / "real", sets / "fake", prepare="patches:32x3", batch_size=5).value == pytest.approx(
        found.value, rel=1e-5
    )
    assert fid(sets / "real", sets / "fake", prepare="patches:32x3", seed=1).value != found.value
    preparation = parse_preparation("patches:32x3")
    names = sorted((sets / "real").iterdir())
    reals = [
        preparation.patch(np.asarray(Image.open(path)), 0, index, number)
        for index, path in enumerate(names)
        for number in range(3)
    ]
    by_hand = fid(np.stack(reals), sets / "fake", prepare_fake="patches:32x3")
    assert by_hand.value == pytest.approx(found.value, rel=1e-6)
    with pytest.raises(ConfigError, match="takes patches of images in a folder"):
        fid(sets / "real", "gen:dcgan-cifar10", num_samples=12, prepare="patches:8x2")


def test_images_that_are_too_small_are_named_or_skipped(sets: Path, capsys: Capture) -> None:
    Image.fromarray(picture(20, 20)).save(sets / "fake" / "small.png")
    run = ["fid", str(sets / "real"), str(sets / "fake"), "--protocol", "compact", "--prepare", "center-crop:48"]
    assert main(run) == 2
    assert "small.png: it has 20 x 20 pixels; center-crop:48 expected 48 or more" in capsys.readouterr().err
    assert main([*run, "--on-error", "skip", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["results"]["fid"]["n_fake"] == 24
    assert document["results"]["fid"]["protocol"]["prepare"] == "center-crop:48"
