"""What stands around the package: completion, manual pages, the container, the release, the notebook."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ganeval.cli.main import commands, main

ROOT = Path(__file__).resolve().parent.parent
BIN = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def bash(script: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": BIN, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_bash_completes_commands_options_protocols_and_files(tmp_path: Path) -> None:
    (tmp_path / "reals").mkdir()
    script = """
    source <(ganeval completion bash)
    for words in "ganeval fi" "ganeval kid --protoc" "ganeval kid --protocol cl" "ganeval kid re"; do
      COMP_WORDS=($words) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
      compopt() { COMPREPLY+=("<$2>"); }
      _ganeval_completion ganeval
      echo "${COMPREPLY[*]}"
    done
    """
    found = bash(script, tmp_path).splitlines()
    assert found == ["fid fid-inf", "--protocol", "clean clip-fid", "<default>"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_GANEVAL_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_every_command_has_a_page_of_the_manual(tmp_path: Path) -> None:
    bash(f"python {shlex.quote(str(ROOT / 'scripts' / 'write_man_pages.py'))} man1", tmp_path)
    pages = {page.stem for page in (tmp_path / "man1").glob("*.1")}
    assert {f"ganeval-{name}" for name in commands()} <= pages
    assert {"ganeval", "ganeval-stats-build", "ganeval-weights-export"} <= pages
    text = (tmp_path / "man1" / "ganeval-kid.1").read_text(encoding="utf-8")
    assert r"\-\-protocol" in text
    assert "Kernel distance" in text


def test_the_release_publishes_what_it_tested_without_a_stored_token() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert build["permissions"] == {"contents": "read"}
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write", "attestations": "write"}
    assert "secrets." not in text
    assert all("${{" not in step.get("run", "") for job in (build, publish) for step in job["steps"])
    (check,) = [step["run"] for step in build["steps"] if step.get("name") == "The tag is the version"]
    import ganeval

    bash(check, ROOT, TAG=f"v{ganeval.__version__}")
    with pytest.raises(AssertionError):
        bash(check, ROOT, TAG="v999.0")


def test_the_development_container_installs_as_the_readme_says() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```sh setup-test\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert block.startswith(container["postCreateCommand"])


@pytest.mark.nightly
def test_the_lines_of_the_container_in_a_fresh_environment(tmp_path: Path) -> None:
    """Those that install and try the package; users and volumes are the business of a container alone."""
    source = tmp_path / "src"
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*(name.removeprefix("**/") for name in ignored)))
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    extras = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)[0]
    lines = [line for line in re.findall(r"^RUN (.*)$", text, re.MULTILINE) if "useradd" not in line]
    assert len(lines) == 2
    for line in lines:
        bash(
            line.replace("/src", str(source)),
            tmp_path,
            EXTRAS=extras,
            PATH=f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            PYTHONPATH="",
        )
    assert not source.exists()


@pytest.mark.nightly
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "examples" / "first_steps.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    data = [output["data"] for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("<table>" in one.get("text/html", "") for one in data)
    assert any("image/png" in one for one in data)
