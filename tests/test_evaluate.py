"""The engine: images and statistics in, results out. On the shipped network, which needs no download."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganeval
from ganeval.api import build_statistics, evaluate, fid
from ganeval.errors import ConfigError, IncomparableError, InputError, NotEnoughSamplesError
from ganeval.metrics.settings import Settings
from ganeval.metrics.types import MetricInputs
from ganeval.parsing.layout import to_json
from ganeval.results import Evaluation, Reason
from ganeval.statistics.merging import merge_statistics
from ganeval.statistics.reference import save_statistics

COMPACT = {"protocol": "compact", "device": "cpu"}


def scenes(n: int, *, seed: int, kind: str = "shapes", size: int = 32) -> np.ndarray:
    """Rendered images, (n, size, size, 3)."""
    source = ganeval.open_images(f"dataset:{kind}:{size}@{seed}", num_samples=n)
    return np.concatenate([np.asarray(batch.images) for batch in source.batches(500)]).transpose(0, 2, 3, 1)


REAL, FAKE = scenes(700, seed=1), scenes(660, seed=2, kind="shapes-striped")  # more than 2.5 x 256 features
FEW, OTHERS = REAL[:60], FAKE[:50]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("statistics")


@pytest.fixture(scope="module")
def real(folder: Path) -> Path:
    """A statistics file with rows, so that the tests below need not run the network again."""
    return save_statistics(folder / "real.npz", build_statistics(REAL, rows=True, **COMPACT))


@pytest.fixture(scope="module")
def fake(folder: Path) -> Path:
    return save_statistics(folder / "fake.npz", build_statistics(FAKE, rows=True, **COMPACT))


@pytest.fixture(scope="module")
def result() -> ganeval.MetricResult:
    return fid(REAL, FAKE, **COMPACT)


def test_networks_and_sums_are_gone_when_metrics_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a distance of many features needs would come on top of them."""
    import ganeval.engine.accumulator
    import ganeval.engine.networks
    import ganeval.metrics.fid as module

    made: list[weakref.ref[object]] = []

    def noted(function: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **keywords: object) -> object:
            made.append(weakref.ref(one := function(*arguments, **keywords)))
            return one

        return wrapper

    class NotedLayer(ganeval.engine.accumulator.LayerAccumulator):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            if self.settled is not None:
                made.append(weakref.ref(self.settled))

    original, alive = module._distance, []

    def distance(name: str, inputs: MetricInputs) -> ganeval.MetricResult:
        gc.collect()
        alive.extend(one() for one in made)
        return original(name, inputs)

    monkeypatch.setattr(ganeval.engine.networks, "FeatureExtractor", noted(ganeval.engine.networks.FeatureExtractor))
    monkeypatch.setattr(ganeval.engine.accumulator, "LayerAccumulator", NotedLayer)
    monkeypatch.setattr(module, "_distance", distance)
    assert fid(FEW, OTHERS, **COMPACT).warnings  # those of the network are kept
    assert alive == [None, None, None]


def test_value_is_the_textbook_formula(result: ganeval.MetricResult, real: Path, fake: Path) -> None:
    """Against moments of the same features and a dense square root."""
    from scipy.linalg import sqrtm

    y, x = (np.asarray(ganeval.load_statistics(path).rows, dtype=float) for path in (real, fake))
    s, w = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.trace(sqrtm(s @ w)).real
    expected = ((y.mean(0) - x.mean(0)) ** 2).sum() + np.trace(s) + np.trace(w) - 2 * root
    assert result.value == pytest.approx(expected, rel=1e-7)


