"""Generators through the command line: what they make is measured and written, and one message for each misfit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from ganeval.cli.main import main
from ganeval.generators import load
from ganeval.generators.checkpoint import save_generator
from ganeval.generators.dcgan import Generator

Capture = pytest.CaptureFixture[str]

MODULE = """
import torch

def good(z):
    return torch.tanh(z[:, :3, None, None] + torch.linspace(-1, 1, 8)).expand(-1, -1, 8, -1)

def coloured(z, label):
    return good(z + label[:, None])

def darker(x):
    return x.clamp(-1, 0.5)

def nhwc(z):
    return good(z).permute(0, 2, 3, 1)

def loud(z):
    return 3 * good(z)

def nan(z):
    return good(z) / 0 * 0

def wrong_batch(z):
    return good(z)[:1]

def raises(z):
    raise KeyError("layer4")

def twice(z):
    return good(z), z

number = 5
"""
GOOD = ["--latent-dim", "4", "--value-range", "-1,1", "--num-samples", "40"]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory, of a name that no other test has imported."""
    name = f"gans_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return name


@pytest.mark.parametrize(
    ("generator", "options", "message"),
    [
        ("nhwc", GOOD, "returns NHWC images, shape (2, 8, 8, 3); expected (N, 3, H, W)"),
        ("loud", GOOD, "outside the declared range -1..1"),
        ("nan", GOOD, "image 0 (--seed 0) holds NaN"),
        ("wrong_batch", GOOD, "makes an array of shape (1, 3, 8, 8) of 2 latents"),
        ("raises", GOOD, "KeyError: 'layer4' (at "),
        ("twice", GOOD, "returns a tuple"),
        ("good", GOOD[2:], "--latent-dim"),
        ("good", [*GOOD, "--num-classes", "3"], "takes 1 positional argument but 2 were given"),
        ("good", [*GOOD[:2], *GOOD[4:]], "--value-range"),
        ("good", GOOD[:4], "--num-samples"),
        ("good", [*GOOD, "--num-samples", "1"], "at least 2"),
        ("number", GOOD, "not callable"),
        ("goood", GOOD, "Did you mean 'good'?"),
        ("darker(nothing/)", GOOD[2:], "here is none"),
        ("darker(nothing/)", GOOD[2:4], "No such file or folder: 'nothing/'"),
    ],
)
def test_generators_that_do_not_fit(
    generator: str, options: list[str], message: str, module: str, tmp_path: Path, capsys: Capture
) -> None:
    before = set(tmp_path.rglob("*"))
    arguments = ["fid", "stats:cifar10-test", f"gen:{module}:{generator}", "--protocol", "compact", *options]
    code = main([*arguments, "--json", "-o", "out.json"])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert message in json.loads(out)["error"]["message"]
    assert "Traceback" not in err
    assert err.count("error:") == 1
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gen:dcgan-cifar11", "Did you mean gen:dcgan-cifar10?"),
        ("gen:not_a_module_of_anybody:f", "there is no module not_a_module_of_anybody"),
        ("gen:other.safetensors", "another architecture"),
        ("gen:lonely.safetensors", "has no model card lonely.json next to it"),
        ("gen:pickle.pt", "pickles are never read"),
        ("gen:missing.pt", "there is no file missing.pt"),
    ],
)
@pytest.mark.parametrize("command", ["fid", "sample", "stats"])
def test_specs_that_name_nothing(
    spec: str, message: str, command: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, width in (("other", 4), ("lonely", 4)):
        save_generator(Path(f"{name}.safetensors"), Generator(width=width), "dcgan")
    Path("lonely.json").unlink()
    card = json.loads(Path("other.json").read_text())
    card["arguments"]["width"] = 8
    Path("other.json").write_text(json.dumps(card))
    torch.save({"weight": torch.zeros(2)}, "pickle.pt")
    before = set(tmp_path.rglob("*"))
    arguments = {
        "fid": ["fid", "stats:cifar10-test", spec, "--num-samples", "9", "--protocol", "compact"],
        "sample": ["sample", spec, "-n", "9", "-o", "out"],
        "stats": ["stats", "build", spec, "--num-samples", "9", "--protocol", "compact", "-o", "out.npz"],
    }[command]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert set(tmp_path.rglob("*")) == before


def test_a_generator_that_fails_leaves_the_samples_of_another(module: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["sample", "dataset:shapes:8", "-n", "2", "-o", "out"]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main(["sample", f"gen:{module}:nan", "-n", "2", "-o", "out", "--overwrite", *GOOD[:4]]) == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_sampling_and_measuring_see_the_same_images(
    module: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a callable with labels, of a translation, and of a network that ships."""
    torch.manual_seed(0)
    save_generator(tmp_path / "dcgan-cifar10.safetensors", Generator(width=4, latent_dim=5), "dcgan")
    monkeypatch.setattr(load, "WEIGHTS", tmp_path)
    for i, (spec, options) in enumerate(
        {
            f"gen:{module}:coloured": ["--latent-dim", "4", "--num-classes", "3", "--value-range", "-1,1"],
            f"gen:{module}:darker(dataset:shapes:16@2)": ["--value-range", "-1,1"],
            "gen:dcgan-cifar10": [],
        }.items()
    ):
        assert main(["sample", spec, "-n", "40", "-o", f"out{i}", *options]) == 0
        assert capsys.readouterr().out == f"40 images of {spec} in out{i}\n"
        digests = []
        for fake, given in ((spec, options), (f"out{i}", [])):
            protocol = ["--protocol", "compact", "--num-samples", "40", "--json"]
            assert main(["fid", "dataset:shapes:16@1", fake, *protocol, *given]) == 0
            digests.append(json.loads(capsys.readouterr().out)["fake"]["digest"])
        assert digests[0] == digests[1]
