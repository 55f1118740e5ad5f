"""``python -m benchmarks accelerator``: its sections run on the CPU at tiny size, and its table says what is so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from support.benchmarks_of_checkout import importable  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = (
    "gpu-tests", "agreement", "surroundings", "waits", "memory", "network", "end-to-end", "peers", "neighbours",
    "variants", "training", "ranks",
)  # fmt: skip


# --- every section, on the CPU -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, surrogate_weights: Path) -> Path:
    folder = tmp_path_factory.mktemp("material")
    os.link(surrogate_weights, folder / "inception.pth")
    return folder


def run(material: Path, output: Path, *more: str) -> tuple[str, dict[str, Any]]:
    """What the command prints, and the part that it writes."""
    command = [sys.executable, "-m", "benchmarks", "accelerator", "--device", "cpu", "--quick", "-o", str(output)]
    done = subprocess.run(
        [*command, "--material", str(material), *more], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr + (material / "sections.log").read_text()[-3000:]
    (written,) = output.glob("cpu-*-cores.json")
    assert written.with_suffix(".md").read_text() in done.stdout
    part: dict[str, Any] = json.loads(written.read_text())["parts"]["accelerator"]
    return done.stdout, part


@pytest.mark.nightly
@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_runs_on_the_cpu(section: str, material: Path, tmp_path: Path) -> None:
    written, part = run(material, tmp_path, "--only", section)
    checks = part["sections"][section]
    failed = {name: found["traceback"] for name, found in checks.items() if "error" in found}
    assert not failed, failed
    assert any("skipped" not in found for found in checks.values())
    assert f"### {section}" in written
    if section == "agreement":
        assert {row["met"] for row in part["rows"]} == {True}
        assert part["rows"][0]["median"] == 0.0
    if section == "surroundings":
        inside = checks["autocast"]
        for name in ("autocast(torch.float16)", "autocast(torch.bfloat16)"):
            expected = {"same precision and recall": True, "wrong neighbours": 0, "same images of a generator": True}
            assert inside[name] == expected


def test_the_sections_are_those_of_the_package() -> None:
    import importlib

    from benchmarks.accelerator.sections import MATERIAL
    from benchmarks.accelerator.sections import SECTIONS as DECLARED

    assert tuple(section.name for section in DECLARED) == SECTIONS
    for section in (MATERIAL, *DECLARED):
        assert importlib.import_module(section.module).CHECKS


# --- time ----------------------------------------------------------------------------------------------------------


def test_every_later_section_keeps_a_share_of_the_time() -> None:
    from benchmarks.accelerator.sections import LEAST, Section, limit

    one, other = (Section(name=name, seconds=100, timed=True, about="") for name in ("one", "other"))
    assert limit(one, 1000, [other]) == 100
    assert limit(one, 60, [other]) == pytest.approx(25)
    assert limit(one, 35 + LEAST - 0.1, [other]) is None
    assert limit(one, 1000, [other], scale=6) == pytest.approx(600)


def test_in_the_default_time_every_section_starts() -> None:
    """Also where each takes all that it may: the sections without timings side by side, then one after another."""
    from benchmarks.accelerator.command import MINUTES, together
    from benchmarks.accelerator.sections import MATERIAL, limit
    from benchmarks.accelerator.sections import SECTIONS as DECLARED

    beside = [section for section in DECLARED if not section.timed]
    at_once = together(16, quick=False)
    groups = [beside[i : i + at_once] for i in range(0, len(beside), at_once)]
    groups += [[section] for section in DECLARED if section.timed]
    left = 60 * MINUTES - MATERIAL.seconds / 2
    for i, group in enumerate(groups):
        later = [max(other, key=lambda one: one.seconds) for other in groups[i + 1 :]]
        limits = [limit(section, left, later) for section in group]
        assert None not in limits, (group, left)
        left -= max(seconds for seconds in limits if seconds is not None)
    assert left > -1e-6


def bench(seconds: float = 100.0) -> Any:
    from benchmarks.accelerator.bench import Bench

    return Bench(torch.device("cpu"), True, Path("unused"), time.monotonic() + seconds)


def test_an_error_of_a_check_is_a_finding() -> None:
    from benchmarks.accelerator.bench import Bench
    from benchmarks.accelerator.section import outcome

    def fails(bench: Bench) -> dict[str, Any]:
        raise ValueError("broken\nkernel")

    found = outcome(fails, bench())
    assert found["error"] == "ValueError: broken kernel"
    assert "fails" in found["traceback"]
    assert outcome(Bench.needs_cuda, bench()) == {"skipped": "needs CUDA"}  # type: ignore[arg-type]
    assert "only 1 s were left" in outcome(fails, bench(1.4))["skipped"]


# --- the table -----------------------------------------------------------------------------------------------------


def test_needs_are_of_the_slower_of_network_and_decoders() -> None:
    from benchmarks.accelerator import needs

    sections = {
        "gpu-tests": {"marked gpu": {"failed": 1}},
        "agreement": {"features": {"ttur": {"noise 2048": 2e-4}, "seconds of the check": 3.0}},
        "network": {"bare network": {"float32 64": {"images/s": 900.0}, "float32 256": {"images/s": 1000.0}}},
        "end-to-end": {
            "decoders": {"png32 alone": {"images/s": 5000.0}, "jpg1024 alone": {"images/s": 500.0}},
            "files": {
                "png32 float32": {"images/s": 850.0}, "jpg1024 float32": {"images/s": 300.0},
                "png32 bf16": {"images/s": 3000.0},
            },
        },
        "variants": {"compiled": {"bf16 compiled": {"images/s": 4000.0}, "tf32 compiled": "RuntimeError: none"}},
        "peers": {"pytorch-fid": {"times as fast": 3.5}},
    }  # fmt: skip
    found = {line["what"]: (line["median"], line["need"], line["met"]) for line in needs.rows(sections)}
    assert found == {
        "tests marked gpu that fail": (1, "<= 0", False),
        "features, device against CPU, of the largest": (2e-4, "<= 0.0001", False),
        "png32: end to end / min(bare network, decoders alone)": (0.85, ">= 0.8", True),
        "jpg1024: end to end / min(bare network, decoders alone)": (0.6, ">= 0.7", False),
        "bf16, png32: end to end / bare compiled network": (0.75, ">= 0.7", True),
        "pytorch-fid / ganeval, wall time, float32 on both sides": (3.5, ">= 3", True),
    }
    assert needs.rows({}) == []


def test_findings_follow_the_table() -> None:
    from benchmarks import results

    part = {
        "machine": {"hardware": "A GPU", "cores": 16, "versions": {"torch": "9"}}, "settings": {"device": "cuda"},
        "rows": [],
        "sections": {"waits": {"waits": {"files": {"waits": 3, "where": {"a.py:1": 3}}, "traceback": "long"}}},
    }  # fmt: skip
    text = results.markdown({"parts": {"accelerator": part}})
    assert text.endswith("### waits\n\n- waits\n    - files: waits 3, where a.py:1 3\n")


# --- wheels --------------------------------------------------------------------------------------------------------


def test_wheels_are_those_of_every_dependency_but_torch(tmp_path: Path) -> None:
    from benchmarks.accelerator import wheels

    commands: list[Sequence[str]] = []

    def pip(command: Sequence[str]) -> int:
        commands.append(command)
        return int(command[-1].startswith("lpips"))

    assert wheels.prepare(tmp_path / "wheels", "3.12", pip) == ["lpips>=0.1.4"]
    names = {wheels.name_of(command[-1]) for command in commands}
    assert {"faiss-cpu", "msgspec", "pytorch-fid", "pytest"} <= names
    assert not {"torch", "torchvision"} & names
    assert all("--no-deps" in command and "3.12" in command for command in commands)


@pytest.mark.parametrize(
    "text", ["faiss_cpu-1.12.0-cp312-cp312-manylinux_2_28_x86_64.whl", "faiss-cpu>=1.8", "Faiss.CPU==1.8", "faiss-cpu"]
)
def test_a_wheel_and_a_requirement_have_one_name(text: str) -> None:
    from benchmarks.accelerator.wheels import name_of

    assert name_of(text) == "faiss-cpu"


def test_only_what_is_missing_is_installed(tmp_path: Path) -> None:
    from benchmarks.accelerator import wheels

    here, missing = (tmp_path / f"{name}-1.0-py3-none-any.whl" for name in ("pytest", "no_such_package"))
    here.touch(), missing.touch()
    commands: list[Sequence[str]] = []
    assert wheels.install(tmp_path, tmp_path / "site", lambda command: commands.append(command) or 0) == [
        "no-such-package"
    ]
    assert str(missing) in commands[0]
    assert str(here) not in commands[0]
    with pytest.raises(RuntimeError, match="are they for this version of Python"):
        wheels.install(tmp_path, tmp_path / "site", lambda command: 1)


# --- the other benchmarks, on an accelerator -----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["dcgan", "cyclegan"])
def test_neither_loop_waits_within_a_turn(model: str) -> None:
    """This loop looked at the clock, and so waited for the device, at every step; the bare one twice a turn."""
    import importlib

    module = importlib.import_module(f"benchmarks.{model}_throughput")
    turns = importlib.import_module("benchmarks.turns")
    training = importlib.import_module("benchmarks.accelerator.training")
    bare, ours, _ = getattr(training, model)(bench())
    for run in (bare, ours):
        with (
            mock.patch.object(turns, "clock", side_effect=range(9)) as one,
            mock.patch.object(module, "clock", one),
        ):
            assert run(3) == pytest.approx(1 / 3)
        assert one.call_count == 2


def test_an_accelerator_is_waited_for_without_torch_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """It came with torch 2.6, and 2.4 is the oldest that is supported."""
    from benchmarks.machine import synchroniser

    waited: list[str] = []
    monkeypatch.delattr(torch, "accelerator", raising=False)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append("cuda"))
    synchroniser("cpu")()
    assert waited == []
    synchroniser("cuda:0")()
    assert waited == ["cuda"]


def test_an_accelerator_has_batches_of_its_own_and_no_start_in_its_rate() -> None:
    from benchmarks.inception import rate_beyond, sizes

    assert sizes("cpu", 96) == [4, 8, 16, 32, 64]
    assert sizes("cuda", 2048) == [64, 128, 256, 512]
    assert sizes("cuda", 8) == [8]
    few, many = {"images": 200, "wall": 10.0}, {"images": 40_200, "wall": 30.0}
    assert rate_beyond(few, many) == 2000.0
    assert rate_beyond(many, few) == 0.0


def test_neighbours_run_on_the_device_that_is_named(tmp_path: Path) -> None:
    """``meta`` holds no values: the products are sent there, and fail there."""
    from benchmarks import neighbours

    rows = neighbours.features(8, 4, 1)
    neighbours.bare_there(rows, rows, "cpu")
    with pytest.raises(RuntimeError, match="meta"):
        neighbours.bare(rows, rows, "meta")
