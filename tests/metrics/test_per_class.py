"""The Frechet distance within classes: against runs of each class alone, and what it needs."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.api import evaluate
from ganeval.cli.main import main
from ganeval.images.shapes import render
from ganeval.metrics.classes import class_distances
from ganeval.metrics.fid import floor
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.protocol import get_protocol
from ganeval.results import Reason
from ganeval.statistics.rows import FeatureRows

FAST = ["--protocol", "compact", "--device", "cpu", "-q"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("classes")
    for side, seed in (("real", 1), ("fake", 2)):
        for label, variant, n in (("plain", "plain", 40), ("striped", "striped", 30), (f"only-{side}", "mixed", 5)):
            (root / side / label).mkdir(parents=True)
            for i in range(n):
                Image.fromarray(render(i, seed=seed, variant=variant)).save(root / side / label / f"{i}.png")
    (root / "real" / "one").mkdir()
    (root / "fake" / "one").mkdir()
    for side in ("real", "fake"):
        Image.fromarray(render(99)).save(root / side / "one" / "0.png")
    return root / "real", root / "fake"


def test_each_class_against_a_run_of_its_own(folders: tuple[Path, Path]) -> None:
    real, fake = folders
    whole = evaluate(real, fake, protocol="compact", device="cpu", per_class=True)["fid"]
    found = whole.details["per_class"]
    assert list(found) == ["one", "plain", "striped"]  # type: ignore[call-overload]
    for name in ("plain", "striped"):
        alone = evaluate(real / name, fake / name, protocol="compact", device="cpu")["fid"]
        assert found[name]["value"] == pytest.approx(alone.value, rel=1e-5)  # type: ignore[index]
        assert found[name]["reason"] == (None if alone.reason is None else str(alone.reason))  # type: ignore[index]
    few = Reason("too_few_in_class", n_real=1, n_fake=1, needed=2)
    assert found["one"]["value"] is None  # type: ignore[index]
    assert found["one"]["reason"] == str(few)  # type: ignore[index]  # type: ignore[index]
    assert whole.details["classes_only_in_real"] == ["only-real"]
    assert whole.details["classes_only_in_fake"] == ["only-fake"]
    (told,) = (w for w in whole.warnings if w.startswith("per class"))
    assert "1 class has real images and no fake ones: only-real; 1 class has fake images and no real" in told
    assert "letter case" not in told
    without = evaluate(real, fake, protocol="compact", device="cpu")["fid"]
    assert not any(w.startswith("per class") for w in without.warnings)
    assert "per_class" not in without.details
    assert without.value == whole.value


def test_through_the_program(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fid", *map(str, folders), "--per-class", *FAST, "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)["results"]["fid"]
    assert entry["details"]["per_class"]["plain"]["n_real"] == 40
    assert main(["fid", *map(str, folders), "--per-class", *FAST]) == 0
    lines = capsys.readouterr().out.splitlines()
    label = lines[0].split()[0]
    told = [[label, "class", name] for name in ("one", "plain", "striped")]
    assert [line.split()[:3] for line in lines[1:]] == told
    assert lines[2].endswith("(compact, 40 real, 40 fake)")


def test_kid_within_classes(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    real, fake = folders
    options = {"protocol": "compact", "device": "cpu", "metrics": ("kid",)}
    found = evaluate(real, fake, per_class=True, kid_subsets=(2, 10), **options)["kid"]
    table = found.details["per_class"]
    alone = evaluate(real / "plain", fake / "plain", **options)["kid"]
    assert alone.interval is not None
    assert table["plain"]["value"] == pytest.approx(alone.value, rel=1e-4)  # type: ignore[index]
    assert table["plain"]["interval"] == pytest.approx([alone.interval.low, alone.interval.high], rel=1e-4)  # type: ignore[index]
    assert table["one"]["value"] is None  # type: ignore[index]
    assert found.details["classes_only_in_real"] == ["only-real"]
    assert any(warning.startswith("per class") for warning in found.warnings)
    assert main(["kid", *map(str, folders), "--per-class", *FAST]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[2] for line in lines] == ["one", "plain", "striped"]
    assert "bias-corrected" not in lines[1]
    assert "for 40 images" not in lines[1]


def test_intra_fid_through_the_program(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, page = tmp_path / "run.json", tmp_path / "run.html"
    for folder in folders:
        (tmp_path / folder.name).mkdir()
        for name in ("plain", "striped"):
            shutil.copytree(folder / name, tmp_path / folder.name / name)
    sets = [str(tmp_path / folder.name) for folder in folders]
    assert main(["intra-fid", *sets, *FAST, "-o", str(record), "--report", str(page)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Intra-FD[compact-v1]")
    assert "mean of 2 classes; weighted by their numbers of reals" in out
    entry = json.loads(record.read_text())["results"]["intra-fid"]
    values = [entry["details"]["per_class"][name]["value"] for name in ("plain", "striped")]
    assert entry["value"] == pytest.approx(np.mean(values), rel=1e-12)
    assert "within each class" in page.read_text()
    rules = tmp_path / "gate.toml"
    rules.write_text('[gate]\nprotocol = "compact"\n[gate.rules.intra-fid]\nmax = 1000.0\ncompare = "value"\n')
    assert main(["gate", "--config", str(rules), "--results", str(record), "-q"]) == 0


def test_classes_iv(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "fake.npy", np.stack([render(i) for i in range(20)]))
    assert main(["fid", str(folders[0]), str(tmp_path / "fake.npy"), "--per-class", *FAST]) == 2
    assert "on both sides; FAKE has none" in capsys.readouterr().err
    assert main(["fid", "stats:cifar10-test", str(folders[1]), "--floor", *FAST]) == 2
    assert "--floor (floor=True) needs real images" in capsys.readouterr().err


def of_classes(*names: str) -> list[tuple[np.ndarray, str]]:
    return [(render(i), names[i % len(names)]) for i in range(4 * len(names))]


def test_classes_of_one_side_are_told_whatever_the_route(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Named(list):  # type: ignore[type-arg]
        classes = ("cat", "dog", "fox")

    real = Named((image, {"Cat": 0, "dog": 1, "fox": 2}[name]) for image, name in of_classes("Cat", "dog", "fox"))
    for i, (image, name) in enumerate(of_classes("Cat", "dog")):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    found = evaluate(real, tmp_path, protocol="compact", device="cpu", per_class=True)["fid"]
    assert list(found.details["per_class"]) == ["dog"]  # type: ignore[call-overload]
    assert found.details["classes_only_in_real"] == ["cat", "fox"]
    assert found.details["classes_only_in_fake"] == ["Cat"]
    (told,) = (w for w in found.warnings if w.startswith("per class"))
    assert "2 classes have real images and no fake ones: cat, fox; 1 class has fake images" in told
    assert "Only letter case or spaces distinguish 'cat' and 'Cat': rename one side" in told
    both = evaluate(tmp_path, tmp_path, protocol="compact", device="cpu", per_class=True)["fid"]
    assert not {"classes_only_in_real", "classes_only_in_fake"} & set(both.details)
    many = [f"class {i}" for i in range(9)]
    others = np.stack([image for image, _ in of_classes(*many)])
    np.savez(tmp_path / "many.npz", others, np.array([f"{i % 9}" for i in range(36)]))
    np.savez(tmp_path / "cats.npz", others[:4], np.array(["Cat", "DOG"] * 2))
    assert main(["fid", str(tmp_path / "many.npz"), str(tmp_path / "cats.npz"), "--per-class", *FAST]) == 2
    assert "no class on both sides: 0, 1, 2, 3, 4 and 4 more in REAL, Cat, DOG in FAKE." in capsys.readouterr().err


def test_memory_does_not_grow_with_the_number_of_classes() -> None:
    """Of 80 classes the covariances would take 60 MB a side."""
    d, classes = 300, 80
    random = np.random.default_rng(0)
    sides = []
    for _ in range(2):
        rows = FeatureRows(d)
        rows.append(random.standard_normal((4 * classes, d)).astype(np.float32))
        sides.append(
            FeatureSet(n=4 * classes, rows=rows, labels=np.array([f"{i % classes}" for i in range(4 * classes)]))
        )
    inputs = MetricInputs(wanted=frozenset(["fid"]), protocol=get_protocol("compact"), real=sides[0], fake=sides[1])
    tracemalloc.start()
    try:
        found = [distance for _, distance in class_distances(inputs)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == classes
    assert peak < 30e6


def test_floor_has_the_protocol_s_ddof() -> None:
    rows = FeatureRows(2)
    rows.append(np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32))
    usual, other = (floor(rows, ddof=ddof)["value"] for ddof in (1, 0))
    first = np.random.default_rng(0).permutation(8) < 4
    means = [rows.to_array()[chosen].mean(axis=0, dtype=np.float64) for chosen in (first, ~first)]
    shift = float(((means[0] - means[1]) ** 2).sum())
    assert other - shift == pytest.approx(3 / 4 * (usual - shift), rel=1e-9)  # type: ignore[operator]
