"""The tables that papers print: of one reference file as ADM publishes it, and of one file of our own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from support.https import publishers

from ganeval import protocol as protocols
from ganeval.api import build_statistics, evaluate
from ganeval.cli.main import main
from ganeval.engine.public_statistics import get_statistics
from ganeval.engine.reference_files import parts_of
from ganeval.errors import IncomparableError, InputError, WeightsError
from ganeval.features.extractor import FeatureExtractor
from ganeval.images.shapes import render
from ganeval.images.types import ImageBatch
from ganeval.protocol import get_protocol
from ganeval.statistics.merging import merge_statistics
from ganeval.statistics.reference import Statistics, load_statistics, save_statistics

REAL, FAKE = (np.stack([render(i, seed=s) for i in range(8)]) for s in (1, 3))
FAKE[5:] = np.random.default_rng(0).integers(0, 256, FAKE[5:].shape)  # not like any real one
LABELS = np.arange(8) % 3
NAMES = ("fid", "sfid", "is", "precision", "recall")
Rows = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def rows(surrogate_weights: Path) -> tuple[Rows, Rows]:
    """The features of both sets by layer, from one call of the network."""
    extractor = FeatureExtractor(
        get_protocol("adm"),
        device=torch.device("cpu"),
        weights=surrogate_weights,
        layers=("features", "spatial", "logits"),
    )
    found = []
    for images in (REAL, FAKE):
        taps = extractor(ImageBatch(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), [""] * 8, None))
        layers = ("features", "spatial", "logits")
        found.append({layer: taps[extractor.tap(layer)].numpy().astype(np.float64) for layer in layers})
    return found[0], found[1]


@pytest.fixture(scope="module")
def published(rows: tuple[Rows, Rows]) -> dict[str, np.ndarray]:
    """A reference as ADM publishes it, with known moments of both layers: diagonal covariances."""
    random, members = np.random.default_rng(5), {}
    for layer, suffix in (("features", ""), ("spatial", "_s")):
        d = rows[0][layer].shape[1]
        members[f"mu{suffix}"] = rows[0][layer].mean(0) + 0.1
        members[f"sigma{suffix}"] = np.diag(random.uniform(0.01, 0.05, d))
    return {"arr_0": REAL, "arr_1": LABELS, **members}


def distance(mean: np.ndarray, covariance: np.ndarray, x: np.ndarray) -> float:
    """The Frechet distance of a Gaussian with a diagonal covariance, by the singular values of n rows."""
    variances, centred = np.diag(covariance), x - x.mean(0)
    cross = np.linalg.svd(centred * np.sqrt(variances), compute_uv=False).sum() / np.sqrt(len(x) - 1)
    own = (centred**2).sum() / (len(x) - 1)
    return float(((mean - x.mean(0)) ** 2).sum() + variances.sum() + own - 2 * cross)


def inside(points: np.ndarray, centres: np.ndarray, k: int = 3) -> float:
    """The share of the points that are in the ball of a centre, up to its k-th neighbour."""

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)))

    radii = np.sort(distances(centres, centres), axis=1)[:, k]
    return float((distances(points, centres) <= radii).any(1).mean())


@pytest.fixture(scope="module")
def expected(rows: tuple[Rows, Rows], published: dict[str, np.ndarray]) -> dict[str, float]:
    real, fake = rows
    probabilities = softmax(fake["logits"], axis=1)
    divergence = probabilities * (log_softmax(fake["logits"], axis=1) - np.log(probabilities.mean(0)))
    return {
        "fid": distance(published["mu"], published["sigma"], fake["features"]),
        "sfid": distance(published["mu_s"], published["sigma_s"], fake["spatial"]),
        "is": float(np.exp(divergence.sum(1).mean())),
        "precision": inside(fake["features"], real["features"]),
        "recall": inside(real["features"], fake["features"]),
    }


@pytest.fixture
def adm(surrogate_weights: Path) -> dict[str, Any]:
    return {"protocol": "adm", "device": "cpu", "weights": surrogate_weights}


@pytest.fixture
def reference(tmp_path: Path, published: dict[str, np.ndarray]) -> Path:
    np.savez(tmp_path / "VIRTUAL.npz", **published)
    return tmp_path / "VIRTUAL.npz"


def test_five_numbers_against_their_parts(reference: Path, adm: dict[str, Any], expected: dict[str, float]) -> None:
    run = evaluate(reference, FAKE, metrics=NAMES, assume_protocol=True, **adm)
    assert {name: run[name].value for name in NAMES} == pytest.approx(expected, rel=1e-10)
    assert 0 < expected["precision"] < 1
    assert [run[name].n_real for name in NAMES] == [None, None, None, 8, 8]
    assert run.real["statistics"] is not None


@pytest.mark.nightly
def test_without_the_assumption_only_the_images_serve(
    reference: Path, adm: dict[str, Any], expected: dict[str, float]
) -> None:
    run = evaluate(reference, FAKE, metrics=None, **adm)
    assert not {"fid", "sfid"} & set(run.results)
    for name in ("fid", "sfid"):
        (note,) = (note for note in run.notes if note.startswith(f"{name} is not computed"))
        assert "--assume-protocol" in note
    for name in ("is", "precision", "recall"):
        assert run[name].value == pytest.approx(expected[name], rel=1e-10)


@pytest.mark.parametrize("metric", ["fid", "sfid"])
def test_named_they_are_an_error(
    metric: str, reference: Path, adm: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(reference.with_name("fake.npy"), FAKE)
    command = ["eval", str(reference), str(reference.with_name("fake.npy")), "--metrics", f"{metric},precision"]
    assert main([*command, "--protocol", "adm", "--weights", str(adm["weights"]), "--device", "cpu"]) == 2
    assert f"{metric} cannot be computed here" in " ".join(capsys.readouterr().err.split())


def test_known_names_and_hashes_need_no_assumption(
    reference: Path,
    adm: dict[str, Any],
    expected: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "home").mkdir()
    sha256 = hashlib.sha256(adm["weights"].read_bytes()).hexdigest()
    files = {"adm-imagenet-256": reference.read_bytes()}
    with publishers(files, tmp_path / "home", monkeypatch, weights=sha256) as server:
        assert parts_of("stats:adm-imagenet-256") == {"images", "statistics"}
        assert server.requests == []  # the manifest says so
        run = evaluate("stats:adm-imagenet-256", FAKE, metrics=NAMES, **adm)
        assert {name: run[name].value for name in NAMES} == pytest.approx(expected, rel=1e-10)
        assert server.requests == ["/diffusion/jul-2021/ref_batches/imagenet/256/VIRTUAL_imagenet256_labeled.npz"]
        assert [run[name].n_real for name in NAMES] == [1281167, 1281167, None, 8, 8]
        same = evaluate(reference, FAKE, metrics=("fid",), **adm)["fid"]  # its hash is that of the first use
        assert same.value == run["fid"].value
        with pytest.raises(InputError, match="holds statistics and no images"):
            parts_of("stats:edm-cifar10-32:images")
        assert parts_of("stats:adm-imagenet-256:images") == {"images"}
        assert parts_of("stats:adm-imagenet-256:statistics") == {"statistics"}
        server.files.clear()
        get_statistics("adm-imagenet-256").path.unlink()
        with pytest.raises(WeightsError, match="answered 404"):
            evaluate("stats:adm-imagenet-256", FAKE, metrics=("precision",), **adm)


# --- a file of our own -------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_one_file_holds_what_the_table_takes(tmp_path: Path, adm: dict[str, Any]) -> None:
    built = build_statistics(REAL, table=True, **adm)
    path = save_statistics(tmp_path / "table.npz", built)
    names = ("fid", "sfid", "precision", "recall")
    run = evaluate(path, FAKE, metrics=names, **adm)
    images = evaluate(REAL, FAKE, metrics=names, reference="population", **adm)
    assert {n: run[n].value for n in names} == pytest.approx({n: images[n].value for n in names}, rel=1e-10)
    assert [run[name].n_real for name in names] == [8] * 4


@pytest.fixture
def two_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under ``compact``, precision and recall are on Inception, as they are on VGG16 under ``stylegan``."""
    monkeypatch.setattr(protocols, "ROUTES", {"compact": dict.fromkeys(("precision", "recall"), "clean")})


