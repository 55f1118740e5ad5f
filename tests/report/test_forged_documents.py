"""Forged documents: whatever a file of results names, and whatever lies beside it, no program runs.

The programs are real: TorchScript that writes a file when it is loaded and one when it is called, under every name that
a forged spec has, and modules that do the same. The last tests show that they do run where the user names them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganeval.cli.main import main
from ganeval.errors import GanEvalError
from ganeval.generators.load import open_source
from ganeval.images.grammar import parse_spec
from ganeval.images.specs import closed_to_documents
from ganeval.pytest_plugin import hold

LOADED, CALLED, IMPORTED = "loaded", "called", "imported"
RULES = """\
[gate]
protocol = "compact"
[gate.rules.precision]
min = 0.01
max-regression = { abs = 0.5 }
"""
MODULE = f"""
from pathlib import Path
import torch
Path({IMPORTED!r}).touch()
def make(z):
    Path({CALLED!r}).touch()
    return torch.tanh(z.reshape(-1, 3, 8, 8))
class Holder:
    make = staticmethod(make)
"""
# Of files; each is planted, as a program, wherever the file system takes the name.
NAMES = (
    "dcgan-cifar10(x).pt", "dcgan-cifar10().pt", "dcgan-cifar10.pt", "dcgan-cifar10 ", " dcgan-cifar10",
    "dcgan-cifar10\t", "DCGAN-CIFAR10", "Dcgan-Cifar10.PT", "dcgan%2Dcifar10", "dcgan-cifar10%00.pt",
    "dcgan-cifar10\u200b", "dcg\u0430n-cifar10", "dcgan\u2010cifar10", "dcgan-cifar10\n", "dcgan-cifar10)",
    "(dcgan-cifar10)", "./dcgan-cifar10", "dcgan-cifar10/.", "cyclegan-plain2striped(x).pt",
    "dcgan-cifar10.safetensors.pt", "dcgan-cifar10.safetensors(x)",
    "x.safetensors(y).pt", "x.safetensors ", "x.SAFETENSORS.pth", "evil.json", "evil",
    "evil.bin", "evil.npz.pt", "folder/evil.pt", "folder(dcgan-cifar10)/evil.pt", "../outside.pt", "~/home.pt",
    "dataset:shapes.pt", "stats:cifar10-test", "-o.pt", "{0..1}.pt", "$(touch called).pt", "<script>alert(1).pt",
)  # fmt: skip
CALLABLES = ("evil_module:make", "evil_module:Holder.make", "evil_package.sub:make", "os:getcwd", "builtins:print")
FORMS = (
    "gen:{}", "GEN:{}", " gen:{}", "gen: {}", "gen%3A{}", "{}", "gen:{}(dataset:shapes:8@1)",
    "gen:{}(gen:dcgan-cifar10)",
    "gen:cyclegan-plain2striped(gen:{})", "gen:cyclegan-plain2striped({})",
    "gen:cyclegan-plain2striped(gen:cyclegan-striped2plain(gen:{}))",
    "gen:cyclegan-plain2striped(gen:{}(dataset:shapes:8@1))",
)  # fmt: skip


class Program(nn.Module):
    """Writes a file when TorchScript loads it, and another when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = 1

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z.reshape(-1, 3, 8, 8)) + torch.from_file("called", True, 1)

    @torch.jit.export
    def __getstate__(self):  # type: ignore[no-untyped-def]
        return (self.ends, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[int, bool]) -> None:
        self.ends = state[0] + torch.from_file("loaded", True, 1).numel()
        self.training = state[1]


def ran() -> list[str]:
    """What has run in the working directory, which forgets it."""
    found = [name for name in (LOADED, CALLED, IMPORTED) if Path(name).exists()]
    for name in found:
        Path(name).unlink()
    return found


