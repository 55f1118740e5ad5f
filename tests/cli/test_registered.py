"""A metric, a network, a protocol, a distance and an image source from outside, together on the command line.

The program has a process of its own, because a registration lasts as long as its process.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

OWN = """
from collections import Counter

import torch

from ganeval.features.perceptual import PerceptualDistance
from ganeval.images.decode import Pixels
from ganeval.images.shapes import render
from ganeval.images.types import Images
from ganeval.metrics.build_result import build_result
from ganeval.results import Reason


class Colours(torch.nn.Module):
    def forward(self, x, taps):
        return {"3": x.mean(dim=(2, 3)) * 3}


def build(state_dict, *, device):
    return Colours()


def load_pixels(weights, *, device, dtype):
    return PerceptualDistance("pixels", lambda x: [x], None, device, dtype, weights="0" * 64, verified=True)


def brightest(inputs):
    value = float(inputs.fake_rows().to_array().max())
    return {"brightest": build_result(inputs, "brightest", value, reason=Reason("unknown", sentence="a maximum"))}


class Scenes(Images):
    kind = "scenes"

    def __init__(self, n, seed):
        self.ignored = Counter()
        self.n, self.seed = n, seed

    def __len__(self):
        return self.n

    def load(self, index):
        return Pixels(render(index, seed=self.seed, size=16))


def open_scenes(text, options):
    n, seed = text.split("@")
    return Scenes(int(n), int(seed))
"""

PROGRAM = """
import sys

from ganeval.cli.main import main
from ganeval.features.registry import register
from ganeval.features.types import Distance, Network, WeightSpec
from ganeval.images.registry import register as register_source
from ganeval.metrics.registry import Metric
from ganeval.metrics.registry import register as register_metric
from ganeval.protocol import Protocol
from ganeval.protocol import register as register_protocol

spec = WeightSpec("colours", "colours.pth", "https://example.org/colours.pth", sys.argv[1], None, "MIT", "colours")
register(Network(name="colours", widths={"3": 3}, layers=("3",), build="own:build", weights=spec))
register(Distance(name="pixels", network="pixels", load="own:load_pixels"))
register_protocol(Protocol(name="mine", extractor="colours", layer="3", resize="pil-bicubic-float", size=8, scale="x"))
register_source("scenes", "own:open_scenes")
register_metric(
    Metric(
        name="brightest", title="Largest mean colour", acronym="brightest", higher_is_better=True, minimum=2,
        measure="own:brightest", sides="fake", citation="@misc{brightest}",
    )
)
assert "own" not in sys.modules  # named, and imported when they are used
two, how = ["scenes:40@1", "scenes:40@2"], ["--protocol", "mine", "--device", "cpu", "-q"]
assert main(["fid", *two, *how, "-o", "fid.json"]) == 0
assert main(["brightest", "scenes:40@2", *how, "-o", "brightest.json"]) == 0
assert main(["eval", *two, *how, "--metrics", "kid,brightest", "-o", "eval.json"]) == 0
assert main("ppl gen:dcgan-cifar10 --distance pixels --pairs 12 --device cpu -q -o ppl.json".split()) == 0
assert main("gate --results eval.json --config gate.toml -q".split()) == 0
"""


def test_all_five_kinds_are_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "gate.toml").write_text('[gate]\nprotocol = "mine"\nstrict = true\n[gate.rules.brightest]\nmin = 1.0\n')
    torch.save({"factor": torch.tensor(3.0)}, tmp_path / "colours.pth")
    digest = hashlib.sha256((tmp_path / "colours.pth").read_bytes()).hexdigest()
    run = subprocess.run(
        [sys.executable, "program.py", digest],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "GANEVAL_WEIGHTS_DIR": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr
    results = {path.stem: json.loads(path.read_text())["results"] for path in tmp_path.glob("*.json")}
    assert results["fid"]["fid"]["label"] == "FD[colours]"
    assert results["brightest"]["brightest"]["value"] == results["eval"]["brightest"]["value"] > 1
    assert set(results["eval"]) == {"kid", "brightest"}
    assert results["ppl"]["ppl"]["label"] == "PPL[pixels]"
