"""Which way is taken, what is remembered of it, and that nothing goes wrong with what is remembered."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import platformdirs
import pytest
import torch

import ganeval.features.tuning as module
from ganeval.features.lanes import Features, Images, Lanes
from ganeval.features.tuning import Tuner, Way, chosen, tuner, ways

SECONDS = {Way(2, 4): 0.9, Way(2, 2): 0.8, Way(2, 8): 0.98, Way(1, 8): 2.0, Way(1, 16): 2.0}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def run(tuner: Tuner, clock: Clock, seconds: dict[Way, float], batches: int, n: int = 16) -> list[Way]:
    taken = []
    for _ in range(batches):
        with tuner.timed(n) as way:
            clock.now += seconds[way]
            taken.append(way)
    return taken


def test_ways_are_timed_twice_unless_far_behind_and_the_fastest_is_taken_and_remembered(
    clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "choice.json"
    first = Tuner(ways(2, 16), 16, file)
    taken = run(first, clock, SECONDS, 11)
    assert taken[0] == Way(2, 4)  # the first batch warms up
    assert {way: taken[1:9].count(way) for way in taken[1:9]} == {way: 2 if SECONDS[way] < 1 else 1 for way in SECONDS}
    assert taken[9:] == [Way(2, 2)] * 2
    assert run(first, clock, SECONDS, 3) == [Way(2, 2)] * 3
    assert json.loads(file.read_text()) == {"lanes": 2, "images": 2}
    assert [path.name for path in file.parent.iterdir()] == ["choice.json"]
    assert run(Tuner(ways(2, 16), 16, file), clock, SECONDS, 3) == [Way(2, 2)] * 3


def test_noise_does_not_move_the_choice(clock: Clock) -> None:
    tuner = Tuner(ways(2, 16), 16)
    run(tuner, clock, {**SECONDS, Way(2, 2): 0.88}, 11)
    assert tuner.way == Way(2, 4)


def test_batches_that_are_not_full_are_not_timed(clock: Clock, tmp_path: Path) -> None:
    tuner = Tuner(ways(2, 16), 16, tmp_path / "choice.json")
    assert set(run(tuner, clock, SECONDS, 40, n=15)) == {Way(2, 4)}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"lanes": 2}', '{"lanes": 64, "images": 2}', '{"lanes": "2", "images": 2}', "\x00"]
)
def test_a_damaged_choice_is_made_anew(text: str, clock: Clock, tmp_path: Path) -> None:
    file = tmp_path / "choice.json"
    file.write_text(text)
    run(Tuner(ways(2, 16), 16, file), clock, SECONDS, 11)
    assert json.loads(file.read_text()) == {"lanes": 2, "images": 2}


def test_where_nothing_can_be_written_it_is_measured_again(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tuner = Tuner(ways(2, 16), 16, tmp_path / "file" / "choice.json")
    run(tuner, clock, SECONDS, 11)
    assert tuner.way == Way(2, 2)


def test_many_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "choice.json"
    together = threading.Barrier(8)

    def one() -> None:
        tuner = Tuner(ways(2, 16), 16, file)
        together.wait()
        for _ in range(11):
            with tuner.timed(16):
                pass

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["choice.json"]
    assert Way(**json.loads(file.read_text())) in ways(2, 16)


def test_machine_threads_and_network_have_choices_of_their_own(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path)
    run(tuner("net", 16, 2), clock, SECONDS, 11)
    assert len(list((tmp_path / "tuning").iterdir())) == 1
    assert tuner("net", 16, 2).way == Way(2, 2)
    assert tuner("other", 16, 2).way == tuner("net", 32, 2).way == Way(2, 4)
    assert tuner("net", 16, 1).way == Way(1, 4)
    monkeypatch.setattr(module, "cpu", lambda: "another")
    assert tuner("net", 16, 2).way == Way(2, 4)


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 16, 17, 200])
@pytest.mark.parametrize("batch", [1, 2, 16, 64])
def test_no_way_has_more_images_than_a_batch_or_more_threads_than_there_are(threads: int, batch: int) -> None:
    for way in (*ways(threads, batch), chosen(threads, batch)):
        assert 1 <= way.lanes <= threads
        assert way.images >= 1
        assert (way.images - 1) * way.lanes < batch
    assert len(set(ways(threads, batch))) == len(ways(threads, batch)) > 0


def test_measuring_computes_every_image_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path)
    before, seen = torch.get_num_threads(), []

    def function(images: Images) -> Features:
        seen.extend(int(image.max()) for image in images)
        return {"tap": torch.stack([image.flatten() for image in images])}

    torch.set_num_threads(2)
    try:
        lanes = Lanes("net", 16, tuned=True)
        for batch in range(15):
            images = torch.arange(16.0 * batch, 16.0 * (batch + 1)).reshape(16, 1, 1, 1)
            assert torch.equal(lanes(function, images)["tap"], images.flatten(1))
    finally:
        torch.set_num_threads(before)
    assert sorted(seen) == list(range(240))
    assert len(list((tmp_path / "tuning").iterdir())) == 1
