"""Networks, protocols and perceptual distances from outside: known everywhere, imported when used, never replaced."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganeval.errors import ConfigError
from ganeval.features.registry import DISTANCES, NETWORKS, get_distance, get_network, register
from ganeval.features.types import Distance, Network, WeightSpec, resolve
from ganeval.protocol import PROTOCOLS, get_protocol
from ganeval.protocol import register as register_protocol

OWN = """
import torch
from ganeval.features.perceptual import PerceptualDistance


class Colours(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x, taps):
        return {"3": x.mean(dim=(2, 3)) * self.factor}


def build(state_dict, *, device, power):
    return Colours(state_dict["factor"].to(device) ** power)


def load_pixels(weights, *, device, dtype):
    return PerceptualDistance("pixels", lambda x: [x], None, device, dtype, weights="0" * 64, verified=True)
"""

PROGRAM = """
import json, sys
from ganeval.features.registry import register
from ganeval.features.types import Distance, Network, WeightSpec
from ganeval.protocol import Protocol, register as register_protocol

spec = WeightSpec("colours", "colours.pth", "https://example.org/colours.pth", sys.argv[1], None, "MIT", "colours")
register(Network(name="colours", widths={"3": 3}, layers=("3",), build="own:build", options={"power": 2}, weights=spec))
register_protocol(Protocol(name="mine", extractor="colours", layer="3", resize="pil-bicubic-float", size=8, scale="x"))
register(Distance(name="pixels", network="pixels", load="own:load_pixels"))

from ganeval.cli.main import main

def run(*command):
    try:
        main([*command, "-q"])
    except SystemExit as error:
        assert not error.code, command

run("weights", "list", "-o", "weights.json")
assert "own" not in sys.modules
run("fid", "real.npy", "fake.npy", "--protocol", "mine", "--device", "cpu", "-o", "fid.json")
run("ppl", "gen:dcgan-cifar10", "--distance", "pixels", "--pairs", "20", "--device", "cpu", "-o", "ppl.json")
"""


def test_from_outside_to_the_commands(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    torch.save({"factor": torch.tensor(3.0)}, tmp_path / "colours.pth")
    digest = hashlib.sha256((tmp_path / "colours.pth").read_bytes()).hexdigest()
    random = np.random.default_rng(0)
    sets = {name: random.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8) for name in ("real", "fake")}
    for name, images in sets.items():
        np.save(tmp_path / f"{name}.npy", images)
    environment = {**os.environ, "GANEVAL_WEIGHTS_DIR": str(tmp_path), "GANEVAL_CACHE": "0"}
    answer = subprocess.run(
        [sys.executable, "program.py", digest],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    listed = {row["name"]: row for row in json.loads((tmp_path / "weights.json").read_text())["weights"]}
    assert listed["colours"]["verified"]
    fid = json.loads((tmp_path / "fid.json").read_text())["results"]["fid"]
    rows = {name: 9.0 * images.astype(np.float64).mean(axis=(1, 2)) for name, images in sets.items()}
    mean = {name: r.mean(axis=0) for name, r in rows.items()}
    cov = {name: np.cov(r, rowvar=False) for name, r in rows.items()}
    eigenvalues = np.linalg.eigvals(cov["real"] @ cov["fake"]).real
    expected = ((mean["real"] - mean["fake"]) ** 2).sum() + np.trace(cov["real"] + cov["fake"])
    expected -= 2 * np.sqrt(np.maximum(eigenvalues, 0)).sum()
    assert fid["value"] == pytest.approx(expected, rel=1e-4)
    assert fid["label"] == "FD[colours]"
    assert fid["protocol"]["weights"] == digest
    ppl = json.loads((tmp_path / "ppl.json").read_text())["results"]["ppl"]
    assert ppl["value"] > 0
    assert "pixels" in ppl["label"]


def test_names_are_not_taken_twice() -> None:
    shipped = (Path("colours.pth"), "0" * 64)
    network = Network(name="colours", widths={"3": 3}, layers=("3",), build="own:build", shipped=shipped)
    with pytest.raises(ConfigError, match="network 'compact-v1' exists already. Choose another name"):
        register(replace(network, name="compact-v1"))
    with pytest.raises(ConfigError, match="distance 'compact' exists already"):
        register(Distance(name="compact", network="x", load="own:load"))
    with pytest.raises(ConfigError, match="protocol 'ttur' exists already"):
        register_protocol(get_protocol("ttur"))
    other = WeightSpec("vgg16", "mine.pth", "https://example.org", None, None, "MIT", "mine")
    with pytest.raises(ConfigError, match="Weights named 'vgg16' exist already, and are another file"):
        register(replace(network, weights=other, shipped=None))
    with pytest.raises(ConfigError, match="needs a file of weights"):
        register(replace(network, shipped=None))
    with pytest.raises(ConfigError, match="needs layers, and the width of each"):
        register(replace(network, taps={"logits": "10"}))
    compact = get_protocol("compact")
    with pytest.raises(ConfigError, match="Unknown network 'colours'. Available: inception"):
        register_protocol(replace(compact, name="mine", extractor="colours"))
    with pytest.raises(ConfigError, match="has no layer '2048'. Available: 256"):
        register_protocol(replace(compact, name="mine", layer="2048"))
    with pytest.raises(ConfigError, match="without a colon"):
        register_protocol(replace(compact, name="mine:256"))
    assert "colours" not in NETWORKS
    assert "mine" not in PROTOCOLS


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "custom"])
def test_what_a_network_declares_exists(name: str) -> None:
    network = get_network(name)
    assert callable(resolve(network.build))
    assert network.optimize is None or callable(resolve(network.optimize))
    assert get_distance(network.distance) in DISTANCES.values()
    assert set(network.layers) | set(network.taps.values()) <= set(network.widths)