def specs(folder: Path) -> list[str]:
    absolute = (str(folder / "absolute.pt"), f"{folder}/./absolute(x).pt")
    return [form.format(name) for name in (*NAMES, *absolute, *CALLABLES) for form in FORMS]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured run, and programs beside it."""
    outer = tmp_path_factory.mktemp("forged")
    folder = outer / "work"
    (folder / "evil_package").mkdir(parents=True)
    (outer / "home").mkdir()
    (folder / "evil_module.py").write_text(MODULE)
    (folder / "evil_package" / "__init__.py").write_text(MODULE)
    (folder / "evil_package" / "sub.py").write_text(MODULE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still what people have
        torch.jit.script(Program()).save(folder / "program")  # type: ignore[no-untyped-call]
    content = (folder / "program").read_bytes()
    for name in (*NAMES, "absolute.pt", "absolute(x).pt", "evil.pt(dataset:shapes:8@1)"):
        path = folder / name.replace("~", str(outer / "home"), 1) if name.startswith("~") else folder / name
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    target = str(folder / "R.json")
    run = "eval dataset:shapes:8@1 dataset:shapes:8@2 --num-samples 40 --protocol compact --metrics pr,ind --device cpu"
    assert main([*run.split(), "-q", "-o", target]) == 0
    return folder


@pytest.fixture
def here(planted: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(planted)
    monkeypatch.syspath_prepend(str(planted))
    monkeypatch.setenv("HOME", str(planted.parent / "home"))
    ran()
    yield planted
    ran()
    for name in ("evil_module", "evil_package", "evil_package.sub"):
        sys.modules.pop(name, None)


def forged(spec: str, **more: Any) -> str:
    """A file of results, all of whose sets are said to be ``spec``."""
    document = json.loads(Path("R.json").read_text())
    told = {"kind": "generator", "latents": [192], "value_range": [-1, 1], **more}
    for side in ("real", "fake"):
        document[side] |= {"spec": spec, **told}
    document["test"] = document["fake"]
    Path("forged.json").write_text(json.dumps(document))
    return "forged.json"


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.nightly)])
def test_no_forged_document_runs_a_program(
    every: int, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loads: list[object] = []
    monkeypatch.setattr(torch.jit, "load", lambda *given, **_: loads.append(given))
    monkeypatch.setattr(torch, "load", lambda *given, **_: loads.append(given))
    tried = specs(here)[::every]
    assert len(set(tried)) > 500 // every
    for spec in tried:
        file = forged(spec)
        assert main(["report", file, "--baseline", file, "-o", "page.html", "-q"]) == 0, spec
        assert main(["compare", file, "R.json", "-q"]) == 3, spec  # precision has no interval here
        assert (loads, ran()) == ([], []), spec
        assert "<script" not in Path("page.html").read_text()
    captured = capsys.readouterr()
    assert "internal error" not in captured.err


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["dcgan-cifar10(x).pt", "evil_module:make"])
def test_no_gate_on_a_forged_document_runs_a_program(name: str, form: str, here: Path) -> None:
    file = forged(form.format(name))
    Path("ganeval.toml").write_text(RULES)
    try:
        judge = ["gate", "--results", file, "--baseline", file, "--report", "page.html", "-q"]
        assert main(judge) in (0, 3)
        assert main(["gate", "--check", "--baseline", file, "-q"]) == 0
        assert hold(results=file, baseline=file).checks
    finally:
        Path("ganeval.toml").unlink()
    assert ran() == []


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "statistics"}, {"kind": 5}, {"subset": {"n": 40, "of": 10**15}}, {"subset": {"n": 10**15}},
        {"subset": {"n": "40"}}, {"seed": -1}, {"seed": 10**400}, {"value_range": "ab"}, {"value_range": [1]},
        {"latents": ["x"]}, {"num_classes": -3}, {"source": 5}, {"subset": 5},
    ],
)  # fmt: skip
@pytest.mark.parametrize("spec", ["gen:dcgan-cifar10", "dataset:shapes:8@1", "dataset:shapes:999999999999999@1"])
def test_forged_options_end_in_a_sentence(spec: str, more: dict[str, Any], here: Path) -> None:
    code = main(["report", forged(spec, **more), "-o", "page.html", "-q"])
    assert code in (0, 2)
    assert code == 2 or "Left out: " in Path("page.html").read_text()


@pytest.mark.parametrize(
    "spec", ["gen:g.safetensors", "gen:g.json", "gen:checkpoint", "gen:cyclegan-plain2striped(g.npy)"]
)
def test_pipes_are_not_waited_for(spec: str, here: Path) -> None:
    """Beside what a document names, too: the card of a checkpoint, the values of single images."""
    Path("checkpoint").mkdir(exist_ok=True)
    for path in (Path("g.json"), Path("g.npy"), Path("checkpoint/g.json"), Path("other.samples.npz")):
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    Path("g.safetensors").write_bytes(b"\0" * 100)
    Path("checkpoint/g.safetensors").write_bytes(b"\0" * 100)
    assert main(["report", forged(spec), "-o", "page.html", "-q"]) == 0
    document = json.loads(Path("forged.json").read_text())
    document["samples"]["file"] = "other.samples.npz"
    Path("forged.json").write_text(json.dumps(document))
    assert main(["report", "forged.json", "-o", "page.html", "-q"]) == 0
    assert "other.samples.npz is not a regular file" in Path("page.html").read_text()


def test_a_card_cannot_ask_for_more_than_its_file_holds(here: Path) -> None:
    """10^9 layers, or wide ones, are refused before any memory is taken."""
    Path("huge.safetensors").write_bytes(b"\0" * 1000)
    for model, arguments in (("cyclegan", {"blocks": 10**9}), ("dcgan", {"width": 10**9}), ("dcgan", {"width": 4096})):
        Path("huge.json").write_text(json.dumps({"model": model, "arguments": arguments}))
        with pytest.raises(GanEvalError, match="at most 4096|not a complete safetensors file"):
            open_source("gen:huge.safetensors", num_samples=2)


# --- the same programs where the user names them -----------------------------------------------------------------


@pytest.mark.nightly
def test_the_programs_are_real(here: Path) -> None:
    """Whoever names one runs it, by most of the specs that a document must not open."""
    found: set[str] = set()
    closed = potent = 0
    for spec in specs(here):
        if closed_to_documents(parse_spec(spec)) is None:
            continue
        closed += 1
        try:
            source = open_source(spec, num_samples=2, latent_dim=192, value_range=(-1, 1))
            next(iter(source.batches(2)))
        except GanEvalError:
            pass
        happened = ran()
        potent += bool(happened)
        found |= set(happened)
        for name in ("evil_module", "evil_package.sub", "evil_package"):
            sys.modules.pop(name, None)
    assert found == {LOADED, CALLED, IMPORTED}
    assert closed >= 200
    assert potent >= 200, (closed, potent)


THROUGH = ("gen:cyclegan-plain2striped(gen:dcgan-cifar10(x).pt)", "gen:evil_module:make")


@pytest.mark.parametrize("spec", [pytest.param(spec, marks=pytest.mark.nightly) for spec in THROUGH])
def test_through_the_program(spec: str, here: Path) -> None:
    """A process of its own: the document runs nothing, the command line that names the same runs it."""
    file = forged(spec)
    environment = {**os.environ, "GANEVAL_CACHE": "0"}
    program = [sys.executable, "-m", "ganeval"]
    Path("rules.toml").write_text(RULES)
    judge = ["gate", "--config", "rules.toml", "--results", file, "--baseline", file, "--report", "gate.html"]
    report = ["report", file, "-o", "page.html"]
    for arguments in [report, judge, ["compare", file, file]] if spec == THROUGH[0] else [report]:
        run = subprocess.run(
            [*program, *arguments, "-q"], capture_output=True, text=True, env=environment, check=False, timeout=120
        )
        assert run.returncode in (0, 3), run.stderr
        assert ran() == []
    assert "is a program, and a document alone never runs one" in Path("page.html").read_text()
    user = ["sample", spec, "-n", "2", "--latent-dim", "192", "--value-range", "-1,1", "-o", "out", "--overwrite"]
    subprocess.run([*program, *user], capture_output=True, env=environment, check=False, timeout=120)
    assert ran()


def test_modules_beside_a_document_are_not_imported(planted: Path, tmp_path: Path) -> None:
    """``python -m`` would take them for the packages that the page needs."""
    for name in ("R.json", "R.samples.npz"):
        (tmp_path / name).write_bytes((planted / name).read_bytes())
    for name in ("jinja2", "msgspec", "click", "numpy", "PIL", "torch", "json"):
        (tmp_path / f"{name}.py").write_text(f"open('{IMPORTED}', 'w')")
    command = [sys.executable, "-m", "ganeval", "report", "R.json", "-o", "page.html", "-q"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "page.html").exists()
    assert not (tmp_path / IMPORTED).exists()
