"""No output replaces what a command reads, nor another output."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image
from support.gates import record, result

from ganeval.cli.main import ganeval_command, main
from ganeval.cli.places import Output, Source, WeightsFile
from ganeval.result_files import write_record

COMPACT = "--protocol compact -q"
MADE = "gen:made:make --num-samples 4 --latent-dim 2 --value-range -1,1"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    np.save("a.npy", images)
    np.save("b.npy", images[::-1])
    np.savez("s.npz", mu=np.zeros(2), sigma=np.eye(2))
    Path("r").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(f"r/{i:04d}.png")
    Image.fromarray(images[0]).save("r/no-suffix", "PNG")
    Image.fromarray(images[0]).save("elsewhere.png")
    Path("r/linked.png").symlink_to(tmp_path / "elsewhere.png")
    Path("made.py").write_text("def make(z):\n    return z[:, :1, None, None].tanh().expand(-1, 3, 8, 8)\n")
    Path("mine.toml").write_text("[gate.rules.kid]\nmax = 1e9\n")
    Path("labels.txt").write_text("0\n" * 4)
    arrays = {"fake_image_digests": np.arange(3, dtype=np.uint64)}
    for name in ("res.json", "base.json"):
        write_record(record(result(name="kid")).evaluation, Path(name), arrays=arrays)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        f"gate a.npy b.npy {COMPACT} --config mine.toml -o a.npy",
        f"gate a.npy b.npy {COMPACT} --config mine.toml --baseline base.json -o base.json",
        f"gate a.npy b.npy {COMPACT} --config mine.toml --baseline base.json -o mine.toml",
        "gate --results res.json --config mine.toml --junit res.json",
        "gate --results res.json --config mine.toml --report res.json",
        "gate --results res.json --config mine.toml -o res.json",
        "gate --suggest res.json base.json -o base.json",
        "compare res.json base.json -o res.json",
        "compare res.json base.json -o base.samples.npz",
        "report res.json -o res.json",
        f"kid r b.npy {COMPACT} -o r/0000.png",
        f"kid r b.npy {COMPACT} -o elsewhere.png",
        f"kid r b.npy {COMPACT} --report r/no-suffix",
        f"kid a.npy b.npy {COMPACT} --config mine.toml -o mine.toml",
        f"kid a.npy {MADE} {COMPACT} -o made.py",
        f"kid a.npy {MADE} {COMPACT} --labels labels.txt -o labels.txt",
        f"ct a.npy b.npy --test r {COMPACT} -o r/0003.png",
        "check r -o r/0001.png",
        "check r --report r/0001.png",
        "stats merge s.npz a.npy -o s",
        "sample gen:made:make(r) -n 2 --value-range -1,1 -o r/0001.png",
    ],
)
def test_an_output_that_is_read_iv(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert main(line.split()) == 2
    said = capsys.readouterr()
    assert "is an input of this command, and would be overwritten by its result" in said.err
    assert said.out == ""
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_the_file_of_the_working_folder_is_read_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").rename("ganeval.toml")
    assert main(f"kid a.npy b.npy {COMPACT} -o ganeval.toml".split()) == 2
    assert "ganeval.toml is an input of this command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("gate a.npy b.npy --config mine.toml -o x --junit x", ("--output", "--junit")),
        ("gate a.npy b.npy --config mine.toml --report x --junit r/../x", ("--report", "--junit")),
        ("gate --results res.json --config mine.toml -o x.json --junit x.samples.npz", ("--output", "--junit")),
        ("kid a.npy b.npy -o t.json --per-image t.samples.npz", ("--output", "--per-image")),
        ("check r -o x --report x", ("--output", "--report")),
    ],
)
def test_one_name_for_two_outputs_iv(
    line: str, names: tuple[str, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir())
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    assert "name the same file" in said
    assert all(name in said for name in names)
    assert sorted(os.listdir()) == before


def test_outputs_among_the_images_that_are_no_images(here: Path) -> None:
    """A result may lie in the folder of its images, also the second time, and replaces its predecessor."""
    for _ in range(2):
        assert main(["check", "r", "-o", "r/audit.json", "-q"]) == 0
    assert json.loads(Path("r/audit.json").read_text())["check"][0]["n"] == 9
    assert main(["compare", "res.json", "base.json", "-o", "c.json", "-q"]) in (0, 3)
    assert main(["cite", "kid", "-o", "kid", "-q"]) == 0
    assert main(["cite", "kid", "-o", "kid", "-q"]) == 0  # a name of a metric is no file


def test_what_names_files_says_so() -> None:
    """A new argument or output cannot stay out of the rule by its type."""
    context = click.Context(ganeval_command)
    groups = [ganeval_command.get_command(context, name) for name in ganeval_command.list_commands(context)]
    commands = [c for one in groups for c in (one.commands.values() if isinstance(one, click.Group) else [one])]
    names = {"metric", "names", "name"}  # of metrics and of weights
    for command in commands:
        assert command is not None
        for param in command.params:
            if isinstance(param, click.Argument) and param.name not in names:
                assert isinstance(param.type, Source | WeightsFile | click.Path | click.Choice), (
                    command.name,
                    param.name,
                )
            if param.name in ("output", "report", "junit", "per_image"):
                assert isinstance(param.type, Output), (command.name, param.name)
