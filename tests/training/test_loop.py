"""What all training shares: batches, averages, images in memory, the clock."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganeval.errors import InputError
from ganeval.training.config import TrainingConfig
from ganeval.training.loop import (
    Average,
    Batches,
    Game,
    load_images,
    play,
    random_for,
    to_float,
    to_uint8,
)
from ganeval.training.pictures import Panel
from ganeval.training.runs import Run, open_run


def numbered(n: int, channels: int = 1) -> Tensor:
    """Image i has the value i in its left column, 255 elsewhere."""
    images = torch.full((n, channels, 4, 4), 255, dtype=torch.uint8)
    images[..., 0] = torch.arange(n, dtype=torch.uint8)[:, None, None]
    return images


def drawn(batches: Batches, steps: range) -> list[list[int]]:
    return [to_uint8(batches.draw(step)).amin(dim=(1, 2, 3)).tolist() for step in steps]


# --- batches -------------------------------------------------------------------------------------------------------


def test_every_image_once_an_epoch() -> None:
    batches = Batches(numbered(10), 5, seed=3)
    first, second = ([i for b in drawn(batches, steps) for i in b] for steps in (range(2), range(2, 4)))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_batch_depends_on_seed_and_step_alone() -> None:
    in_order = drawn(Batches(numbered(11), 3, seed=1, flip=True), range(9))
    jumping = Batches(numbered(11), 3, seed=1, flip=True)
    assert [drawn(jumping, range(i, i + 1))[0] for i in (8, 0, 4)] == [in_order[i] for i in (8, 0, 4)]
    assert drawn(Batches(numbered(11), 3, seed=2), range(9)) != in_order
    assert drawn(Batches(numbered(11), 3, seed=1, stream="b"), range(9)) != in_order


def test_half_of_the_images_are_mirrored() -> None:
    batches = Batches(numbered(200), 200, seed=0, flip=True)
    images = to_uint8(batches.draw(0))
    mirrored = (images[:, 0, 0, 3] != 255) & (images[:, 0, 0, 0] == 255)
    assert 70 <= int(mirrored.sum()) <= 130
    plain = to_uint8(Batches(numbered(200), 200, seed=0).draw(0))
    assert (plain[:, 0, :, 1:] == 255).all()
    assert torch.equal(torch.where(mirrored[:, None, None, None], images.flip(3), images), plain)


def test_pixels_keep_their_values() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    values = to_float(every)
    assert (values.min(), values.max()) == (-1, 1)
    assert torch.equal(to_uint8(values), every)
    assert to_uint8(torch.tensor([-2.0, 2.0])).tolist() == [0, 255]


@pytest.mark.parametrize("batch_size", [0, 11])
def test_batch_size_iv(batch_size: int) -> None:
    with pytest.raises(InputError, match=f"--batch-size {batch_size} does not fit 10 images"):
        Batches(numbered(10), batch_size, seed=0)


def test_random_for() -> None:
    def draw(*key: Any) -> list[float]:
        return torch.randn(4, generator=random_for(*key)).tolist()

    assert draw(1, 2, "z") == draw(1, 2, "z")
    assert len({tuple(draw(*key)) for key in ((1, 2, "z"), (2, 1, "z"), (1, 2, "x"), (1, 3, "z"), (12, 2, "z"))}) == 5
    state = torch.get_rng_state()
    draw(1, 2, "z")
    assert torch.equal(torch.get_rng_state(), state)


# --- images --------------------------------------------------------------------------------------------------------


def write(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def test_images_are_cropped_and_resized(tmp_path: Path) -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 200  # the centred square
    write(tmp_path / "a.png", wide)
    write(tmp_path / "b.png", np.full((64, 32, 3), 7, np.uint8))
    write(tmp_path / "c.png", np.full((32, 32, 3), 9, np.uint8))
    images = load_images(tmp_path, size=32)
    assert images.shape == (3, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert [image.unique().tolist() for image in images] == [[200], [7], [9]]


def test_grey_against_pil(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    write(tmp_path / "a.png", pixels)
    write(tmp_path / "b.png", pixels[::-1].copy())
    ours = load_images(tmp_path, size=8, channels=1)[0, 0].numpy().astype(int)
    assert np.abs(ours - np.asarray(Image.fromarray(pixels).convert("L"), int)).max() <= 1


def test_unreadable_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"c\.png.*--on-error skip"):
        load_images(tmp_path, size=8)
    caplog.set_level("INFO", logger="ganeval")
    assert len(load_images(tmp_path, size=8, on_error="skip")) == 2
    assert "training images: 1 unreadable file is left out, such as c.png" in caplog.text


def test_too_few_images_iv(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"domain a: .* has 1, expected at least 2"):
        load_images(tmp_path, size=8, what="domain a")


# --- arithmetic ----------------------------------------------------------------------------------------------------


def test_average_against_theory() -> None:
    """The recursion a <- d a + (1 - d) w, with the decay that grows in the first steps; running statistics likewise."""
    network = nn.BatchNorm2d(1)
    average = Average(network, 0.9)
    expected = 0.0
    for step, value in enumerate([1.0, -2.0, 5.0] * 40):
        with torch.no_grad():
            network.bias.fill_(value)
            network.running_mean.fill_(2 * value)  # type: ignore[union-attr]
        average.update(network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.module.bias.item() == pytest.approx(expected, rel=1e-5)  # type: ignore[operator, union-attr]
    assert average.module.running_mean.item() == pytest.approx(2 * expected, rel=1e-5)  # type: ignore[operator, union-attr]
    assert not average.module.training
    assert network.training


# --- the clock -----------------------------------------------------------------------------------------------------


class Counting(Game):
    """Counts, and notes what it was asked for."""

    images_per_step = 4
    panels = (Panel("count", {"count": "count"}),)

    def __init__(self) -> None:
        self.count = torch.zeros((), dtype=torch.int64)
        self.asked: list[tuple[str, int]] = []
        self.history: Mapping[str, object] = {}
        self.breaks_at = -1
        self.value = 0.0

    def step(self, step: int, *, measure: bool) -> dict[str, float]:
        assert step == self.count
        if step == self.breaks_at:
            raise KeyboardInterrupt
        self.count += 1
        return {"count": float(self.count) + self.value} if measure else {}

    def state(self) -> dict[str, Any]:
        return {"count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        self.count = state["count"]

    def grid(self) -> tuple[Tensor, int]:
        self.asked.append(("grid", int(self.count)))
        return numbered(4), 2

    def evaluate(self, *, final: bool) -> dict[str, object]:
        self.asked.append(("final" if final else "eval", int(self.count)))
        return {"fd": float(self.count)}

    def export(self, folder: Path, history: Mapping[str, object]) -> None:
        self.history = history


def start(folder: Path, game: Game, *, resume: bool = False, **schedule: Any) -> Run:
    run = open_run(folder, {"model": "counting", "architecture": {}}, resume=resume)
    schedule = {"steps": 10, "log_every": 3, "sample_every": 5, "eval_every": 4, "checkpoint_every": 2, **schedule}
    play(game, run, TrainingConfig(**schedule), device=torch.device("cpu"))
    return run


def untimed(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in run.log]


def test_the_clock(tmp_path: Path) -> None:
    game = Counting()
    run = start(tmp_path, game)
    assert game.asked == [("grid", 0), ("eval", 0), ("eval", 4), ("grid", 5), ("eval", 8), ("grid", 10), ("final", 10)]
    assert [(line["kind"], line["step"]) for line in run.log] == [
        ("eval", 0), ("train", 1), ("train", 3), ("eval", 4), ("train", 6), ("eval", 8), ("train", 9), ("end", 10)
    ]  # fmt: skip
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == run.log
    assert game.history["steps"] == 10
    assert game.history["curve"] == [{"step": s, "fd": float(s)} for s in (0, 4, 8)]
    assert game.history["metrics"] == {"fd": 10.0}
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [f"{i:08d}.png" for i in (0, 5, 10)]
    with Image.open(tmp_path / "samples" / "00000000.png") as picture:
        assert picture.size == (10, 10)


@pytest.mark.parametrize("breaks_at", [1, 4, 5, 9])
def test_resumed_log_equals_uninterrupted(tmp_path: Path, breaks_at: int) -> None:
    whole = start(tmp_path / "whole", Counting())
    game = Counting()
    game.breaks_at = breaks_at
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "broken", game)
    again = Counting()
    resumed = start(tmp_path / "broken", again, resume=True)
    assert untimed(resumed) == untimed(whole)
    assert again.count == 10


def test_more_steps_and_nothing_left_to_do(tmp_path: Path) -> None:
    start(tmp_path, Counting(), steps=4)
    game = Counting()
    start(tmp_path, game, resume=True, steps=6)
    assert game.count == 6
    run = start(tmp_path, Counting(), resume=True, steps=6)
    assert [line["kind"] for line in run.log].count("end") == 1


def test_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that says one second more whenever it is looked at."""
    clock = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    game = Counting()
    run = start(
        tmp_path, game, steps=10**9, max_minutes=0.5, checkpoint_every=10**9, sample_every=0, eval_every=0,
        log_every=10**9,
    )  # fmt: skip
    assert game.count == 28  # a look for the deadline, one for the first line of the log, one before each step
    assert run.log[-1]["step"] == game.count == game.history["steps"]
    again = Counting()
    start(tmp_path, again, resume=True, steps=int(game.count) + 2)
    assert again.count == game.count + 2


def test_left_the_finite_numbers_iv(tmp_path: Path) -> None:
    game = Counting()
    game.value = math.nan
    with pytest.raises(InputError, match=r"At step 1 these values are not finite: count"):
        start(tmp_path, game)


def test_progress_is_told(tmp_path: Path) -> None:
    seen: list[object] = []

    class Bar:
        def update(self, n: int) -> None:
            seen.append(n)

        def close(self) -> None:
            seen.append("closed")

    def progress(what: str, total: int | None) -> Bar:
        seen.append((what, total))
        return Bar()

    run = open_run(tmp_path, {"model": "counting", "architecture": {}})
    play(Counting(), run, TrainingConfig(steps=2, eval_every=0), device=torch.device("cpu"), progress=progress)
    assert seen == [("training", 8), 4, 4, "closed"]
