"""``--prompts`` on every command that takes generators: it works, or is refused by name."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError
from ganeval.gate.compare import compare
from ganeval.result_files import Record

pytestmark = pytest.mark.filterwarnings("ignore::ganeval.errors.GanEvalWarning")
Capture = pytest.CaptureFixture[str]
MODULE = """
import zlib
import numpy as np
import torch

def text_to_image(prompts):
    seeds = [zlib.crc32(text.encode()) for text in prompts]
    made = [np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8) for seed in seeds]
    return np.stack(made)

def student(prompts):
    return (text_to_image(prompts) // 2 + 40).astype(np.uint8)

def varied(z, prompts):
    plain = torch.from_numpy(text_to_image(prompts)).permute(0, 3, 1, 2) / 255
    return (plain + z[:, :1, None, None].sigmoid()) / 2
"""
TEXTS = [f"scene number {i}" for i in range(12)]


@pytest.fixture
def gen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """``gen:MODULE``, of a module in the working directory; prompts.txt is there too."""
    name = f"texts_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "prompts.txt").write_text("\n".join(TEXTS) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return f"gen:{name}"


def answer(capsys: Capture, *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


PROMPTS = ["--prompts", "prompts.txt"]
ON = ["--protocol", "compact", "--device", "cpu", "--no-cache"]


@pytest.mark.parametrize("command", ["fid", "eval"])
def test_metrics_of_sets(command: str, gen: str, capsys: Capture) -> None:
    more = [] if command == "fid" else ["--metrics", "fid,kid"]
    found = answer(
        capsys, command, "dataset:shapes:16", f"{gen}:text_to_image", *PROMPTS, *ON, *more, "--num-samples", "24"
    )
    assert (found["fake"]["n"], found["fake"]["prompts"], found["fake"]["latents"]) == (24, 12, None)
    assert len(found["fake"]["prompts_sha256"]) == 64
    both = answer(capsys, command, f"{gen}:text_to_image", f"{gen}:student", *PROMPTS, *ON, *more)
    assert both["real"]["prompts_sha256"] == both["fake"]["prompts_sha256"] == found["fake"]["prompts_sha256"]
    assert both["fake"]["n"] == 12  # their number is the default


def test_the_one_metric_of_latents_refuses_them(gen: str, capsys: Capture) -> None:
    options = [*PROMPTS, "--latent-dim", "4", "--value-range", "0,1"]
    assert main(["ppl", f"{gen}:varied", *options, "--distance", "compact"]) == 2
    assert "this generator takes text. Leave out --prompts (prompts=)" in capsys.readouterr().err.replace("\n", " ")
    found = answer(capsys, "eval", "dataset:shapes:16", f"{gen}:varied", *options, *ON, "--num-samples", "24")
    assert "ppl" not in found["results"]


def test_statistics(gen: str, capsys: Capture) -> None:
    answer(capsys, "stats", "build", f"{gen}:text_to_image", *PROMPTS, *ON, "--num-samples", "24", "-o", "a.npz")
    source = ganeval.load_statistics("a.npz").meta["source"]
    assert (source["n"], source["prompts"]) == (24, 12)


def test_gate(gen: str, capsys: Capture) -> None:
    Path("ganeval.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.fid]\nmax = 1e6\n')
    sets = ["dataset:shapes:16", f"{gen}:text_to_image"]
    found = answer(capsys, "gate", *sets, *PROMPTS, "--num-samples", "24", "--device", "cpu")
    assert found["fake"]["prompts"] == 12
    Path("ganeval.toml").write_text("[gate.rules.l1]\nmax = 1.0\n")
    found = answer(capsys, "gate", *sets, *PROMPTS, "--num-samples", "12", "--device", "cpu")
    assert found["fake"]["prompts"] == 12


def test_pairs_and_diversity(gen: str, capsys: Capture) -> None:
    sets = [f"{gen}:text_to_image", f"{gen}:student"]
    found = answer(capsys, "paired", *sets, *PROMPTS, "--metrics", "l1", "--device", "cpu")
    assert found["results"]["l1"]["n_fake"] == 12
    options = [*PROMPTS, "--latent-dim", "4", "--value-range", "0,1", "--distance", "compact", "--device", "cpu"]
    found = answer(capsys, "diversity", f"{gen}:varied", *options, "--num-samples", "36")
    assert found["results"]["diversity"]["details"]["inputs"] == 12
    assert main(["diversity", f"{gen}:varied", *options]) == 2
    assert "makes one output of each prompt; expected 2 or more" in capsys.readouterr().err.replace("\n", " ")


def test_check(gen: str, capsys: Capture) -> None:
    found = answer(capsys, "check", f"{gen}:text_to_image", *PROMPTS)
    assert found["check"][0]["n"] == 12


def test_samples_have_their_prompts_next_to_them(gen: str, capsys: Capture) -> None:
    command = ["sample", f"{gen}:text_to_image", *PROMPTS, "--device", "cpu"]
    assert main([*command, "-o", "out", "-n", "14"]) == 0
    assert capsys.readouterr().out.startswith("14 images of ")
    texts = [Path(f"out/{i:06}.txt").read_text() for i in range(14)]
    assert texts == [*TEXTS, *TEXTS[:2]]
    Path("out/000003.txt").unlink()
    Path("out/000005.txt").write_text("scene num")
    Path("out/.000004.txt.0123abcd.txt").touch()  # of a run that was killed
    assert answer(capsys, *command, "-o", "out", "-n", "14")["sample"]["written"] == 2
    assert [Path(f"out/{i:06}.txt").read_text() for i in range(14)] == texts
    assert not Path("out/.000004.txt.0123abcd.txt").exists()
    assert answer(capsys, *command, "-o", "out.zip")["sample"]["n"] == 12
    with ZipFile("out.zip") as archive:
        assert archive.read("000011.txt").decode() == TEXTS[11]
        assert len(archive.namelist()) == 24
    assert main([*command, "-o", "out.npz"]) == 0
    assert "out.npz holds no prompts" in capsys.readouterr().err


def test_samples_of_other_prompts_are_of_another_run(gen: str, capsys: Capture) -> None:
    command = ["sample", f"{gen}:text_to_image", "--device", "cpu", "-o", "out"]
    assert main([*command, *PROMPTS]) == 0
    Path("other.txt").write_text("another\nprompt\n")
    assert main([*command, "--prompts", "other.txt"]) == 2
    assert "holds the images of another run" in capsys.readouterr().err
    assert main(["sample", "dataset:shapes:8", "-n", "2", "-o", "out", "--overwrite"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["000000.png", "000001.png", "ganeval-sample.json"]
    assert main(["sample", f"{gen}:text_to_image", "-o", "x"]) == 2
    assert "say how many images to write: -n N" in capsys.readouterr().err


def test_evaluator(gen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    module = import_module(gen.removeprefix("gen:"))
    real = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    options: dict[str, Any] = {"protocol": "compact", "device": "cpu", "metrics": ("kid",)}
    at_once = ganeval.evaluate(real, module.text_to_image, prompts=TEXTS, num_samples=18, **options)
    with ganeval.Evaluator(real, prompts="prompts.txt", **options) as evaluator:
        evaluator.update_from(module.text_to_image, 5)
        evaluator.update_from(module.text_to_image, 13)
        found = evaluator.compute()
    assert found["kid"].value == pytest.approx(at_once["kid"].value, rel=1e-5)
    assert found.fake["digest"] == at_once.fake["digest"]  # of the images, bit by bit
    with pytest.raises(InputError, match="missing.txt cannot be read"):  # before the first epoch
        ganeval.Evaluator(real, prompts="missing.txt", **options)


def test_two_generators_are_paired_where_they_had_the_same_prompts(gen: str, capsys: Capture) -> None:
    def record(name: str, prompts: list[str]) -> Record:
        fake = f"{gen}:{name}"
        return Record.of(ganeval.evaluate("dataset:shapes:16", fake, prompts=prompts, num_samples=40, **options))

    options: dict[str, Any] = {"protocol": "compact", "device": "cpu", "metrics": ("kid",)}
    texts = [f"number {i}" for i in range(40)]
    teacher = record("text_to_image", texts)
    assert compare(teacher, record("student", texts)).rows[0].pairing == "paired"
    assert compare(teacher, record("student", texts[::-1])).rows[0].pairing != "paired"


COMMANDS = {
    "fid": ["fid", "dataset:shapes:16", "{}", *ON, "--num-samples", "6"],
    "gate": ["gate", "dataset:shapes:16", "{}", "--protocol", "compact", "--num-samples", "6"],
    "paired": ["paired", "dataset:shapes:16", "{}", "--metrics", "l1", "--num-samples", "6"],
    "diversity": ["diversity", "{}", "--distance", "compact"],
    "check": ["check", "{}"],
    "stats": ["stats", "build", "{}", *ON, "-o", "a.npz"],
    "sample": ["sample", "{}", "-o", "sampled"],
    "clip-score": ["clip-score", "{}"],
}


def failed(capsys: Capture, command: str, spec: str, *options: str) -> str:
    before = set(Path.cwd().rglob("*"))
    assert main([*(word.format(spec) for word in COMMANDS[command]), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error:") == 1
    assert "Traceback" not in captured.err
    assert set(Path.cwd().rglob("*")) == before
    return " ".join(captured.err.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_without_effect_iv(command: str, gen: str, capsys: Capture) -> None:
    Path("ganeval.toml").write_text("[gate.rules.fid]\nmax = 1e6\n")
    message = "--prompts (prompts=) tells about a generator, and here is none. Leave it out."
    number = [] if "--num-samples" in COMMANDS[command] else ["--num-samples", "6"]
    assert message in failed(capsys, command, "dataset:shapes:16", *PROMPTS, *number)
    if command not in ("sample", "paired"):
        Path("images").mkdir()
        assert message in failed(capsys, command, "images", *PROMPTS)
    message = "--caption-column (caption_column=) names a column of a table of prompts"
    message = "--caption-column (caption_column=) has no effect" if command == "clip-score" else message
    assert message in failed(capsys, command, f"{gen}:text_to_image", *PROMPTS, "--caption-column", "a")
    message = "gen:dcgan-cifar10 makes images of latents alone, it takes no text"
    assert message in failed(capsys, command, "gen:dcgan-cifar10", *PROMPTS)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "a.txt holds no prompts"),
        ("a.txt", b"one\n\ntwo\n", "a.txt, line 2 is empty; expected a prompt"),
        ("a.txt", b"\xff\xfeo", "a.txt is not text in UTF-8"),
        ("a.csv", b"n,words\n1,one\n", "a.csv has no column caption, text, prompt; its columns are n, words"),
        ("a.csv", b"n,text\n1,one\n2, \n", "a.csv, line 3: column 'text' is empty"),
        ("a.jsonl", b'{"text": ["a"]}\n', "a.jsonl, line 1: column 'text' has ['a']; expected a prompt"),
        ("a.json", b"[]", "a.json is not a file of prompts: expected .txt"),
    ],
)
def test_files_iv(command: str, name: str, content: bytes, message: str, gen: str, capsys: Capture) -> None:
    Path("ganeval.toml").write_text("[gate.rules.fid]\nmax = 1e6\n")
    Path(name).write_bytes(content)
    assert message in failed(capsys, command, f"{gen}:text_to_image", "--prompts", name)


def test_from_python_iv(gen: str) -> None:
    generator = f"{gen}:text_to_image"
    for call in (ganeval.clip_score, ganeval.diversity, ganeval.build_statistics):
        with pytest.raises(ConfigError, match="--prompts .*Give one of them"):
            call(generator, prompts=TEXTS, num_classes=2)  # type: ignore[operator]
    with pytest.raises(ConfigError, match="--prompts .*tells about a generator, and here is none"):
        ganeval.evaluate(np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 8, 8, 3), np.uint8), prompts=TEXTS)
    with pytest.raises(ConfigError, match="--caption-column .*names a column of a table of prompts"):
        ganeval.evaluate(generator, generator, prompts=TEXTS, caption_column="text", protocol="compact")
