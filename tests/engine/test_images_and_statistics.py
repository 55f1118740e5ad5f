"""Files with images and statistics, as guided-diffusion's references: each metric takes the part that it needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganeval.api import build_statistics, evaluate
from ganeval.cli.main import main
from ganeval.engine.reference_files import parts_of
from ganeval.errors import ConfigError, IncomparableError, InputError
from ganeval.evaluator import Evaluator
from ganeval.images.shapes import render
from ganeval.result_files import read_record
from ganeval.statistics.reference import load_statistics, save_statistics
from ganeval.training.judge import Judge

ON: dict[str, Any] = {"protocol": "compact", "device": "cpu"}
FAST = ["--protocol", "compact", "--device", "cpu"]
REAL, OTHER, FAKE = (np.stack([render(i, seed=s) for i in range(32)]) for s in (1, 2, 3))
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def moments() -> dict[str, np.ndarray]:
    """Of other images than those of the files, so that it shows which part was taken."""
    stats = build_statistics(OTHER, **ON)
    return {"mu": stats.mean, "sigma": stats.covariance}


@pytest.fixture
def both(tmp_path: Path, moments: dict[str, np.ndarray]) -> Path:
    path = tmp_path / "VIRTUAL.npz"
    np.savez(path, arr_0=REAL, arr_1=np.arange(32) % 2, mu_s=np.zeros(64), sigma_s=np.eye(64), **moments)
    return path


@pytest.fixture
def alone(tmp_path: Path, moments: dict[str, np.ndarray]) -> Path:
    np.savez(tmp_path / "alone.npz", **moments)
    return tmp_path / "alone.npz"


def values(real: object, fake: object, *metrics: str, **options: Any) -> dict[str, Any]:
    results = evaluate(real, fake, metrics=metrics, **ON, **options).results
    return {name: (r.value, r.interval, r.n_real, r.n_fake, r.reference) for name, r in results.items()}


FEATURES = ("kid", "precision", "recall", "density", "coverage", "ind", "mind", "vendi")


@pytest.mark.parametrize("assume", [False, True])
def test_metrics_of_single_images_take_the_images(both: Path, assume: bool) -> None:
    expected = values(REAL, FAKE, *FEATURES)
    assert values(both, FAKE, *FEATURES, assume_protocol=assume) == expected
    assert values(f"{both}:images", FAKE, *FEATURES) == expected
    on_the_other_side = values(FAKE, REAL, *FEATURES)
    assert values(FAKE, both, *FEATURES, assume_protocol=assume) == on_the_other_side


def test_distances_of_moments_take_the_statistics_where_their_protocol_is_assumed(both: Path, alone: Path) -> None:
    expected = values(alone, FAKE, "fid", "fid-inf", assume_protocol=True)
    assert values(both, FAKE, "fid", "fid-inf", assume_protocol=True) == expected
    assert values(f"{both}:statistics", FAKE, "fid", "fid-inf", assume_protocol=True) == expected
    of_images = values(REAL, FAKE, "fid")
    assert of_images["fid"][0] != expected["fid"][0]
    assert values(f"{both}:images", FAKE, "fid", assume_protocol=True) == of_images
    assert values(both, FAKE, "fid", num_real=32) == of_images  # who asks for a subset means the images
    assert values(both, FAKE, "fid", num_real=20) == values(REAL, FAKE, "fid", num_real=20)
    assert values(REAL, both, "fid", assume_protocol=True) == values(REAL, alone, "fid", assume_protocol=True)


def test_one_run_takes_both_parts(both: Path, alone: Path) -> None:
    run = evaluate(both, FAKE, metrics=None, assume_protocol=True, **ON)
    images = evaluate(REAL, FAKE, metrics=None, **ON)
    assert run["fid"].value == values(alone, FAKE, "fid", assume_protocol=True)["fid"][0]
    for name in FEATURES:
        assert run[name].value == images[name].value
        assert run[name].interval == images[name].interval
    assert run["fid"].n_real is None
    assert run["kid"].n_real == 32
    assert run.real["n"] == 32
    assert run.real["statistics"] == {"n": None, "digest": load_statistics(both).digest}
    assert run["fid"].reference == load_statistics(both).digest
    assert run["kid"].reference == run.real["digest"] == images.real["digest"]
    assert any(
        "real: " in note and "32 images (arr_0) and statistics of an unknown number of images; kid," in note
        and note.endswith("of the images and fid of the statistics") for note in run.notes
    )  # fmt: skip
    told = f"{both} does not say how it was made; taken as compact, as you said"
    assert told in run["fid"].warnings
    assert told not in run["kid"].warnings
    assert run["fid"].details["reference"] == "population"


def test_the_number_that_a_file_gives_is_in_the_result(tmp_path: Path, moments: dict[str, np.ndarray]) -> None:
    path = tmp_path / "n.npz"
    np.savez_compressed(path, arr_0=REAL, n=500, **moments)
    run = evaluate(path, FAKE, metrics=("fid", "kid"), assume_protocol=True, **ON)
    assert (run["fid"].n_real, run["kid"].n_real) == (500, 32)
    assert run.real["statistics"]["n"] == 500  # type: ignore[index]
    only = evaluate(path, FAKE, metrics=("fid",), assume_protocol=True, **ON)
    assert only.real["n"] == 500
    assert only.real["images"] == {"n": 32}
    assert only["fid"].value == run["fid"].value


def test_unasked_they_are_left_out_with_both_ways_out(both: Path) -> None:
    run = evaluate(both, FAKE, metrics=None, **ON)
    assert "fid" not in run.results
    assert set(FEATURES) < set(run.results)
    (note,) = (note for note in run.notes if note.startswith("fid is not computed"))
    for part in ("32 images (arr_0)", "--assume-protocol", "assume_protocol=True", f"{both}:images"):
        assert part in note


@pytest.mark.parametrize("command", [["fid"], ["eval", "--metrics", "kid,fid"], ["fid-inf"]])
@pytest.mark.parametrize("side", [0, 1])
def test_asked_for_they_are_an_error_with_both_ways_out(
    command: list[str], side: int, both: Path, tmp_path: Path, capsys: Capture
) -> None:
    np.save(tmp_path / "fake.npy", FAKE)
    sets = [str(both), str(tmp_path / "fake.npy")]
    name, *options = command
    assert main([name, *(sets if side == 0 else sets[::-1]), *options, *FAST]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "cannot be computed here" in err
    for part in ("--assume-protocol", f"{both}:images", "holds 32 images (arr_0) and statistics"):
        assert part in err


def test_no_message_denies_the_images_that_check_counts(both: Path, tmp_path: Path, capsys: Capture) -> None:
    np.save(tmp_path / "fake.npy", FAKE)
    assert main(["check", str(both)]) == 0
    assert re.search(r"^images +32$", capsys.readouterr().out, re.MULTILINE)
    for spec in (str(both), f"{both}:images", f"{both}:statistics"):
        for command in (["fid"], ["pr"], ["kid", "--assume-protocol"], ["eval"], ["sfid"], ["eval", "--metrics", "is"]):
            name, *options = command
            main([name, spec, str(tmp_path / "fake.npy"), *options, *FAST])
            told = capsys.readouterr().err
            assert "no images" not in told
    main(["pr", f"{both}:statistics", str(tmp_path / "fake.npy"), *FAST])
    assert "have no features of single images; give images" in " ".join(capsys.readouterr().err.split())


def test_statistics_are_built_from_the_images(both: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["stats", "build", str(both), *FAST, "-q", "-o", str(tmp_path / "built.npz")]) == 0
    built, expected = load_statistics(tmp_path / "built.npz"), build_statistics(REAL, **ON)
    np.testing.assert_array_equal(built.mean, expected.mean)
    np.testing.assert_array_equal(built.covariance, expected.covariance)
    assert built.n == 32
    capsys.readouterr()
    assert main(["stats", "build", f"{both}:statistics", *FAST, "-o", str(tmp_path / "x.npz")]) == 2
    assert "holds statistics. Give the images themselves" in " ".join(capsys.readouterr().err.split())


def test_statistics_that_say_their_protocol_need_no_assumption(tmp_path: Path) -> None:
    """One of our own files to which somebody added the images."""
    path = save_statistics(tmp_path / "ours.npz", build_statistics(OTHER, **ON))
    with np.load(path) as members:
        np.savez(tmp_path / "both.npz", arr_0=REAL, **members)
    run = evaluate(tmp_path / "both.npz", FAKE, metrics=("fid", "kid"), **ON)
    assert run["fid"].value == evaluate(path, FAKE, **ON)["fid"].value
    assert run["kid"].value == evaluate(REAL, FAKE, metrics=("kid",), **ON)["kid"].value
    assert run.real["statistics"]["n"] == 32  # type: ignore[index]
    sharper = {**ON, "protocol": "compact", "precision": "bf16"}
    other = evaluate(tmp_path / "both.npz", FAKE, metrics=("fid",), **sharper)  # made under another protocol
    assert other["fid"].value == evaluate(REAL, FAKE, metrics=("fid",), **sharper)["fid"].value


def test_features_beside_images(tmp_path: Path) -> None:
    """clean-fid's kind of file: rows, of which the moments are computed."""
    rows = build_statistics(OTHER, rows=True, **ON).rows
    np.savez(tmp_path / "features.npz", arr_0=REAL, feats=rows)
    assert parts_of(tmp_path / "features.npz") == {"images", "statistics"}
    run = evaluate(tmp_path / "features.npz", FAKE, metrics=("fid", "precision"), assume_protocol=True, **ON)
    assert run["fid"].value == pytest.approx(evaluate(OTHER, FAKE, **ON)["fid"].value, rel=1e-6)
    assert run["precision"].value == evaluate(REAL, FAKE, metrics=("precision",), **ON)["precision"].value


