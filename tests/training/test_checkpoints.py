"""What goes into a checkpoint comes out bit for bit, and no moment of a kill leaves one that does not load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ganeval.errors import InputError
from ganeval.training.checkpoints import (
    POINTER,
    load_checkpoint,
    remove_checkpoints,
    restore_optimiser,
    save_checkpoint,
)

STATE = {
    "weights": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "optimiser": {"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "groups": [{"betas": (0.5, 0.999), "fused": None}]},
    "random": torch.Generator().manual_seed(1).get_state(),
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
    "third": 1 / 3,
    "name": "spaß",
    "pool": [],
}


def test_comes_back_bit_for_bit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 7, STATE)
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    step, state = loaded
    assert step == 7
    assert list(state) == list(STATE)
    for name in ("weights", "random", "half"):
        assert state[name].dtype == STATE[name].dtype  # type: ignore[union-attr, attr-defined]
        assert torch.equal(state[name], STATE[name])  # type: ignore[arg-type]
    assert state["optimiser"]["state"][0]["step"] == 3
    assert state["optimiser"]["state"][1] == {}  # integers stay integers
    assert state["optimiser"]["groups"] == [{"betas": (0.5, 0.999), "fused": None}]
    assert (state["third"], state["name"], state["pool"]) == (1 / 3, "spaß", [])


def test_only_the_last_one_stays(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        save_checkpoint(tmp_path, step, STATE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-00000030.safetensors", POINTER]
    remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("damage", ["truncated", "missing", "pointer", "schema", "half a pointer"])
def test_damaged_iv(tmp_path: Path, damage: str) -> None:
    path = save_checkpoint(tmp_path, 7, STATE)
    pointer = tmp_path / POINTER
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "missing":
        path.unlink()
    elif damage == "pointer":
        pointer.write_text("[]")
    elif damage == "schema":
        pointer.write_text(json.dumps({"schema": "other/1"}))
    else:
        pointer.write_text(pointer.read_text()[:-30])
    with pytest.raises(InputError, match=r"The checkpoint in .* cannot be read .* --overwrite"):
        load_checkpoint(tmp_path)


def test_pointer_names_no_other_folder(tmp_path: Path) -> None:
    inner = tmp_path / "run"
    inner.mkdir()
    path = save_checkpoint(inner, 7, STATE)
    path.rename(tmp_path / path.name)
    pointer = json.loads((inner / POINTER).read_text())
    (inner / POINTER).write_text(json.dumps({**pointer, "file": f"../{path.name}"}))
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(inner)


def test_what_cannot_be_kept_iv(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"state\.a\.0: a checkpoint holds tensors"):
        save_checkpoint(tmp_path, 1, {"a": [object()]})
    assert list(tmp_path.iterdir()) == []


def test_optimiser_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Bit for bit, with moments laid out as the parameters are."""

    def begin() -> tuple[nn.Conv2d, torch.optim.Adam]:
        layer = nn.Conv2d(3, 5, 4).to(memory_format=torch.channels_last)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))
        return layer, torch.optim.Adam(layer.parameters(), 1e-2, betas=(0.5, 0.999))

    def move(layer: nn.Conv2d, optimiser: torch.optim.Adam, n: int) -> None:
        for _ in range(n):
            optimiser.zero_grad()
            layer(torch.ones(2, 3, 6, 6)).square().sum().backward()
            optimiser.step()

    layer, optimiser = begin()
    move(layer, optimiser, 3)
    save_checkpoint(tmp_path, 3, {"layer": layer.state_dict(), "optimiser": optimiser.state_dict()})
    move(layer, optimiser, 3)
    again, adam = begin()
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    again.load_state_dict(loaded[1]["layer"])
    restore_optimiser(adam, loaded[1]["optimiser"])
    moment = adam.state[again.weight]["exp_avg"]
    assert moment.is_contiguous(memory_format=torch.channels_last)
    move(again, adam, 3)
    assert torch.equal(again.weight, layer.weight)


def test_an_optimiser_moves_as_its_own_device_does() -> None:
    """Moments of CUDA, which move there in one kernel, go on on the CPU as the CPU has it, and the other way round."""
    state, moved = {}, {}
    for fused in (None, True):
        layer = nn.Linear(3, 2)
        nn.init.constant_(layer.weight, 0.5)
        optimiser = torch.optim.Adam(layer.parameters(), 1e-2, fused=fused)
        layer(torch.ones(1, 3)).sum().backward()
        optimiser.step()
        state[fused], moved[fused] = optimiser.state_dict(), optimiser
    for own, other in ((None, True), (True, None)):
        restore_optimiser(moved[own], state[other])
        assert [group["fused"] for group in moved[own].param_groups] == [own]
        moved[own].step()


# Kills itself with SIGKILL at every system event of the second of two checkpoints, one child for each.
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from ganeval.training.checkpoints import save_checkpoint

root = Path(sys.argv[1])

def play(folder, moment):
    save_checkpoint(folder, 1, {"x": torch.full((100,), 1.0)})
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.listdir", "os.scandir") and str(folder) in str(arguments[0]):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    save_checkpoint(folder, 2, {"x": torch.full((100,), 2.0)})

for moment in range(1, 100):
    folder = root / f"{moment:02d}"
    folder.mkdir()
    child = os.fork()
    if child == 0:
        play(folder, moment)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0, status
        break
print(moment)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a child of this process with a POSIX signal")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    moments = int(run.stdout)
    assert moments > 6
    steps = []
    for moment in range(1, moments + 1):
        loaded = load_checkpoint(tmp_path / f"{moment:02d}")
        assert loaded is not None
        step, state = loaded
        assert state["x"].tolist() == [float(step)] * 100
        steps.append(step)
    assert steps == sorted(steps)  # the old one until the new one is whole
    assert set(steps) == {1, 2}
