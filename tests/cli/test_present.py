"""What a run writes and prints, whatever its command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ganeval import paired
from ganeval.cli.present import present
from ganeval.report.table import pair_columns

PUBLIC, TYPED = "https://host/fake.zip", "https://me:secret@host/fake.zip?token=secret"


def test_what_is_secret_in_an_address_is_in_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
    measured = paired(images, images[::-1], metrics=("psnr",), single_images=True, device="cpu")
    assert measured.fake is not None
    evaluation = replace(measured, fake={**measured.fake, "spec": PUBLIC})  # as a source of an address describes itself
    report, table, target = (tmp_path / name for name in ("page.html", "pairs.csv", "pairs.json"))
    present(evaluation, fmt="text", target=target, name=TYPED, report=report, per_image=table, columns=pair_columns)
    written = [path.read_bytes() for path in tmp_path.iterdir()]
    assert len(written) == 4
    assert not any(b"secret" in content for content in written)
    assert PUBLIC.encode() in report.read_bytes()
    assert "secret" not in capsys.readouterr().out
