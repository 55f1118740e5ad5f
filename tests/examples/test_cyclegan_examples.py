"""The two examples run as they stand, at tiny size: one trains what the other evaluates."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from ganeval.training.translation_errors import ClusteredMean

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIZE = ["--size", "16", "--width", "2", "--blocks", "1", "--batch-size", "2", "--steps", "2"]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.nightly
def test_train_and_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    metrics = load("train_cyclegan").main(["--output", str(run), *SIZE, "--images", "8", "--test-images", "4"])
    assert metrics["a2b_n"] == 4
    assert metrics["b2a_pair_l1"] > 0
    assert "plain to striped: FD[compact-v1]" in capsys.readouterr().out
    written = tmp_path / "numbers.json"
    arguments = ["--run", str(run), "--size", "16", "-n", "700", "--json", str(written)]
    found = load("cyclegan_evaluation").main(arguments)
    out = capsys.readouterr().out
    assert set(found) == {"a to b", "b to a"}
    for direction, errors in found.values():
        assert direction.interval is not None
        assert direction.pair_untranslated > 0
        assert errors.identity.value == pytest.approx(direction.identity / 2, abs=0.5 / 255)  # that one is of 8 bits
        assert errors.cycle.clusters == 700
        before, after = direction.others["kid"]
        assert before.value > 0
        assert before.value != after.value
    assert out.count("KID[compact-v1]") == 4
    assert "diversity" not in out  # these translators draw no noise
    for words in ("untranslated", "difference", "cycle L1", "by 8 bits", "by noise", "identity L1", "L1 to pair"):
        assert out.count(words) >= 2
    numbers = json.loads(written.read_text())["b to a"]
    assert numbers["n"] == 700
    assert numbers["errors"]["cycle_noisy"]["standard_error"] > 0


def test_diversity_of_a_translator_that_draws_noise() -> None:
    example = load("cyclegan_evaluation")
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(1)

    def noisy(sd: float) -> ClusteredMean:
        return example.variety(lambda x: x + sd * torch.randn(x.shape, generator=random), images)

    assert example.variety(lambda x: -x, images) is None
    little, much = noisy(0.05), noisy(0.5)
    assert 0 < little.value < much.value
    assert little.clusters == 12


def test_own_domains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for domain, grey in (("a", 60), ("b", 200)):
        for i in range(5):
            path = tmp_path / domain / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (16, 16), (grey, 10 * i, 0)).save(path)
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    load("train_cyclegan").main(["--domains", *folders, "--output", str(tmp_path / "run"), *SIZE])
    found = load("cyclegan_evaluation").main(["--run", str(tmp_path / "run"), "--domains", *folders, "--size", "16"])
    assert found["a to b"][0].pair is None
    assert "a to b" in capsys.readouterr().out


def test_two_classes(tmp_path: Path) -> None:
    for name in ("deer", "horse", "ship"):
        for i in range(3):
            path = tmp_path / "images" / name / f"{i}.png"
            path.parent.mkdir(exist_ok=True, parents=True)
            Image.new("RGB", (32, 32), (i, 0, len(name))).save(path)
    module = load("train_cyclegan")
    horses, deer = module.classes(str(tmp_path / "images"), ("horse", "deer"))
    assert horses.shape == deer.shape == (3, 3, 32, 32)
    assert horses[2, 2, 0, 0] == len("horse")
    with pytest.raises(SystemExit, match="no class 'cow'; its classes are: deer, horse, ship"):
        module.classes(str(tmp_path / "images"), ("horse", "cow"))
