"""Every reader of documents, and the commands that stand on them, on thousands of damaged documents.

A reader gives a value or one GanEvalError; a command ends with an exit code of its table. The fast test takes a few
mutations of each kind; the nightly one 20 000, and 200 through the program itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.documents import META, RULES, write_run, write_statistics
from support.mutations import MEMORY, SECONDS, cases, drive, mutated_bytes, mutated_json, mutated_toml, peak_memory

import ganeval.engine.public_statistics as manifest
from ganeval.cli.main import main
from ganeval.features.cache import FeatureCache
from ganeval.features.cache_entry import Entry, packed, unpacked
from ganeval.gate.rules import parse_rules
from ganeval.generators.checkpoint import WEIGHTS, load_generator
from ganeval.images import save
from ganeval.report.game import read_training
from ganeval.result_files import read_record
from ganeval.results import Evaluation
from ganeval.statistics.merging import merge_statistics
from ganeval.statistics.reference import load_statistics
from ganeval.training.checkpoints import load_checkpoint, save_checkpoint
from ganeval.training.runs import open_run

TOTAL = 20_000
# Runs a program; its stderr ends with seconds and bytes. A small parent, since a process begins with its parent's peak.
_USAGE = """
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 1 if sys.platform == "darwin" else 1024
sys.stderr.write("\\n" + json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss * unit]))
sys.exit(code)
"""
MEASURED, JUDGED, COMPARED = (0, 2), (0, 1, 2, 3), (0, 2, 3)
REAL_MANIFEST = manifest.reference_stats_dir() / "manifest.toml"


@dataclass(frozen=True)
class Target:
    """A document, how it is damaged, and who reads it.

    Attributes:
        make: a damaged one.
        file: where it is written, in the folder of the test.
        read: a function of its path; with ``codes`` it returns an exit code.
        share: of all mutations, relative to the others'.
    """

    make: Callable[[Random], bytes]
    file: str
    read: Callable[[Path], object]
    codes: tuple[int, ...] | None = None
    share: float = 1.0


def command(*arguments: str) -> Callable[[Path], int]:
    """Run the program in this process; what it says of an internal error is the failure."""

    def run(path: Path) -> int:
        err = io.StringIO()
        with redirect_stdout(io.StringIO()), redirect_stderr(err):
            code = main(list(arguments))
        if code == 70:
            raise AssertionError(" / ".join(err.getvalue().strip().splitlines()[-4:]))
        return code

    return run


def targets(folder: Path) -> dict[str, Target]:
    """All of them, with the sound documents that they need next to the damaged one, in ``folder``."""
    tree = write_run(folder / "A.json")
    write_run(folder / "B.json", 1)
    write_run(folder / "C.json", 2)
    (folder / "gate.toml").write_text(
        '[gate]\nprotocol = "compact"\n[gate.rules.kid]\nmax = 0.3\nmax-regression = { abs = 0.1 }\n'
        "[gate.rules.precision]\nmin = 0.5\nmax-regression = { rel = 0.1 }\n"
        "[gate.rules.fid]\nmax-regression = { rel = 0.1 }\n"
    )
    second = {**META["source"], "subset": {**META["source"]["subset"], "shard": 2, "first": 40}}
    write_statistics(folder / "sound.npz", json.dumps({**META, "source": second}))
    shutil.copy(REAL_MANIFEST, folder / "manifest.toml")

    def run(rng: Random) -> bytes:
        return mutated_json(tree, rng)

    def meta(rng: Random) -> bytes:
        text = mutated_json(META, rng).decode("utf-8", "replace").replace("\x00", "")
        return write_statistics(folder / "made.npz", text).read_bytes()

    def arrays(path: Path) -> object:
        """The file of values of single images, under the hash that its document names."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        document = {**tree, "samples": {"file": path.name, "sha256": digest}}
        (folder / "arrays.json").write_text(json.dumps(document))
        return command("compare", "arrays.json", "B.json")(path)

    return {
        "results": Target(run, "x.json", read_record),
        "results from a dictionary": Target(run, "x.json", lambda path: _given(path, Evaluation.from_dict)),
        "compare A": Target(run, "x.json", command("compare", "x.json", "B.json"), COMPARED),
        "compare B": Target(run, "x.json", command("compare", "B.json", "x.json", "--format", "md"), COMPARED),
        "gate --results": Target(
            run,
            "x.json",
            command(
                "gate",
                "--config",
                "gate.toml",
                "--results",
                "x.json",
                "--baseline",
                "B.json",
                "--format",
                "github",
                "--junit",
                "junit.xml",
                "-o",
                "verdict.json",
            ),
            JUDGED,
        ),
        "gate --baseline": Target(
            run,
            "x.json",
            command("gate", "--config", "gate.toml", "--results", "A.json", "--baseline", "x.json", "--json"),
            JUDGED,
        ),
        "gate --suggest": Target(run, "x.json", command("gate", "--suggest", "x.json", "B.json", "C.json"), COMPARED),
        "gate --check": Target(
            run, "x.json", command("gate", "--config", "gate.toml", "--check", "--baseline", "x.json"), MEASURED, 0.3
        ),
        "report": Target(run, "x.json", command("report", "x.json", "-o", "page.html"), MEASURED, 0.2),
        "report --baseline": Target(
            run,
            "x.json",
            command("report", "A.json", "--baseline", "x.json", "-o", "page.html"),
            MEASURED,
            0.2,
        ),
        "gate --config": Target(
            lambda rng: mutated_toml(RULES, rng),
            "x.toml",
            command("gate", "--config", "x.toml", "--results", "A.json", "--baseline", "B.json"),
            JUDGED,
        ),
        "samples": Target(
            lambda rng: _mutated_npz(folder / "A.samples.npz", rng), "x.samples.npz", arrays, COMPARED, 0.5
        ),
        "stats show": Target(meta, "x.npz", command("stats", "show", "x.npz"), MEASURED),
        "stats merge": Target(
            meta, "x.npz", lambda path: merge_statistics([load_statistics(path), load_statistics(folder / "sound.npz")])
        ),
        **_other_targets(folder),
    }


