"""``python -m benchmarks.job MODULE:FUNCTION JSON``: one measurement in a process of its own, as JSON on stdout."""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main(target: str, arguments: str) -> None:
    module, _, function = target.partition(":")
    print(json.dumps(getattr(import_module(f"benchmarks.{module}"), function)(**json.loads(arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
