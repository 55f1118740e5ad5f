"""What a person sees on a terminal: aligned, as wide as it is, coloured where allowed; and none of it in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path

import pytest

from ganeval.cli.main import main
from ganeval.cli.output import styled
from ganeval.parsing.layout import Cell, aligned, at_the_point

Capture = pytest.CaptureFixture[str]
ESCAPES = re.compile(r"\x1b\[[\d;]*m")
ROWS = [
    [Cell("FID"), Cell("12.34"), Cell("bias-corrected 11.52, 95 % CI 11.10 to 11.94"), Cell("(ttur, 50000 fake)")],
    [Cell("precision"), Cell("0.9"), Cell("no interval: for reasons that fill a line " * 2, loose=True), Cell("(x)")],
]


def test_columns_begin_at_one_place() -> None:
    one, other = aligned(ROWS)
    assert one.index("12.34") == other.index("0.9") == len("precision") + 3
    assert one.index("bias-") == other.index("no interval")
    assert one.index("(ttur") == one.index("11.94") + len("11.94") + 3  # a loose cell widens no column


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = aligned(ROWS, width=width)
    assert max(map(len, lines)) <= width
    words = " ".join(cell.text for row in ROWS for cell in row).split()
    assert " ".join(lines).split() == words  # nothing is lost, and nothing cut
    assert [line for line in lines if not line.startswith("    ")] == [
        line for line in lines if line.startswith(("FID", "precision"))
    ]


def test_a_path_stays_whole() -> None:
    path = "/a/long-path/" + "x" * 60
    lines = aligned([[Cell("file"), Cell(f"is at {path}")]], width=40)
    assert lines == ["file", "    is at", f"    {path}"]


def test_colour_changes_no_place_and_names_give_no_orders() -> None:
    hostile = Cell("a\x1b[31m\nb\u202ec", {"bold": True})
    plain, coloured = (
        aligned([[hostile, Cell("end")], *ROWS], style=partial(styled, colour=colour)) for colour in (False, True)
    )
    assert [ESCAPES.sub("", line) for line in coloured] == plain
    assert coloured[0].startswith("\x1b[1ma [31m b c\x1b[0m")
    assert "\x1b" not in "".join(plain)
    assert len(plain) == 3


def test_decimal_points_stand_below_each_other() -> None:
    lines = at_the_point(["45.07", "0.986", "-1234.5", "7"])
    assert {line.find(".") for line in lines[:3]} == {5}
    assert {len(line) for line in lines} == {9}
    assert at_the_point(["1", "20"]) == [" 1", "20"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    for name in ("plain", "striped"):
        sets = ["dataset:shapes:16@1", f"dataset:shapes-{name}:16@2", "--num-samples", "60"]
        options = ["--protocol", "compact", "--metrics", "fid,kid,pr", "--device", "cpu", "-q"]
        assert main(["eval", *sets, *options, "-o", str(folder / f"{name}.json")]) == 0
    (folder / "ganeval.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.kid]\nmax = 0.0\n')
    return folder


COMPARE = ("compare", "plain.json", "striped.json", "-q")
GATE = ("gate", "--results", "striped.json", "-q")


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "LINES")}
    return {**kept, "TERM": "xterm", **more}


def on_a_terminal(folder: Path, command: tuple[str, ...], *, columns: int, **more: str) -> str:
    """What the command writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    words = [sys.executable, "-m", "ganeval", *command]
    run = subprocess.Popen(words, stdout=theirs, stderr=subprocess.DEVNULL, cwd=folder, env=environment(**more))
    os.close(theirs)
    read = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        read += piece
    assert run.wait(timeout=120) in (0, 1, 3)
    os.close(ours)
    return read.decode().replace("\r\n", "\n")


def piped(folder: Path, command: tuple[str, ...], **more: str) -> str:
    words = [sys.executable, "-m", "ganeval", *command]
    run = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment(**more), check=False)
    assert run.returncode in (0, 1, 3), run.stderr
    return run.stdout


@pytest.mark.parametrize("command", [COMPARE, GATE], ids=["compare", "gate"])
def test_a_terminal_has_colour_and_an_end(runs: Path, command: tuple[str, ...]) -> None:
    seen = on_a_terminal(runs, command, columns=72)
    assert ESCAPES.search(seen)
    assert max(len(line) for line in ESCAPES.sub("", seen).splitlines()) <= 72
    bare = piped(runs, command)
    assert "\x1b" not in bare
    assert max(map(len, bare.splitlines())) > 72
    assert ESCAPES.sub("", seen).split() == bare.split()
    assert bare == piped(runs, command, COLUMNS="50")  # a pipe has no width


def test_who_may_have_colour(runs: Path) -> None:
    assert not ESCAPES.search(on_a_terminal(runs, GATE, columns=200, NO_COLOR="1"))
    assert not ESCAPES.search(on_a_terminal(runs, GATE, columns=200, NO_COLOR="1", FORCE_COLOR="1"))
    assert not ESCAPES.search(on_a_terminal(runs, GATE, columns=200, TERM="dumb"))
    forced = piped(runs, GATE, FORCE_COLOR="1")
    assert forced.startswith("\x1b[31m\x1b[1mFAIL\x1b[0m")
    assert ESCAPES.sub("", forced) == piped(runs, GATE) == piped(runs, GATE, FORCE_COLOR="0")


def test_errors_are_coloured_by_the_same_rule(runs: Path) -> None:
    command = [sys.executable, "-m", "ganeval", "compare", "no.json", "plain.json"]
    told = [
        subprocess.run(command, capture_output=True, text=True, cwd=runs, env=environment(**more), check=False).stderr
        for more in ({}, {"FORCE_COLOR": "1"})
    ]
    assert told[0].startswith("error: no.json ")
    assert told[1].startswith("\x1b[31m\x1b[1merror:\x1b[0m no.json")


def test_several_results_are_a_table_of_lines_to_paste(runs: Path, capsys: Capture) -> None:
    sets = ["dataset:shapes:16@1", "dataset:shapes-striped:16@2", "--num-samples", "60", "--protocol", "compact"]
    assert main(["eval", *sets, "--metrics", "fid,kid,precision", "--floor", "--device", "cpu", "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "FD[compact-v1]",
        "This",
        "floor",
        "KID[compact-v1]",
        "precision[compact-v1]",
    ]
    rows = [line for line in lines if not line.startswith(" ")]
    assert all(line.endswith("(compact, 60 real, 60 fake)") for line in rows)
    assert len({line.index(".") for line in rows}) == 1
    assert len({line.index("(compact") for line in rows[1:]}) == 1
    assert main(["kid", *sets, "--device", "cpu", "-q"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"KID\[compact-v1\] [\d.]+   95 % CI \S+ to \S+   \(compact, 60 real, 60 fake\)", line)
    assert main(["eval", *sets, "--metrics", "fid,kid", "--floor", "--format", "md", "--device", "cpu", "-q"]) == 0
    table, told = capsys.readouterr().out.split("\n\n")
    assert {line.count(" | ") for line in table.splitlines() if "---" not in line} == {6}
    assert told.startswith(r"- FD\[compact-v1\]: This is what 60 images give on average")
    assert r"- FD\[compact-v1\]: floor " in told
