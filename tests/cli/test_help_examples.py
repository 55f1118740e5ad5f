"""The examples of every ``--help``: each is understood, and those that need no files and no download are run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ganeval.cli import main as program
from ganeval.cli.main import ganeval_command, main

Capture = pytest.CaptureFixture[str]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and sub-command, by its path below ``ganeval``."""
    context = click.Context(ganeval_command)
    for name in program.commands():
        command = ganeval_command.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {child}", sub) for child, sub in command.commands.items())


def examples() -> list[str]:
    found = [ganeval_command.help or "", *(command.help or "" for _, command in commands())]
    lines = [line.strip() for text in found for line in text.splitlines()]
    return sorted({line for line in lines if re.match(r"ganeval [a-z-]+( |$)", line)})


EXAMPLES = examples()
# those of training, of gates and of the demonstration have tests of their own; others name files that nobody has
OFFLINE = [
    line for line in EXAMPLES
    if re.search(r"dataset:|stats:cifar10-test|gen:dcgan|weights list|cache list|doctor|cite", line)
    and ("--protocol" not in line or "--protocol compact" in line)
    and line.split()[1] not in ("train", "gate", "demo")
    and not ("stats:" in line and "my-images" in line)
]  # fmt: skip


def test_every_command_is_in_one_of_them() -> None:
    assert {line.split()[1] for line in EXAMPLES} == set(program.commands())
    assert len(OFFLINE) > 15


@pytest.mark.parametrize("line", EXAMPLES)
def test_is_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and values of options, and the number of arguments; what files hold is not looked at."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)[1:]
    for word in words:
        if re.fullmatch(r"[\w.-]+\.(json|pth)", word):
            Path(word).touch()  # some must be there
    known = dict(commands())
    path = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
    root = click.Context(ganeval_command, info_name="ganeval")
    arguments = words[len(path.split()) :]
    assert known[path].make_context(path, arguments, parent=root).command is known[path]


@pytest.mark.nightly
@pytest.mark.parametrize("line", OFFLINE)
def test_runs(line: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, but with fewer images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANEVAL_OFFLINE", "1")
    monkeypatch.setenv("GANEVAL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    fewer = re.sub(r"(--num-samples|-n|--pairs) \d+", r"\1 60", line)
    assert main(shlex.split(fewer)[1:]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out
