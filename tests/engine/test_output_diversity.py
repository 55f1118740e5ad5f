"""``ganeval.diversity`` and ``ganeval diversity``: the mean distance between outputs of one input."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, GanEvalWarning, InputError, NotEnoughSamplesError
from ganeval.features.perceptual import load_distance
from ganeval.gate.compare import compare
from ganeval.result_files import Record

BY = {"group_by": r"(.+)_\d", "distance": "compact", "device": "cpu"}


def outputs(folder: Path, *, inputs: int = 12, each: int = 3, spread: int = 40) -> np.ndarray:
    """Noisy outputs of each input, in files whose order mixes the inputs; uint8 (inputs, each, 12, 12, 3)."""
    rng = np.random.default_rng(spread)
    base = np.random.default_rng(0).integers(60, 190, (inputs, 1, 12, 12, 3))
    found = (base + rng.integers(-spread, spread + 1, (inputs, each, 12, 12, 3))).astype(np.uint8)
    folder.mkdir()
    for i, images in enumerate(found):
        for k, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{i % 7}{i}_{k}.png")
    return found


def by_hand(images: np.ndarray) -> np.ndarray:
    distance = load_distance("compact", device=torch.device("cpu"))
    floats = torch.from_numpy(images).permute(0, 1, 4, 2, 3) / 127.5 - 1
    pairs = list(combinations(range(images.shape[1]), 2))
    return np.mean([distance(floats[:, k], floats[:, m]).numpy() for k, m in pairs], axis=0)


def test_the_mean_over_inputs_and_its_error(tmp_path: Path) -> None:
    expected = by_hand(outputs(tmp_path / "a"))
    found = ganeval.diversity(tmp_path / "a", **BY)["diversity"]
    assert found.value == pytest.approx(expected.mean(), rel=1e-5)
    assert found.standard_error == pytest.approx(expected.std(ddof=1) / 12**0.5, rel=1e-4)
    assert (found.label, found.n_fake, found.details["inputs"]) == ("diversity[compact-v1]", 36, 12)
    some = ganeval.diversity(tmp_path / "a", pairs=1, **BY)["diversity"]
    assert some.settings == {"pairs": 1, "seed": 0}
    assert some.value == pytest.approx(found.value, rel=0.2)


def test_two_models_are_paired_by_their_inputs(tmp_path: Path) -> None:
    outputs(tmp_path / "a", spread=40), outputs(tmp_path / "b", spread=20)
    a, b = (Record.of(ganeval.diversity(tmp_path / name, **BY)) for name in "ab")
    (row,) = compare(a, b).rows
    assert (row.pairing, row.better) == ("paired", "A")


def test_faults_iv(tmp_path: Path) -> None:
    outputs(tmp_path / "a")
    with pytest.raises(ConfigError, match="name the input of each output: --group-by"):
        ganeval.diversity(tmp_path / "a", **{**BY, "group_by": None})
    with pytest.raises(NotEnoughSamplesError, match="diversity takes 4 pairs of the outputs for one input"):
        ganeval.diversity(tmp_path / "a", pairs=4, **BY)
    (tmp_path / "a" / "00_0.png").write_bytes(b"no image")
    with pytest.warns(GanEvalWarning, match="1 unreadable file skipped"):
        found = ganeval.diversity(tmp_path / "a", on_error="skip", **BY)
    assert found["diversity"].n_fake == 35
    Image.new("RGB", (12, 13)).save(tmp_path / "a" / "00_0.png")
    with pytest.raises(InputError, match="have unequal sizes. Bring them to one: --prepare"):
        ganeval.diversity(tmp_path / "a", **BY)
    Image.new("RGB", (12, 12)).save(tmp_path / "a" / "alone_0.png")
    with pytest.raises(NotEnoughSamplesError, match="alone_0.png is the only output of its input"):
        ganeval.diversity(tmp_path / "a", prepare="resize:12:box", **BY)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs(tmp_path / "a")
    options = ["--distance", "compact", "--device", "cpu", "--json"]
    assert main(["diversity", str(tmp_path / "a"), "--group-by", r"(.+)_\d", "--pairs", "2", *options]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["diversity"]["settings"] == {"pairs": 2, "seed": 0}
    assert main(["diversity", str(tmp_path / "a"), *options]) == 2