def _mutated_npz(path: Path, rng: Random) -> bytes:
    """Arrays of other lengths, shapes, types and values under the same names; sometimes other bytes."""
    if rng.random() < 0.3:
        return mutated_bytes(path.read_bytes(), rng)
    with np.load(path) as archive:
        arrays: dict[str, Any] = dict(archive)
    for name in rng.sample(sorted(arrays), rng.choice((1, 1, 2))):
        array = arrays[name]
        changes: list[Callable[[], Any]] = [
            lambda array=array: array[: rng.randrange(len(array))], lambda array=array: array[None],
            lambda array=array: np.array(["x"] * len(array)), lambda array=array: np.zeros(len(array)),
            lambda array=array: np.full(len(array), rng.choice((np.nan, np.inf, 1e308, -1.0, 5e-324))),
            lambda array=array: np.arange(len(array)) - 5, lambda: np.array(3.0), lambda: np.zeros(0),
            lambda array=array: np.concatenate([array, array]), lambda array=array: np.array([1j] * len(array)),
        ]  # fmt: skip
        arrays[name] = rng.choice(changes)()
    if rng.random() < 0.2:
        arrays.pop(rng.choice(sorted(arrays)))
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _other_targets(folder: Path) -> dict[str, Target]:
    """Readers of what training, generators and caches leave."""
    shutil.copy(WEIGHTS / "dcgan-cifar10.safetensors", folder / "g.safetensors")
    card = json.loads((WEIGHTS / "dcgan-cifar10.json").read_text())
    config = {"schema": "ganeval-run/1", "model": "dcgan", "architecture": {"size": 32, "width": 64}, "seed": 0}
    log = [
        {"kind": kind, "step": 10 * i, "d_cost": 0.5, "g_gradient": 1.0, "fd": 3.0, "fd_low": 2.0, "fd_high": 4.0}
        for i in range(6)
        for kind in ("train", "eval")
    ]
    run, kept = folder / "run", folder / "kept"
    run.mkdir()
    kept.mkdir()
    (run / "run.json").write_text(json.dumps(config))
    state = {"game": {"w": torch.ones(2), "o": [{"betas": (0.5, 0.9)}], 3: None}, "seconds": 1.5}
    save_checkpoint(kept, 7, state)
    pointer = json.loads((kept / "checkpoint.json").read_text())
    sample = {"schema": "ganeval-sample/1", "n": 5, "source": {"spec": "dataset:shapes", "seed": 0, "size": 32}}
    made = save._Run(SimpleNamespace(describe=lambda: sample["source"]), 5, 1, 0, print, None)  # type: ignore[arg-type]
    about = {
        "name": "compact", "extractor": "compact-v1", "layer": "256", "weights": None, "precision": "float32",
        "device": "cpu",
    }  # fmt: skip
    layer_cache = folder / "cache" / ("0" * 32)
    layer_cache.mkdir(parents=True)
    entry = packed(Entry(np.zeros((3, 2), np.float32), np.arange(3, dtype=np.uint64), "r/", notes={"grey": 1}))
    (layer_cache / "0-3.features").write_bytes(entry)
    lines = "run/log.jsonl"

    def mutated_log(rng: Random) -> bytes:
        return b"\n".join(mutated_json(line, rng) if rng.random() < 0.3 else json.dumps(line).encode() for line in log)

    def public(path: Path) -> object:
        manifest.read_manifest.cache_clear()
        return manifest.public_statistics()

    return {
        "model card": Target(
            lambda rng: mutated_json(card, rng),
            "g.json",
            lambda path: load_generator(folder / "g.safetensors"),
            share=0.3,
        ),
        "run.json": Target(
            lambda rng: mutated_json(config, rng), "run/run.json", lambda path: read_training(run), share=0.3
        ),
        "run.json, resumed": Target(
            lambda rng: mutated_json(config, rng),
            "run/run.json",
            lambda path: open_run(run, config, resume=True),
            share=0.3,
        ),
        "log.jsonl": Target(mutated_log, lines, lambda path: _read_log(run, config), share=0.3),
        "checkpoint.json": Target(
            lambda rng: mutated_json(pointer, rng),
            "kept/checkpoint.json",
            lambda path: load_checkpoint(kept),
            share=0.5,
        ),
        "ganeval-sample.json": Target(
            lambda rng: mutated_json(sample, rng),
            "x.json",
            lambda path: made.difference(save._read_manifest(path.read_text("utf-8", "replace"))),
            share=0.3,
        ),
        "cache": Target(
            lambda rng: mutated_json(about, rng),
            f"cache/{'0' * 32}/about.json",
            lambda path: FeatureCache(folder / "cache", size=10**6).list(),
            share=0.3,
        ),
        "cache entry": Target(
            lambda rng: mutated_bytes(entry, rng), "x.bin", lambda path: unpacked(path.read_bytes(), 3), share=0.3
        ),
        "manifest.toml": Target(
            lambda rng: mutated_bytes(REAL_MANIFEST.read_bytes(), rng), "manifest.toml", public, share=0.1
        ),
        "rules": Target(
            lambda rng: mutated_json(RULES["gate"]["rules"], rng),
            "x.json",
            lambda path: _given(path, parse_rules),
            share=0.5,
        ),
    }