def test_held_out_images(both: Path) -> None:
    expected = evaluate(OTHER, FAKE, test=REAL, metrics=("authpct",), **ON)["authpct"]
    assert evaluate(OTHER, FAKE, test=both, metrics=("authpct",), **ON)["authpct"] == expected


def test_an_evaluator_measures_both_parts_of_its_reference(both: Path) -> None:
    names = ("fid", "kid")
    expected = evaluate(both, FAKE, metrics=names, assume_protocol=True, **ON)
    with Evaluator(both, metrics=names, assume_protocol=True, **ON) as evaluator:
        evaluator.update(FAKE[:20])
        evaluator.update(FAKE[20:])
        found = evaluator.compute()
        state = evaluator.state_dict()
        assert {name: found[name].value for name in names} == pytest.approx({n: expected[n].value for n in names})
        with Evaluator(REAL, metrics=names, **ON) as other, pytest.raises(IncomparableError, match="statistics"):
            other.load_state_dict(state)
        evaluator.reset()
        evaluator.update(both)  # of fakes it takes the images
        assert evaluator.n == 32


def test_a_training_program_judges_by_the_images(both: Path) -> None:
    fakes = torch.from_numpy(FAKE).permute(0, 3, 1, 2).contiguous()
    judge = Judge(both, fakes, device="cpu")
    assert judge(fakes)["fd"] == pytest.approx(evaluate(REAL, FAKE, **ON)["fid"].value, rel=1e-9)


