"""Rules of the house that no linter knows: imports run downward only, and start-up imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ganeval"

# A module may import from its own floor and from floors with a smaller number.
FLOORS = {
    "errors": 0, "protocol": 0, "parsing": 0, "results": 0, "result_text": 0, "result_files": 0,
    "files": 0, "distributed": 0, "download": 0, "arithmetic": 0, "digests": 0,
    "images": 1, "features": 2, "statistics": 3, "metrics": 4, "generators": 4, "environment": 4,
    "engine": 5, "api": 5, "evaluator": 5, "gate": 6, "integrations": 6, "training": 6, "report": 7, "cli": 8,
    "pytest_plugin": 8, "__main__": 9,
}  # fmt: skip


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} if node.module != "ganeval" else {f"ganeval.{a.name}" for a in node.names}
    return {name.split(".")[1] for name in names if name.startswith("ganeval.")}


def test_imports_run_downward() -> None:
    upward = []
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part == "__init__":  # the public names, loaded lazily
            continue
        assert part in FLOORS, f"say on which floor {part} stands"
        upward += [f"{path.name} -> {name}" for name in imports_of(path) if FLOORS.get(name, 0) > FLOORS[part]]
    assert not upward


def test_generators_stand_on_images_alone() -> None:
    """They are inputs: no feature, statistic or metric may reach them."""
    allowed = {"generators", "images", "parsing", "files", "errors", "download", "arithmetic"}
    for path in (PACKAGE / "generators").glob("*.py"):
        assert imports_of(path) <= allowed, path.name


@pytest.mark.parametrize(
    "code",
    [
        "import ganeval",
        "import ganeval; dir(ganeval); ganeval.MetricResult; ganeval.Protocol",
        "from ganeval.cli.main import main; main(['--help'])",
        "from ganeval.cli.main import main; main(['fid', '--help'])",
        "from ganeval.cli.main import main; main(['stats', 'build', '--help'])",
        "from ganeval.cli.main import main; main(['cite', 'fid'])",
        "from ganeval.cli.main import main; main(['gate', '--help'])",
        "from ganeval.cli.main import main; main(['compare', '--help'])",
        "import ganeval.pytest_plugin",
    ],
)
def test_start_up_imports_nothing_heavy(code: str) -> None:
    check = "import sys; heavy = {'torch', 'torchvision', 'scipy', 'numpy', 'PIL', 'faiss'} & set(sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}\nassert not heavy, heavy"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_public_names_exist() -> None:
    import ganeval

    for name in ganeval.__all__:
        assert getattr(ganeval, name) is not None
    assert callable(ganeval.evaluate)  # also once the module of that name is imported
    with pytest.raises(AttributeError, match="no attribute 'fidd'"):
        ganeval.fidd  # noqa: B018
