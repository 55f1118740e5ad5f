"""The example runs as it stands, at tiny size."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "train_dcgan.py"


def test_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("example_train_dcgan", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    size = ["--width", "2", "--batch-size", "4", "--steps", "2", "--images", "40", "--samples", "20"]
    values = module.main(["--output", str(tmp_path / "run"), *size])
    assert set(values) == {"before", "after", "fresh"}
    assert min(values.values()) > 0
    assert "FD[compact-v1]" in capsys.readouterr().out
    assert (tmp_path / "run" / "game.png").is_file()
