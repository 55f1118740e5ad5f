"""A run with the cache, cold, warm or half warm, gives what a run without it gives, and does not do the work twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import ranks
from torch.overrides import TorchFunctionMode

from ganeval import Evaluator, open_images
from ganeval import protocol as protocols
from ganeval.api import build_statistics, evaluate
from ganeval.engine import loop as collect
from ganeval.engine import recall as reuse
from ganeval.engine import recall_blocks as blocks
from ganeval.engine.device_sink import DeviceMoments
from ganeval.errors import InputError
from ganeval.features.cache import FeatureCache
from ganeval.features.custom import CustomNetwork
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.registry import COMPACT_FILE
from ganeval.images import indexed, loading, types
from ganeval.images.decode import UnreadableImage
from ganeval.images.folder import FolderImages
from ganeval.images.types import ImageBatch
from ganeval.results import Evaluation
from ganeval.statistics.reference import save_statistics

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")
ON: dict[str, Any] = {"protocol": "compact", "device": "cpu", "batch_size": 4}
BLOCK = 16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "_BLOCK", BLOCK)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for side, n, seed in (("real", 70, 1), ("fake", 53, 2)):
        source = open_images(f"dataset:shapes-plain@{seed}", num_samples=n)
        images = np.concatenate([np.asarray(batch.images) for batch in source.batches(100)]).transpose(0, 2, 3, 1)
        for i, image in enumerate(images):
            (folder / side / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            one = Image.fromarray(image)
            (one.convert("L") if i == 3 else one).save(folder / side / "ab"[i % 2] / f"{i:02}.png")
    return folder


@pytest.fixture
def sets(originals: Path, tmp_path: Path) -> Path:
    return shutil.copytree(originals, tmp_path / "sets")


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Images that were decoded, and that went through a network."""
    counts: Counter[str] = Counter()
    load, call = loading.load_chunk, FeatureExtractor.__call__

    def load_chunk(images: object, indices: list[int], *rest: object, **options: object) -> object:
        counts["decoded"] += len(indices)
        return load(images, indices, *rest, **options)  # type: ignore[arg-type]

    def through(self: FeatureExtractor, batch: ImageBatch) -> object:
        counts[self.protocol.extractor] += len(batch.names)
        return call(self, batch)

    monkeypatch.setattr(indexed, "load_chunk", load_chunk)
    monkeypatch.setattr(FeatureExtractor, "__call__", through)
    return counts


def told(run: Evaluation) -> tuple[str, dict[str, bytes]]:
    """Everything but where and how long, to the last bit."""
    document = run.to_dict()
    del document["environment"], document["elapsed_seconds"]
    arrays = {f"{n}:{what}": np.asarray(a).tobytes() for n, r in run.results.items() for what, a in r.per_image.items()}
    arrays |= {name: array.tobytes() for name, array in run.per_image.items()}
    return json.dumps(document), arrays


def entries(cache: FeatureCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*.features") if not path.name.startswith("."))


def damage(sets: Path, *places: int) -> None:
    """Pictures of which only the decoder finds out that they are damaged."""
    files = sorted((sets / "real").rglob("*.png"))
    for place in places:
        data = bytearray(files[place].read_bytes())
        data[len(data) // 2] ^= 0xFF
        files[place].write_bytes(bytes(data))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metrics": ("fid", "kid", "is", "precision", "recall", "vendi", "ind"), "single_images": True},
        {"num_real": 33, "num_fake": 21, "seed": 5},
        pytest.param({"batch_size": 7}, marks=pytest.mark.nightly),
        pytest.param({"batch_size": 100}, marks=pytest.mark.nightly),
        {"workers": 2},
        {"metrics": ("fid",), "per_class": True},
    ],
    ids=lambda o: "-".join(o) or "plain",
)
def test_off_cold_and_warm_are_equal_to_the_bit(
    sets: Path, cache: FeatureCache, counted: Counter[str], options: dict[str, Any]
) -> None:
    on = {**ON, **options}
    off = evaluate(sets / "real", sets / "fake", cache=False, **on)
    assert counted["compact-v1"] > 0
    work = Counter(counted)
    cold = evaluate(sets / "real", sets / "fake", cache=cache, **on)
    assert counted == work + work or on.get("workers")  # what processes decode is not counted here
    counted.clear()
    warm = evaluate(sets / "real", sets / "fake", cache=cache, **on)
    assert not +counted
    assert told(off) == told(cold) == told(warm)
    n = {side: document["n"] for side, document in (("real", warm.real), ("fake", warm.fake))}
    assert cold.environment["recalled"] == {"real": 0, "fake": 0}
    assert warm.environment["recalled"] == n
    assert "recalled" not in off.environment


