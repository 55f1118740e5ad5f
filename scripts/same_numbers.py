"""Compare two versions of ganeval: the same commands must give the same numbers, keys and exit codes.

``python scripts/same_numbers.py BASE`` checks BASE (a commit or a tag) out in a temporary folder, runs about forty
cases with both, one after the other, on one thread with a fixed batch size and without the cache, and lists what
differs. Nothing is kept: both sides are computed on the same machine.

Numbers are equal to ``--tolerance`` (relative, 1e-12 by default; steps that change how images are batched need 1e-5).
Keys of documents, exit codes, whole numbers, names of protocols and estimands are equal exactly. Sentences, times,
versions and hashes of files are not compared.

Exit code: 0 if all is equal, 1 if something differs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MATERIAL = "../../material"
ADDED = {"reason_code", "$schema"}  # keys that the newer version may have and the older one may not
# values under these keys are sentences, or differ between two runs of one version; the keys themselves are compared
UNCOMPARED = {
    "elapsed_seconds", "warnings", "notes", "reason", "message", "versions", "commit", "sha256", "platform", "version",
    "text", "seconds", "differences",
}  # fmt: skip
# strings under these keys are part of what a number means
COMPARED = {
    "key", "comparison_key", "name", "label", "method", "estimand", "extractor", "layer", "resize", "scale", "decode",
    "verdict", "status", "kind", "digest", "reference", "spec", "trace", "error",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Commands that run in one folder, one after the other.

    Attributes:
        commands: each the arguments of ``ganeval``, or the text of a Python program where it starts with ``python:``.
        ranks: processes that run each command together.
    """

    name: str
    commands: tuple[str, ...]
    ranks: int = 1


def cases() -> Iterator[Case]:
    """Every metric's command, the documents, the gate, training loops, ranks, and a run that was killed."""
    sets = f"{MATERIAL}/real {MATERIAL}/fake"
    compact = "--protocol compact --batch-size 32 --device cpu -o out.json"
    for metric in ("fid", "kid", "pr", "ind", "mind", "fid-inf"):
        yield Case(f"compact-{metric}", (f"{metric} {sets} {compact}",))
    for metric in ("is", "vendi", "rke"):
        yield Case(f"compact-{metric}", (f"{metric} {MATERIAL}/fake {compact}",))
    many = f"dataset:shapes@1 dataset:shapes-striped@2 --num-samples 660 {compact}"
    yield Case("compact-fid-of-many", (f"fid {many}",))
    yield Case("compact-authpct", (f"authpct {sets} {compact}",))
    yield Case("compact-ct", (f"ct {sets} --test {MATERIAL}/test {compact}",))
    ttur = f"--protocol ttur --weights {MATERIAL}/surrogate.pth --batch-size 8 --device cpu -o out.json"
    mixed = f"{MATERIAL}/mixed-real {MATERIAL}/mixed-fake"
    for metric in ("fid", "kid", "pr", "sfid"):
        yield Case(f"ttur-{metric}-mixed-sizes", (f"{metric} {mixed} {ttur}",))
    yield Case("ttur-is-mixed-sizes", (f"is {MATERIAL}/mixed-fake {ttur}",))
    yield Case("clean-fid", (f"fid {mixed} {ttur.replace('ttur', 'clean')}",))
    yield Case("bf16", (f"fid {sets} {compact} --precision bf16",))
    ppl = "--pairs 40 --distance compact --batch-size 8 --device cpu -o out.json"
    yield Case("ppl", (f"ppl gen:dcgan-cifar10 {ppl}",))
    yield Case("generator", (f"fid {MATERIAL}/real gen:dcgan-cifar10 --num-samples 200 --seed 3 {compact}",))
    yield Case("floor", (f"fid {sets} --floor {compact}",))
    yield Case("per-class", (f"fid {MATERIAL}/classes-real {MATERIAL}/classes-fake --per-class {compact}",))
    yield Case("subsets", (f"kid {sets} --num-real 120 --num-fake 90 --seed 5 --kid-subsets 5x50 {compact}",))
    yield Case("archive", (f"eval {MATERIAL}/real {MATERIAL}/fake.zip --per-image scores.csv {compact}",))
    yield Case("eval", (f"eval {sets} --test {MATERIAL}/test --per-image scores.csv {compact}",))
    yield Case("two-networks", (f"eval {mixed} --metrics fid,kid,is --per-image scores.csv {ttur}",))
    build = "--protocol compact --batch-size 32 --device cpu -o"
    yield Case("stats", (
        f"stats build {MATERIAL}/real {build} a.npz", f"stats build {MATERIAL}/test {build} b.npz",
        "stats merge a.npz b.npz -o merged.npz", "stats show merged.npz --json",
        f"fid merged.npz {MATERIAL}/fake {compact}", f"pr a.npz {MATERIAL}/fake {compact.replace('out', 'pr')}",
    ))  # fmt: skip
    yield Case("stats-known", (f"fid stats:cifar10-test {MATERIAL}/fake {compact}",))
    run = f"eval {sets} --metrics fid,kid,precision {compact}"
    other = f"eval {MATERIAL}/real {MATERIAL}/test --metrics fid,kid,precision {compact.replace('out', 'other')}"
    gate = f"gate --config {MATERIAL}/ganeval.toml --results out.json"
    yield Case("gate", (run, other, gate, f"{gate} --baseline other.json", f"{gate} --baseline other.json --json"))
    yield Case("compare", (run, other, "compare out.json other.json --json"))
    yield Case("check", (f"check {MATERIAL}/real {MATERIAL}/mixed-real --json",))
    for name, command in {
        "no-folder": f"fid nowhere {MATERIAL}/fake {compact}",
        "few": f"fid {MATERIAL}/one {MATERIAL}/fake {compact}",
        "unknown-option": f"fid {sets} --nonsense",
        "unknown-metric": f"eval {sets} --metrics fidd {compact}",
        "no-weights": f"fid {sets} --protocol ttur",
        "wrong-statistics": f"fid stats:cifar10-test {MATERIAL}/mixed-fake {ttur}",
    }.items():
        yield Case(f"error-{name}", (f"{command} --json",))
    yield Case("sample", ("sample gen:dcgan-cifar10 -n 8 -o images --seed 2", "check images --json"))
    yield Case("report", (run, "report out.json -o report.html"))
    yield Case("two-ranks", (f"eval {sets} --per-image scores.csv {compact}",), ranks=2)
    yield Case("two-ranks-mixed-sizes", (f"fid {mixed} {ttur}",), ranks=2)
    yield Case("evaluator", (f"python:{_EVALUATOR}",))
    yield Case("evaluator-in-two-ranks", (f"python:{_EVALUATOR}",), ranks=2)
    yield Case("killed-and-resumed", (f"python:{_KILLED}",))


