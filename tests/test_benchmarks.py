"""The benchmarks run as they stand, at tiny size, and write what they found; their tables say what is so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.benchmarks_of_checkout import importable  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.mark.nightly
@pytest.mark.parametrize("model", ["dcgan", "cyclegan"])
def test_throughput(model: str, tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    tiny = ["--width", "2", "--batch-size", "2", "--steps", "1", "--rounds", "2", "--threads", "1", "-o", str(written)]
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{model}_throughput", *tiny],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    assert "more time than bare" in run.stdout
    found = json.loads(written.read_text())
    assert [len(found["ms_a_step"][name]) for name in ("bare", "ours")] == [2, 2]
    assert min(found["ms_a_step"]["bare"]) > 0


def figures(wall: float, value: float = 1.0) -> dict[str, float]:
    return {"wall": wall, "processor": 2 * wall, "peak": 1e9 * wall, "value": value}


def test_runs_take_turns_in_an_order_that_turns_about() -> None:
    from benchmarks.runs import in_turns

    calls: list[str] = []
    runs = {name: (lambda name=name: calls.append(name) or figures(len(calls))) for name in "abc"}
    seen: list[int] = []
    rounds = in_turns(runs, 3, after=lambda rounds: seen.append(len(rounds)))  # type: ignore[arg-type]
    assert "".join(calls) == "abccbaabc"
    assert seen == [1, 2, 3]
    assert rounds[1]["c"]["wall"] == 4
    more = in_turns(runs, 1, before=rounds)  # type: ignore[arg-type]
    assert more[:3] == rounds
    assert "".join(calls[9:]) == "cba"  # the fourth round, not another first one


@pytest.mark.parametrize("value", [1.0 + 2e-5, float("nan")])
def test_a_number_that_is_off_stops_the_benchmark(value: float) -> None:
    from benchmarks.runs import BenchmarkError, agree

    agree({"ours": 1.0 + 0.9e-5, "theirs": 1.0, "other": 7.0}, [("ours", "theirs")])
    with pytest.raises(BenchmarkError, match=r"do not agree to 1e-05: ours .* and theirs 1.0 differ by"):
        agree({"ours": value, "theirs": 1.0}, [("ours", "theirs")])


def test_end_to_end_stops_where_a_peer_says_another_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import end_to_end, material
    from benchmarks.options import Options
    from benchmarks.runs import BenchmarkError

    monkeypatch.setattr(material, "weights", lambda folder: folder / "weights")
    monkeypatch.setattr(material, "folders", lambda folder, images: (folder / "real", folder / "fake"))
    monkeypatch.setattr(end_to_end, "ours", lambda *_: figures(2.0, 5.0))
    theirs = [5.0 + 1e-5]
    monkeypatch.setattr(end_to_end, "peer", lambda *_, **__: figures(7.0, theirs[0]))
    kept: list[dict[str, Any]] = []
    options = Options(
        images=10, most=10, rounds=2, quick=True, device="cpu", folder=tmp_path, peers=("pytorch-fid",), threads=1,
        keep=kept.append,
    )  # fmt: skip
    found = end_to_end.measure(options)
    first = found["rows"][0]
    assert (first["what"], first["median"]) == ("pytorch-fid / ganeval (pytorch-fid), wall time", 3.5)
    assert (first["need"], first["met"]) == (">= 3", True)
    memory = next(row for row in found["rows"] if row["what"] == "ganeval (pytorch-fid): peak memory")
    assert memory["met"] is False  # 2 GB
    assert len(kept) == 2
    theirs[0] = 5.1
    with pytest.raises(BenchmarkError, match="do not agree"):
        end_to_end.measure(options)
    assert len(kept) == 2


def test_a_program_that_fails_is_named_with_its_last_words() -> None:
    from benchmarks.runs import BenchmarkError, child

    taken, written = child([sys.executable, "-c", "import os; print(os.environ.get('OMP_NUM_THREADS'))"])
    assert written == "None\n"  # as a user would run it
    assert taken["wall"] > 0
    assert taken["processor"] > 0
    assert child([sys.executable, "-c", "b'x' * 3 * 10**8"])[0]["peak"] > 3e8
    assert child([sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"], threads=3)[1] == "3\n"
    with pytest.raises(BenchmarkError, match="ended with 7:\nlast words"):
        child([sys.executable, "-c", "import sys; print('last words', file=sys.stderr); sys.exit(7)"])


def test_rows_say_median_range_and_whether_the_need_is_met() -> None:
    from benchmarks.runs import row

    line = row("a / b", [4.0, 2.0, 3.0], "x", ">= 3")
    assert (line["median"], line["low"], line["high"], line["n"], line["met"]) == (3.0, 2.0, 4.0, 3, True)
    assert row("a / b", [2.9], "x", ">= 3")["met"] is False
    assert row("memory", [1.6], "GB", "<= 1.5")["met"] is False
    assert row("a", [1.0], "s")["met"] is None


MACHINE = {"hardware": "A CPU", "cores": 2, "versions": {"torch": "9.9"}}


def a_part(value: float) -> dict[str, Any]:
    from benchmarks.runs import row

    return {
        "settings": {"images of each side": 10},
        "rounds": [{"ganeval (ttur)": figures(1.23456789, value), "torch-fidelity": figures(2.0, value)}],
        "rows": [
            row("torch-fidelity / ganeval (ttur), wall time", [2.0, 4.0, 6.0], "x", ">= 4.5"),
            row("ganeval (ttur): images a second", [20.0], ""), row("torch-fidelity: images a second", [9.0], ""),
        ],
    }  # fmt: skip


def test_parts_are_merged_and_the_others_stand(tmp_path: Path) -> None:
    from benchmarks import results

    path = results.path_of(tmp_path, MACHINE, "cpu")
    assert path.name == "cpu-2-cores.json"
    assert results.path_of(tmp_path, {**MACHINE, "hardware": "NVIDIA H200"}, "cuda").name == "nvidia-h200.json"
    assert results.load(path) == {"parts": {}}
    results.store(path, MACHINE, "end-to-end-10", a_part(1 / 3))
    results.store(path, {**MACHINE, "cores": 4}, "startup", {"settings": {}, "rows": []})
    results.store(path, MACHINE, "startup", {"settings": {}, "rows": []})
    found = results.load(path)
    assert list(found["parts"]) == ["end-to-end-10", "startup"]
    assert found["parts"]["startup"]["machine"]["cores"] == 2
    kept = found["parts"]["end-to-end-10"]["rounds"][0]["ganeval (ttur)"]
    assert (kept["wall"], kept["value"]) == (1.235, 1 / 3)
    assert not list(tmp_path.glob("*.part"))
    text = results.publish(path)
    assert "| torch-fidelity / ganeval (ttur), wall time | 4 x | 2 to 6 | 3 | >= 4.5 | **not met** |" in text
    assert "A CPU, 2 cores; torch 9.9; images of each side 10." in text
    assert path.with_suffix(".md").read_text() == text
    assert path.with_suffix(".png").stat().st_size > 5000


def quick(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """``python -m benchmarks --quick``, and the parts that it wrote."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "-o", str(tmp_path), "--material", str(tmp_path / "in")]
    run = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    (written,) = tmp_path.glob("cpu-*.json")
    assert written.with_suffix(".png").exists() == (arguments[1] not in ("startup", "ranks", "paired"))
    parts: dict[str, Any] = json.loads(written.read_text())["parts"]
    assert written.with_suffix(".md").read_text() in run.stdout
    return parts


