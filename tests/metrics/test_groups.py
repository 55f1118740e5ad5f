"""Images that belong together count as one: simulated coverage, and the commands that take ``--group-by``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.fakes import over_ranks

import ganeval
from ganeval.cli.main import main
from ganeval.distributed import Group
from ganeval.engine.accumulator import SetAccumulator
from ganeval.engine.sharding import gathered
from ganeval.errors import InputError
from ganeval.images.grouping import Grouping
from ganeval.metrics.difference import Measurement, difference
from ganeval.metrics.registry import METRICS
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.protocol import get_protocol
from ganeval.results import MetricResult
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

Capture = pytest.CaptureFixture[str]
D = 12
PROTOCOL = get_protocol("compact").with_weights("ab" * 32, verified=True)


def in_groups(groups: int, size: int, seed: int, *, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unit variance, of which those of a group share nine tenths; and the ids of the groups."""
    random = np.random.default_rng(seed)
    shared = np.repeat(random.standard_normal((groups, D)), size, axis=0)
    own = random.standard_normal((groups * size, D))
    rows = np.sqrt(0.9) * shared + np.sqrt(0.1) * own + shift
    return rows.astype(np.float32), np.repeat(np.arange(1, groups + 1, dtype=np.uint64), size)


def feature_set(array: np.ndarray, name: str, groups: np.ndarray | None = None) -> FeatureSet:
    rows, moments = FeatureRows(array.shape[1]), Moments(array.shape[1])
    rows.append(array)
    moments.update(array)
    return FeatureSet(n=len(array), gaussian=moments.finish(), rows=rows, digest=name, groups=groups)


def measured(
    name: str, fake: FeatureSet, real: FeatureSet, *, reference: str = "sample", level: float = 0.95
) -> MetricResult:
    from importlib import import_module

    module, function = METRICS[name].measure.split(":")
    inputs = MetricInputs(
        wanted=frozenset({name}), protocol=PROTOCOL, real=real, fake=fake, reference=reference, level=level
    )
    results: dict[str, MetricResult] = getattr(import_module(module), function)(inputs)
    return results[name]


@pytest.mark.parametrize("name", ["fid", "kid", pytest.param("mind", marks=pytest.mark.nightly)])
def test_interval_covers_the_mean_of_its_replicates(name: str) -> None:
    """Fakes in groups of 8 that share nine tenths of their variance: without the groups the interval misses it."""
    reals = feature_set(np.random.default_rng(0).standard_normal((600, D)).astype(np.float32), "real")
    found: list[tuple[MetricResult, MetricResult]] = []
    for seed in range(200):
        rows, ids = in_groups(40, 8, seed + 1, shift=0.4)
        found.append(
            (
                measured(name, feature_set(rows, "fake", ids), reals, reference="population"),
                measured(name, feature_set(rows, "fake"), reals, reference="population"),
            )
        )
    values = np.array([grouped.value for grouped, _ in found])
    assert all(grouped.interval and grouped.interval.estimand == "protocol-given-reference" for grouped, _ in found)
    covered = np.mean([g.interval.low <= values.mean() <= g.interval.high for g, _ in found if g.interval])
    ratio = np.mean([g.standard_error for g, _ in found if g.standard_error]) / values.std(ddof=1)
    plain = np.mean([p.standard_error for _, p in found if p.standard_error]) / values.std(ddof=1)
    assert 0.91 <= covered <= 1.0, covered
    assert 0.9 <= ratio <= 1.25, ratio
    assert plain < 0.6, plain


@pytest.mark.parametrize("name", ["fid", "kid", "is", "mind", "cmmd", "precision", "coverage", "ind", "vendi", "rke"])
def test_groups_of_one_leave_the_error_where_it_is(name: str) -> None:
    real, fake = (np.random.default_rng(i).standard_normal((400, D)).astype(np.float32) for i in (1, 2))
    ids = np.arange(1, 401, dtype=np.uint64)
    one = measured(name, feature_set(fake, "f", ids), feature_set(real, "r", ids))
    other = measured(name, feature_set(fake, "f"), feature_set(real, "r"))
    assert one.value == other.value or name == "ind"  # whose halves are drawn by group
    assert one.standard_error is not None
    assert other.standard_error is not None
    looser = name in ("precision", "coverage", "ind")  # blocks and halves are drawn anew
    assert one.standard_error == pytest.approx(other.standard_error, rel=0.6 if looser else 1e-9)
    assert (one.bias, one.corrected) == (None, None)
    assert one.interval is not None
    assert one.interval.estimand.startswith("protocol")


def test_an_error_that_cannot_count_groups_is_not_given() -> None:
    rows, ids = in_groups(40, 8, 1)
    real = np.random.default_rng(9).standard_normal((900, D)).astype(np.float32)
    result = measured("authpct", feature_set(rows, "fake", ids), feature_set(real, "real"))
    assert result.interval is None
    assert result.reason is not None
    assert result.reason.code == "not_by_group"
    assert result.value == measured("authpct", feature_set(rows, "fake"), feature_set(real, "real")).value


def test_too_few_groups_are_told() -> None:
    rows, ids = in_groups(9, 40, 1)
    real = np.random.default_rng(9).standard_normal((900, D)).astype(np.float32)
    result = measured("fid", feature_set(rows, "fake", ids), feature_set(real, "real"))
    assert result.interval is None
    assert result.reason is not None
    assert (result.reason.code, result.reason.numbers["n"]) == ("too_few_groups", 9)