def test_result_is_complete(result: ganeval.MetricResult) -> None:
    assert result.label == "FD[compact-v1]"
    assert (result.n_real, result.n_fake) == (700, 660)
    assert result.interval is not None
    assert result.corrected is not None
    assert result.bias is not None
    assert result.standard_error is not None
    assert result.corrected == pytest.approx(result.value - result.bias, rel=1e-12)
    assert result.interval.estimand == "population"
    assert 0 < result.standard_error < 0.2 * result.value
    assert result.interval.low < result.corrected < result.interval.high
    assert len(result.per_image["fid_influence_fake"]) == 660
    assert result.protocol.weights is not None
    assert result.protocol.verified


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [({"batch_size": 7}, 1e-5), ({"batch_size": 60}, 1e-5), ({"workers": 2}, 1e-9), ({"feature_memory": 1}, 1e-9)],
)
def test_how_it_is_computed_does_not_matter(options: dict[str, int], tolerance: float) -> None:
    """Features move by float32 noise with the batch size; nothing else does."""
    once, again = fid(FEW, OTHERS, **COMPACT), fid(FEW, OTHERS, **COMPACT, **options)
    assert again.value == pytest.approx(once.value, rel=tolerance)
    assert again.reference == once.reference


def test_order_does_not_matter() -> None:
    once, again = (fid(x, OTHERS, **COMPACT, batch_size=1) for x in (FEW, FEW[::-1].copy()))
    assert again.value == pytest.approx(once.value, rel=1e-9)
    assert again.reference == once.reference


def test_identical_sets_are_at_zero_and_have_no_interval(real: Path) -> None:
    same = fid(real, real, reference="sample", **COMPACT)
    assert abs(same.value) < 1e-9
    assert same.interval is None
    assert same.reason is not None
    assert same.reason.code in {"shared_features", "shared_images"}


@pytest.mark.parametrize("mode", ["sample", "population"])
def test_a_set_against_itself_never_has_an_interval(mode: str, real: Path) -> None:
    """Against its own statistics, whose rows are gone, too: the images' digests tell."""
    bare = replace(ganeval.load_statistics(real), rows=None)
    for reference in (real, bare):
        same = fid(reference, real, reference=mode, **COMPACT)
        assert same.interval is None
        assert same.standard_error is None


@pytest.mark.parametrize("trace", ["sqrtm", "eigvals"])
def test_rank_deficient_input_warns_under_the_other_traces(trace: str) -> None:
    same = fid(FEW, FEW, trace=trace, **COMPACT)
    assert same.value == pytest.approx(0, abs=1e-3)
    assert same.warnings


def test_floor_is_the_distance_between_halves(real: Path, fake: Path) -> None:
    with_floor = fid(real, fake, floor=True, **COMPACT)
    floor = with_floor.details["floor"]
    assert isinstance(floor, dict)
    assert floor["n"] == [350, 350]
    assert 0 < floor["value"] < with_floor.value


def test_subset_is_seeded_and_said() -> None:
    def run(seed: int) -> Evaluation:
        return evaluate(FEW, OTHERS, num_real=40, num_fake=30, seed=seed, **COMPACT)

    one, again, other = run(3), run(3), run(4)
    assert one["fid"].value == again["fid"].value != other["fid"].value
    assert (one["fid"].n_real, one["fid"].n_fake) == (40, 30)
    assert one.real["digest"] == again.real["digest"] != other.real["digest"]
    assert json.dumps(one.real)


# --- statistics --------------------------------------------------------------------------------------------------


def test_statistics_give_the_same_value_and_are_the_population(
    real: Path, fake: Path, result: ganeval.MetricResult
) -> None:
    given = fid(real, fake, **COMPACT)
    assert given.value == pytest.approx(result.value, rel=1e-12)
    assert given.reference == result.reference
    assert given.comparison_key() == result.comparison_key()
    assert given.interval is not None
    assert given.interval.estimand == "population-given-reference"
    assert given.standard_error is not None
    assert result.standard_error is not None
    assert given.standard_error < result.standard_error
    sample = fid(real, fake, reference="sample", **COMPACT)
    assert sample.standard_error == pytest.approx(result.standard_error, rel=1e-9)
    assert sample.bias == pytest.approx(result.bias, rel=1e-9)