@pytest.mark.parametrize(
    ("damaged", "again"), [((5, 6, 31, 69), 16 + 16 + 6), (tuple(range(16, 32)), 16)], ids=["some", "all"]
)
def test_block_with_an_unreadable_file_is_computed_again(
    sets: Path, cache: FeatureCache, counted: Counter[str], damaged: tuple[int, ...], again: int
) -> None:
    damage(sets, *damaged)
    on = {**ON, "on_error": "skip"}
    off = evaluate(sets / "real", sets / "fake", cache=False, **on)
    assert told(evaluate(sets / "real", sets / "fake", cache=cache, **on)) == told(off)
    counted.clear()
    warm = evaluate(sets / "real", sets / "fake", cache=cache, **on)
    assert counted["decoded"] == again
    assert counted["compact-v1"] == again - len(damaged)
    assert warm.environment["recalled"] == {"real": 70 - again, "fake": 53}
    assert warm["fid"].value == pytest.approx(off["fid"].value, rel=1e-6)
    assert warm.real == off.real
    assert warm.warnings == off.warnings


def test_failure_that_passes_is_not_remembered(sets: Path, cache: FeatureCache) -> None:
    load = FolderImages.load

    def out_of_files(self: FolderImages, index: int) -> Any:
        if index == 20:
            raise UnreadableImage("the file cannot be read (Too many open files)")
        return load(self, index)

    on = {**ON, "on_error": "skip"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderImages, "load", out_of_files)
        assert evaluate(sets / "real", sets / "fake", cache=cache, **on)["fid"].n_real == 69
    run = evaluate(sets / "real", sets / "fake", cache=cache, **on)
    assert run["fid"].n_real == 70
    assert run["fid"].value == pytest.approx(evaluate(sets / "real", sets / "fake", cache=False, **on)["fid"].value)


def test_whatever_the_cache_raises_is_no_failure(
    sets: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(FeatureCache, "put", broken)
    with caplog.at_level("INFO", "ganeval"):
        run = evaluate(sets / "real", sets / "fake", cache=cache, **ON)
    assert caplog.text.count("failed (ValueError: nobody foresaw this)") == 1
    assert told(run) == told(evaluate(sets / "real", sets / "fake", cache=False, **ON))


def test_interrupt_waits_for_no_hash_but_writes_what_is_complete(
    sets: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_statistics(sets / "fake", cache=cache, **ON)  # so that there may be something to find
    monkeypatch.setattr(blocks, "AHEAD", 1)
    before = len(entries(cache))
    pressed, marked, fingerprint, call = threading.Event(), [0], FolderImages.fingerprint, FeatureExtractor.__call__

    def slow(self: FolderImages, index: int) -> bytes | None:
        marked[0] = max(marked[0], index)
        if index >= 2 * BLOCK:
            pressed.wait(60)
            time.sleep(0.05)
        return fingerprint(self, index)

    seen = [0]

    def interrupted(self: FeatureExtractor, batch: ImageBatch) -> object:
        seen[0] += len(batch.names)
        if seen[0] > BLOCK:
            pressed.set()
            raise KeyboardInterrupt
        return call(self, batch)

    monkeypatch.setattr(FolderImages, "fingerprint", slow)
    monkeypatch.setattr(FeatureExtractor, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_statistics(sets / "real", cache=cache, **ON)
    assert len(entries(cache)) == before + 1
    assert marked[0] < 3 * BLOCK - 1  # hashes up to there had been asked for


@pytest.mark.nightly
def test_two_networks_to_the_bit(
    sets: Path, cache: FeatureCache, counted: Counter[str], monkeypatch: pytest.MonkeyPatch, surrogate_weights: Path
) -> None:
    """KID on Inception behind Pillow's resize, the rest on the compact network, from one decode."""
    monkeypatch.setattr(protocols, "ROUTES", {"compact": {"kid": "clean"}})
    on = {**ON, "weights": {"inception": surrogate_weights}, "num_real": 9, "num_fake": 9}
    names = ("fid", "kid", "is")
    off = evaluate(sets / "real", sets / "fake", metrics=names, cache=False, **on)
    cold = evaluate(sets / "real", sets / "fake", metrics=names, cache=cache, **on)
    counted.clear()
    warm = evaluate(sets / "real", sets / "fake", metrics=names, cache=cache, **on)
    assert not +counted
    assert told(off) == told(cold) == told(warm)
    # what one network knows serves a run on that network alone
    alone = evaluate(sets / "real", sets / "fake", metrics=("fid",), cache=cache, **{**on, "weights": None})
    assert not +counted
    assert alone["fid"].value == off["fid"].value
    # and Inception's features serve another protocol of the same preparation, but none of another resize
    kid = {k: v for k, v in on.items() if k not in ("protocol", "weights")} | {"weights": surrogate_weights}
    evaluate(sets / "real", sets / "fake", metrics=("kid",), protocol="clean", cache=cache, **kid)
    assert not +counted
    evaluate(sets / "real", sets / "fake", metrics=("kid",), protocol="ttur", cache=cache, **kid)
    assert counted["inception-2015-12-05"] == 18


def test_changed_file_costs_its_block(sets: Path, cache: FeatureCache, counted: Counter[str]) -> None:
    evaluate(sets / "real", sets / "fake", cache=cache, **ON)
    files = sorted((sets / "real").rglob("*.png"))
    status = files[20].stat()
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(files[20])
    os.utime(files[20], ns=(status.st_atime_ns, status.st_mtime_ns))  # dates are not trusted
    counted.clear()
    warm = evaluate(sets / "real", sets / "fake", cache=cache, **ON)
    assert counted == {"decoded": BLOCK, "compact-v1": BLOCK}
    assert warm.environment["recalled"] == {"real": 70 - BLOCK, "fake": 53}
    assert told(warm) == told(evaluate(sets / "real", sets / "fake", cache=False, **ON))


@pytest.mark.parametrize("looked", [False, True])
def test_file_that_changes_while_it_is_read(
    sets: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    """Features of what came after never stand for what was hashed before, where files are hashed to find something."""
    if looked:
        build_statistics(sets / "fake", cache=cache, **{**ON, "batch_size": BLOCK})
    known = len(entries(cache))
    file = sorted((sets / "real").rglob("*.png"))[20]
    before, load = file.read_bytes(), loading.load_chunk

    def rewriting(images: Any, indices: list[int], *rest: Any, **options: Any) -> object:
        if 20 in indices and images.kind == "folder" and images.root == sets / "real":
            deadline = time.monotonic() + 60
            while len(entries(cache)) == known and time.monotonic() < deadline:  # then the second block is hashed too
                time.sleep(0.01)
            Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(file)
        return load(images, indices, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(indexed, "load_chunk", rewriting)
        changed = build_statistics(sets / "real", cache=cache, **{**ON, "batch_size": BLOCK})
    file.write_bytes(before)
    off = build_statistics(sets / "real", cache=False, **{**ON, "batch_size": BLOCK})
    again = build_statistics(sets / "real", cache=cache, **{**ON, "batch_size": BLOCK})
    assert not np.array_equal(changed.mean, off.mean)
    assert np.array_equal(again.mean, off.mean)
    assert np.array_equal(again.covariance, off.covariance)


@pytest.mark.parametrize("looked", [False, True])
def test_each_file_is_hashed_once(
    sets: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    """Without anything to find, files are read once too: what was decoded is hashed."""
    if looked:
        build_statistics(sets / "fake", cache=cache, **ON)
    counts: Counter[str] = Counter()
    read, fingerprint = FolderImages.read, types._fingerprint
    monkeypatch.setattr(FolderImages, "read", lambda self, i: counts.update(read=1) or read(self, i))
    monkeypatch.setattr(types, "_fingerprint", lambda data: counts.update(hashed=1) or fingerprint(data))
    build_statistics(sets / "real", cache=cache, **ON)
    assert counts == {"read": 140 if looked else 70, "hashed": 70}
    counts.clear()
    build_statistics(sets / "real", cache=cache, **ON)
    assert counts == {"read": 70, "hashed": 70}


class Calls(TorchFunctionMode):
    """What the thread that enters it asks of torch, by name: operations, copies, and what would wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[getattr(function, "__name__", str(function))] += 1
        return function(*args, **(kwargs or {}))


def test_the_cache_asks_nothing_of_a_device(
    sets: Path, cache: FeatureCache, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows cross once, for the metrics; the CPU stands for an accelerator."""
    monkeypatch.setattr(collect, "_is_asynchronous", lambda device: True)

    def calls(cache: FeatureCache | bool) -> tuple[Counter[str], Any]:
        with Calls() as mode:
            made = build_statistics(sets / "real", rows=True, cache=cache, **ON)
        return mode.counts, made

    calls(False)  # what is done once a process
    (without, off), (with_it, cold) = calls(False), calls(cache)
    assert with_it == without
    assert with_it["copy_"] > 0
    counted.clear()
    monkeypatch.setattr(DeviceMoments, "update", lambda *_: pytest.fail("recalled rows went to the device"))
    _, warm = calls(cache)
    assert not +counted
    assert np.array_equal(cold.rows, off.rows)
    assert np.array_equal(warm.rows, off.rows)
    assert warm.covariance == pytest.approx(off.covariance, rel=1e-10, abs=1e-12)
    assert warm.mean == pytest.approx(off.mean, rel=1e-12)


def test_blocks_that_are_known_far_behind_unknown_ones(sets: Path, cache: FeatureCache, counted: Counter[str]) -> None:
    """Further than is looked ahead: decoding is called off when they come, and no network runs for them."""
    real = open_images(sets / "real")
    evaluate(real, sets / "fake", cache=cache, **{**ON, "batch_size": 2})
    gone = entries(cache)
    known = FeatureCache(cache.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "AHEAD", 1)
        newest = max(gone, key=lambda path: path.stat().st_mtime_ns)
        for path in gone:
            if path != newest and "-16" in path.name:  # all but the last blocks, which are smaller
                path.unlink()
        counted.clear()
        half = evaluate(sets / "real", sets / "fake", cache=known, **{**ON, "batch_size": 2})
    assert half.environment["recalled"] == {"real": 70 % BLOCK, "fake": 53 % BLOCK}
    assert counted["compact-v1"] == 70 + 53 - 70 % BLOCK - 53 % BLOCK
    assert told(half) == told(evaluate(sets / "real", sets / "fake", cache=False, **{**ON, "batch_size": 2}))


def test_renamed_and_packed_files_are_the_same_files(sets: Path, cache: FeatureCache, counted: Counter[str]) -> None:
    first = evaluate(sets / "real", sets / "fake", cache=cache, **ON)
    for path in sorted((sets / "real").rglob("*.png")):
        path.rename(path.with_name(f"x{path.name}"))
    with tarfile.open(sets / "fake.tar", "w") as archive:
        archive.add(sets / "fake", arcname=".")
    shutil.make_archive(str(sets / "fake"), "zip", sets / "fake")
    counted.clear()
    for fake in ("fake.tar", "fake.zip", "fak{e,e}.zip"):
        again = evaluate(sets / "real", sets / fake, cache=cache, **ON)
        if "{" not in fake:
            assert again["fid"].value == first["fid"].value
            assert not +counted
    assert counted["compact-v1"] > 0  # two archives in a row are cut into other blocks


@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_arrays_in_files(tmp_path: Path, cache: FeatureCache, counted: Counter[str], kind: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.random((n, 12, 12, 3)).astype(np.float32) for n in (70, 40)]
    paths = []
    for name, array in zip("ab", arrays, strict=True):
        paths.append(tmp_path / f"{name}.{'npy' if kind == 'npy' else 'npz'}")
        {"npy": np.save, "npz": np.savez, "compressed": np.savez_compressed}[kind](paths[-1], array)
    on = {**ON, "value_range": (0, 1)}
    off = evaluate(*paths, cache=False, **on)
    cold = evaluate(*paths, cache=cache, **on)
    counted.clear()
    warm = evaluate(*paths, cache=cache, **on)
    assert not +counted
    assert told(off) == told(cold) == told(warm)
    other = evaluate(*paths, cache=cache, **{**on, "value_range": (-1, 1)})  # other pixels of the same numbers
    assert counted["compact-v1"] == 110
    assert other["fid"].value != warm["fid"].value


def test_other_weights_are_another_network(
    sets: Path, cache: FeatureCache, counted: Counter[str], tmp_path: Path
) -> None:
    evaluate(sets / "real", sets / "fake", cache=cache, **ON)
    state = load_file(COMPACT_FILE)
    name = next(name for name in state if name.endswith("conv1.weight"))
    state[name] = state[name] * 1.01
    save_file(state, tmp_path / "other.safetensors")
    counted.clear()
    other = {**ON, "weights": tmp_path / "other.safetensors"}
    found = evaluate(sets / "real", sets / "fake", cache=cache, **other)
    assert counted["compact-v1"] == 123
    assert told(found) == told(evaluate(sets / "real", sets / "fake", cache=False, **other))


@pytest.mark.nightly
def test_another_precision_is_another_protocol(sets: Path, cache: FeatureCache, counted: Counter[str]) -> None:
    plain = evaluate(sets / "real", sets / "fake", cache=cache, **ON)
    counted.clear()
    half = {**ON, "precision": "bf16"}
    cold = evaluate(sets / "real", sets / "fake", cache=cache, **half)
    assert counted["compact-v1"] == 123
    counted.clear()
    warm = evaluate(sets / "real", sets / "fake", cache=cache, **half)
    assert not +counted
    assert warm["fid"].value == cold["fid"].value != plain["fid"].value
    evaluate(sets / "real", sets / "fake", cache=cache, **{**half, "batch_size": 8})  # of other batches
    assert counted["compact-v1"] == 123


def test_what_is_never_kept(sets: Path, cache: FeatureCache) -> None:
    """Arrays, rendered images, generators, iterables, and networks that are code of the user's."""
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
    on = {**ON, "cache": cache}
    evaluate(array, torch.from_numpy(array), **on)
    evaluate("dataset:shapes", lambda z: z.reshape(-1, 3, 2, 2).clamp(-1, 1), num_samples=20, latent_dim=12,
             value_range=(-1, 1), **on)  # fmt: skip
    evaluate(list(array), list(array[:10]), **on)
    for network in (torch.nn.Flatten(), lambda x: x.flatten(1)):
        own = CustomNetwork(network=network, size=2, resize="tf1-bilinear", scale="x/255")
        evaluate(sets / "real", sets / "fake", **{**on, "protocol": own})
    assert not entries(cache)


def test_network_of_the_users_in_a_file(sets: Path, cache: FeatureCache, counted: Counter[str], tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Flatten(), torch.zeros(2, 3, 2, 2)).save(str(tmp_path / "own.pt"))
    own = CustomNetwork(network=tmp_path / "own.pt", size=2, resize="tf1-bilinear", scale="x/255")
    first = evaluate(sets / "real", sets / "fake", cache=cache, **{**ON, "protocol": own})
    counted.clear()
    assert told(evaluate(sets / "real", sets / "fake", cache=cache, **{**ON, "protocol": own})) == told(first)
    assert not +counted


def test_stopping_at_what_was_skipped_before(sets: Path, cache: FeatureCache) -> None:
    """The rest is recalled, and a run that stops at a damaged file still does."""
    damage(sets, 20)
    evaluate(sets / "real", sets / "fake", on_error="skip", cache=cache, **ON)
    with pytest.raises(InputError) as plain:
        evaluate(sets / "real", sets / "fake", cache=False, **ON)
    with pytest.raises(InputError) as warm:
        evaluate(sets / "real", sets / "fake", cache=cache, **ON)
    assert str(warm.value) == str(plain.value)


def test_half_known_set_with_skipped_files(sets: Path, cache: FeatureCache, counted: Counter[str]) -> None:
    """The one case in which batches differ: equal but for float noise, and the same images."""
    damage(sets, 5, 40)
    on = {**ON, "on_error": "skip"}
    off = evaluate(sets / "real", sets / "fake", cache=False, **on)
    evaluate(sets / "real", sets / "fake", cache=cache, **on)
    for path in entries(cache)[::2]:
        path.unlink()
    counted.clear()
    half = evaluate(sets / "real", sets / "fake", cache=cache, **on)
    assert 0 < counted["compact-v1"] < 121
    assert half["fid"].value == pytest.approx(off["fid"].value, rel=1e-6)
    assert half.real == off.real
    assert half.warnings == off.warnings


def test_damaged_entries_are_computed_again(sets: Path, cache: FeatureCache, counted: Counter[str]) -> None:
    first = evaluate(sets / "real", sets / "fake", cache=cache, **ON)
    one, other, *_ = [path for path in entries(cache) if path.name.endswith("-16.features")]
    one.write_bytes(one.read_bytes()[:-1])
    other.write_bytes(b"")
    counted.clear()
    assert told(evaluate(sets / "real", sets / "fake", cache=cache, **ON)) == told(first)
    assert counted["compact-v1"] == 2 * BLOCK
    counted.clear()
    assert told(evaluate(sets / "real", sets / "fake", cache=cache, **ON)) == told(first)
    assert not +counted


def test_bound_is_held_and_the_run_goes_on(sets: Path, tmp_path: Path) -> None:
    off = evaluate(sets / "real", sets / "fake", cache=False, **ON)
    small = FeatureCache(tmp_path / "small", size=50_000)  # of 123 kB
    for _ in range(2):
        assert told(evaluate(sets / "real", sets / "fake", cache=small, **ON)) == told(off)
        assert 0 < sum(path.stat().st_size for path in entries(small)) <= small.size


def test_unwritable_folder_is_no_failure(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = evaluate(sets / "real", sets / "fake", cache=tmp_path / "file", **ON)
    assert told(run) == told(evaluate(sets / "real", sets / "fake", cache=False, **ON))


def test_reference_of_an_evaluator(sets: Path, cache: FeatureCache, counted: Counter[str]) -> None:
    fakes = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    values = []
    for given in (False, cache, cache):
        counted.clear()
        with Evaluator(sets / "real", cache=given, **ON) as evaluator:
            before = Counter(counted)
            evaluator.update(fakes)
            values.append(evaluator.compute()["fid"].value)
    assert not +before
    assert counted["compact-v1"] == 20
    assert values[0] == values[1] == values[2]
    assert len(entries(cache)) == -(-70 // BLOCK)


def test_statistics_and_shards(sets: Path, cache: FeatureCache, counted: Counter[str], tmp_path: Path) -> None:
    on = {"protocol": "compact", "device": "cpu", "batch_size": 4}
    for name, shard in (("whole", None), ("second", (2, 3))):
        written = []
        for i, given in enumerate((False, cache, cache)):
            counted.clear()
            stats = build_statistics(sets / "real", shard=shard, rows=True, cache=given, **on)
            written.append(save_statistics(tmp_path / f"{name}-{i}.npz", stats).read_bytes())
        assert not +counted
        assert written[0] == written[1] == written[2]


PROGRAM = """
import sys, time
from ganeval.api import build_statistics
from ganeval.features.extractor import FeatureExtractor
from ganeval.engine import loop as collect
from ganeval.engine import recall as reuse
from ganeval.engine import recall_blocks as blocks
from ganeval.engine.device_sink import DeviceMoments

images, folder, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
reuse._BLOCK = 16
call, seen = FeatureExtractor.__call__, [0]

def slow(self, batch):
    seen[0] += len(batch.names)
    while seen[0] > most:
        time.sleep(60)
    return call(self, batch)

FeatureExtractor.__call__ = slow
stats = build_statistics(images, cache=folder, protocol="compact", device="cpu", batch_size=4)
print(repr(float(stats.covariance.trace())), seen[0])
"""


def program(sets: Path, cache: FeatureCache, most: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(sets / "real"), str(cache.folder), str(most)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_run_that_was_killed_goes_on(sets: Path, cache: FeatureCache, counted: Counter[str]) -> None:
    expected = build_statistics(sets / "real", cache=False, **ON)
    process = program(sets, cache, most=40)  # two blocks of 16, and half of the third
    deadline = time.monotonic() + 100
    while len(entries(cache)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(entries(cache)) == 2
    counted.clear()
    resumed = build_statistics(sets / "real", cache=cache, **ON)
    assert counted == {"decoded": 70 - 32, "compact-v1": 70 - 32}
    assert np.array_equal(resumed.covariance, expected.covariance)
    assert np.array_equal(resumed.mean, expected.mean)


def test_two_processes_at_once(sets: Path, cache: FeatureCache) -> None:
    both = [program(sets, cache, most=1000) for _ in range(2)]
    said = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    trace = float(build_statistics(sets / "real", cache=False, **ON).covariance.trace())
    assert [float(out.split()[0]) for out, _ in said] == [trace, trace]
    assert len(entries(cache)) == -(-70 // BLOCK)
    assert {path.name for path in cache.folder.rglob("*") if path.is_file()} == {
        "about.json", *(path.name for path in entries(cache))
    }  # fmt: skip


@pytest.mark.nightly
def test_several_ranks(tmp_path: Path) -> None:
    """Blocks of a rank's own batches; a second run recalls them on every rank, and all equal one process."""
    ranks.folders_for(tmp_path)
    expected = json.loads(json.dumps(ranks.SCENARIOS["folders"](tmp_path)))
    given = {"GANEVAL_CACHE": "1", "GANEVAL_CACHE_DIR": str(tmp_path / "cache")}
    found, written = [], []
    for more in ({"GANEVAL_CACHE": "0"}, given, given):
        ended = ranks.launch("folders", tmp_path, 2, **more)
        assert [code for code, _ in ended] == [0, 0], ended
        found.append(json.loads((tmp_path / "folders-0.json").read_text()))
        assert found[-1] == json.loads((tmp_path / "folders-1.json").read_text())
        written.append({path.name: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.features")})
    assert found[0] == found[1] == found[2]
    assert written[1] == written[2] != {}
    assert [run["results"]["fid"]["n_real"] for run in found[0]] == [
        run["results"]["fid"]["n_real"] for run in expected
    ]
