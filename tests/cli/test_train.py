"""``ganeval train``: its options are those of the functions behind it; what it prints and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from ganeval.cli.main import main
from ganeval.cli.train import cyclegan, dcgan, train
from ganeval.training.config import CycleGANConfig, DCGANConfig

TINY = (
    "--width", "2", "--latent-dim", "5", "--batch-size", "4", "--steps", "2", "--eval-every", "0", "--sample-every",
    "0", "--device", "cpu",
)  # fmt: skip


def options_of(command: click.Command) -> dict[str, Any]:
    cli_only = {"fmt", "json", "quiet", "verbose", "config", "help", "data", "domain_a", "domain_b", "output", "report"}
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in cli_only]
    defaults = {str(p.name): p.get_default(click.Context(command)) for p in options}
    return {name: d if isinstance(d, (int, float, str, tuple)) else None for name, d in defaults.items()}


@pytest.mark.parametrize(("command", "config"), [(dcgan, DCGANConfig), (cyclegan, CycleGANConfig)])
def test_options_and_defaults_are_those_of_the_library(command: click.Command, config: type) -> None:
    defaults = {one.name: one.default for one in dataclasses.fields(config)}
    assert options_of(command) == defaults


def test_trains_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "dcgan", "--data", "dataset:shapes", "--num-samples", "6", "-o", str(tmp_path / "run"), *TINY]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out == f"{tmp_path / 'run' / 'generator.safetensors'}: dcgan after 2 steps\n"
    assert main([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    assert "--resume" in json.loads(captured.out)["error"]["message"]
    assert main([*arguments, "--resume", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["train"]["generators"]["generator.safetensors"]["steps"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--data", "dataset:shapes", "--num-samples", "6", "--size", "100"),
            "one of 32, 64, 128; got 100",
        ),
        (("--data", "dataset:shapes", "--num-samples", "3"), "dataset:shapes has 3, expected at least 4"),
        (("--data", "nowhere/"), "No such file or folder: 'nowhere/'"),
        (("--data", "dataset:shapes", "--num-samples", "6", "--resume", "--overwrite"), "contradict"),
    ],
)
def test_bad_input_iv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert main(["train", "dcgan", "-o", str(tmp_path / "run"), *TINY, *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
    assert not (tmp_path / "run").exists()


def test_metrics_are_those_of_eval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged = ["--eval-every", "1", "--eval-samples", "40", "--final-samples", "40", "--metrics", "fid,pr"]
    arguments = ["train", "dcgan", "--data", "dataset:shapes", "--num-samples", "40", "-o", str(tmp_path / "run")]
    assert main([*arguments, *TINY, *judged, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)["train"]["generators"]["generator.safetensors"]
    assert {"fd", "precision", "recall", "density", "coverage"} <= set(card["metrics"])
    assert "ind" not in card["metrics"]
    assert main([*arguments, *TINY, "--metrics", "fids", "--overwrite"]) == 2
    assert "Unknown metric 'fids'" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    check = "import sys; heavy = {'torch', 'scipy', 'numpy', 'matplotlib'} & set(sys.modules); assert not heavy, heavy"
    code = (
        "from ganeval.cli.main import main; main(['train', 'dcgan', '--help']); main(['train', 'cyclegan', '--help'])"
    )
    run = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "--checkpoint-every" in run.stdout


def test_both_models() -> None:
    assert set(train.commands) == {"dcgan", "cyclegan"}
