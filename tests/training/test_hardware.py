"""What a game asks of its device: the host waits for nothing but the values of the log, and float32 is float32."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from support.dispatch import Dispatched
from support.waits import never_waiting
from torch import Tensor, nn

from ganeval.errors import ConfigError
from ganeval.training.config import CycleGANConfig, DCGANConfig
from ganeval.training.cycle_game import CycleGame
from ganeval.training.dcgan import DCGANGame
from ganeval.training.hardware import adam, autocast, gradient_norm, read, repeating, require_precision, send
from ganeval.training.loop import Batches, Game

CPU, META, CUDA = map(torch.device, ("cpu", "meta", "cuda"))


def images(n: int, size: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def dcgan(device: torch.device) -> Game:
    judge: Any = None  # nothing is evaluated
    config = DCGANConfig(latent_dim=5, width=2, batch_size=4)
    return DCGANGame(images(8, 32), config, device=device, judge=judge, about={})


def cyclegan(device: torch.device) -> Game:
    class Unused:
        pairs = None

    unused: Any = (Unused(), Unused())
    return CycleGame(
        (Batches(images(8, 16), 1, 0, stream="a"), Batches(images(8, 16), 1, 0, stream="b")),
        CycleGANConfig(width=2, blocks=1, discriminator_width=2, patch=16, cycle_noise=0.1, steps=10),
        yardsticks=unused,
        device=device,
        card={},
    )


GAMES = pytest.mark.parametrize("made", [dcgan, cyclegan], ids=lambda f: f.__name__)


# --- what crosses --------------------------------------------------------------------------------------------------


@GAMES
def test_a_step_that_is_not_logged_reads_nothing(made: Any) -> None:
    """A tensor on ``meta`` has no values: to read one raises. A CUDA device would be waited for."""
    play = made(META)
    for step in range(5):
        assert play.step(step, measure=False) == {}
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        play.step(5, measure=True)


@GAMES
def test_a_step_that_is_logged_waits_once(made: Any) -> None:
    """Values of the device come as one tensor. A step reads the counters of Adam, too, which are on the host."""
    play, read_one_by_one = made(CPU), []
    play.step(0, measure=False)
    for measure in (False, True):
        with Dispatched() as seen:
            play.step(1, measure=measure)
        read_one_by_one.append(seen.count("_local_scalar_dense"))
    assert read_one_by_one[0] == read_one_by_one[1]


@GAMES
def test_what_goes_to_cuda_is_page_locked_and_not_waited_for(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU stands for CUDA: transfers are asked for as they would be there."""
    play, locked, crossed = made(CPU), [], []
    to = Tensor.to

    def pinned(tensor: Tensor) -> Tensor:
        locked.append(tensor.shape)
        return tensor

    def sent(tensor: Tensor, *where: Any, non_blocking: bool = False, **options: Any) -> Tensor:
        if CUDA not in where:
            return to(tensor, *where, non_blocking=non_blocking, **options)
        crossed.append((tensor.shape, non_blocking))
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pinned)
    monkeypatch.setattr(Tensor, "to", sent)
    play.device = CUDA
    play.step(0, measure=False)
    assert crossed == [(shape, True) for shape in locked]
    assert len(crossed) == (2 if made is dcgan else 4)  # images and latents; images of two domains and their noise


def test_send_and_read() -> None:
    x = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert send(x, CPU) is x
    assert send(x, META).device == META
    values = {"a": torch.tensor(1 / 3, requires_grad=True), "b": torch.tensor(2.5)}
    assert read(values) == {"a": values["a"].item(), "b": 2.5}


@pytest.mark.gpu
@GAMES
def test_no_step_is_waited_for(made: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    play = made(torch.device("cuda", 0))
    play.step(0, measure=False)
    with never_waiting():
        play.step(1, measure=False)


def test_the_watch_for_waits_is_no_failure_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch warns of it, once in a process, and warnings are errors in these tests."""
    modes: list[object] = []

    def setter(mode: object) -> None:
        warnings.warn("Synchronization debug mode is a prototype feature", UserWarning, stacklevel=2)
        modes.append(mode)

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", setter)
    with never_waiting():
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    assert modes == ["error", 0]


# --- optimisers ----------------------------------------------------------------------------------------------------


def test_adam_moves_in_one_kernel_on_cuda_alone() -> None:
    layer = nn.Linear(2, 1)
    assert adam(layer.parameters(), 2e-4, 0.5, CUDA).defaults["fused"] is True
    here = adam(layer.parameters(), 2e-4, 0.5, CPU).defaults
    assert here == torch.optim.Adam(layer.parameters(), 2e-4, betas=(0.5, 0.999)).defaults


def test_gradient_norm_against_theory() -> None:
    layer = nn.Linear(2, 1)
    assert gradient_norm(layer) == 0
    layer.weight.grad, layer.bias.grad = torch.tensor([[3.0, 4.0]]), torch.tensor([12.0])
    assert gradient_norm(layer).item() == pytest.approx(13)


# --- arithmetic ----------------------------------------------------------------------------------------------------


def test_autocast_reaches_the_network() -> None:
    seen = []
    layer = nn.Conv2d(1, 1, 1)
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    for precision in ("float32", "bf16"):
        with autocast(CPU, precision):
            layer(torch.zeros(1, 1, 2, 2))
    assert seen == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_tf32_is_on_only_where_it_was_asked_for(precision: str) -> None:
    """PyTorch's default for convolutions on CUDA is TF32."""

    def settings() -> tuple[object, ...]:
        cudnn = torch.backends.cudnn
        return cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision()

    before = settings()
    with repeating(precision):
        assert settings() == (True, False, precision == "tf32", "high" if precision == "tf32" else "highest")
    assert settings() == before


def test_tf32_iv() -> None:
    require_precision("tf32", CUDA)
    with pytest.raises(ConfigError, match="--precision tf32 is not supported on cpu: only CUDA has it"):
        require_precision("tf32", CPU)