def test_classes_and_the_floor(both: Path) -> None:
    labelled = list(zip(torch.from_numpy(FAKE).permute(0, 3, 1, 2), [i % 2 for i in range(32)], strict=True))
    found = evaluate(f"{both}:images", labelled, per_class=True, floor=True, **ON)["fid"]
    assert list(found.details["per_class"]) == ["0", "1"]  # type: ignore[call-overload]
    assert found.details["floor"] == evaluate(REAL, FAKE, floor=True, **ON)["fid"].details["floor"]
    with pytest.raises(ConfigError, match=r"--floor \(floor=True\) needs real images"):
        evaluate(both, FAKE, floor=True, assume_protocol=True, **ON)
    evaluate(both, FAKE, metrics=("kid",), assume_protocol=True, **ON)


def test_the_document_is_read_again(both: Path, tmp_path: Path, capsys: Capture) -> None:
    np.save(tmp_path / "fake.npy", FAKE)
    target = tmp_path / "run.json"
    arguments = [str(both), str(tmp_path / "fake.npy"), "--metrics", "fid,kid", "--assume-protocol", *FAST, "-q"]
    assert main(["eval", *arguments, "-o", str(target), "--report", str(tmp_path / "page.html")]) == 0
    document = json.loads(target.read_text())
    assert document["real"]["n"] == 32
    assert document["real"]["statistics"]["n"] is None
    record = read_record(target)
    assert record.evaluation.real["statistics"]["n"] is None  # type: ignore[index]
    capsys.readouterr()
    assert main(["compare", str(target), str(target)]) == 0
    assert "no difference beyond noise" in capsys.readouterr().out


# --- files that are not as they should be ------------------------------------------------------------------------


def test_a_broken_part_is_named_and_the_other_one_is_offered(tmp_path: Path, moments: dict[str, np.ndarray]) -> None:
    path = tmp_path / "broken.npz"
    np.savez(path, arr_0=REAL, mu=moments["mu"], sigma=moments["sigma"] + np.triu(np.ones((256, 256)), 1))
    with pytest.raises(InputError, match=rf"sigma is not symmetric.*{path}:images or {path}:statistics"):
        values(path, FAKE, "kid")
    assert values(f"{path}:images", FAKE, "kid") == values(REAL, FAKE, "kid")
    np.savez(path, arr_0=REAL / np.float32(255), **moments)
    with pytest.raises(InputError, match=rf"need a declared range.*{path}:images or {path}:statistics"):
        values(path, FAKE, "fid", assume_protocol=True)
    assert values(f"{path}:statistics", FAKE, "fid", assume_protocol=True)
    assert values(path, FAKE, "kid", value_range=(0, 1)) == values(REAL, FAKE, "kid")


