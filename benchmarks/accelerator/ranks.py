"""Two ranks of torchrun on one device, which NCCL refuses: they have to talk through gloo."""

from __future__ import annotations

import json

from benchmarks.accelerator.bench import Bench, Found
from benchmarks.runs import child, python


def one_device(bench: Bench) -> Found:
    images = str(bench.pick(600, 16))
    fid = (
        "ganeval", "fid", "dataset:shapes-plain", "dataset:shapes-striped", "--num-samples", images, "--protocol",
        "compact", "--device", str(bench.device), "--json", "-q",
    )  # fmt: skip
    found: Found = {}
    for count in (1, 2):
        launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m", *fid)
        command = python(*launcher) if count > 1 else python(*fid)
        figures, written = child(command, threads=1 if bench.quick else 2, GANEVAL_RANK_TIMEOUT="20")
        value = json.loads(written[written.index("{") :])["results"]["fid"]["value"]
        found[f"{count} rank{'s' * (count > 1)}"] = {"s": figures["wall"], "value": value}
    found["relative"] = abs(found["2 ranks"]["value"] / found["1 rank"]["value"] - 1)
    return found


CHECKS = {"two ranks on one device": one_device}
