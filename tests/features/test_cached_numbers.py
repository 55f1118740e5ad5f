"""Numbers that are kept in the cache's folder: recalled, and computed again where they are no longer what they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeval.features.cache import forget, remembered
from ganeval.metrics.calibration import Kappa

KEY = {"reference": "abc", "n": 50}
KAPPA = Kappa(0.9, 0.001, "rows")


def unwanted() -> Kappa:
    raise AssertionError("this is known")


def test_recalled_until_it_is_forgotten(tmp_path: Path) -> None:
    assert remembered(tmp_path, KEY, Kappa, lambda: KAPPA) == KAPPA
    assert remembered(tmp_path, KEY, Kappa, unwanted) == KAPPA
    other = Kappa(0.8, 0.001, "gaussian")
    assert remembered(tmp_path, {**KEY, "n": 51}, Kappa, lambda: other) == other
    forget(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"value": "x", "standard_error": 0.1, "source": "rows"}',
     '{"value": 7.0, "standard_error": 0.1, "source": "rows"}',
     '{"value": 0.9, "standard_error": 0.1, "source": "me"}'],
)  # fmt: skip
def test_a_damaged_file_is_computed_again(text: str, tmp_path: Path) -> None:
    remembered(tmp_path, KEY, Kappa, lambda: Kappa(0.5, 0.001, "rows"))
    (path,) = tmp_path.rglob("*.json")
    path.write_text(text)
    assert remembered(tmp_path, KEY, Kappa, lambda: KAPPA) == KAPPA


def test_a_folder_that_cannot_be_written_to_costs_no_run(tmp_path: Path) -> None:
    (tmp_path / "numbers").write_text("a file of this name")
    assert remembered(tmp_path, KEY, Kappa, lambda: KAPPA) == KAPPA