@pytest.mark.nightly
@pytest.mark.usefixtures("two_networks")
def test_rows_of_a_second_network(tmp_path: Path, surrogate_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on: dict[str, Any] = {"protocol": "compact", "device": "cpu", "weights": {"inception": surrogate_weights}}
    names = ("fid", "precision", "recall")
    np.save(tmp_path / "real.npy", REAL)
    weights = ["--weights", f"inception={surrogate_weights}"]
    command = ["stats", "build", str(tmp_path / "real.npy"), "--protocol", "compact", "--table", "--device", "cpu"]
    assert main([*command, *weights, "-o", str(tmp_path / "table.npz")]) == 0
    assert "inception-2015-12-05" in capsys.readouterr().out
    stored = load_statistics(tmp_path / "table.npz")
    assert stored.rows is None
    assert stored.other_rows["inception-2015-12-05"].shape == (8, 2048)
    run = evaluate(tmp_path / "table.npz", FAKE, metrics=names, **on)
    images = evaluate(REAL, FAKE, metrics=names, reference="population", **on)
    assert {n: run[n].value for n in names} == {n: images[n].value for n in names}
    assert run["precision"].protocol.extractor == "inception-2015-12-05"
    assert run["precision"].protocol.weights == hashlib.sha256(surrogate_weights.read_bytes()).hexdigest()
    parts = [build_statistics(part, table=True, **on) for part in (REAL[:3], REAL[3:])]
    merged = merge_statistics(parts)
    np.testing.assert_allclose(merged.other_rows["inception-2015-12-05"], stored.other_rows["inception-2015-12-05"])
    lacking = merge_statistics([parts[0], build_statistics(REAL[3:], protocol="compact", device="cpu")])
    assert lacking.other_rows == {}
    assert any("not all merged files have it: what was kept for inception-2015-12-05" in w for w in lacking.warnings)


def test_statistics_for_sfid_merge(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((40, 4)), random.standard_normal((40, 3))

    def of(start: int, stop: int) -> Statistics:
        a, b = x[start:stop], y[start:stop]
        meta = {"protocol": get_protocol("compact").to_dict()}
        spatial = (b.mean(0), np.cov(b, rowvar=False))
        return Statistics(a.mean(0), np.cov(a, rowvar=False), stop - start, 1, meta=meta, spatial=spatial)

    merged = merge_statistics([of(0, 10), of(10, 17), of(17, 40)])
    assert merged.spatial is not None
    np.testing.assert_allclose(merged.spatial[0], y.mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.spatial[1], np.cov(y, rowvar=False), rtol=1e-12)
    other = Statistics(x.mean(0), np.cov(x, rowvar=False), 40, 1, meta=of(0, 10).meta)
    for parts in ([of(0, 10), other], [other, of(0, 10)]):
        lacking = merge_statistics(parts)
        assert lacking.spatial is None
        assert any("what was kept for sFID" in warning for warning in lacking.warnings)
    small = Statistics(x.mean(0), np.cov(x, rowvar=False), 40, 1, meta=of(0, 10).meta, spatial=(x.mean(0), np.eye(4)))
    with pytest.raises(IncomparableError, match="statistics for sFID of"):
        merge_statistics([of(0, 10), small])