def test_sample_needs_rows(real: Path, fake: Path) -> None:
    bare = replace(ganeval.load_statistics(real), rows=None)
    without = fid(bare, fake, reference="sample", **COMPACT)
    assert without.interval is None
    assert without.reason is not None
    assert without.reason.code == "no_real_rows"
    assert fid(bare, fake, **COMPACT).interval is not None  # as the population


def test_shards_merge_to_the_whole(fake: Path) -> None:
    shards = [build_statistics(FEW[i::3], batch_size=1, **COMPACT) for i in range(3)]
    whole = build_statistics(FEW, batch_size=1, **COMPACT)
    merged = merge_statistics(shards)
    assert fid(merged, fake, **COMPACT).value == pytest.approx(fid(whole, fake, **COMPACT).value, rel=1e-9)
    assert merged.digest == whole.digest


def test_statistics_of_another_protocol_are_refused(real: Path, fake: Path, tmp_path: Path) -> None:
    stats = ganeval.load_statistics(real)
    assert stats.meta is not None
    assert stats.protocol is not None
    other = replace(stats, meta={**stats.meta, "protocol": replace(stats.protocol, resize="tf1-bilinear").to_dict()})
    path = save_statistics(tmp_path / "other.npz", other)
    with pytest.raises(IncomparableError, match="resize: torch-bilinear-antialias against tf1-bilinear"):
        fid(path, OTHERS, **COMPACT)
    with pytest.raises(IncomparableError, match="resize"):
        fid(path, fake, **COMPACT)


def test_unknown_origin_needs_a_word(real: Path, fake: Path, tmp_path: Path, result: ganeval.MetricResult) -> None:
    stats = ganeval.load_statistics(real)
    np.savez(tmp_path / "peer.npz", mu=stats.mean, sigma=stats.covariance)
    with pytest.raises(IncomparableError, match="--assume-protocol"):
        fid(tmp_path / "peer.npz", fake, **COMPACT)
    assumed = fid(tmp_path / "peer.npz", fake, assume_protocol=True, **COMPACT)
    assert assumed.value == pytest.approx(result.value, rel=1e-12)
    assert assumed.n_real is None
    assert any("does not say how it was made" in w for w in assumed.warnings)


