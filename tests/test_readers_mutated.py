"""Every reader of arrays, archives, folders and weights, on thousands of damaged files.

A reader gives images, or one GanEvalError: no other exception, no hang over 10 s, no more than 2 GB. The readers run
in a process of their own, whose memory is measured: ``python tests/test_readers_mutated.py FOLDER CASES PROGRAM``.
"""

from __future__ import annotations

import faulthandler
import gzip
import hashlib
import io
import itertools
import json
import subprocess
import sys
import tarfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where this file is the program

from support.hostile import saved, zipped
from support.mutated_files import mutated_image, mutated_npy, mutated_tar, mutated_zip
from support.mutations import cases, drive, mutated_bytes, peak_memory

from ganeval.cli.main import main
from ganeval.engine.reference_files import is_statistics
from ganeval.generators.checkpoint import WEIGHTS, load_generator
from ganeval.images.audit import audit
from ganeval.images.open import open_images
from ganeval.result_files import read_record, write_record
from ganeval.statistics.reference import load_statistics

NIGHTLY = 20_000
THROUGH_THE_PROGRAM = 200
HANGS = 3_000  # seconds after which the whole has not merely been slow
FORMATS: dict[str, dict[str, Any]] = {
    "png": {}, "jpg": {}, "webp": {"lossless": True}, "gif": {}, "bmp": {}, "tif": {"compression": "tiff_lzw"},
    "ppm": {}, "avif": {},
}  # fmt: skip
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)


@dataclass(frozen=True)
class Target:
    """A kind of file, how it is damaged, and who reads it."""

    make: Callable[[Random], bytes]
    file: str
    read: Callable[[Path], object]


def read_images(path: Path) -> None:
    """What commands do with a set: check, draw, labels, fingerprints, audit. Bad images are left out and counted."""
    source = open_images(path, value_range=(0, 1) if path.name.startswith("float") else None)
    source.check("skip")
    for batch in source.batches(3, on_error="skip"):
        assert len(batch.images) == len(batch.names)
    source.labels()
    json.dumps(source.describe())
    for index in range(min(3, len(source.images))):  # type: ignore[attr-defined]
        source.images.fingerprint(index)  # type: ignore[attr-defined]
    audit(source)


def read_folder(path: Path) -> None:
    read_images(path.parent)


def targets(folder: Path) -> dict[str, Target]:
    pictures = {f"{name}.png": encoded("png", i, 12) for i, name in enumerate(("a", "cat/b", "dog/c"))}
    moments = {"mu.npy": saved(np.zeros(4)), "sigma.npy": saved(np.eye(4)), "meta.npy": saved(np.array("{}"))}
    rows = {"feats.npy": saved(np.random.default_rng(0).normal(size=(9, 4)))}
    single = {"fid_influence_fake.npy": saved(np.zeros(5)), "fake_image_names.npy": saved(np.array(["a", "é"]))}
    tar = tarred(pictures)
    weights = (WEIGHTS / "dcgan-cifar10.safetensors").read_bytes()
    card = json.loads((WEIGHTS / "dcgan-cifar10.json").read_text())
    del card["sha256"]
    (folder / "g.json").write_text(json.dumps(card))
    document = _document(folder)

    def samples(path: Path) -> None:
        tree = {**document, "samples": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}
        (folder / "R.json").write_text(json.dumps(tree))
        read_record(folder / "R.json")

    def statistics(path: Path) -> None:
        is_statistics(path)
        load_statistics(path)

    def weights_head(rng: Random) -> bytes:
        """Damage to the list of tensors alone: the rest is 4 MB of numbers."""
        length = int.from_bytes(weights[:8], "little")
        changed = mutated_bytes(weights[8 : 8 + length], rng)
        size = rng.choice((len(changed), length, rng.getrandbits(62)))
        return size.to_bytes(8, "little") + changed + weights[8 + length :]

    def array(rng: Random) -> bytes:
        return mutated_npy(rng, IMAGES.tobytes() + bytes(40))

    def one_of(members: dict[str, bytes]) -> Callable[[Random], bytes]:
        """An archive that is damaged, or a sound one with a damaged array."""

        def make(rng: Random) -> bytes:
            if rng.random() < 0.5:
                return mutated_zip(members, rng)
            name = rng.choice(sorted(members))
            return zipped({**members, name: array(rng) if rng.random() < 0.6 else mutated_bytes(members[name], rng)})

        return make

    def compressed(rng: Random) -> bytes:
        if rng.random() < 0.5:
            return mutated_bytes(gzip.compress(tar, 1), rng)
        return gzip.compress(mutated_tar(tar, rng), 1)

    made = {
        "npy": Target(array, "a.npy", read_images),
        "npy of floats": Target(array, "float.npy", read_images),
        "npz of images": Target(
            one_of({"arr_0.npy": saved(IMAGES), "arr_1.npy": saved(np.arange(4))}), "a.npz", read_images
        ),
        "npz of statistics": Target(one_of(moments), "s.npz", statistics),
        "npz of features": Target(one_of(rows), "s.npz", statistics),
        "values of single images": Target(one_of(single), "R.samples.npz", samples),
        "zip": Target(lambda rng: mutated_zip(pictures, rng), "a.zip", read_images),
        "tar": Target(lambda rng: mutated_tar(tar, rng), "a.tar", read_images),
        "tar.gz": Target(compressed, "a.tar.gz", read_images),
        "safetensors": Target(weights_head, "g.safetensors", load_generator),
    }
    for suffix in FORMATS:
        if suffix == "avif" and not features.check("avif"):
            continue
        (folder / suffix).mkdir()
        sound = encoded(suffix, 0, 16)
        made[f"folder of {suffix}"] = Target(
            lambda rng, sound=sound: mutated_image(sound, rng), f"{suffix}/a.{suffix}", read_folder
        )
    return made


