"""Frechet wavelet distance: against its peer, against theory, against itself, and at its ends."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from support import fwd_peer
from support.fwd_peer import pair

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError
from ganeval.metrics.frechet import frechet_inference
from ganeval.metrics.fwd import band_distances
from ganeval.metrics.leave_one_out import leave_one_out
from ganeval.report.figures import frequency_bands
from ganeval.result_files import Record
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows

# by "level height width": what tests/support/fwd_peer.py prints with pytorchfwd 1.0.1, ptwt 1.0.1, PyWavelets 1.9.0
PEER = {
    "1 4 6": 0.13325234517189175,
    "2 8 8": 0.08719827190242105,
    "3 16 24": 0.10653485888676148,
    "4 32 32": 0.09625295541371037,
    "4 32 48": 0.1109130499357657,
}


def fwd(real: object, fake: object, **options: object) -> ganeval.MetricResult:
    return ganeval.evaluate(real, fake, metrics="fwd", device="cpu", **options)["fwd"]  # type: ignore[arg-type]


def rows_of(array: np.ndarray) -> FeatureRows:
    rows = FeatureRows(array.shape[1])
    rows.append(array.astype(np.float32))
    return rows


def drawn(n: int, seed: int, bands: int = 4, width: int = 3, scale: float = 1.0) -> np.ndarray:
    """Bands that share something: (n, bands * width)."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal((n, 1, width))
    return (scale * (random.standard_normal((n, bands, width)) + shared)).reshape(n, -1).astype(np.float32)


@pytest.mark.parametrize("case", PEER)
def test_against_pytorchfwd(case: str) -> None:
    level, height, width = map(int, case.split())
    assert fwd(*pair(height, width), wavelet_level=level).value == pytest.approx(PEER[case], rel=1e-5)


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("pytorchfwd") is None, reason="needs pytorchfwd, see tests/support/fwd_peer.py")
def test_the_peer_gives_these_values() -> None:
    printed = subprocess.run([sys.executable, fwd_peer.__file__], capture_output=True, check=True, text=True).stdout
    assert json.loads(printed) == pytest.approx(PEER, rel=1e-6)


def test_value_and_influences_are_means_over_the_bands() -> None:
    real, fake = drawn(60, 1), drawn(50, 2, scale=1.2)
    found = band_distances(rows_of(real), rows_of(fake), 4)
    assert found.method == "influence"
    one = [slice(3 * b, 3 * b + 3) for b in range(4)]
    bands = [
        frechet_inference(gaussian(real[:, c]), gaussian(fake[:, c]), rows_of(real[:, c]), rows_of(fake[:, c]))
        for c in one
    ]
    np.testing.assert_allclose(found.values, [band.value for band in bands], rtol=1e-9)
    np.testing.assert_allclose(found.influence_fake, np.mean([b.influence_fake for b in bands], axis=0), atol=1e-9)
    assert found.bias == pytest.approx(np.mean([band.bias for band in bands]))
    assert found.influence_real is not None
    error = sqrt(found.influence_fake.var(ddof=1) / 50 + found.influence_real.var(ddof=1) / 60)
    assert found.standard_error == pytest.approx(error)
    # the bands are of the same images: their errors do not average out as those of independent ones
    assert error > np.sqrt((found.errors**2).mean() / 4)


def test_few_images_have_the_leave_one_out_error_of_the_whole_mean() -> None:
    real, fake = drawn(14, 1, width=12), drawn(12, 2, width=12, scale=1.5)
    found = band_distances(rows_of(real), rows_of(fake), 4)
    assert (found.method, found.bias, found.degrees_of_freedom) == ("leave-one-out", None, 11)

    def value(real: np.ndarray, fake: np.ndarray) -> float:
        return band_distances(rows_of(real), rows_of(fake), 4).value

    without = np.array([value(real, np.delete(fake, i, axis=0)) for i in range(12)])
    pseudo = 11 * (without.mean() - without)
    np.testing.assert_allclose(found.influence_fake, pseudo, atol=1e-6 * np.abs(pseudo).max())
    assert found.upper is not None
    assert found.upper[0] > 0


def test_upper_bound_is_the_mean_over_bands() -> None:
    real, fake = drawn(14, 1, width=12), drawn(12, 2, width=12)
    bounds = [
        leave_one_out(
            *(gaussian(x[:, 12 * b : 12 * b + 12]) for x in (real, fake)),
            *(rows_of(x[:, 12 * b : 12 * b + 12]) for x in (fake, real)),
            kappa=1.0,
        ).value
        for b in range(4)
    ]
    upper = band_distances(rows_of(real), rows_of(fake), 4).upper
    assert upper is not None
    assert upper[0] == pytest.approx(np.mean(bounds))