def test_difference_of_two_models_counts_groups() -> None:
    """Two models on the same inputs in groups: the difference's error equals the spread of the difference."""
    reals = feature_set(np.random.default_rng(0).standard_normal((600, D)).astype(np.float32), "real")
    deltas, errors = [], []
    for seed in range(150):
        rows, ids = in_groups(40, 8, seed + 1, shift=0.4)
        other = rows + 0.3 * in_groups(40, 8, seed + 1000)[0]
        runs = []
        for array in (rows, other):
            result = measured("fid", feature_set(array, "fake", ids), reals, reference="population")
            runs.append(Measurement(result=result, arrays={**result.per_image, "fake_groups": ids}))
        found = difference(*runs)
        deltas.append(found.value)
        errors.append(found.standard_error)
        assert found.degrees_of_freedom == 39
    assert 0.85 <= np.mean(errors) / np.std(deltas, ddof=1) <= 1.25


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two folders of 12 films of 4 frames."""
    for side in (0, 1):
        random = np.random.default_rng(side)
        for film in range(12):
            colour = random.integers(40, 200, 3)
            for frame in range(4):
                pixels = np.clip(colour + random.integers(-20, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                path = tmp_path / ("real", "fake")[side] / f"film{film:02}_{frame}.png"
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(pixels).save(path)
    return tmp_path


def test_command_counts_films(films: Path, capsys: Capture) -> None:
    sides = [str(films / "real"), str(films / "fake")]
    options = ["--protocol", "compact", "--metrics", "fid,kid,mind"]
    assert main(["eval", *sides, *options, "--group-by", r"(film\d+)_", "-o", str(films / "grouped.json")]) == 0
    assert "images that belong together count as one" in " ".join("".join(capsys.readouterr()).split())
    assert main(["eval", *sides, *options, "-o", str(films / "plain.json")]) == 0
    grouped, plain = (json.loads((films / name).read_text()) for name in ("grouped.json", "plain.json"))
    for name, one in grouped["results"].items():
        assert one["value"] == plain["results"][name]["value"]
        assert one["standard_error"] > (plain["results"][name]["standard_error"] or 0)
        assert one["details"]["degrees_of_freedom"] == 11
    assert grouped["real"]["groups"] == {"by": r"(film\d+)_", "n": 12}


@pytest.mark.filterwarnings("ignore:48 real images")
def test_table_of_groups_equals_the_expression(films: Path, capsys: Capture) -> None:
    names = sorted(path.name for path in (films / "real").iterdir())
    table = films / "groups.csv"
    table.write_text("image,group\n" + "".join(f"{name},{name[:6]}\n" for name in names))
    values = [
        ganeval.evaluate(
            films / "real", films / "fake", protocol="compact", metrics=["fid"], group_by=by, device="cpu"
        )["fid"].standard_error
        for by in (table, r"film\d+")
    ]
    assert values[0] == values[1]
    run = ["fid", str(films / "real"), str(films / "fake"), "--protocol", "compact", "--group-by", str(table), "--json"]
    assert main(run) == 0
    assert json.loads(capsys.readouterr().out)["results"]["fid"]["standard_error"] == values[0]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("missing.csv", "no such file"),
        ("(", "expected a CSV file or a regular expression"),
        ("nothing", "gives a group to no image here"),
        (r"film0\d_", "gives no group to 8 of 48 images of real"),
    ],
)
def test_bad_grouping_is_one_message(films: Path, capsys: Capture, by: str, message: str) -> None:
    sides = [str(films / "real"), str(films / "fake")]
    assert main(["fid", *sides, "--protocol", "compact", "--group-by", by]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,group\na.png\n", "row 2 has 1 column"),
        ("image,group\n", "found no row"),
        ("image,group\na.png,1\na.png,2\n", "names the image 'a.png' twice"),
    ],
)
def test_bad_table_is_one_message(tmp_path: Path, table: str, message: str) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(table)
    with pytest.raises(InputError, match=message):
        ganeval.evaluate("dataset:shapes", "dataset:shapes@1", num_samples=20, group_by=path, protocol="compact")


def test_grouping_without_effect_is_refused(capsys: Capture) -> None:
    sides = ["dataset:shapes", "dataset:shapes@1", "--num-samples", "20"]
    assert main(["fid", *sides, "--protocol", "compact", "--group-by", "film"]) == 2
    assert "gives a group to no image here" in " ".join(capsys.readouterr().err.split())


def test_ranks_agree_on_groups() -> None:
    """Groups come back in the order of one process."""
    grouping = Grouping(r"film\d+")
    names = [f"film{i // 3}/{i}.png" for i in range(30)]

    def one(group: Group) -> np.ndarray:
        own = SetAccumulator({}, {}, grouping=grouping)
        for number in range(group.rank, 6, group.size):
            mine = names[5 * number : 5 * number + 5]
            own.update(len(mine), np.arange(5, dtype=np.uint64) + np.uint64(5 * number), grouping(mine))
            own.log.blocks.append((0, number, len(mine)))
        return gathered(own, group, "test").groups

    for groups in over_ranks(2, one):
        assert groups.tolist() == grouping(names).tolist()


def test_state_of_an_accumulator_keeps_groups() -> None:
    grouping = Grouping(r"film\d+")
    own, other = (SetAccumulator({}, {}, grouping=grouping) for _ in range(2))
    own.update(2, np.arange(2, dtype=np.uint64), grouping(["film1_a", "film2_a"]))
    other.load(own.to_arrays())
    assert other.groups.tolist() == own.groups.tolist()