@pytest.mark.nightly
@pytest.mark.parametrize("part", ["startup", "inception", "frechet", "ranks", "images", "neighbours", "paired"])
def test_a_part_runs_and_has_figures(part: str, tmp_path: Path) -> None:
    found = quick(tmp_path, "--only", part, "--images", "4")[part]
    assert found["rows"]
    for row in found["rows"]:
        assert row["low"] <= row["median"] <= row["high"], row
        if "bias and error /" not in row["what"]:  # a difference of two times, which noise may turn round
            assert row["median"] > 0, row
    if part == "ranks":
        values = [found["rounds"][0][name]["value"] for name in ("1 rank", "2 ranks")]
        assert values[0] == pytest.approx(values[1], rel=1e-6)
    if part == "frechet":
        for each in found["rounds"].values():
            assert each["value"] == pytest.approx(each["by sqrtm"], rel=1e-8)


@pytest.mark.nightly
@pytest.mark.parametrize("peer", ["torch-fidelity", "clean-fid"])
def test_end_to_end_runs_beside_a_peer_and_appends(peer: str, tmp_path: Path) -> None:
    arguments = ("--only", "end-to-end", "--images", "4", "--peer", peer)
    first = quick(tmp_path, *arguments)["end-to-end-4"]["rounds"]
    assert peer in first[0]
    both = quick(tmp_path, *arguments, "--append")["end-to-end-4"]["rounds"]
    assert both[0] == first[0]
    assert len(both) == 2
