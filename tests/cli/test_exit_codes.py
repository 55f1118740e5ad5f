"""The table of exit codes, by the program itself: variables, streams, workers, configuration files, failing outputs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

COMPACT = ("--protocol", "compact", "-q")
WORKERS = ("--workers", "2", "--batch-size", "8")
posix = pytest.mark.skipif(sys.platform != "linux", reason="needs a POSIX shell and /dev/full")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for seed in (0, 1):
        images = np.random.default_rng(seed).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
        np.save(folder / f"{'rf'[seed]}.npy", images)
    passing, failing = "[gate.rules.kid]\nmax = 1e9\n", "[gate.rules.kid]\nmax = -1e9\n"
    (folder / "passing.toml").write_text(passing)
    (folder / "failing.toml").write_text(failing)
    return folder


def program(
    *arguments: str, folder: Path, shell: str = "", before: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``ganeval`` in a process of its own; ``shell``: redirections."""
    line = f'{before} exec "$0" -m ganeval "$@" {shell}'
    return subprocess.run(
        ["bash", "-c", line, sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "GANEVAL_CACHE": "0", **variables}, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "code", "message"),
    [
        ({"WORLD_SIZE": ""}, 0, ""),
        ({"WORLD_SIZE": "2", "RANK": "", "MASTER_ADDR": ""}, 0, ""),
        ({"WORLD_SIZE": "two"}, 2, "WORLD_SIZE"),
        ({"WORLD_SIZE": "2", "RANK": "first", "MASTER_ADDR": "localhost"}, 2, "RANK"),
        ({"LOCAL_RANK": "+-1"}, 2, "LOCAL_RANK"),
        ({"MASTER_PORT": "http"}, 2, "MASTER_PORT"),
        ({"GANEVAL_JSON": "perhaps"}, 2, "GANEVAL_JSON"),
    ],
)
def test_variables(variables: dict[str, str], code: int, message: str, sets: Path) -> None:
    run = program("cite", "fid", folder=sets, **variables)
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    if code:
        assert run.stdout == ""
        assert message in run.stderr
        assert run.stderr.count("\n") == 1
    else:
        assert run.stdout.startswith("@inproceedings")


