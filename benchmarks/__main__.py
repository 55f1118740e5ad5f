"""``python -m benchmarks``: parts one after another; each is written down as soon as it is there."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import end_to_end, frechet, inception, options, paired, results, scaling, startup
from benchmarks.accelerator import command as accelerator
from benchmarks.peers import PEERS
from benchmarks.runs import BenchmarkError, job

PARTS: dict[str, Callable[[options.Options], dict[str, Any]]] = {
    "startup": startup.measure,
    "end-to-end": end_to_end.measure,
    "inception": inception.measure,
    "frechet": frechet.measure,
    "ranks": scaling.ranks,
    "images": scaling.images,
    "neighbours": scaling.neighbours,
    "paired": paired.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 measured, 1 a program failed or two numbers do not agree; whether a promise holds is in the table."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["accelerator"]:
        return accelerator.main(arguments[1:])
    given = options.parse(list(PARTS), list(PEERS), arguments)
    common = options.options_of(given, list(PEERS))
    try:
        about = job("machine:about", device=given.device)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    path = results.path_of(given.output, about, given.device)
    for name, measure in PARTS.items():
        if given.only and name not in given.only:
            continue
        key = f"{name}-{given.images}" if name == "end-to-end" else name
        before = results.load(path)["parts"].get(key) if given.append else None
        started = time.monotonic()
        print(f"{key} ...", file=sys.stderr, flush=True)

        def keep(found: dict[str, Any], key: str = key) -> None:
            results.store(path, about, key, found)

        try:
            keep(measure(dataclasses.replace(common, before=before, keep=keep)))
        except BenchmarkError as error:
            print(f"{key}: {error}", file=sys.stderr)
            return 1
        print(f"{key}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(results.publish(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