def test_two_statistics_need_no_network(tmp_path: Path) -> None:
    """Nor its weights."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        x = rng.standard_normal((300, 64))
        np.savez(tmp_path / f"{name}.npz", mu=x.mean(0), sigma=np.cov(x, rowvar=False))
    with pytest.raises(IncomparableError, match="holds statistics of 64 features; the protocol ttur has 2048"):
        fid(tmp_path / "a.npz", tmp_path / "b.npz", assume_protocol=True, device="cpu")
    unknown = fid(tmp_path / "a.npz", tmp_path / "b.npz", protocol="ttur:64", assume_protocol=True, device="cpu")
    assert unknown.label == "FD[inception:64]"
    assert unknown.interval is None


# --- input validation --------------------------------------------------------------------------------------------


def test_fid_iv() -> None:
    with pytest.raises(NotEnoughSamplesError, match="at least 2 fake images; found 1 image"):
        fid(FEW, OTHERS[:1], **COMPACT)
    with pytest.raises(ConfigError, match="must be one of auto, sqrtm, svd, eigvals"):
        fid(FEW, OTHERS, trace="magic", **COMPACT)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        fid(FEW, OTHERS, level=95, **COMPACT)
    with pytest.raises(ConfigError, match="needs real images"):
        fid("stats:cifar10-test", OTHERS, floor=True, **COMPACT)
    with pytest.raises(ConfigError, match="Did you mean fid"):
        evaluate(FEW, OTHERS, metrics=("fidd",), **COMPACT)
    with pytest.raises(ConfigError, match="bathc_size.*Did you mean batch_size"):
        fid(FEW, OTHERS, bathc_size=3, **COMPACT)
    with pytest.raises(ConfigError, match="no device 'tpu'"):
        fid(FEW, OTHERS, protocol="compact", device="tpu")


def test_command_and_function_have_the_same_options() -> None:
    """They cannot drift: every option of the command is a parameter of ``evaluate``, with the same default."""
    import inspect

    from ganeval.cli.metric import eval_command
    from ganeval.images.options import OpenOptions

    parameters = dict(inspect.signature(evaluate).parameters) | dict(inspect.signature(Settings).parameters)
    parameters = dict(inspect.signature(OpenOptions).parameters) | parameters
    shown = {"json", "fmt", "quiet", "verbose", "config", "output", "report", "per_image"}
    shown |= {"network", "network_size", "network_resize", "network_scale"}  # they make a protocol
    shown |= {"cache", "cache_dir", "cache_size"}  # they make a FeatureCache
    defaults = eval_command().make_context("eval", ["a", "b"]).params
    for name in set(defaults) - shown - {"real", "fake", "metrics"}:
        assert defaults[name] == parameters[name].default, name


def test_document_round_trip() -> None:
    run = evaluate(FEW, OTHERS, **COMPACT)
    again = Evaluation.from_dict(json.loads(to_json(run.to_dict())))
    assert again["fid"].value == run["fid"].value
    assert again["fid"].comparison_key() == run["fid"].comparison_key()
    assert again.environment["versions"]["torch"]  # type: ignore[index]
    assert len(run.per_image["fake_image_digests"]) == len(OTHERS)


# --- the program -------------------------------------------------------------------------------------------------


def program(*arguments: str, **options: object) -> list[str]:
    return [sys.executable, "-m", "ganeval", *arguments]


def test_json_on_stdout_is_one_document(tmp_path: Path) -> None:
    folders = []
    for name, pixels in (("real", REAL[:30]), ("fake", FAKE[:20])):
        (tmp_path / name).mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
        folders.append(str(tmp_path / name))
    target = tmp_path / "out.json"
    run = subprocess.run(
        program("fid", *folders, "--protocol", "compact", "--json", "-o", str(target)),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    document = json.loads(run.stdout)
    assert document == json.loads(target.read_text())
    assert document["results"]["fid"]["interval"]["estimand"] == "protocol"
    assert document["results"]["fid"]["details"]["degrees_of_freedom"] == 19
    samples = np.load(tmp_path / document["samples"]["file"], allow_pickle=False)
    assert samples["fake_image_digests"].dtype == np.uint64
    assert "note:" in run.stderr


LONG = ["--num-samples", "100000", "-v"]
INTERRUPTED = {
    "fid": ["fid", "dataset:shapes@1", "dataset:shapes@2", "--protocol", "compact", "--feature-memory", "1KB"],
    "workers": ["fid", "dataset:shapes@1", "dataset:shapes@2", "--protocol", "compact", "--workers", "2"],
    "statistics": ["stats", "build", "dataset:shapes@1", "--protocol", "compact", "--rows"],
}


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(
    "which", ["workers", *(pytest.param(one, marks=pytest.mark.nightly) for one in ("fid", "statistics"))]
)
def test_ctrl_c_leaves_nothing(which: str, tmp_path: Path) -> None:
    """As a terminal does it, to the program and its worker processes: no file, no process, no traceback, exit 130."""
    scratch, results = tmp_path / "scratch", tmp_path / "results"
    scratch.mkdir()
    results.mkdir()
    process = subprocess.Popen(
        program(*INTERRUPTED[which], *LONG, "-o", str(results / "out.npz")),
        env={**os.environ, "TMPDIR": str(scratch)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert "images" in process.stderr.readline()  # the pass over the first set has begun
    time.sleep(2.0)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert not list(results.iterdir())
    assert not [p for p in scratch.rglob("*") if p.is_file()]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)  # somebody of the group is still there
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("worker processes were left behind")


@pytest.mark.skipif(os.name != "posix", reason="pipes close differently elsewhere")
def test_a_reader_that_has_gone_is_no_failure() -> None:
    """Exit code 1 would read as a gate that measured and failed."""
    with subprocess.Popen(program("cite", "fid"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=60) == 0


def test_a_result_that_cannot_be_written_is_noticed_before_the_long_part(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganeval.cli.main import main

    monkeypatch.setattr("ganeval.api.evaluate", lambda *_, **__: pytest.fail("the long part has begun"))
    command = ["fid", "dataset:shapes@1", "dataset:shapes@2", "--num-samples", "9", "--protocol", "compact"]
    assert main([*command, "-o", "no/such/folder/out.json"]) == 2


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    from ganeval.files import written_whole

    target = tmp_path / "out.json"
    target.write_text("old")

    def interrupted() -> None:
        with written_whole(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert target.read_text() == "old"


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="measures resident memory as Linux reports it")
def test_memory_does_not_grow_with_the_number_of_images() -> None:
    """22 000 images more: 68 MB of pixels, 22 MB of features; none may stay."""
    code = """