@posix
@pytest.mark.parametrize(
    ("shell", "code"),
    [(">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), ("2>/dev/full", 0), (">/dev/full", 2), ("2> >(true)", 0)],
)
def test_streams(shell: str, code: int, sets: Path) -> None:
    run = program("weights", "list", folder=sets, shell=shell)
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    assert ("cannot write to stdout" in run.stderr) is (code == 2)


@posix
@pytest.mark.parametrize(
    ("shell", "code"),
    [*(pytest.param(shell, 1, marks=pytest.mark.nightly) for shell in ("2>&-", ">&-")), (">/dev/full", 1)],
)
def test_a_failed_gate_fails_whoever_listens(shell: str, code: int, sets: Path) -> None:
    run = program("gate", "r.npy", "f.npy", *COMPACT, "--config", "failing.toml", folder=sets, shell=shell)
    assert run.returncode == code, run.stderr


def test_code_that_exits_is_no_failed_gate(sets: Path) -> None:
    (sets / "leaving.py").write_text("raise SystemExit(1)\n")
    options = ("--num-samples", "4", "--latent-dim", "2")
    run = program("kid", "r.npy", "gen:leaving:make", *COMPACT, *options, folder=sets, PYTHONPATH=_path(sets))
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr


def test_an_installation_that_cannot_be_imported_is_no_failed_gate(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ImportError('damaged')\n")
    assert program("cite", "fid", folder=sets, PYTHONPATH=_path(tmp_path)).returncode == 70


def _path(first: Path) -> str:
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch-size = [1]", "batch-size is a whole number; got [1]"),
        ("batch-size = 8.5", "batch-size is a whole number; got 8.5"),
        ("batch-size = true", "batch-size is a whole number; got true"),
        ("level = [0.9]", "level is a number; got [0.9]"),
        ("level = 7", "level: 7"),
        ("level = nan", "level is a number; got nan"),
        ("[level]\nx = 1", "level is an option; expected a value"),
        ("[kid.level]\nx = 1", "level is a number; got a table"),
        ("kid = 3", "kid is a command; expected a table"),
        ("device = 0", "device is a text, in quotes; got 0"),
        ("value-range = [0, true]", "value-range is two numbers, [LOW, HIGH]; got [0, True]"),
        ("latent-dim = [100, 1.5]", "latent-dim is a whole number, or a list of them"),
        ("on-error = 1", "on-error is one of stop, skip; got 1"),
        ("download = 1", "download is true or false; got 1"),
        ("data-root = 1979-05-27", "data-root is a path, in quotes"),
        ("cache-size = -1.0", "cache-size is a number of bytes"),
    ],
)
def test_values_of_a_file(text: str, message: str, sets: Path, tmp_path: Path) -> None:
    file = tmp_path / "ganeval.toml"
    file.write_text(text + "\n")
    run = program("kid", "r.npy", "f.npy", *COMPACT, "--config", str(file), folder=sets)
    assert run.returncode == 2, run.stderr
    assert f"{file}: {message}" in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""


def test_a_list_of_metrics_and_lists_of_numbers_in_a_file(sets: Path, tmp_path: Path) -> None:
    file = tmp_path / "ganeval.toml"
    (sets / "constant.py").write_text(
        "import torch\n\ndef make(z):\n    return z.mean((1, 2, 3))[:, None, None, None].tanh().expand(-1, 3, 8, 8)\n"
    )
    file.write_text(
        'metrics = ["kid", "rke"]\nvalue-range = [-1, 1]\nlatent-dim = [4, 1, 1]\nbatch-size = "8"\nnum-samples = 20\n'
    )
    run = program(
        "eval", "r.npy", "gen:constant:make", *COMPACT, "--json", "--config", str(file), folder=sets,
        PYTHONPATH=_path(sets),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert set(document["results"]) == {"kid", "rke"}
    assert document["fake"]["n"] == 20


def test_a_generator_of_several_latent_axes_on_the_command_line(sets: Path) -> None:
    (sets / "planes.py").write_text("def make(z):\n    return z[:, :3].tanh().expand(-1, 3, 8, 8)\n")
    options = (*COMPACT, "--num-samples", "20", "--value-range", "-1,1", "--latent-dim")
    found = {
        shape: program("kid", "r.npy", "gen:planes:make", *options, shape, folder=sets, PYTHONPATH=_path(sets))
        for shape in ("4,1,1", "4,x")
    }
    assert found["4,1,1"].returncode == 0, found["4,1,1"].stderr
    assert found["4,1,1"].stdout.startswith("KID")
    assert found["4,x"].returncode == 2
    assert "'4,x'" in found["4,x"].stderr


@posix
@pytest.mark.parametrize(
    ("arguments", "code", "failed"),
    [
        (("kid", "r.npy", "f.npy", "--json", "-o", "small/r.json"), 2, "small/r"),
        (("kid", "r.npy", "f.npy", "--json", "-o", "out.json", "--report", "small/r.html"), 2, "small/r.html"),
        pytest.param(
            *(("gate", "r.npy", "f.npy", "--json", "--config", "passing.toml", "-o", "small/r.json"), 2, "small/r"),
            marks=pytest.mark.nightly,
        ),
        (("gate", "r.npy", "f.npy", "--json", "--config", "failing.toml", "-o", "small/r.json"), 1, "small/r"),
        (("stats", "build", "r.npy", "--json", "-o", "small/s.npz"), 2, "small/s.npz"),
        (("check", "r.npy", "--json", "--report", "small/c.html"), 2, "small/c.html"),
    ],
)
def test_what_was_measured_is_said_although_an_output_fails(
    arguments: tuple[str, ...], code: int, failed: str, sets: Path
) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a full disk needs root")
    (sets / "small").mkdir(exist_ok=True)
    options = () if arguments[0] == "check" else ("--protocol", "compact")
    line = 'mount -t tmpfs -o size=4k tmpfs small || exit 77; exec "$0" -m ganeval "$@"'
    run = subprocess.run(
        ["unshare", "-m", "bash", "-c", line, sys.executable, *arguments, *options, "-q"], cwd=sets,
        capture_output=True, text=True, check=False, env={**os.environ, "GANEVAL_CACHE": "0"}, timeout=120,
    )  # fmt: skip
    if run.returncode == 77 or "unshare failed" in run.stderr:
        pytest.skip("no mount namespace here")
    assert run.returncode == code, run.stderr
    document = json.loads(run.stdout)
    assert [error["path"].startswith(failed) for error in document["output_errors"]] == [True]
    assert "error" not in document
    assert sum(line.startswith("error: ") for line in run.stderr.splitlines()) == 1
    if "out.json" in arguments:
        assert json.loads((sets / "out.json").read_text())["results"]["kid"]
    if arguments[0] == "gate":
        assert document["gate"]["verdict"] in ("pass", "fail")


@posix
def test_a_summary_that_cannot_be_written_leaves_the_verdict(sets: Path) -> None:
    arguments = ("gate", "r.npy", "f.npy", *COMPACT, "--config", "passing.toml", "--format", "github")
    run = program(*arguments, folder=sets, GITHUB_STEP_SUMMARY=str(sets))
    assert run.returncode == 2, run.stderr
    assert "kid" in run.stdout.lower()
    assert "summary" in run.stderr


def _png_files(folder: Path, images: np.ndarray) -> None:
    from PIL import Image

    folder.mkdir()
    for i, array in enumerate(images):
        Image.fromarray(array).save(folder / f"{i:03d}.png")


@posix
def test_a_killed_worker_is_no_fault_of_the_program(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "rf":  # one large image under many names: the workers are at it for seconds
        _png_files(tmp_path / name, rng.integers(0, 256, (1, 1000, 1000, 3), dtype=np.uint8))
        first = next((tmp_path / name).iterdir())
        for number in range(150):
            (tmp_path / name / f"more-{number}.png").hardlink_to(first)
    run = subprocess.Popen(
        [sys.executable, "-m", "ganeval", "kid", "r", "f", *COMPACT, *WORKERS], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "GANEVAL_CACHE": "0"},
    )  # fmt: skip
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    killed = False
    while not killed and run.poll() is None:
        for child in map(int, children.read_text().split()):
            with contextlib.suppress(OSError):  # twice: another program has this name too, until it is executed
                seen = 0
                while seen < 2 and b"kid" in Path(f"/proc/{child}/cmdline").read_bytes():
                    time.sleep(0.05)
                    seen += 1
                if seen == 2:
                    os.kill(child, signal.SIGKILL)
                    killed = True
        time.sleep(0.01)
    out, err = run.communicate(timeout=120)
    assert killed
    assert run.returncode == 2, err
    assert out == ""
    assert "A decode worker failed: " in err
    assert "--workers 0" in err
    assert "Traceback" not in err


@posix
def test_a_full_dev_shm_is_no_fault_of_the_program(sets: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a full /dev/shm needs root")
    for name in "rf":
        _png_files(tmp_path / name, np.load(sets / f"{name}.npy"))
    line = 'mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs /dev/shm || exit 77; exec "$0" -m ganeval "$@"'
    run = subprocess.run(
        ["unshare", "-m", "bash", "-c", line, sys.executable, "kid", "r", "f", *COMPACT, *WORKERS],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "GANEVAL_CACHE": "0"},
    )  # fmt: skip
    if run.returncode == 77 or "unshare failed" in run.stderr:
        pytest.skip("no mount namespace here")
    assert run.returncode == 2, run.stderr
    assert "A decode worker failed: " in run.stderr
    assert "--workers 0" in run.stderr
    assert "Traceback" not in run.stderr
