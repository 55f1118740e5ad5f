"""Features in place of images: every metric of features, from files and arrays, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganeval.api import evaluate
from ganeval.cli.main import main
from ganeval.errors import ConfigError, IncomparableError, InputError, NotEnoughSamplesError
from ganeval.metrics.frechet import frechet_distance
from ganeval.metrics.kernel import kernel_distance
from ganeval.protocol import features_protocol, get_protocol
from ganeval.statistics.moments import Moments

D = 6


def drawn(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, D)) + shift).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    np.save(tmp_path / "real.npy", drawn(300, 0))
    np.savez_compressed(tmp_path / "fake.npz", features=drawn(200, 1, 0.5), labels=np.arange(200) % 2)
    return str(tmp_path / "real.npy"), str(tmp_path / "fake.npz")


def moments(rows: np.ndarray) -> Any:
    found = Moments(rows.shape[1])
    found.update(rows)
    return found.finish()


def test_every_metric_of_features(files: tuple[str, str]) -> None:
    run = evaluate(*files, features=True, metrics=None)
    y, x = drawn(300, 0), drawn(200, 1, 0.5)
    assert run["fid"].value == pytest.approx(frechet_distance(moments(y), moments(x)).value, rel=1e-12)
    assert run["kid"].value == pytest.approx(kernel_distance(y, x).value, rel=1e-9)
    assert {"fid", "kid", "precision", "recall", "density", "coverage", "ind", "mind", "vendi", "rke"} <= set(
        run.results
    )
    assert run["fid"].label == "FD[features]"
    assert (run["fid"].n_real, run["fid"].n_fake) == (300, 200)
    assert run["fid"].interval is not None
    assert run["fid"].interval.estimand == "population"
    assert any(note.startswith("is is not computed") for note in run.notes)
    assert (run.real["kind"], run.real["n"], run.real["spec"]) == ("features", 300, files[0])


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, lambda x: x.astype(np.float64), np.asfortranarray])
def test_arrays_and_files_are_alike(files: tuple[str, str], convert: Any) -> None:
    ours = evaluate(convert(drawn(300, 0)), convert(drawn(200, 1, 0.5)), features=True)["fid"]
    theirs = evaluate(*files, protocol="features")["fid"]
    assert ours.value == theirs.value
    assert ours.comparison_key() == theirs.comparison_key()


def test_a_subset_is_drawn_by_the_seed(files: tuple[str, str]) -> None:
    one, other = (evaluate(*files, features=True, num_fake=50, seed=seed) for seed in (0, 1))
    assert one["fid"].n_fake == 50
    assert one["fid"].value != other["fid"].value
    assert one.fake["subset"] == {"n": 50, "of": 200, "seed": 0}


def test_classes_of_rows(tmp_path: Path) -> None:
    for name, seed in (("real", 0), ("fake", 1)):
        np.savez(tmp_path / f"{name}.npz", arr_0=drawn(100, seed), arr_1=np.array(["cat", "dog"] * 50))
    found = evaluate(tmp_path / "real.npz", tmp_path / "fake.npz", features=True, metrics=("intra-fid",))["intra-fid"]
    assert list(found.details["per_class"]) == ["cat", "dog"]  # type: ignore[call-overload]


def test_other_widths_or_names_cannot_be_compared(files: tuple[str, str]) -> None:
    with pytest.raises(IncomparableError, match=f"different widths: real has {D}, fake has 3"):
        evaluate(files[0], drawn(50, 0)[:, :3], features=True)
    one, other = (evaluate(*files, features=True, features_name=name)["fid"] for name in ("videomae", None))
    assert one.label == "FD[features-videomae]"
    assert one.value == other.value
    with pytest.raises(IncomparableError, match="features-videomae against features"):
        one.require_comparable(other)
    assert features_protocol(3).key() != features_protocol(4).key()
    assert get_protocol("features").name == "features"


def test_features_iv(files: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found shape \(5, 2, 2\) of float64"):
        evaluate(np.zeros((5, 2, 2)), files[1], features=True)
    with pytest.raises(InputError, match="floating-point numbers.*of int64"):
        evaluate(np.zeros((5, 2), dtype=int), files[1], features=True)
    with pytest.raises(InputError, match="feature row 3 has NaN"):
        evaluate(np.where(np.arange(5)[:, None] == 3, np.nan, np.ones((5, D))), files[1], features=True)
    with pytest.raises(InputError, match="expected a .npy or .npz file"):
        evaluate("dataset:shapes", files[1], features=True)
    with pytest.raises(InputError, match="is more than the 300 rows"):
        evaluate(*files, features=True, num_real=301)
    with pytest.raises(NotEnoughSamplesError, match="at least 2 fake feature rows; found 1"):
        evaluate(files[0], drawn(1, 0), features=True)
    np.savez(tmp_path / "other.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(InputError, match="has no member of feature rows.*mu"):
        evaluate(files[0], tmp_path / "other.npz", features=True)
    with pytest.raises(ConfigError, match="--precision.*features that exist"):
        evaluate(*files, features=True, precision="bf16")
    with pytest.raises(ConfigError, match="--protocol.*features that exist"):
        evaluate(*files, features=True, protocol="compact")
    with pytest.raises(ConfigError, match="has no effect without --features"):
        evaluate(*files, features_name="videomae")


def test_half_precision_is_told(files: tuple[str, str]) -> None:
    with pytest.warns(UserWarning, match="half precision"):
        found = evaluate(files[0], drawn(200, 1).astype(np.float16), features=True)
    assert any("half precision" in warning for warning in found.warnings)


def test_the_program_gate_compare_and_report(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [tmp_path / f"{i}.json" for i in range(2)]
    page, table = tmp_path / "report.html", tmp_path / "rows.csv"
    on = ["--features", "-q"]
    assert main(["eval", *files, *on, "-o", str(runs[0]), "--report", str(page), "--per-image", str(table)]) == 0
    assert "FD[features]" in page.read_text()
    assert len(table.read_text().splitlines()) > 200
    np.save(tmp_path / "worse.npy", drawn(200, 2, 1.0))
    for fake, run in ((files[1], runs[0]), (str(tmp_path / "worse.npy"), runs[1])):
        assert main(["fid", files[0], fake, *on, "-o", str(run)]) == 0
    capsys.readouterr()
    assert main(["compare", *map(str, runs), "-q"]) == 0
    assert "FD[features]" in capsys.readouterr().out
    (tmp_path / "ganeval.toml").write_text('[gate]\nprotocol = "features"\n[gate.rules.fid]\nmax = 3.0\n')
    gate = ["gate", "--config", str(tmp_path / "ganeval.toml"), "-q"]
    assert main([*gate, "--results", str(runs[0])]) == 0
    assert main([*gate, files[0], str(tmp_path / "worse.npy")]) == 1
    assert main([*gate, *files, "--features"]) == 0
    capsys.readouterr()
    assert main(["kid", *files, *on, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["kid"]["protocol"]["layer"] == str(D)