import resource, sys
import ganeval
n = int(sys.argv[1])
ganeval.fid("dataset:shapes@1", "dataset:shapes@2", num_samples=n, protocol="compact", device="cpu", feature_memory=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

    def peak(n: int) -> float:
        run = subprocess.run([sys.executable, "-c", code, str(n)], capture_output=True, text=True, check=True)
        return float(run.stdout) / 1024  # MiB

    assert peak(12_000) < peak(1_000) + 12


def test_what_has_no_effect_is_said(real: Path, fake: Path) -> None:
    """Settings that nothing reads, and the intervals that a reference as the target itself does not change."""
    options = {"metrics": ("kid", "recall"), "floor": True, "directions": 7, "kid_kernel": "rbf"}
    notes = evaluate(real, fake, **options, **COMPACT).notes
    idle = [note for note in notes if note.endswith("has no effect here: no metric of this run reads it")]
    assert [note.split()[0] for note in idle] == ["--floor", "--directions"]
    assert any(note.endswith("of the fakes; those of recall cover that of both sets") for note in notes)
    bare = replace(ganeval.load_statistics(real), rows=None)
    assert "fid" in evaluate(bare, fake, **COMPACT).results
    with pytest.raises(ConfigError, match=r"--floor \(floor=True\) needs real images"):
        evaluate(bare, fake, floor=True, **COMPACT)


def test_one_metric_that_fails_unasked_leaves_the_others(real: Path, fake: Path) -> None:
    """A row of zeros has no direction, which only Vendi and RKE ask for."""
    given = ganeval.load_statistics(fake)
    assert given.rows is not None
    rows = np.array(given.rows)
    rows[3] = 0
    broken = replace(
        given, rows=rows, mean=rows.mean(0, dtype=float), covariance=np.cov(rows.astype(float), rowvar=False)
    )
    run = evaluate(real, broken, metrics=None, directions=3, **COMPACT)
    assert {"fid", "kid", "precision", "ind", "mind"} <= set(run.results)
    assert not {"vendi", "rke"} & set(run.results)
    assert any(note.startswith("left out: the features of image 3 are all zero") for note in run.notes)
    with pytest.raises(InputError, match="the features of image 3 are all zero"):
        evaluate(real, broken, metrics=("fid", "rke"), **COMPACT)


def test_every_copy_of_a_real_image_counts() -> None:
    """One of 120 different images is in both sets, and no fake is new."""
    fakes = np.repeat(REAL[:1], 120, axis=0)
    run = evaluate(REAL[:120], fakes, metrics=("kid",), **COMPACT)["kid"]
    assert run.interval is None
    assert run.reason == Reason("shared_images", n=120)