_EVALUATOR = """
import json, os, torch
from ganeval import Evaluator
real = torch.randint(0, 256, (150, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
fake = torch.randint(0, 200, (130, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
evaluator = Evaluator(real, metrics=("fid", "kid", "is", "precision"), protocol="compact", device="cpu", batch_size=16)
for start in range(0, 100, 30):
    evaluator.update(fake[start : start + 30])
found = [evaluator.compute().to_dict()]
evaluator.update(fake[100:])
found.append(evaluator.compute().to_dict())
evaluator.reset()
evaluator.update(fake)
found.append(evaluator.compute().to_dict())
if os.environ.get("RANK", "0") == "0":
    json.dump(found, open("out.json", "w"))
"""
_KILLED = """
import os, subprocess, sys, time
train = "train dcgan --data dataset:shapes -o run --num-samples 64 --width 4 --batch-size 16 --steps 60 --seed 1"
often = "--device cpu --final-samples 32 --eval-every 20 --eval-samples 32 --checkpoint-every 5 --sample-every 0"
command = [sys.executable, "-m", "ganeval", *train.split(), *often.split()]
process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while process.poll() is None and not os.path.exists("run/checkpoint.json"):
    time.sleep(0.02)
process.kill()
process.wait()
sys.exit(subprocess.run([*command, "--resume"], stdout=subprocess.DEVNULL).returncode)
"""


def make_material(folder: Path, tree: Path) -> None:
    """The inputs of all cases, made once, by the older version."""
    (folder / "material").mkdir()
    at = folder / "material"
    for name, spec, n in (
        ("real", "dataset:shapes@1", 300), ("fake", "dataset:shapes-striped@2", 290), ("test", "dataset:shapes@3", 200),
        ("fake.zip", "dataset:shapes-striped@4", 200), ("one", "dataset:shapes@5", 1),
    ):  # fmt: skip
        sample = [sys.executable, "-m", "ganeval", "sample", spec, "-n", str(n), "-o", name, "-q"]
        _run(sample, at, tree).check_returncode()
    _run([sys.executable, str(tree / "tests" / "surrogate.py"), "surrogate.pth"], at, tree).check_returncode()
    from PIL import Image

    random = np.random.default_rng(0)
    for name in ("mixed-real", "mixed-fake"):
        (at / name).mkdir()
        for number in range(24):
            height, width = random.integers(20, 90, 2)
            pixels = random.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((int(width), int(height)), Image.Resampling.BICUBIC)
            image.save(at / name / f"{number:02}.{'jpg' if number % 3 == 0 else 'png'}")
    for name, source in (("classes-real", "real"), ("classes-fake", "fake")):
        for number, path in enumerate(sorted((at / source).rglob("*.png"))[:120]):
            to = at / name / "abc"[number % 3]
            to.mkdir(parents=True, exist_ok=True)
            (to / path.name).symlink_to(path)
    (at / "ganeval.toml").write_text(
        '[gate]\nprotocol = "compact"\n[gate.rules.fid]\nmax = 1000.0\nmax-regression = { rel = 0.05 }\n'
        "[gate.rules.kid]\nmax = 0.0001\n[gate.rules.precision]\nmin = 0.1\n",
        encoding="utf-8",
    )


