"""The part of training that does not know the model: the clock of a game, its log, its pictures, its checkpoints.

A model is a ``Game``: it takes one alternating step, says what it measured, and gives and takes its whole state. All
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.arithmetic import plain_defaults
from ganeval.engine.config import ProgressFactory
from ganeval.errors import ConfigError, InputError, number_of
from ganeval.images.open import open_images
from ganeval.training.checkpoints import load_checkpoint, save_checkpoint
from ganeval.training.hardware import hardware, repeating
from ganeval.training.pictures import Panel, draw_game, save_grid
from ganeval.training.runs import FIGURE, Run

logger = logging.getLogger("ganeval")


class Game(ABC):
    """A generator and its adversary.

    Attributes:
        images_per_step: real images that a step consumes, for the rate in the progress bar.
        panels: what the figure of the game shows.
        caption: what its images are.
    """

    images_per_step: int
    panels: tuple[Panel, ...]
    caption: str = "samples at the end"

    @abstractmethod
    def step(self, step: int, *, measure: bool) -> dict[str, float]:
        """One alternating update, number ``step`` (from 0); the measured values if asked for, else nothing."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the next step depends on: networks, averages, optimisers, pools."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` gave."""

    @abstractmethod
    def grid(self) -> tuple[Tensor, int]:
        """Images to look at, uint8 (N, C, H, W), and how many of them stand in a row."""

    @abstractmethod
    def evaluate(self, *, final: bool) -> dict[str, object]:
        """The metrics of the generator as it is now, in values that JSON can hold; ``final`` at the end of the run."""

    @abstractmethod
    def export(self, folder: Path, history: Mapping[str, object]) -> None:
        """Write what outlives the training; ``history`` has steps, seconds, curve, metrics and hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When what happens, in steps; 0 means never (samples, evaluations)."""

    steps: int
    log_every: int = 20
    sample_every: int = 500
    eval_every: int = 1000
    checkpoint_every: int = 500
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("log_every", 1),
            ("checkpoint_every", 1),
            ("sample_every", 0),
            ("eval_every", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}; got {getattr(self, name)}.")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ConfigError(f"--max-minutes must be above 0; got {self.max_minutes}.")


@plain_defaults()
def play(
    game: Game, run: Run, schedule: Schedule, *, device: torch.device, precision: str = "float32",
    progress: ProgressFactory | None = None,
) -> None:  # fmt: skip
    """Play the game to its end, from the last checkpoint of the run if it has one; then export and draw it.

    The log gets a line ``train`` every ``log_every`` steps and a line ``eval`` at the start, on the schedule and at the
    end. With ``max_minutes`` the end is when that time, from the first step on, is over; the run can be resumed.

    Raises:
        InputError: the checkpoint is damaged or of another architecture, or the game has left the finite numbers.
    """
    with repeating(precision):
        _play(game, run, schedule, hardware(device, precision), progress)


def _play(game: Game, run: Run, schedule: Schedule, where: str, progress: ProgressFactory | None) -> None:
    done, seconds = _restored(game, run)
    started = time.perf_counter() - seconds
    if done == 0:
        _look(game, run, schedule, 0)
    deadline = math.inf if schedule.max_minutes is None else time.perf_counter() + 60 * schedule.max_minutes
    last_checkpoint = done
    bar = progress("training", (schedule.steps - done) * game.images_per_step) if progress else None
    try:
        while done < schedule.steps and time.perf_counter() < deadline:
            measure = (done + 1) % schedule.log_every == 0 or done == 0
            values = game.step(done, measure=measure)
            done += 1
            if measure:
                _require_finite(values, done)
                run.write("train", done, {**values, "seconds": round(time.perf_counter() - started, 3)})
            if done < schedule.steps:
                _look(game, run, schedule, done)
                if done % schedule.checkpoint_every == 0:
                    last_checkpoint = _keep(game, run, done, started)
            if bar is not None:
                bar.update(game.images_per_step)
    finally:
        if bar is not None:
            bar.close()
    if last_checkpoint != done:
        _keep(game, run, done, started)
    _finish(game, run, done, time.perf_counter() - started, where, evaluated=schedule.eval_every > 0)


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
            f"the checkpoint in {run.folder} is of another architecture ({first}). Resume with the settings that the "
            "run was begun with, or start anew with --overwrite."
        ) from error
    run.rewind(step)
    logger.info("%s: going on after step %d", run.folder, step)
    return step, seconds


def _keep(game: Game, run: Run, step: int, started: float) -> int:
    save_checkpoint(run.folder, step, {"game": game.state(), "seconds": time.perf_counter() - started})
    return step


def _look(game: Game, run: Run, schedule: Schedule, step: int) -> None:
    """The pictures and metrics that are due at this step."""
    if schedule.sample_every and step % schedule.sample_every == 0:
        save_grid(run.sample_path(step), *game.grid())
    if schedule.eval_every and step % schedule.eval_every == 0:
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
            f"at step {step} the game has left the finite numbers ({', '.join(bad)}). Resume from the last checkpoint "
            "with --precision float32, or begin with another --seed, loss or learning rate."
        )


# --- randomness ----------------------------------------------------------------------------------------------------


def random_for(seed: int, step: int, purpose: str) -> torch.Generator:
    """The generator on the CPU for one purpose at one step: the same whatever was drawn before."""
    digest = hashlib.blake2b(f"{seed}/{step}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


# --- images --------------------------------------------------------------------------------------------------------


class Batches:
    """Images in memory, drawn in random order, each once an epoch; batch i depends on (seed, i) alone.

    Args:
        images: uint8 (N, C, H, W).
        batch_size: at most N. What is left over at the end of an epoch is left out.
        seed: of order and flips.
        flip: mirror every other image, by chance.
        stream: tells two streams of one seed apart (two domains).
    """

    def __init__(self, images: Tensor, batch_size: int, seed: int, *, flip: bool = False, stream: str = "data") -> None:
        if not 1 <= batch_size <= len(images):
            raise InputError(
                f"a batch has at least 1 and at most all images: got --batch-size {batch_size} for {len(images)} "
                "images. Make it smaller, or give more images."
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
    """uint8 to [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] to uint8, rounded."""
    return images.detach().float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def load_images(
    spec: Any, *, size: int, channels: int = 3, least: int = 2, num: int | None = None, seed: int = 0,
    what: str = "training images", on_error: str = "stop", **options: Any,
) -> Tensor:  # fmt: skip
    """All images of a source, in memory: the largest centred square of each, resized with antialiasing.

    Args:
        spec: whatever ``open_images`` takes.
        size: of the square that comes out, in pixels.
        channels: 3, or 1 for grey (luma, ITU-R 601).
        least: how many there must be.
        num: a seeded subset of this size; for rendered images, how many.
        what: they are called so in errors.
        on_error: ``stop`` at an unreadable file, or ``skip`` it, with a note.
        options: of ``open_images``.

    Returns:
        uint8 (N, channels, size, size).

    Raises:
        InputError: images that cannot be used, or too few.
    """
    source = open_images(spec, num=num, seed=seed, **options)
    source.check(on_error)
    few = f"{what}: needed are at least {least}, {source.spec} has {{}}. Point at a source that holds more images."
    if source.length is not None and source.length < least:
        raise InputError(few.format(source.length))
    batches = []
    for batch in source.batches(256, on_error=on_error):
        images = batch.images
        squares = [_square(images, size)] if isinstance(images, Tensor) else [_square(i[None], size) for i in images]
        batches += [_grey(s) if channels == 1 else s for s in squares]
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


def _grey(images: Tensor) -> Tensor:
    luma = torch.tensor([0.299, 0.587, 0.114])
    return (images.float() * luma[:, None, None]).sum(1, keepdim=True).round_().to(torch.uint8)


def digest_of(images: Tensor) -> str:
    return hashlib.blake2b(images.numpy().tobytes(), digest_size=16).hexdigest()


# --- arithmetic ----------------------------------------------------------------------------------------------------


class Average:
    """Exponential moving average of a network: parameters and running statistics.

    The first steps count less: the decay at step t is at most (1 + t) / (10 + t).

    Attributes:
        module: the average, in evaluation mode.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        require_decay(decay)
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        mine, theirs = _floats(self.module), _floats(module)
        torch._foreach_lerp_(mine, theirs, weight)


def require_decay(decay: float) -> None:
    """Raise ConfigError unless an average can have this decay."""
    if not 0 <= decay < 1:
        raise ConfigError(f"the decay of the average is at least 0 and below 1; got {decay}.")


def _floats(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]
