"""What is said of a result reaches Python users once, through ``warnings``, and those of the command line on stderr."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ranks import dots, image_sets
from support.results import EXAMPLE

import ganeval
from ganeval.gate.rules import Gate, parse_rules
from ganeval.gate.run import run_gate
from ganeval.results import Evaluation

REAL, FAKE = image_sets()
COPIES = np.concatenate([REAL[:30], REAL[:1], FAKE[:20]])
ON: dict[str, Any] = {"protocol": "compact", "device": "cpu", "batch_size": 16}


def told(call: Callable[[], object]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        call()
    return [one for one in caught if issubclass(one.category, ganeval.GanEvalWarning)]


@pytest.mark.parametrize("door", [ganeval.evaluate, ganeval.fid])
def test_each_once_at_the_line_of_the_user(door: Callable[..., Any]) -> None:
    found: list[Any] = []

    def call() -> None:
        found.append(door(COPIES, FAKE, **ON))

    caught = told(call)
    texts = [str(one.message) for one in caught]
    assert texts == list(found[0].warnings)
    assert len(texts) == len(set(texts)) > 0
    line = inspect.getsourcelines(call)[1] + 1
    assert {(one.filename, one.lineno) for one in caught} == {(__file__, line)}
    assert issubclass(ganeval.GanEvalWarning, UserWarning)


def test_notes_are_no_warnings() -> None:
    evaluation = ganeval.evaluate(REAL, FAKE, metrics=("kid",), **ON)
    assert any("compact-v1 is a small network" in note for note in evaluation.notes)
    assert not [one for one in told(lambda: ganeval.evaluate(REAL, FAKE, metrics=("kid",), **ON)) if evaluation.notes]


def test_the_other_doors(tmp_path: Path) -> None:
    broken = tmp_path / "images"
    broken.mkdir()
    from PIL import Image

    for i, image in enumerate(REAL[:20]):
        Image.fromarray(image).save(broken / f"{i}.png")
    (broken / "x.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (one,) = told(lambda: ganeval.build_statistics(broken, on_error="skip", **ON))
    assert "skipped" in str(one.message)
    assert one.filename == __file__
    model = dots()
    caught = told(lambda: ganeval.path_length(model, pairs=20, distance="compact", device="cpu"))
    assert all(one.filename == __file__ for one in caught)


def test_a_loop_says_each_text_once() -> None:
    with ganeval.Evaluator(COPIES, metrics=("kid",), **ON) as evaluator:

        def loop() -> None:
            for epoch in range(3):
                evaluator.reset()
                evaluator.update(FAKE[:40])
                evaluator.compute(epoch)

        caught = told(loop)
    assert len([one for one in caught if "exact copy" in str(one.message)]) == 1
    assert all(one.filename == __file__ for one in caught)


def test_as_errors_they_come_after_the_log() -> None:
    logged: list[int] = []
    with ganeval.Evaluator(COPIES, metrics=("kid",), log=lambda _, step: logged.append(step), **ON) as evaluator:
        evaluator.update(FAKE[:40])
        with warnings.catch_warnings():
            warnings.simplefilter("error", ganeval.GanEvalWarning)
            with pytest.raises(ganeval.GanEvalWarning, match="exact copy|in both"):
                evaluator.compute(7)
        assert logged == [7]
        evaluator.update(FAKE[40:50])  # and it goes on


def test_a_gate_in_python() -> None:
    gate = Gate(rules=parse_rules({"kid": {"max": 1e9}}, "rules"), protocol="compact")
    caught = told(lambda: run_gate(gate, COPIES, FAKE, device="cpu", batch_size=16))
    assert any("exact copy" in str(one.message) for one in caught)
    assert all(one.filename == __file__ for one in caught)


def program(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return]


def test_the_command_line_says_each_once(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", COPIES)
    np.save(tmp_path / "b.npy", FAKE)
    sets = (tmp_path / "a.npy", tmp_path / "b.npy")
    for strictness in ((), ("-W", "error")):  # PYTHONWARNINGS of a CI must not end a command
        run = program(*strictness, "-m", "ganeval", "kid", *sets, "--protocol", "compact", "--device", "cpu")
        assert run.returncode == 0, run.stderr
        assert run.stderr.count("exact copy") == 1
        assert "GanEvalWarning" not in run.stderr


SUITE = """
import numpy as np

RULES = {{"kid": {{"max": {limit}}}}}

def test_model(ganeval_gate):
    images = np.load("a.npy")
    ganeval_gate(images, np.load("b.npy"), rules=RULES, protocol="compact", device="cpu")
"""


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [pytest.param(1e9, "1 passed, 1 warning", marks=pytest.mark.nightly), (-1e9, "1 failed, 1 warning")],
)
def test_a_gate_in_pytest_where_warnings_are_errors(tmp_path: Path, limit: float, outcome: str) -> None:
    np.save(tmp_path / "a.npy", np.concatenate([REAL, REAL[:1]]))
    np.save(tmp_path / "b.npy", FAKE)
    (tmp_path / "test_it.py").write_text(SUITE.format(limit=limit), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    run = program("-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path, cwd=str(tmp_path))
    assert outcome in run.stdout, run.stdout
    assert run.stdout.count("GanEvalWarning: ") == 1  # each once, in pytest's own list


# --- what is printed -------------------------------------------------------------------------------------------------

HOSTILE = "<script>alert('&')</script>\n\x1b[31m"


def several() -> Evaluation:
    one = EXAMPLE
    other = replace(one, name="kid", label="KID[compact-v1]", value=0.5, bias=None, corrected=None)
    return Evaluation(
        results={"fid": one, "kid": other}, real={}, fake={}, environment={}, warnings=("look out", HOSTILE)
    )


@pytest.mark.nightly
def test_printed_as_the_command_line_prints_it(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", COPIES)
    np.save(tmp_path / "b.npy", FAKE)
    for names in ("kid", "fid,kid"):
        found = ganeval.evaluate(tmp_path / "a.npy", tmp_path / "b.npy", metrics=names, **ON)
        run = program(
            "-m", "ganeval", "eval", tmp_path / "a.npy", tmp_path / "b.npy", "--protocol", "compact", "--device", "cpu",
            "--batch-size", "16", "--metrics", names,
        )  # fmt: skip
        lines = str(found).splitlines()
        assert lines[: len(run.stdout.splitlines())] == run.stdout.splitlines()
        assert lines[len(run.stdout.splitlines()) :] == [f"warning: {text}" for text in found.warnings]


def test_a_result_tells_the_number_of_its_warnings() -> None:
    one = EXAMPLE
    assert str(replace(one, warnings=("w",))) == f"{one}   1 warning"
    assert str(replace(one, warnings=("v", "w"))) == f"{one}   2 warnings"
    assert repr(one) == f"<MetricResult {one}>"
    assert repr(several()) == "<Evaluation FD[compact-v1] 12.34, KID[compact-v1] 0.50, 2 warnings>"
    assert "\x1b" not in str(several())


def test_in_a_notebook_everything_is_escaped() -> None:
    page = several()._repr_html_()
    assert page.count("<tr>") == 3
    assert "<td>11.10 to 11.94 (95 %)</td>" in page
    assert "<li>warning: look out</li>" in page
    hostile = replace(EXAMPLE, label=HOSTILE, interval=None, reason=HOSTILE, details={"unit": HOSTILE})
    for text in (page, hostile._repr_html_()):
        assert "<script" not in text
        assert "\x1b" not in text
        assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)" in text