def _read_log(run: Path, config: dict[str, Any]) -> object:
    (run / "run.json").write_text(json.dumps(config))
    return read_training(run)


def _given(path: Path, read: Callable[[Any], object]) -> object:
    """What Python's own reader makes of a file, handed over as a dictionary."""
    try:
        tree = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return read(tree)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Target]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manifest, "reference_stats_dir", lambda: tmp_path)
    made = targets(tmp_path)
    yield made
    manifest.read_manifest.cache_clear()


def mutate(found: dict[str, Target], total: int) -> None:
    """``total`` mutations over all targets; prints how many of each, and how they failed."""
    whole = sum(target.share for target in found.values())
    failures, told = [], []
    for name, target in found.items():
        count = max(1, round(total * target.share / whole))
        broken = drive(name, cases(name, count, target.make), Path(target.file), target.read, codes=target.codes)
        told.append(f"{name}: {count}" + (f", {dict(Counter(f.kind for f in broken))}" if broken else ""))
        failures += broken
    print("\n".join(told), f"\nhighest memory: {peak_memory() / 2**30:.2f} GB")
    assert not failures, "\n".join(f"{f.name} {f.number}: {f.kind}: {f.told}" for f in failures[:20])


def test_no_damaged_document_is_an_internal_error(found: dict[str, Target]) -> None:
    mutate(found, 300)


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_twenty_thousand(found: dict[str, Target]) -> None:
    mutate(found, TOTAL)


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_two_hundred_through_the_program(found: dict[str, Target], tmp_path: Path) -> None:
    """Each in a process of its own, which may use 10 s of computing and is measured."""
    commands = {
        "compare": (["compare", "x.json", "B.json", "--json"], "gate --results", COMPARED),
        "gate": (
            ["gate", "--config", "gate.toml", "--results", "x.json", "--baseline", "B.json"],
            "gate --results",
            JUDGED,
        ),
        "rules": (
            ["gate", "--config", "x.toml", "--results", "A.json", "--baseline", "B.json"],
            "gate --config",
            JUDGED,
        ),
        "report": (["report", "x.json", "-o", "page.html"], "report", MEASURED),
        "stats": (["stats", "show", "x.npz"], "stats show", MEASURED),
    }
    failures = []
    for name, (arguments, target, codes) in commands.items():
        made = found[target]
        for number, data in enumerate(cases(f"program {name}", 40, made.make)):
            Path(made.file).write_bytes(data)
            command = [sys.executable, "-m", "ganeval", *arguments]
            run = subprocess.run(
                [sys.executable, "-S", "-c", _USAGE, *command], capture_output=True, text=True, timeout=120
            )
            err, _, used = run.stderr.rpartition("\n")
            seconds, memory = json.loads(used)
            if run.returncode not in codes or seconds > SECONDS + 10 or memory > MEMORY:
                failures.append((name, number, run.returncode, seconds, memory, err[-300:]))
    assert not failures, failures
