"""``python -m benchmarks.accelerator.section MODULE OUTPUT JSON``: the checks of one section, one after another."""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
import warnings
from pathlib import Path

from benchmarks.accelerator.bench import Bench, Check, Found, NotHere, last_words

_LEAST = 3.0  # seconds below which a check is not started


def outcome(check: Check, bench: Bench) -> Found:
    """What a check found; an error of it is a finding too."""
    if bench.left() < _LEAST:
        return {"skipped": f"only {max(0.0, bench.left()):.0f} s were left of the section's time"}
    started = time.perf_counter()
    try:
        found = check(bench)
    except NotHere as why:
        return {"skipped": str(why)}
    except Exception as error:
        found = {"error": last_words(error, 600), "traceback": traceback.format_exc()[-2000:]}
    return {**found, "seconds of the check": time.perf_counter() - started}


def write(path: Path, found: Found) -> None:
    """Atomically: whoever ends the section from outside finds what there is."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(found, default=str), encoding="utf-8")
    temporary.replace(path)


def main(module: str, output: str, *, device: str, quick: bool, folder: str, seconds: float) -> None:
    """Every check of one section, one after another; what is found is written down after each."""
    import torch

    warnings.simplefilter("once")
    bench = Bench(torch.device(device), quick, Path(folder), time.monotonic() + seconds)
    if quick:
        torch.set_num_threads(1)
    found: Found = {}
    for name, check in importlib.import_module(module).CHECKS.items():
        found[name] = outcome(check, bench)
        write(Path(output), found)
        print(f"{module}: {name}: {json.dumps(found[name], default=str)[:600]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))
