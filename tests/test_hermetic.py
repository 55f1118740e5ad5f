"""What lies in the user's folders, and what the user's variables say, must not reach a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganeval.features.weights import hub_folder

ROOT = Path(__file__).resolve().parent.parent
TESTS = (
    "tests/cli/test_main.py::test_every_command_writes_its_document_to_a_file",
    "tests/test_hermetic.py::test_no_folder_of_the_user_is_known_here",
)


def test_no_folder_of_the_user_is_known_here() -> None:
    home = Path(os.environ["GANEVAL_TEST_HOME"])
    for folder in (Path.home(), hub_folder(), Path(os.environ["XDG_CACHE_HOME"]), Path(os.environ["HF_HOME"])):
        assert folder.is_relative_to(home)
    names = {n for n in os.environ if n.startswith("GANEVAL_")} - {"GANEVAL_OFFLINE", "GANEVAL_CACHE"}
    assert not {n for n in names if not n.startswith("GANEVAL_TEST_")}
    assert {"FORCE_COLOR", "NO_COLOR"}.isdisjoint(os.environ)
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.path.expanduser('~'))"], capture_output=True, check=True
    )
    assert child.stdout.decode().strip() == str(home)


@pytest.mark.nightly
def test_stray_files_and_variables_fail_no_test(tmp_path: Path) -> None:
    """In the first process, and in a worker of xdist."""
    strays = {
        "torch": "torch/hub/checkpoints", "home": ".cache/torch/hub/checkpoints", "cache": "torch/hub/checkpoints",
        "weights": "", "config": "matplotlib",
    }  # fmt: skip
    for folder, inside in strays.items():
        (tmp_path / folder / inside).mkdir(parents=True)
        for name in ("pt_inception-2015-12-05-6726825d.pth", "stray.txt", "matplotlibrc"):
            (tmp_path / folder / inside / name).write_text("no weights")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GANEVAL_TEST_HOME")}
    environment |= {
        "HOME": str(tmp_path / "home"), "TORCH_HOME": str(tmp_path / "torch"), "FORCE_COLOR": "1", "NO_COLOR": "1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "GANEVAL_WEIGHTS_DIR": str(tmp_path / "weights"), "GANEVAL_PROTOCOL": "clean", "GANEVAL_FORMAT": "json",
        "GANEVAL_CACHE_SIZE": "much", "GANEVAL_OFFLINE": "perhaps", "GANEVAL_JSON": "1",
    }  # fmt: skip
    environment.pop("PYTEST_XDIST_WORKER", None)
    for more in ((), ("-n", "1")):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "weights or folder",
            *more,
            *TESTS,
        ]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout
