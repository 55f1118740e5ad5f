"""The part of training that does not depend on the model: the loop, its log, its pictures, its checkpoints.

A model is a ``Game``: it makes one alternating step, returns what it measured, and gives and takes its whole state. All
randomness of step i comes from (seed, i) alone, see ``random_for``: a run that was killed and resumed sees the same
batches and the same latents as one that was not.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.arithmetic import plain_defaults
from ganeval.engine.config import ProgressFactory
from ganeval.errors import InputError, number_of
from ganeval.images.open import open_images
from ganeval.training.checkpoints import load_checkpoint, restore_optimiser, save_checkpoint
from ganeval.training.config import TrainingConfig
from ganeval.training.hardware import adam, hardware, repeating
from ganeval.training.pictures import Panel, draw_game, save_grid
from ganeval.training.runs import FIGURE, Run

logger = logging.getLogger("ganeval")


class Game(ABC):
    """A generator and its adversary.

    Attributes:
        players: names of the attributes that hold the generator's and the discriminator's network.
        average: exponential moving average of the generator.
        optimisers: of each player, by its name.
        images_per_step: real images that a step consumes, for the rate in the progress bar.
        panels: the plots in the figure of the game.
        caption: title of the images in that figure.
    """

    players: tuple[str, str]
    average: Average
    optimisers: dict[str, torch.optim.Adam]
    images_per_step: int
    panels: tuple[Panel, ...]
    caption: str = "samples at the end"

    def prepare(self, device: torch.device, layout: torch.memory_format, *, rate: float, average: float) -> None:
        """Move the players to the device, and make their optimisers and the average."""
        networks = {name: getattr(self, name).to(device).to(memory_format=layout) for name in self.players}
        self.average = Average(networks[self.players[0]], average)
        self.optimisers = {name: adam(network.parameters(), rate, 0.5, device) for name, network in networks.items()}

    def move(self, player: str, cost: Tensor) -> None:
        """Make one step of a player's optimiser."""
        optimiser = self.optimisers[player]
        optimiser.zero_grad(set_to_none=True)
        cost.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    @abstractmethod
    def step(self, step: int, *, measure: bool) -> dict[str, float]:
        """Make one alternating update, number ``step`` (from 0); return the measured values if asked for."""

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on: networks, average, optimisers."""
        return {
            **{name: getattr(self, name).state_dict() for name in self.players},
            "average": self.average.module.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Load what ``state`` returned."""
        for name in self.players:
            getattr(self, name).load_state_dict(state[name])
        self.average.module.load_state_dict(state["average"])
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, state["optimisers"][name])

    @abstractmethod
    def grid(self) -> tuple[Tensor, int]:
        """Images to look at, uint8 (N, C, H, W), and the number of them in a row."""

    @abstractmethod
    def evaluate(self, *, final: bool) -> dict[str, object]:
        """Measure the generator, in values that JSON can hold; ``final`` at the end of the run."""

    @abstractmethod
    def export(self, folder: Path, history: Mapping[str, object]) -> None:
        """Write the trained generators; ``history`` has steps, seconds, curve, metrics and hardware."""


@plain_defaults()
def play(
    game: Game, run: Run, config: TrainingConfig, *, device: torch.device, progress: ProgressFactory | None = None
) -> None:
    """Play the game to its end, from the last checkpoint of the run if it has one; then export and draw it.

    The log gets a line ``train`` every ``log_every`` steps and a line ``eval`` at the start, on the schedule and at the
    end. With ``max_minutes`` the run ends when that time, from the first step on, is over; it can be resumed.

    Raises:
        InputError: the checkpoint is damaged or of another architecture, or a measured value is not finite.
    """
    with closing(run), repeating(config.precision):
        done, seconds = _play(game, run, config, progress)
        _finish(game, run, done, seconds, hardware(device, config.precision), evaluated=config.eval_every > 0)


def _play(game: Game, run: Run, config: TrainingConfig, progress: ProgressFactory | None) -> tuple[int, float]:
    """Make the steps that are left; returns the number of steps and of seconds in all."""
    done, seconds = _restored(game, run)
    started = time.perf_counter() - seconds
    if done == 0:
        _look(game, run, config, 0)
    deadline = math.inf if config.max_minutes is None else time.perf_counter() + 60 * config.max_minutes
    last_checkpoint = done
    bar = progress("training", (config.steps - done) * game.images_per_step) if progress else None
    with nullcontext() if bar is None else closing(bar):
        while done < config.steps and time.perf_counter() < deadline:
            measure = (done + 1) % config.log_every == 0 or done == 0
            values = game.step(done, measure=measure)
            done += 1
            if measure:
                _require_finite(values, done)
                run.write("train", done, {**values, "seconds": round(time.perf_counter() - started, 3)})
            if done < config.steps:
                _look(game, run, config, done)
                if done % config.checkpoint_every == 0:
                    last_checkpoint = _keep(game, run, done, started)
            if bar is not None:
                bar.update(game.images_per_step)
    if last_checkpoint != done:
        _keep(game, run, done, started)
    return done, time.perf_counter() - started


def _restored(game: Game, run: Run) -> tuple[int, float]:
    """(steps done, seconds spent) of the run's last checkpoint; zeros where it has none."""
    checkpoint = load_checkpoint(run.folder)
    if checkpoint is None:
        run.rewind(-1)
        return 0, 0.0
    step, state = checkpoint
    try:
        seconds = float(state["seconds"])
        game.restore(state["game"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        first = " ".join(str(error).split())[:160]
        raise InputError(
            f"The checkpoint in {run.folder} is of another architecture ({first}). Resume with the settings that the "
            "run was started with, or start again with --overwrite."
        ) from error
    run.rewind(step)
    logger.info("%s: resumed after step %d", run.folder, step)
    return step, seconds


def _keep(game: Game, run: Run, step: int, started: float) -> int:
    save_checkpoint(run.folder, step, {"game": game.state(), "seconds": time.perf_counter() - started})
    return step


def _look(game: Game, run: Run, config: TrainingConfig, step: int) -> None:
    """Save the pictures and log the metrics that are due at this step."""
    if config.sample_every and step % config.sample_every == 0:
        save_grid(run.sample_path(step), *game.grid())
    if config.eval_every and step % config.eval_every == 0:
        run.write("eval", step, game.evaluate(final=False))


def _finish(game: Game, run: Run, step: int, seconds: float, where: str, *, evaluated: bool) -> None:
    images, columns = game.grid()
    save_grid(run.sample_path(step), images, columns)
    metrics = game.evaluate(final=True) if evaluated else {}
    run.write("end", step, {**metrics, "seconds": round(seconds, 1)})
    curve = [{k: v for k, v in line.items() if k != "kind"} for line in run.log if line["kind"] == "eval"]
    history = {"steps": step, "seconds": round(seconds, 1), "hardware": where, "curve": curve, "metrics": metrics}
    game.export(run.folder, history)
    draw_game(run.folder / FIGURE, run.log, game.panels, images, columns, game.caption)


def _require_finite(values: Mapping[str, float], step: int) -> None:
    bad = sorted(name for name, value in values.items() if not math.isfinite(value))
    if bad:
        raise InputError(
            f"At step {step} these values are not finite: {', '.join(bad)}. Resume from the last checkpoint with "
            "--precision float32, or start again with another --seed, loss or learning rate."
        )


# --- randomness ----------------------------------------------------------------------------------------------------


def random_for(seed: int, step: int, purpose: str) -> torch.Generator:
    """The random generator, on the CPU, for one purpose at one step; it does not depend on earlier draws."""
    digest = hashlib.blake2b(f"{seed}/{step}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


# --- images --------------------------------------------------------------------------------------------------------


class Batches:
    """Batches of images in memory in random order, each image once an epoch; batch i depends on (seed, i) alone.

    Args:
        images: uint8 (N, C, H, W).
        batch_size: at most N. An incomplete batch at the end of an epoch is left out.
        seed: of order and flips.
        flip: mirror each image with probability 1/2.
        stream: a name that distinguishes two streams of one seed (two domains).
    """

    def __init__(self, images: Tensor, batch_size: int, seed: int, *, flip: bool = False, stream: str = "data") -> None:
        if not 1 <= batch_size <= len(images):
            raise InputError(
                f"--batch-size {batch_size} does not fit {len(images)} images: expected a number from 1 to that of the "
                "images. Choose a smaller one, or give more images."
            )
        self.images, self.batch_size, self.seed, self.flip, self.stream = images, batch_size, seed, flip, stream
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64, device="cpu")

    def draw(self, step: int) -> Tensor:
        """Batch number ``step``: float32 (batch_size, C, H, W) in [-1, 1], on the CPU, channels last."""
        epoch, at = divmod(step, len(self.images) // self.batch_size)
        if epoch != self._epoch:
            order = torch.randperm(len(self.images), generator=random_for(self.seed, epoch, f"{self.stream} order"))
            self._epoch, self._order = epoch, order
        images = self.images[self._order[at * self.batch_size : (at + 1) * self.batch_size]]
        if self.flip:
            chance = random_for(self.seed, step, f"{self.stream} flip")
            mirrored = torch.rand(self.batch_size, generator=chance) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return to_float(images).contiguous(memory_format=torch.channels_last)


def to_float(images: Tensor) -> Tensor:
    """Map uint8 to [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Map [-1, 1] to uint8, rounded."""
    return images.detach().float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def load_images(
    spec: Any,
    *,
    size: int,
    channels: int = 3,
    least: int = 2,
    num: int | None = None,
    seed: int = 0,
    what: str = "training images",
    on_error: str = "stop",
    **options: Any,
) -> Tensor:
    """Load all images of a source: the largest centred square of each, resized with antialiasing.

    Args:
        spec: any source that ``open_images`` takes.
        size: side of the squares, in pixels.
        channels: 3, or 1 for grey (luma, ITU-R 601).
        least: the smallest number of images allowed.
        num: size of a seeded subset; of rendered images, their number.
        what: name of the images in messages.
        on_error: ``stop`` at an unreadable file, or ``skip`` it, with a note.
        options: of ``open_images``.

    Returns:
        uint8 (N, channels, size, size).

    Raises:
        InputError: the images cannot be used, or are too few.
    """
    source = open_images(spec, num=num, seed=seed, **options)
    source.check(on_error)
    few = f"{what}: {source.spec} has {{}}, expected at least {least}. Give a source with more images."
    if source.length is not None and source.length < least:
        raise InputError(few.format(source.length))
    batches = []
    for batch in source.batches(256, on_error=on_error):
        images = batch.images
        squares = [_square(images, size)] if isinstance(images, Tensor) else [_square(i[None], size) for i in images]
        batches += [luma(s.float()).round_().to(torch.uint8) if channels == 1 else s for s in squares]
    if skipped := source.report.skipped:
        files = number_of(len(skipped), "unreadable file is", "unreadable files are")
        logger.info("%s: %s left out, such as %s (%s)", what, files, *skipped[0])
    out = torch.cat(batches) if batches else torch.empty(0)
    if len(out) < least:
        raise InputError(few.format(len(out)))
    return out


def _square(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, :, top : top + side, left : left + side].cpu()
    if side == size:
        return images
    resized = nn.functional.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def luma(images: Tensor) -> Tensor:
    """The luma (N, 1, H, W) of float images (N, 3, H, W), by the weights of ITU-R BT.601, which JPEG has."""
    return (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def digest_of(images: Tensor) -> str:
    return hashlib.blake2b(images.numpy().tobytes(), digest_size=16).hexdigest()


# --- arithmetic ----------------------------------------------------------------------------------------------------


class Average:
    """Exponential moving average of a network: parameters and running statistics.

    The decay at step t is at most (1 + t) / (10 + t), so that the first steps have less weight.

    Attributes:
        module: the average, in evaluation mode.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        mine, theirs = _floats(self.module), _floats(module)
        torch._foreach_lerp_(mine, theirs, weight)


def _floats(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]