def encoded(suffix: str, seed: int, size: int) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8))
    image.save(buffer, Image.registered_extensions()[f".{suffix}"], **FORMATS[suffix])
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    """With PAX headers, long names and a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"é{name}" if "b" in name else name)
            info.size, info.pax_headers = len(data), {"comment": "x" * 30} if "c" in name else {}
            archive.addfile(info, io.BytesIO(data))
    gnu = io.BytesIO()
    with tarfile.open(fileobj=gnu, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("long/" * 40 + "d.png")
        info.size = len(members["a.png"])
        archive.addfile(info, io.BytesIO(members["a.png"]))
        link = tarfile.TarInfo("e.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        archive.addfile(link)
    return (
        buffer.getvalue().rstrip(b"\0").ljust(-(-len(buffer.getvalue().rstrip(b"\0")) // 512) * 512, b"\0")
        + gnu.getvalue()
    )


def _document(folder: Path) -> dict[str, object]:
    from support.gates import record, result

    write_record(record(result(10.0, 0.1)).evaluation, folder / "R.json")
    tree: dict[str, object] = json.loads((folder / "R.json").read_text())
    return tree


def mutate(folder: Path, total: int) -> list[str]:
    """``total`` mutations over all targets in turns; what broke the promise."""
    found = targets(folder)
    counts: Counter[str] = Counter()
    failures: list[str] = []
    slowest, started = (0.0, ""), time.monotonic()
    step = max(1, min(50, total // len(found)))
    for start in itertools.count(0, step):
        for name, target in found.items():
            if sum(counts.values()) >= total:
                break
            before = time.monotonic()
            made = cases(name, step, target.make, start=start)
            broken = drive(name, made, folder / target.file, target.read, start=start)
            slowest = max(slowest, ((time.monotonic() - before) / step, name))
            counts[name] += step
            for failure in broken:
                failures.append(f"{name} {failure.number}: {failure.kind}: {failure.told}")
        else:
            continue
        break
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    print(
        f"{sum(counts.values())} files in {time.monotonic() - started:.0f} s, highest memory "
        f"{peak_memory() / 2**30:.2f} GB, slowest {slowest[1]} with {slowest[0] * 1000:.0f} ms a file, "
        f"{len(failures)} failures"
    )
    return failures


def mutate_through_the_program(folder: Path, total: int) -> list[str]:
    """``ganeval check`` and ``ganeval stats show``, as a user starts them but in this process."""
    found = {name: t for name, t in targets(folder).items() if t.read in (read_images, read_folder) or "stat" in name}
    failures = []
    for number, name in enumerate(itertools.islice(itertools.cycle(found), total)):
        target = found[name]

        def run(path: Path, target: Target = target) -> int:
            spec = path.parent if target.read is read_folder else path
            command = ["stats", "show", str(spec)] if path.name == "s.npz" else ["check", str(spec), "--json"]
            return main(command)

        made = cases(f"program {name}", 1, target.make, start=number)
        broken = drive(name, made, folder / target.file, run, codes=(0, 2), start=number)
        failures += [f"{name} {f.number}: {f.kind}: {f.told}" for f in broken]
    return failures


def run_alone(tmp_path: Path, total: int, program: int = 0) -> None:
    command = [sys.executable, __file__, str(tmp_path), str(total), str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS + 100, check=False)
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_twenty_thousand_damaged_files(tmp_path: Path) -> None:
    run_alone(tmp_path, NIGHTLY)


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_two_hundred_through_the_program(tmp_path: Path) -> None:
    run_alone(tmp_path, 0, THROUGH_THE_PROGRAM)


if __name__ == "__main__":
    at, total, program = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    faulthandler.enable()
    faulthandler.dump_traceback_later(HANGS, exit=True)  # a hang that no signal reaches
    warnings.simplefilter("ignore")
    told = mutate_through_the_program(at, program) if program else mutate(at, total)
    print("\n".join(told[:60]))
    sys.exit(1 if told else 0)
