"""``python -m benchmarks accelerator``: the sections one after another, each in a process with a time limit."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.accelerator import needs, wheels
from benchmarks.accelerator.sections import GRACE, MATERIAL, SECTIONS, Section, limit
from benchmarks.runs import ROOT

MINUTES = 5.7
_LOOK = 5.0  # seconds between two looks at what the sections have found
_QUICK = 6.0  # all limits on a small machine, times
PART = "accelerator"


@dataclass(slots=True)
class Process:
    """A section that runs."""

    section: Section
    handle: subprocess.Popen[bytes]
    ends: float


@dataclass(slots=True)
class Session:
    """One call: what was asked for, and what there is so far."""

    options: argparse.Namespace
    environment: dict[str, str]
    about: dict[str, Any]
    ends: float
    seconds: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return results.path_of(self.options.output, self.about, self.options.device)

    def found(self, section: Section) -> Path:
        return Path(self.options.material) / f"found-{section.name}.json"

    def start(self, section: Section, seconds: float) -> Process:
        """A process group of its own, so that it can be ended with its workers."""
        given = {
            "device": self.options.device, "quick": self.options.quick, "folder": str(self.options.material),
            "seconds": seconds,
        }  # fmt: skip
        command = ["benchmarks.accelerator.section", section.module, str(self.found(section)), json.dumps(given)]
        with (Path(self.options.material) / "sections.log").open("ab") as log:
            handle = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        print(f"{section.name}: {section.about}; at most {seconds:.0f} s", file=sys.stderr, flush=True)
        return Process(section, handle, time.monotonic() + seconds + GRACE)

    def wait(self, processes: list[Process]) -> None:
        """Until all have ended; results are written down meanwhile."""
        started = time.monotonic()
        for one in processes:
            code: int | str | None = None
            while code is None and time.monotonic() < one.ends:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = one.handle.wait(min(_LOOK, max(0.1, one.ends - time.monotonic())))
                self.write()
            if code is None:
                end(one.handle)
                code = "ended at its limit"
            taken = f"{time.monotonic() - started:.0f} s"
            self.seconds[one.section.name] = taken if code == 0 else f"{taken}, exit {code}"
            self.write()

    def sections(self) -> dict[str, Any]:
        found = {}
        for section in (MATERIAL, *SECTIONS):
            if self.found(section).exists():
                found[section.name] = json.loads(self.found(section).read_text(encoding="utf-8"))
        return found

    def write(self) -> None:
        """One part of the results' file, and the table of all parts."""
        found, options = self.sections(), self.options
        settings = {"device": options.device, "minutes": options.minutes, "quick": options.quick, **self.seconds}
        part = {"settings": settings, "rows": needs.rows(found), "sections": found}
        results.store(self.file, self.about, PART, part)
        self.file.with_suffix(".md").write_text(results.markdown(results.load(self.file)), encoding="utf-8")


def end(process: subprocess.Popen[bytes]) -> None:
    """A section that outlived its time, with its workers."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return


def together(cores: int, quick: bool) -> int:
    """Sections without timings that run side by side."""
    return 1 if quick else max(1, cores // 3)


def measure(session: Session, wanted: list[Section]) -> None:
    """The material, then what is not timed side by side, then one after another, in order of importance."""
    quick = session.options.quick
    scale = _QUICK if quick else 1.0
    session.wait([session.start(MATERIAL, scale * MATERIAL.seconds)])
    beside = [section for section in wanted if not section.timed]
    at_once = together(len(os.sched_getaffinity(0)), quick)
    groups = [beside[i : i + at_once] for i in range(0, len(beside), at_once)]
    groups += [[section] for section in wanted if section.timed]
    for i, group in enumerate(groups):
        # of sections that run side by side the longest counts
        later = [max(other, key=lambda one: one.seconds) for other in groups[i + 1 :]]
        left = session.ends - time.monotonic()
        limits = {section: limit(section, left, later, scale) for section in group}
        for section, seconds in limits.items():
            if seconds is None:
                session.seconds[section.name] = "no time was left"
        session.wait([session.start(section, seconds) for section, seconds in limits.items() if seconds is not None])
    session.write()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks accelerator", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What only an accelerator can tell, in order of importance:\n"
        + "\n".join(f"  {section.name:<13} {section.about}" for section in SECTIONS)
        + "\nOne JSON and one Markdown file; both are written anew as results come.",
    )  # fmt: skip
    temporary = Path(tempfile.gettempdir())
    parser.add_argument("--device", default="cuda", help="cuda (the default), cpu, ...")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run? No figures to keep")
    parser.add_argument("--minutes", type=float, help=f"for all of it (default {MINUTES}; --quick: 60)")
    names = [section.name for section in SECTIONS]
    parser.add_argument("--only", action="append", choices=names, help="a section; may be repeated (default: all)")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", default=temporary / "ganeval-benchmarks-accelerator",
        help="for benchmarks/results: DEVICE.json and DEVICE.md, beside the parts that are there (default: in the "
        "temporary folder)",
    )  # fmt: skip
    parser.add_argument(
        "--material", type=Path, metavar="DIR", help="where images and weights are made (default: removed at the end)"
    )
    parser.add_argument("--prepare", type=Path, metavar="DIR", help="only download wheels, for --wheels, into DIR")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python-version", default=here, help=f"with --prepare: that they are for (default {here})")
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="install from DIR what is missing here, for this run"
    )
    found = parser.parse_args(arguments)
    found.minutes = found.minutes or (60.0 if found.quick else MINUTES)
    if found.minutes <= 0:
        parser.error("--minutes takes a number above 0")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """0 all sections ended by themselves; 1 one did not; whether the needs are met is in the table."""
    options = parse(arguments)
    if options.prepare is not None:
        missing = wheels.prepare(options.prepare, options.python_version)
        print(f"wheels in {options.prepare}; there are none of: {', '.join(missing) or 'all were found'}")
        return 0
    ends = time.monotonic() + 60 * options.minutes
    with contextlib.ExitStack() as stack:
        if options.material is None:
            options.material = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ganeval-accelerator-")))
        options.material.mkdir(parents=True, exist_ok=True)
        for old in options.material.glob("found-*.json"):
            old.unlink()
        session = Session(options, environment(options), {}, ends)
        session.about = about(session)
        wanted = [section for section in SECTIONS if not options.only or section.name in options.only]
        measure(session, wanted)
    print(session.file.with_suffix(".md").read_text(encoding="utf-8"))
    return int(any("exit" in str(taken) for taken in session.seconds.values()))


def environment(options: argparse.Namespace) -> dict[str, str]:
    """Of every section: this checkout, and what was installed for it, come first."""
    paths = [str(ROOT)]
    if options.wheels is not None:
        site = Path(options.material) / "site"
        added = wheels.install(options.wheels, site)
        print(f"installed for this run: {', '.join(added) or 'nothing'}", file=sys.stderr)
        paths.append(str(site))
    if os.environ.get("PYTHONPATH"):
        paths.append(os.environ["PYTHONPATH"])
    more = {"GANEVAL_CACHE": "0", "GANEVAL_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **more, "PYTHONPATH": os.pathsep.join(paths)}


def about(session: Session) -> dict[str, Any]:
    """Machine and versions, asked in a process that has what was installed for this run."""
    command = [sys.executable, "-m", "benchmarks.job", "machine:about", json.dumps({"device": session.options.device})]
    done = subprocess.run(
        command, cwd=ROOT, env=session.environment, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
