"""The files for CI systems: their steps are run here as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from support.gates import record, result

from ganeval.result_files import read_record, write_record

ROOT = Path(__file__).resolve().parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOSTILE = '"; touch pwned; echo "$(touch pwned2) `touch pwned3`.json'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_record(record(result(10.0, 0.1)).evaluation, tmp_path / "R.json")
    write_record(record(result(10.0, 0.1)).evaluation, tmp_path / "base.json")
    rules = '[gate]\nprotocol = "compact"\n[gate.rules.fid]\nmax = 12.0\nmax-regression = { rel = 0.05 }\n'
    (tmp_path / "ganeval.toml").write_text(rules, encoding="utf-8")
    return tmp_path


def bash(script: str, folder: Path, options: str = "-eo", **environment: str) -> subprocess.CompletedProcess[str]:
    """As GitHub runs ``shell: bash``: a file, ``-eo pipefail``; ``ganeval`` is the one of this environment."""
    path = folder / "step.sh"
    path.write_text(script, encoding="utf-8")
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", options, "pipefail", str(path)], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PATH": here, **environment}, check=False,
    )  # fmt: skip


def run_action(folder: Path, **given: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Both steps of the action with these inputs, and its outputs."""
    inputs = {name: entry["default"] for name, entry in ACTION["inputs"].items()}
    assert set(given) <= set(inputs)
    inputs |= given

    def value(expression: str) -> str:
        name = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+)( \|\| github\.action_path)? \}\}", expression)
        assert name is not None, expression
        return inputs[name[1]] or (str(ROOT) if name[2] else "")

    outputs = folder / "outputs.txt"
    outputs.write_text("")
    for step in ACTION["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]  # what a user names must not become part of a script
        environment = {name: value(expression) for name, expression in step["env"].items()}
        done = bash(
            step["run"], folder, GITHUB_OUTPUT=str(outputs), GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
            **environment,
        )  # fmt: skip
        if done.returncode:
            break
    return done, dict(line.split("=", 1) for line in outputs.read_text().splitlines())


def test_the_action_passes_fails_and_says_so(folder: Path) -> None:
    done, outputs = run_action(folder, results="R.json", baseline="base.json")
    assert done.returncode == 0, done.stderr
    assert outputs == {"verdict": "pass", "exit-code": "0"}
    assert "gate: pass (2 passed)" in done.stdout
    assert (folder / "summary.md").read_text(encoding="utf-8").startswith("**gate: pass")
    assert ET.parse(folder / "ganeval-gate.xml").getroot().get("tests") == "2"
    assert read_record(folder / "ganeval-gate.json").evaluation["fid"].value == 10.0

    write_record(record(result(30.0, 0.1)).evaluation, folder / "R.json")
    done, outputs = run_action(folder, results="R.json", baseline="base.json")
    assert (done.returncode, outputs["verdict"]) == (1, "fail")
    assert done.stdout.count("\n::error title=") == 2
    write_record(record(result(11.95, 0.1)).evaluation, folder / "R.json")
    (folder / "ganeval.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.fid]\nmax = 12.0\n')
    done, outputs = run_action(folder, results="R.json")
    assert (done.returncode, outputs["verdict"]) == (3, "inconclusive")
    done, outputs = run_action(folder, results="R.json", arguments="--strict -q")
    assert (done.returncode, outputs["verdict"]) == (0, "pass")
    done, outputs = run_action(folder, results="missing.json")
    assert (done.returncode, outputs) == (2, {"verdict": "error", "exit-code": "2"})


def test_the_action_measures(folder: Path) -> None:
    (folder / "rules.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.kid]\nmax = 1e9\n')
    done, outputs = run_action(
        folder, real="dataset:shapes@1", fake="dataset:shapes-striped@2", config="rules.toml", output="run.json",
        arguments="--num-samples 60 --device cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert outputs["verdict"] == "pass"
    assert read_record(folder / "run.json").missing is None


def test_names_cannot_run_anything(folder: Path) -> None:
    (folder / "R.json").rename(folder / HOSTILE.replace("/", ""))
    done, outputs = run_action(
        folder, results=HOSTILE, config="ganeval.toml", baseline=HOSTILE, arguments="* $(touch x)"
    )
    assert outputs["verdict"] == "error"  # of the arguments: they are words, not files, and nothing ran
    done, outputs = run_action(folder, results=HOSTILE, baseline=HOSTILE)
    assert outputs["verdict"] == "pass", done.stderr
    assert not [path for path in folder.iterdir() if path.name.startswith(("pwned", "x"))]


def test_outputs_are_those_of_the_step() -> None:
    assert [s.get("id") for s in ACTION["runs"]["steps"]] == [None, "gate"]
    script = ACTION["runs"]["steps"][1]["run"]
    for name, entry in ACTION["outputs"].items():
        assert entry["value"] == f"${{{{ steps.gate.outputs.{name} }}}}"
        assert f"{name}=%s" in script


def test_the_snippet_for_gitlab(folder: Path) -> None:
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml gitlab\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    job: dict[str, Any] = yaml.safe_load(text)["gate"]
    (folder / "ganeval.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.kid]\nmax = 1e9\n')
    write_record(record(result(10.0, 0.1)).evaluation, folder / "baseline.json")
    script = "\n".join(job["script"]).replace("--num-samples 10000", "--num-samples 60")
    done = bash(script, folder, REAL="dataset:shapes@1", FAKE="dataset:shapes-striped@2")
    assert done.returncode == 0, done.stderr
    for path in [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]:
        assert (folder / path).exists()


def test_every_yaml_of_the_page_is_yaml() -> None:
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml[ a-z]*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    assert all(yaml.safe_load(block) for block in blocks)
    (uses,) = [step for step in yaml.safe_load(blocks[0]) if "ganeval" in step["uses"]]
    assert set(uses["with"]) <= set(ACTION["inputs"])
    (here,) = yaml.safe_load(blocks[2])["repos"][0]["hooks"]
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert all(here[name] == hook[name] for name in ("id", "entry", "files", "pass_filenames"))


def test_the_commit_hook(folder: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    pattern = re.compile(hook["files"])
    assert [bool(pattern.search(name)) for name in ("ganeval.toml", "a/pyproject.toml", "x/manifest.toml")] == [
        True
    ] * 3
    assert not pattern.search("model.py")
    assert bash(hook["entry"], folder).returncode == 0
    (folder / "ganeval.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.fid]\nmax = nan\n')
    done = bash(hook["entry"], folder)
    assert done.returncode == 2
    assert "rules.fid.max: found nan, expected a finite number" in done.stderr