def test_another_array_beside_statistics_is_no_set_of_images(tmp_path: Path, moments: dict[str, np.ndarray]) -> None:
    for array in (np.zeros((9, 4)), np.zeros(5), np.array("text")):
        np.savez(tmp_path / "other.npz", arr_0=array, **moments)
        assert parts_of(tmp_path / "other.npz") == {"statistics"}
    np.savez(tmp_path / "images.npz", REAL)
    assert parts_of(tmp_path / "images.npz") == {"images"}
    assert parts_of(f"{tmp_path / 'images.npz'}:statistics") == {"statistics"}
    with pytest.raises(InputError, match="It holds images .arr_0.: give it as images"):
        values(f"{tmp_path / 'images.npz'}:statistics", FAKE, "fid")


# --- the layer that keeps places ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spatial(surrogate_weights: Path) -> dict[str, np.ndarray]:
    """Moments of both layers, as the ADM evaluator writes them, with its own order: height, width, channel."""
    from ganeval.features.extractor import FeatureExtractor
    from ganeval.images.types import ImageBatch
    from ganeval.protocol import get_protocol
    from ganeval.statistics.moments import Moments

    extractor = FeatureExtractor(
        get_protocol("adm"), device=torch.device("cpu"), weights=surrogate_weights, layers=("features", "spatial")
    )
    images = torch.from_numpy(OTHER[:6].transpose(0, 3, 1, 2).copy())
    found = extractor(ImageBatch(images, [""] * 6, None))
    gaussians = []
    for tap in (extractor.tap("features"), "sfid"):
        moments = Moments(found[tap].shape[1])
        moments.update(found[tap].numpy())
        gaussians.append(moments.finish())
    (one, other), names = gaussians, ("mu", "sigma", "mu_s", "sigma_s")
    return dict(zip(names, (one.mean, one.covariance, other.mean, other.covariance), strict=True))


@pytest.mark.nightly
def test_five_numbers_of_a_reference_batch(
    tmp_path: Path, spatial: dict[str, np.ndarray], surrogate_weights: Path
) -> None:
    path = tmp_path / "VIRTUAL_6.npz"
    np.savez(path, arr_0=REAL[:20], **spatial)
    options: dict[str, Any] = {"protocol": "adm", "device": "cpu", "weights": surrogate_weights}
    names = ("fid", "sfid", "is", "precision", "recall")
    run = evaluate(path, FAKE[:20], metrics=names, assume_protocol=True, **options)
    moments = evaluate(OTHER[:6], FAKE[:20], metrics=("fid", "sfid"), **options)
    images = evaluate(REAL[:20], FAKE[:20], metrics=("is", "precision", "recall", "sfid"), **options)
    for name in ("fid", "sfid"):
        assert run[name].value == pytest.approx(moments[name].value, rel=1e-5)
        assert run[name].reference != images[name if name in images.results else "precision"].reference
    for name in ("is", "precision", "recall"):
        assert run[name].value == images[name].value
    # where a file has no spatial statistics, only its images can serve
    np.savez(tmp_path / "plain.npz", arr_0=REAL[:20], mu=spatial["mu"], sigma=spatial["sigma"])
    plain = evaluate(tmp_path / "plain.npz", FAKE[:20], metrics=("sfid",), **options)["sfid"]
    assert plain.value == pytest.approx(images["sfid"].value, rel=1e-9)
    np.savez(tmp_path / "statistics.npz", **spatial)  # statistics alone serve sFID too
    alone = evaluate(tmp_path / "statistics.npz", FAKE[:20], metrics=("sfid",), assume_protocol=True, **options)
    assert alone["sfid"].value == pytest.approx(moments["sfid"].value, rel=1e-5)
    np.savez(tmp_path / "small.npz", **{**spatial, "mu_s": np.zeros(64), "sigma_s": np.eye(64)})
    with pytest.raises(IncomparableError, match="spatial statistics .mu_s. of 64 features; the layer sfid .* has 2023"):
        evaluate(tmp_path / "small.npz", FAKE[:20], metrics=("sfid",), assume_protocol=True, **options)


def test_spatial_statistics_are_written_and_checked(tmp_path: Path, moments: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", mu_s=np.arange(3.0), sigma_s=np.eye(3), **moments)
    first = load_statistics(tmp_path / "a.npz")
    again = load_statistics(save_statistics(tmp_path / "b.npz", first))
    assert first.spatial is not None
    assert again.spatial is not None
    np.testing.assert_array_equal(first.spatial[0], again.spatial[0])
    assert (again.digest, again.spatial_digest) == (first.digest, first.spatial_digest)
    np.savez(tmp_path / "a.npz", mu_s=np.arange(4.0), sigma_s=np.eye(3), **moments)
    with pytest.raises(InputError, match="mu_s must be d numbers and sigma_s d x d"):
        load_statistics(tmp_path / "a.npz")
