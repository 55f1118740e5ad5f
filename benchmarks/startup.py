"""How long a person waits before anything happens."""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks import material
from benchmarks.options import Options
from benchmarks.runs import child, in_turns, python, ratio, row


def measure(options: Options) -> dict[str, Any]:
    weights, (real, fake) = material.weights(options.folder), material.folders(options.folder, 8)
    fid = ("fid", str(real), str(fake), "--weights", str(weights), "--device", options.device, "-q")
    child(python("ganeval", *fid))  # what is kept a machine
    commands = {
        "import torch, torchvision": [sys.executable, "-c", "import torch, torchvision"],
        "ganeval --help": python("ganeval", "--help"),
        "ganeval fid, to its first batch": python("benchmarks.startup", *fid),
    }
    runs = {name: (lambda command=command: child(command)[0]) for name, command in commands.items()}
    rounds = in_turns(runs, max(options.rounds, 1 if options.quick else 7))
    first, bare = "ganeval fid, to its first batch", "import torch, torchvision"
    walls = {name: [each[name]["wall"] for each in rounds] for name in runs}
    rows = [
        row("ganeval --help", walls["ganeval --help"], "s", "<= 0.3"),
        row(f"{first} / {bare}", ratio(rounds, first, bare), "x", "<= 1.5"),
        row(first, walls[first], "s"),
        row(bare, walls[bare], "s"),
    ]
    return {"settings": {"device": options.device}, "rounds": rounds, "rows": rows}


def to_first_batch(arguments: list[str]) -> None:
    """The program, which ends where the first images are about to enter the network."""
    from ganeval.cli.main import main
    from ganeval.features.extractor import FeatureExtractor

    FeatureExtractor.__call__ = lambda *_, **__: os._exit(0)  # type: ignore[method-assign]
    main(arguments)
    sys.exit("the program ended without a batch")


if __name__ == "__main__":
    to_first_batch(sys.argv[1:])
