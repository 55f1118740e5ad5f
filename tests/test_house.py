"""Rules of the house that no linter knows: how the files import each other, their size, and a light start-up."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ganeval"

# From the lowest floor to the highest: files of the package, or all files of a folder that no other line names.
# A file imports from lower floors, and within its own floor only if one pattern stands for both files.
FLOORS = """
    errors arithmetic digests
    parsing.variables
    parsing.plugins
    environment features.types
    features.published
    features.registry
    files parsing.* protocol
    parsing.result_document
    download distributed results
    result_files
    statistics.*
    images.*
    features.*
    generators.*
    metrics.*
    engine.*
    api
    evaluator
    training.* integrations.* gate.*
    report.*
    cli.*
    pytest_plugin __main__
"""

# A folder that may use only part of the floors below it.
ONLY = {
    "statistics": "errors protocol files arithmetic digests parsing",
    "metrics": "errors protocol results arithmetic digests parsing statistics",
    "generators": "errors files download arithmetic digests parsing images",
}

ROOT = {
    "__init__", "__main__", "api", "evaluator", "errors", "protocol", "results", "result_files", "files", "download",
    "distributed", "environment", "arithmetic", "digests", "pytest_plugin",
    "engine", "parsing", "images", "features", "statistics", "metrics", "generators", "training", "gate", "report",
    "integrations", "cli",
}  # fmt: skip


@cache
def imports() -> dict[str, frozenset[str]]:
    """The files that each file of the package imports, also inside functions and under TYPE_CHECKING."""
    files = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    known = set(files.values())

    def file(name: str) -> str | None:
        return next((one for one in (name, f"{name}.__init__".lstrip(".")) if one in known), None)

    graph = {}
    for path, here in files.items():
        found: set[str | None] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
                found |= {
                    file(name.removeprefix("ganeval").lstrip(".")) for name in names if name.startswith("ganeval")
                }
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{here}: relative import"
                if str(node.module).split(".")[0] == "ganeval":
                    folder = str(node.module).removeprefix("ganeval").lstrip(".")
                    found |= {file(f"{folder}.{alias.name}".lstrip(".")) or file(folder) for alias in node.names}
        graph[here] = frozenset(name for name in found if name is not None and name != here)
    return graph


def floor(name: str) -> tuple[int, str]:
    """The number of the floor of a file and the pattern that put it there; a longer pattern wins."""
    matches = [
        (len(pattern), number, pattern)
        for number, line in enumerate(FLOORS.strip().splitlines())
        for pattern in line.split()
        if fnmatch(name, pattern)
    ]
    assert matches, f"put {name} on a floor"
    return max(matches)[1:]


def test_no_import_cycle() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_imports_run_downward() -> None:
    upward = []
    for here, found in imports().items():
        for there in found - {"__init__"}:
            if here != "__init__" and not (floor(there)[0] < floor(here)[0] or floor(there) == floor(here)):
                upward.append(f"{here} -> {there}")
    assert set(upward) == set()


def test_nothing_below_the_engine_asks_for_the_group() -> None:
    """A group and a device are arguments there; a model in a wrapper and the number of a card are not of the group."""
    allowed = {"unwrapped", "accelerator_index", "local_index"}
    for path in PACKAGE.rglob("*.py"):
        here = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if here == "__init__" or floor(here) >= floor("engine.session"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "ganeval.distributed":
                assert {alias.name for alias in node.names} <= allowed, here


@pytest.mark.parametrize("folder", ONLY)
def test_folders_that_stand_on_few_others(folder: str) -> None:
    allowed = {folder, *ONLY[folder].split()}
    foreign = {
        f"{here} -> {there}"
        for here, found in imports().items()
        for there in found
        if here.split(".")[0] == folder and there.split(".")[0] not in allowed
    }
    assert foreign == set()


def test_what_stands_at_the_root() -> None:
    assert {name.split(".")[0] for name in imports()} == ROOT


def functions() -> list[tuple[str, int]]:
    """Every function of the package and the lines of its body, without its docstring."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[ast.get_docstring(node) is not None :]
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                found.append((f"{path.relative_to(PACKAGE)}: {node.name}", lines))
    return found


def test_a_function_fits_a_screen() -> None:
    assert [(name, lines) for name, lines in functions() if lines > 60] == []


def test_few_statements_are_kept_from_the_formatter() -> None:
    markers = sum(len(re.findall("# fmt: *(skip|off)", path.read_text("utf-8"))) for path in PACKAGE.rglob("*.py"))
    assert markers == 0


POSIX = {
    "fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "os.fork", "os.getuid", "os.geteuid",
    "os.mkfifo", "os.uname", "os.setsid", "os.killpg", "os.nice", "os.sync", "os.chown", "os.getpgid", "signal.SIGKILL",
    "signal.SIGUSR1", "signal.SIGHUP", "signal.SIGPIPE", "signal.SIGALRM", "signal.alarm", "select.poll",
}  # fmt: skip


def test_nothing_that_windows_lacks() -> None:
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = [f"{node.value.id}.{node.attr}"]
            elif isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{one.name}" for one in node.names)]
            found += [f"{path.relative_to(PACKAGE)}: {name}" for name in names if name in POSIX]
    assert found == []


def test_start_up_imports_nothing_heavy() -> None:
    """One process, which says after each step what it has loaded."""
    steps = [
        "import ganeval",
        "dir(ganeval); ganeval.MetricResult; ganeval.Protocol",
        "import ganeval.pytest_plugin",
        *(
            f"from ganeval.cli.main import main; main({arguments})"
            for arguments in (
                ["--help"],
                ["fid", "--help"],
                ["stats", "build", "--help"],
                ["cite", "fid"],
                ["gate", "--help"],
                ["compare", "--help"],
            )
        ),
    ]
    program = "import sys\n"
    for step in steps:
        program += f"{step}\nheavy = {{'torch', 'torchvision', 'scipy', 'numpy', 'PIL', 'faiss'}} & set(sys.modules)\n"
        program += f"assert not heavy, ({step!r}, heavy)\n"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_public_names_exist() -> None:
    import ganeval

    for name in ganeval.__all__:
        assert getattr(ganeval, name) is not None
    assert callable(ganeval.evaluate)
    with pytest.raises(AttributeError, match="no attribute 'fidd'"):
        ganeval.fidd  # noqa: B018
