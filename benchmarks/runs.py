"""Programs that take turns, each in a process of its own, and what they took: time, processor time, memory, value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Figures = dict[str, Any]  # wall and processor in seconds, peak in bytes, value where there is one
Rounds = list[dict[str, Figures]]


class BenchmarkError(Exception):
    """A program failed, or two of them disagree: there is no table then."""


def child(command: Sequence[str], *, threads: int | None = None, **environment: str) -> tuple[Figures, str]:
    """Run a program to its end; what it took, and what it wrote to stdout.

    Processor time is that of the process and of all its children; the peak is the largest of them, not their sum.

    Args:
        threads: of every library; None leaves it to the program, as a user would.
    """
    env = {name: value for name, value in os.environ.items() if name not in THREADS}
    # Features that were kept from an earlier round would make the comparison worthless.
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    env |= {"GANEVAL_CACHE": "0", "GANEVAL_OFFLINE": "1", "PYTHONPATH": path, **environment}
    if threads is not None:
        env |= dict.fromkeys(THREADS, str(threads))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen([*command], stdout=out, stderr=err, env=env, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        written = out.read().decode(errors="replace")
        if process.returncode:
            tail = "\n".join((written + err.read().decode(errors="replace")).splitlines()[-12:])
            raise BenchmarkError(f"{' '.join(command[:6])} ... ended with {process.returncode}:\n{tail}")
    return {"wall": wall, "processor": used.ru_utime + used.ru_stime, "peak": 1024 * used.ru_maxrss}, written


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def job(function: str, *, threads: int | None = None, **arguments: object) -> Any:
    """What ``module:function(**arguments)`` of this folder returns in a fresh process."""
    _, written = child(python("benchmarks.job", function, json.dumps(arguments)), threads=threads)
    return json.loads(written.splitlines()[-1])


def in_turns(
    runs: Mapping[str, Callable[[], Figures]],
    rounds: int,
    before: Rounds | None = None,
    after: Callable[[Rounds], None] | None = None,
) -> Rounds:
    """Every run once a round, in an order that turns about, so that what else the machine does meets all of them.

    Args:
        before: rounds of an earlier call, to which these are added.
        after: is called after each round with all rounds: to write them down, or to stop at a number that is wrong.
    """
    found = list(before or [])
    for turn in range(len(found), len(found) + rounds):
        found.append({name: runs[name]() for name in list(runs)[:: -1 if turn % 2 else 1]})
        if after is not None:
            after(found)
    return found


def timed(run: Callable[[], object], synchronise: Callable[[], object] = lambda: None) -> Figures:
    """A run in this process."""
    synchronise()
    wall, processor = time.perf_counter(), time.process_time()
    run()
    synchronise()
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def agree(values: Mapping[str, float], same: Iterable[tuple[str, str]], tolerance: float = 1e-5) -> None:
    """Raise BenchmarkError unless the numbers of each pair are one number, relative to the second.

    Raises:
        BenchmarkError: which are not, and by how much.
    """
    off = []
    for one, other in same:
        by = abs(values[one] / values[other] - 1)
        if not by <= tolerance:  # NaN too
            off.append(f"{one} {values[one]!r} and {other} {values[other]!r} differ by {by:.1e}")
    if off:
        raise BenchmarkError(f"the numbers do not agree to {tolerance:g}: {'; '.join(off)}")


def row(what: str, each: Sequence[float], unit: str, need: str | None = None) -> dict[str, object]:
    """A line of the table: median and range, and whether what is needed holds.

    Args:
        need: ``>= 3`` or ``<= 1.5``, in the unit; the median counts.
    """
    middle = median(each)
    met = None
    if need is not None:
        sign, limit = need.split()
        met = middle >= float(limit) if sign == ">=" else middle <= float(limit)
    return {
        "what": what, "median": middle, "low": min(each), "high": max(each), "n": len(each), "unit": unit,
        "need": need, "met": met,
    }  # fmt: skip


def ratio(rounds: Rounds, slower: str, faster: str, what: str = "wall") -> list[float]:
    return [each[slower][what] / each[faster][what] for each in rounds]