def _run(command: list[str], where: Path, tree: Path, **more: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GANEVAL_")}
    own = {
        "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "GANEVAL_CACHE": "0", "GANEVAL_OFFLINE": "1",
        "HOME": str(where), "XDG_CACHE_HOME": str(where / ".cache"), "TORCH_HOME": str(where / ".cache"),
        "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    return subprocess.run(command, cwd=where, env={**plain, **own, **more}, capture_output=True, text=True, check=False)


def run_case(case: Case, where: Path, tree: Path, port: int) -> list[object]:
    """Exit codes and JSON of standard output; everything else is in the folder."""
    where.mkdir(parents=True)
    found: list[object] = []
    for command in case.commands:
        if command.startswith("python:"):
            argv = [sys.executable, "-c", command.removeprefix("python:")]
        else:
            argv = [sys.executable, "-m", "ganeval", *command.split()]
        if case.ranks > 1:
            where_to_meet = ["--nproc-per-node", str(case.ranks), "--master-port", str(port)]
            inner = ["-m", *argv[2:]] if argv[1] == "-m" else [_script(where, argv[2])]
            argv = [sys.executable, "-m", "torch.distributed.run", *where_to_meet, *inner]
        result = _run(argv, where, tree)
        found.append(result.returncode)
        if result.returncode not in (0, 1, 3) and len(found) == 1 and not case.name.startswith("error"):
            print(f"    {case.name} is no case: {result.stderr.strip()[-300:]}")
        if result.stdout.startswith("{"):
            found.append(json.loads(result.stdout))
    return found


def _script(where: Path, text: str) -> str:
    (where / "program.py").write_text(text, encoding="utf-8")
    return "program.py"


def everything(where: Path, codes: list[object]) -> dict[str, object]:
    """What a case left: its exit codes, and every document and array in its folder."""
    found: dict[str, object] = {"exit codes": codes}
    there = [
        path for path in sorted(where.rglob("*")) if not any(p.startswith(".") for p in path.relative_to(where).parts)
    ]
    for path in (path for path in there if path.suffix == ".json" and path.name != "checkpoint.json"):
        found[path.relative_to(where).as_posix()] = json.loads(path.read_text(encoding="utf-8"))
    for path in (path for path in there if path.suffix == ".npz"):
        with np.load(path, allow_pickle=False) as arrays:
            found[path.relative_to(where).as_posix()] = {name: arrays[name] for name in arrays.files if name != "meta"}
    return found


def differences(a: object, b: object, tolerance: float, place: str = "") -> Iterator[str]:
    """Where two documents differ, a line each."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b} - ADDED):
            if key not in a or key not in b:
                yield f"{place}/{key} is {'new' if key in b else 'gone'}"
            elif key in UNCOMPARED:
                continue
            elif not isinstance(a[key], str) or not isinstance(b[key], str) or key in COMPARED:
                yield from differences(a[key], b[key], tolerance, f"{place}/{key}")
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield f"{place} has {len(b)} elements, not {len(a)}"
        for number, (one, other) in enumerate(zip(a, b, strict=False)):
            yield from differences(one, other, tolerance, f"{place}/{number}")
    elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            yield f"{place} is {b.dtype} {b.shape}, not {a.dtype} {a.shape}"
        elif a.dtype.kind == "f":
            off = float(np.abs(a - b).max(initial=0)) / (float(np.abs(a).max(initial=0)) or 1)
            if not off <= tolerance:
                yield f"{place} differs by {off:.1e} of its largest element"
        elif a.tobytes() != b.tobytes():
            yield f"{place} differs"
    elif isinstance(a, float) and isinstance(b, float):
        if not math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-15):
            yield f"{place} is {b!r}, not {a!r}"
    elif type(a) is not type(b) or a != b:
        yield f"{place} is {b!r}, not {a!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="the commit or tag to compare with")
    parser.add_argument("--only", default="", help="names of cases, separated by commas")
    parser.add_argument("--tolerance", type=float, default=1e-12)
    options = parser.parse_args()
    chosen = [case for case in cases() if not options.only or case.name in options.only.split(",")]
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = folder / "tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), options.base], cwd=ROOT, check=True)
        try:
            make_material(folder, tree)
            for number, case in enumerate(chosen):
                sides = []
                for side, where in (("base", tree), ("head", ROOT)):
                    codes = run_case(case, folder / side / case.name, where, 29600 + number)
                    sides.append(everything(folder / side / case.name, codes))
                found = list(differences(sides[0], sides[1], options.tolerance, case.name))
                codes = [one for one in sides[0]["exit codes"] if isinstance(one, int)]  # type: ignore[union-attr]
                print(
                    f"{'DIFFERS' if found else 'same   '} {case.name} (exit {codes}, {len(sides[0]) - 1} files)",
                    flush=True,
                )
                for line in found[:20]:
                    print(f"    {line}")
                wrong += bool(found)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} cases are the same")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
