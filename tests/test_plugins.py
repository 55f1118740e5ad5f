"""The template of a plugin, installed by pip and used on the command line; and plugins that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BROKEN = """\
[ganeval.metrics]
raises = broken_plugin.raises:METRIC
absent = broken_plugin.absent:METRIC
taken = broken_plugin:TAKEN
untyped = broken_plugin:UNTYPED
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which pip has installed examples/plugin."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([*pip, str(ROOT / "examples" / "plugin")], check=True, capture_output=True)
    return folder


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder with an installed package of plugins of which none can be used."""
    module, metadata = tmp_path / "broken_plugin", tmp_path / "broken_plugin-0.3.dist-info"
    module.mkdir()
    metadata.mkdir()
    metadata.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 0.3\n")
    metadata.joinpath("entry_points.txt").write_text(BROKEN)
    taken = "from dataclasses import replace\nfrom ganeval.metrics.registry import METRICS\n"
    taken += "TAKEN = replace(METRICS['fid'])\nUNTYPED = 3\n"
    module.joinpath("__init__.py").write_text(taken)
    module.joinpath("raises.py").write_text("raise SystemExit('no licence')\n")
    return tmp_path


def run(folder: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(folder)))
    return subprocess.run(
        [sys.executable, "-m", "ganeval", *command.split()],
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.nightly
def test_all_five_kinds_of_the_template(template: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    done = run(template, f"eval noise:60@1 noise:60@2 --metrics fid,mean-shift --protocol colours -o {file}")
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    fid, shift = document["results"]["fid"], document["results"]["mean-shift"]
    assert fid["protocol"]["extractor"] == "colours"
    assert shift["value"] == pytest.approx(fid["details"]["mean_term"], rel=1e-6)
    assert document["environment"]["plugins"] == {"ganeval-mean-shift": "1.0"}

    gate = tmp_path / "ganeval.toml"
    gate.write_text('[gate]\nprotocol = "colours"\n[gate.rules.mean-shift]\nmax = 1e9\n')
    assert "passed" in run(template, f"gate --results {file} --config {gate}").stdout.lower()
    assert run(template, "ppl gen:dcgan-cifar10 --distance pixels --pairs 10").stdout.startswith("PPL[pixels]")
    found = run(template, "doctor")
    assert found.stdout.count("ganeval-mean-shift 1.0") == 5
    assert "the mean features" in run(template, "--help").stdout

    without = run(template, "mean-shift noise:60@1 noise:60@2", GANEVAL_PLUGINS="0")
    assert without.returncode == 2
    assert "No such command 'mean-shift'" in without.stderr


def test_a_broken_plugin_is_named_and_costs_nothing_else(broken: Path) -> None:
    command = "kid dataset:shapes@1 dataset:shapes@2 --num-samples 20 --protocol compact --json"
    done = run(broken, command)
    assert done.returncode == 0, done.stderr
    document, without = json.loads(done.stdout), json.loads(run(broken, command, GANEVAL_PLUGINS="0").stdout)
    assert document["results"] == without["results"]
    for name, why in (
        ("raises", "SystemExit: no licence"),
        ("absent", "No module named"),
        ("taken", "'fid' is already registered"),
        ("untyped", "of type int, expected Metric"),
    ):
        (line,) = [line for line in done.stderr.splitlines() if f"plugin {name} of broken-plugin 0.3" in line]
        assert why in line
        assert "GANEVAL_PLUGINS=0" in line
    assert "plugins" not in document["environment"]


@pytest.mark.nightly
def test_the_doctor_names_a_broken_plugin(broken: Path) -> None:
    found = run(broken, "doctor")
    assert found.returncode == 2
    assert "SystemExit: no licence" in found.stdout
