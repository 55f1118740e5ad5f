"""The commands of README.md and docs/, taken from the page and run.

A fenced block of ``sh`` or ``python`` may carry tags behind its language:
``setup-run``, ``setup-test``   the two commands that set everything up; run by name
``needs-weights``               needs Inception weights; run with surrogate weights through GANEVAL_WEIGHTS
``long``                        takes hours; not run
``no-run``                      shows output or a file

A block of Python whose first line is ``# NAME.py`` is kept under that name, and can be imported by later ones.

``python tests/readme.py run-block TAG`` runs one; ``run-all [PAGE...]`` all but the set-up, of all pages or some: the
blocks of a page in order in a temporary folder of that page, two pages at a time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(sh|python)((?: [a-z-]+)*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PAGES_AT_ONCE = 2


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    tags: frozenset[str]
    text: str


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks() -> list[Block]:
    return [
        Block(page.relative_to(ROOT).as_posix(), language, frozenset(tags.split()), text)
        for page in pages()
        for language, tags, text in FENCE.findall(page.read_text(encoding="utf-8"))
    ]


def run(block: Block, folder: Path, environment: dict[str, str], output: IO[str] | None = None) -> None:
    """Run one block as it stands.

    Args:
        output: the file for what is printed; the program's own stdout and stderr if there is none.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    print(f"--- {block.page} {' '.join(sorted(block.tags))}\n{block.text}", flush=True, file=output)
    started = time.monotonic()
    if block.language == "sh":
        command = ["bash", "-euo", "pipefail", "-c", block.text]
    else:
        named = re.match(r"# (\w+\.py)\n", block.text)
        script = folder / (named[1] if named else "block.py")
        script.write_text(block.text, encoding="utf-8")
        command = [sys.executable, str(script)]
    subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output and subprocess.STDOUT,
    )
    print(f"--- {time.monotonic() - started:.1f} s", flush=True, file=output)


def run_page(page: str, folder: Path, weights: Path) -> tuple[str, bool]:
    """Run the blocks of one page, in order, in a folder of that page.

    Returns:
        What they printed, and whether all of them passed.
    """
    work = folder / page.replace("/", "-")
    work.mkdir()
    plain = {**os.environ, "GANEVAL_OFFLINE": "1", "GANEVAL_CACHE_DIR": str(folder / f"{work.name}-cache")}
    passed = True
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        try:
            for block in blocks():
                if block.page == page and not block.tags & {"setup-run", "setup-test", "long", "no-run"}:
                    surrogate = {"GANEVAL_WEIGHTS": str(weights)} if "needs-weights" in block.tags else {}
                    run(block, work, {**plain, **surrogate}, output)
        except subprocess.CalledProcessError as error:
            print(f"--- {page} failed: exit code {error.returncode}", file=output)
            passed = False
        output.seek(0)
        return output.read(), passed


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["run-block"]:
        (block,) = [b for b in blocks() if arguments[1] in b.tags]
        run(block, ROOT, dict(os.environ))
        return
    known = list(dict.fromkeys(block.page for block in blocks()))
    if arguments[:1] != ["run-all"] or set(arguments[1:]) - set(known):
        sys.exit(f"{__doc__}\nPages: {', '.join(known)}" if arguments[1:] else __doc__)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(PAGES_AT_ONCE) as pool:
        folder = Path(name)
        weights = folder / "surrogate.pth"
        subprocess.run([sys.executable, str(ROOT / "tests" / "surrogate.py"), str(weights)], check=True)
        names = arguments[1:] or known
        failed = []
        done = {pool.submit(run_page, page, folder, weights): page for page in names}
        for future in as_completed(done):
            printed, passed = future.result()
            print(printed, flush=True)
            failed += [] if passed else [done[future]]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
