"""Run the tests of ``ganeval.statistics.linalg`` under several versions of scipy, each in an environment of its own.

    python tests/statistics/scipy_versions.py 1.13 1.15 newest
    python tests/statistics/scipy_versions.py newest --python python3.13     # scipy 1.18 needs Python 3.12 or newer

``linalg`` needs numpy and scipy only, so an environment is small: no torch. Ends with 1 if any version fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = Path(__file__).with_name("test_linalg.py")


def run_under(version: str, python: str, folder: Path) -> bool:
    """Make the environment unless it is there, print what is in it, run the tests."""
    environment = folder / f"scipy-{version}-{Path(python).name}"
    executable = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not executable.exists():
        subprocess.run([python, "-m", "venv", str(environment)], check=True)
    wanted = "scipy" if version == "newest" else f"scipy=={version}.*"
    packages = [wanted, "numpy", "pytest", "pytest-timeout"]
    subprocess.run([str(executable), "-m", "pip", "install", "--quiet", "--upgrade", *packages], check=True)
    show = "import sys, numpy, scipy; print('python', sys.version.split()[0], numpy.__version__, scipy.__version__)"
    subprocess.run([str(executable), "-c", show], check=True)
    command = [
        str(executable),
        "-m",
        "pytest",
        str(TESTS),
        "-q",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-m",
        "not nightly",
    ]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", help="1.13, 1.15, ..., or newest")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments")
    parser.add_argument("--folder", type=Path, help="keep the environments here; default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        failed = [v for v in options.versions if not run_under(v, options.python, folder)]
    print(f"failed: {', '.join(failed)}" if failed else f"passed under scipy {', '.join(options.versions)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
