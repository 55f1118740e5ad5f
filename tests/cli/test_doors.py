"""What reaches the program from outside: code that prints, raises and returns anything, and files that ask."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError
from ganeval.images.model_outputs import to_image_array

Capture = pytest.CaptureFixture[str]
MADE = "--num-samples 20 --latent-dim 2 --value-range -1,1 --protocol compact -q --device cpu"
CODE = """
import asyncio, sys, threading
import torch
print("imported")

def quiet(z):
    return z[:, :1, None, None].tanh().expand(-1, 3, 8, 8)

def prints(z):
    print("called")
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
    sys.stdout.write("written")
    return quiet(z)

def cancelled(z):
    raise asyncio.CancelledError()

def sparse(z):
    return quiet(z).to_sparse()

def nested(z):
    return torch.nested.nested_tensor(list(quiet(z)))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("doors_code", "doors_cancelled"):
        sys.modules.pop(name, None)
    Path("doors_code.py").write_text(CODE)
    Path("doors_cancelled.py").write_text("import asyncio\nraise asyncio.CancelledError()\n")
    np.save("a.npy", np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8))
    return tmp_path


def test_what_a_generator_prints_goes_to_stderr(here: Path, capsys: Capture) -> None:
    assert main([*f"kid a.npy gen:doors_code:prints {MADE} --json".split()]) == 0
    said = capsys.readouterr()
    assert set(json.loads(said.out)["results"]) == {"kid"}
    assert all(text in said.err for text in ("imported", "called", "from a thread", "written"))
    assert main(["sample", "gen:doors_code:prints", "-n", "2", *MADE.split()[2:6], "-o", "out"]) == 0
    assert capsys.readouterr().out == "2 images of gen:doors_code:prints in out\n"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gen:doors_code:cancelled", "CancelledError"),
        ("gen:doors_cancelled:make", "CancelledError"),
        ("gen:doors_code:sparse", "x.to_dense()"),
        ("gen:doors_code:nested", "nested tensor"),
    ],
)
def test_a_generator_that_ends_or_returns_anything_iv(spec: str, message: str, here: Path, capsys: Capture) -> None:
    assert main([*f"kid a.npy {spec} {MADE} --json".split()]) == 2
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert error["kind"] == "input"
    assert error["message"].startswith(spec)
    assert message in error["message"]


@pytest.mark.parametrize("made", [torch.empty(2, 3, 4, 4, device="meta"), [torch.empty(3, 4, 4, device="meta")] * 2])
def test_a_tensor_without_values_iv(made: object) -> None:
    with pytest.raises(InputError, match="g returns a tensor on the device meta"):
        to_image_array(made, 2, spec="g", what="latents")


@pytest.mark.parametrize("way", ["ganeval.toml", "table", "--config", "GANEVAL_CONFIG"])
def test_a_fault_of_a_file_that_asks_for_json_is_json(
    way: str, here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ganeval.toml" if way in ("ganeval.toml", "table") else "other.toml"
    Path(name).write_text('zzz = 1\n[kid]\nformat = "json"\n' if way == "table" else "json = true\nzzz = 1\n")
    if way == "GANEVAL_CONFIG":
        monkeypatch.setenv("GANEVAL_CONFIG", name)
    assert main(["kid", "a.npy", "b.npy", *(["--config", name] if way == "--config" else [])]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["kind"] == "configuration"
    assert "zzz" in said.err
    assert "unknown environment variable" not in said.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("test = 5", "test is a text, in quotes; got 5"),
        ('floor = "x"', "floor: "),
        ("[eval]\nfloor = 3", "eval.floor is true or false; got 3"),
        ("[stats]\nnum = true", "stats.num is a whole number; got true"),
    ],
)
def test_values_of_options_of_other_commands_iv(text: str, message: str, here: Path, capsys: Capture) -> None:
    Path("ganeval.toml").write_text(text + "\n")
    assert main(["kid", "a.npy", "b.npy"]) == 2
    assert f"ganeval.toml: {message}" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_size_below_one_iv(size: int, here: Path) -> None:
    images = np.load("a.npy")
    calls = (
        lambda: ganeval.evaluate(images, images, metrics="kid", protocol="compact", batch_size=size, device="cpu"),
        lambda: ganeval.build_statistics(images, protocol="compact", batch_size=size, device="cpu"),
        lambda: ganeval.Evaluator(images, metrics="kid", protocol="compact", batch_size=size, device="cpu"),
        lambda: ganeval.path_length("gen:dcgan-cifar10", distance="compact", pairs=4, batch_size=size, device="cpu"),
    )
    for call in calls:
        with pytest.raises(ConfigError, match=r"--batch-size \(batch_size=\) must be at least 1"):
            call()


def test_any_suffix_without_files_iv(here: Path, capsys: Capture) -> None:
    assert main(["kid", "a.npy", "a.npy", "--protocol", "compact", "--any-suffix"]) == 2
    assert "no image set here is one" in capsys.readouterr().err
    images = np.load("a.npy")
    with pytest.raises(ConfigError, match="any_suffix"):
        ganeval.evaluate(images, images, metrics="kid", protocol="compact", any_suffix=True, device="cpu")