def test_groups_of_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = rows_of(drawn(60, 1)), rows_of(drawn(50, 2))
    whole = band_distances(real, fake, 4)
    monkeypatch.setattr("ganeval.metrics.fwd._GROUP_BYTES", 1)
    monkeypatch.setattr("ganeval.metrics.fwd._BLOCK_BYTES", 1)
    single = band_distances(real, fake, 4)
    np.testing.assert_array_equal(single.values, whole.values)
    np.testing.assert_array_equal(single.influence_fake, whole.influence_fake)


@pytest.mark.parametrize("reference", ["sample", "population"])
def test_few_images_are_measured_in_the_space_that_they_span(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number of the result is that of whole bands; 30 rows of bands of 40 numbers."""
    real, fake = (rows_of(drawn(*which, width=40)) for which in ((14, 1), (16, 2)))
    found = band_distances(real, fake, 4, reference=reference)
    monkeypatch.setattr("ganeval.metrics.fwd._in_their_span", lambda *rows: list(rows))
    whole = band_distances(real, fake, 4, reference=reference)
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-6)
    np.testing.assert_allclose(found.errors, whole.errors, rtol=1e-6)
    scale = np.abs(whole.influence_fake).max()
    np.testing.assert_allclose(found.influence_fake, whole.influence_fake, atol=1e-6 * scale)
    if reference == "sample":
        np.testing.assert_allclose(found.influence_real, whole.influence_real, atol=1e-6 * scale)
    assert found.upper == pytest.approx(whole.upper, rel=1e-6)
    assert found.standard_error == pytest.approx(whole.standard_error, rel=1e-6)


def test_wide_bands_of_few_images_need_no_matrix_of_their_width() -> None:
    """Bands of 49 152 numbers, whose covariances would take 19 GB."""
    real, fake = (np.random.default_rng(s).integers(0, 256, (11, 256, 256, 3), dtype=np.uint8) for s in (1, 2))
    result = fwd(real, fake, wavelet_level=1)
    assert result.details["features"] == 49_152
    assert result.standard_error is not None
    assert 0 < result.standard_error < 0.1 * result.value


def test_population_has_no_error_of_its_own() -> None:
    real, fake = rows_of(drawn(60, 1)), rows_of(drawn(50, 2))
    given = band_distances(real, fake, 4, reference="population")
    assert given.influence_real is None
    assert given.standard_error < band_distances(real, fake, 4).standard_error


def test_bands_iv() -> None:
    with pytest.raises(InputError, match="expected rows of 5 bands; found 12 real and 12 fake"):
        band_distances(rows_of(drawn(20, 1)), rows_of(drawn(20, 2)), 5)


@pytest.mark.nightly
@pytest.mark.parametrize(("n", "width"), [(150, 3), (20, 12)])
def test_coverage_of_the_interval_against_itself(n: int, width: int) -> None:
    """Of two Gaussians with correlated bands; below the rule, of the average value of so many images."""
    draws, scale, level = 600, 1.5, 1.96
    found = [
        band_distances(rows_of(drawn(n, 2 * i, width=width)), rows_of(drawn(n, 2 * i + 1, width=width, scale=scale)), 4)
        for i in range(draws)
    ]
    if found[0].bias is None:
        from ganeval.metrics.intervals import quantile

        truth, level = float(np.mean([one.value for one in found])), quantile(0.95, n - 1)
    else:
        truth = 2 * width * (scale - 1) ** 2  # each number of a band has variance 2 and 2 scale^2
    inside = [abs(one.value - (one.bias or 0.0) - truth) <= level * one.standard_error for one in found]
    assert 0.93 <= np.mean(inside) <= 0.975


def test_equal_images_and_constant_ones() -> None:
    real, _ = pair(16, 16)
    same = fwd(real, real, wavelet_level=1)
    assert same.value == pytest.approx(0, abs=1e-10)
    assert same.interval is None
    grey = np.full((40, 16, 16, 3), 128, np.uint8)
    assert fwd(grey, grey, wavelet_level=1).value == 0
    shifted = fwd(real, (real // 2 + 60).astype(np.uint8), wavelet_level=2)
    assert shifted.value > 0
    assert shifted.interval is not None


def test_grey_images_of_one_channel_are_taken_as_colour() -> None:
    real, fake = (images[..., :1].repeat(3, axis=3) for images in pair(16, 16))
    one = fwd(real[..., 0], fake[..., 0], wavelet_level=2)
    assert one.value == pytest.approx(fwd(real, fake, wavelet_level=2).value)


def test_label_key_and_details() -> None:
    sets = pair(16, 24)
    found = fwd(*sets, wavelet_level=3)
    assert found.label == "FWD[haar-3]"
    assert np.shape(found.details["bands"]) == np.shape(found.details["bands_se"]) == (8, 8)
    assert np.mean(found.details["bands"]) == pytest.approx(found.value)  # type: ignore[call-overload]
    assert found.protocol.key() != fwd(*sets, wavelet_level=2).protocol.key()
    assert set(found.per_image) == {"fwd_influence_fake", "fwd_influence_real"}
    assert found.corrected == pytest.approx(found.value - (found.bias or 0))


def test_report_shows_the_bands() -> None:
    real = np.random.default_rng(0).integers(0, 120, (20, 16, 16, 3), dtype=np.uint8)
    stripes = real + (100 * (np.arange(16) % 2)).astype(np.uint8)[:, None]
    run = ganeval.evaluate(real, stripes, metrics="fwd", device="cpu", wavelet_level=2)
    picture = frequency_bands(Record.of(run, "run"), several=False)
    assert picture is not None
    assert str(picture).count('class="cell c0"') == 16
    assert "is in band (0, 3) of 4 x 4" in str(picture)


def test_streams_generators_and_the_evaluator_give_the_same_number() -> None:
    real, fake = pair(16, 16)
    value = fwd(real, fake, wavelet_level=2).value
    batches = [fake[:30], fake[30:70], fake[70:]]
    assert fwd(iter([real[:50], real[50:]]), iter(batches), wavelet_level=2).value == pytest.approx(value, rel=1e-9)
    with ganeval.Evaluator(real, metrics="fwd", device="cpu", wavelet_level=2) as evaluator:
        for batch in batches:
            evaluator.update(batch)
        state = evaluator.state_dict()
        assert evaluator.compute()["fwd"].value == pytest.approx(value, rel=1e-9)
        evaluator.reset()
        evaluator.load_state_dict(state)
        assert evaluator.compute()["fwd"].value == pytest.approx(value, rel=1e-9)
        with pytest.raises(InputError, match="images of one size"):
            evaluator.update(np.zeros((2, 32, 32, 3), np.uint8))


def test_eval_computes_it_unasked_where_all_images_have_one_size() -> None:
    real, fake = pair(16, 16, 12)

    def run(fake: object) -> ganeval.Evaluation:
        return ganeval.evaluate(real, fake, metrics=None, protocol="compact", device="cpu")

    found = run(fake)
    assert found["fwd"].reason is None
    small = run(fake[:, :8, :8])
    assert "fwd" not in small.results
    assert any("fwd is not computed: fake: wavelet level 4 needs sides" in note for note in small.notes)


def test_folders_are_measured_through_the_cache(tmp_path: Path) -> None:
    from PIL import Image

    sets = pair(16, 16)
    for name, images in zip(("real", "fake"), sets, strict=True):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i:03}.png")
    places = str(tmp_path / "real"), str(tmp_path / "fake")
    for recalled in (0, 90):
        run = ganeval.evaluate(*places, metrics="fwd", device="cpu", cache=tmp_path / "cache", wavelet_level=2)
        assert run["fwd"].value == pytest.approx(fwd(*sets, wavelet_level=2).value, rel=1e-9)
        assert run.environment["recalled"] == {"real": recalled, "fake": recalled}
    Image.fromarray(sets[1][0, :8]).save(tmp_path / "fake" / "zz.png")
    with pytest.raises(InputError, match=r"found 16 x 8 pixels in zz.png and 16 x 16 in the images before it"):
        ganeval.evaluate(*places, metrics="fwd", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dataset:shapes:40", "dataset:shapes:40"], "multiples of 16 pixels; found 40 x 40 pixels"),
        (["dataset:shapes:64", "dataset:shapes"], "found 64 x 64 pixels in REAL and 32 x 32 in FAKE"),
        (["dataset:shapes", "dataset:shapes", "--wavelet-level", "6"], "needs sides of at least 64 pixels"),
        (["dataset:shapes", "dataset:shapes", "--protocol", "compact"], "part of its definition"),
        (["stats:cifar10-test", "dataset:shapes"], "give images"),
    ],
)
def test_command_iv(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fwd", *arguments, "--num-samples", "20"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_weights_have_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.touch()
    with pytest.raises(ConfigError, match="no effect"):
        fwd(*pair(16, 16), weights=path)


def gaussian(rows: np.ndarray) -> Gaussian:
    return Gaussian(len(rows), rows.mean(axis=0, dtype=np.float64), np.cov(rows.T.astype(np.float64)))
