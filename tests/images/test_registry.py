"""A kind of image source that another package registers: on the command line, from Python, and what is refused.

Each test has a process of its own, because a registration lasts as long as its process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

OPENERS = """
from collections import Counter

from ganeval.images.decode import Pixels
from ganeval.images.shapes import render
from ganeval.images.types import Images


class Toy(Images):
    kind = "toy"

    def __init__(self, n, seed):
        self.ignored = Counter()
        self.n, self.seed = n, seed

    def __len__(self):
        return self.n

    def load(self, index):
        return Pixels(render(index, seed=self.seed, size=16))


def open_text(text, options):
    return Toy(int(text), options.seed)


def open_wrongly(text, options):
    return [text]


class Handle:
    def __len__(self):
        return 3
"""


def run(tmp_path: Path, lines: str) -> str:
    (tmp_path / "openers.py").write_text(OPENERS)
    script = tmp_path / "script.py"
    script.write_text(lines)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_take_a_registered_prefix(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
import sys
from ganeval.cli.main import main
from ganeval.images.registry import register

register("toy", "openers:open_text")
assert "openers" not in sys.modules
assert main(["check", "toy:6", "--format", "json", "-o", "check.json"]) == 0
fid = ["fid", "toy:40", "dataset:shapes:16@1", "--num-samples", "40", "--protocol", "compact", "--no-cache"]
assert main([*fid, "--format", "json", "-o", "fid.json"]) == 0
""",
    )
    (audit,) = json.loads((tmp_path / "check.json").read_text())["check"]
    assert (audit["spec"], audit["n"], audit["sizes"]) == ("toy:6", 6, {"16x16": 6})
    assert "toy:40" in (tmp_path / "fid.json").read_text()


def test_python_takes_an_accepted_object_and_errors_name_the_cause(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
import openers
from ganeval.errors import GanEvalError
from ganeval.images.grammar import parse_spec
from ganeval.images.open import open_images
from ganeval.images.registry import register
from ganeval.images.specs import closed_to_documents, public_text

register("toy", lambda given, options: openers.Toy(3, 0), accepts=lambda one: isinstance(one, openers.Handle))
register("bad", openers.open_wrongly)
print(open_images(openers.Handle()).length, open_images("toy:/data/x.db", num=2).length)
print(public_text(parse_spec("toy:/data/x.db")))
print(closed_to_documents(parse_spec("toy:x")))
for wrong in (lambda: register("toy", "a:b"), lambda: register("gen", "a:b"), lambda: register("A", "a:b"),
              lambda: open_images("bad:x"), lambda: open_images("TOY:x")):
    try:
        wrong()
    except GanEvalError as error:
        print(error)
""",
    ).splitlines()
    assert out[:2] == ["3 2", "toy:x.db"]
    assert "a document alone never runs it" in out[2]
    expected = (
        "'toy' is taken",
        "'gen' is taken",
        "'A' is not a prefix",
        "expected an ImageSource or Images",
        " toy:x",
    )
    assert all(part in line for part, line in zip(expected, out[3:], strict=True)), out


@pytest.mark.parametrize("text", ["other:x", "toy"])
def test_text_without_a_registered_prefix_is_a_path(text: str) -> None:
    from ganeval.images.grammar import parse_spec
    from ganeval.images.specs import Missing

    assert isinstance(parse_spec(text), Missing)
