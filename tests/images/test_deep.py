"""Image files of more than 8 bits: saturated without a declared range, mapped with one, and under a key of its own."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganeval import Evaluator, build_statistics, evaluate
from ganeval.cli.main import main
from ganeval.errors import ConfigError, IncomparableError, InputError
from ganeval.images.open import open_images
from ganeval.statistics.reference import save_statistics

GREY = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
COLOUR = np.repeat(np.random.default_rng(1).integers(0, 256, (12, 8, 8, 1), dtype=np.uint8), 3, axis=3)
FORMS = {  # suffix, the values that stand for GREY, their range
    "16-bit PNG": (".png", GREY.astype(np.uint16) * 257, (0, 65535)),
    "16-bit TIFF": (".tif", GREY.astype(np.uint16) * 257, (0, 65535)),
    "32-bit TIFF": (".tif", GREY.astype(np.int32) * 1000 - 5, (-5, 254_995)),
    "float TIFF": (".tif", (GREY / 127.5 - 1).astype(np.float32), (-1, 1)),
}


def folder(path: Path, values: np.ndarray, suffix: str) -> str:
    path.mkdir()
    for i, value in enumerate(values):
        Image.fromarray(value).save(path / f"{i:02d}{suffix}")
    return str(path)


def pixels(spec: object, **options: object) -> np.ndarray:
    batches = open_images(spec, **options).batches(5)
    return torch.cat([torch.as_tensor(batch.images) for batch in batches]).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("place", ["folder", "zip"])
def test_a_declared_range_maps_them_as_it_maps_arrays(form: str, place: str, tmp_path: Path) -> None:
    suffix, values, value_range = FORMS[form]
    spec = folder(tmp_path / "deep", values, suffix)
    if place == "zip":
        with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
            for file in sorted(Path(spec).iterdir()):
                archive.write(file, file.name)
        spec = str(tmp_path / "deep.zip")
    expected = np.repeat(GREY[..., None], 3, axis=3)
    found = pixels(spec, value_range=value_range)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, pixels(values[..., None], value_range=value_range))
    source = open_images(spec, value_range=value_range)
    assert source.decode_policy == f"range:{value_range[0]:.9g},{value_range[1]:.9g}"
    assert source.describe()["value_range"] == list(map(float, value_range))
    assert not np.array_equal(pixels(spec), expected)  # without a range they are saturated
    assert open_images(spec).decode_policy is None


def test_values_outside_the_range_and_8_bits_among_them_iv(tmp_path: Path) -> None:
    deep = folder(tmp_path / "deep", FORMS["16-bit PNG"][1], ".png")
    with pytest.raises(InputError, match=r"00\.png: its values reach from .* outside the declared range 0\.\.255"):
        pixels(deep, value_range=(0, 255))
    Image.fromarray(COLOUR[0]).save(tmp_path / "deep" / "colour.png")
    with pytest.raises(InputError, match=r"colour\.png: a PNG file of mode RGB, which Pillow reads as 8 bits"):
        pixels(deep, value_range=(0, 65535))
    shallow = folder(tmp_path / "shallow", COLOUR, ".png")
    Image.fromarray(FORMS["16-bit PNG"][1][0]).save(tmp_path / "shallow" / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png: a file of more than 8 bits among those of 8 bits"):
        pixels(shallow, value_range=(0, 65535))
    assert len(pixels(shallow)) == 13  # as ever


def test_the_policy_is_part_of_the_key(tmp_path: Path) -> None:
    deep = folder(tmp_path / "deep", FORMS["16-bit TIFF"][1], ".tif")
    options = {"protocol": "compact", "cache": False}
    run = evaluate(deep, COLOUR, metrics=("kid",), value_range=(0, 65535), **options)
    assert run["kid"].protocol.decode == "range:0,65535"
    same = evaluate(np.repeat(GREY[..., None], 3, axis=3), COLOUR, metrics=("kid",), **options)
    assert run["kid"].value == pytest.approx(same["kid"].value, abs=1e-6)
    assert same["kid"].protocol.decode == "pil-rgb"
    assert run["kid"].comparison_key() != same["kid"].comparison_key()
    built = build_statistics(deep, value_range=(0, 65535), **options)
    save_statistics(tmp_path / "deep.npz", built)
    with pytest.raises(IncomparableError, match="decode: pil-rgb against range:0,65535"):
        evaluate(str(tmp_path / "deep.npz"), COLOUR, **options)
    assert evaluate(str(tmp_path / "deep.npz"), deep, value_range=(0, 65535), **options)["fid"].value < 1e-9


def test_an_evaluator_takes_no_other_policy_later(tmp_path: Path) -> None:
    deep = folder(tmp_path / "deep", FORMS["16-bit TIFF"][1], ".tif")
    with (
        Evaluator(COLOUR, protocol="compact", value_range=(0, 65535), cache=False) as evaluator,
        pytest.raises(ConfigError, match=r"more than 8 bits, decoded as range:0,65535; the reference was .* pil-rgb"),
    ):
        evaluator.update(deep)


@pytest.mark.parametrize("command", [["kid", "eight", "eight"], ["check", "eight"], ["stats", "build", "eight"]])
def test_a_range_for_8_bits_alone_has_no_effect_iv(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "eight", COLOUR, ".png")
    more = [] if command[0] == "check" else ["--protocol", "compact"]
    more += ["-o", "out.npz"] if command[0] == "stats" else []
    assert main([*command, *more, "--value-range", "0,255"]) == 2
    assert "value_range (--value-range) has no effect: all images here are of 8 bits" in capsys.readouterr().err


def test_a_range_for_the_fakes_leaves_8_bit_files_as_they_are(tmp_path: Path) -> None:
    eight = folder(tmp_path / "eight", COLOUR, ".png")
    fakes = (COLOUR / 127.5 - 1).astype(np.float32)
    run = evaluate(eight, fakes, metrics=("kid",), protocol="compact", value_range=(-1, 1), cache=False)
    assert run["kid"].protocol.decode == "pil-rgb"
    assert run.real["digest"] == run.fake["digest"]
