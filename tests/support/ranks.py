"""What the tests of several ranks run: ``python ranks.py SCENARIO FOLDER``, once a rank, writes FOLDER/RANK.json.

``launch`` starts the ranks as torchrun does, without its minutes of patience. Each scenario is a function of a folder
that gives something for JSON; on one process it is what several must equal.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def launch(scenario: str, folder: Path, ranks: int, *, limit: float = 120, **environment: str) -> list[tuple[int, str]]:
    """Exit code and stderr of each rank.

    Raises:
        AssertionError: one still runs after ``limit`` seconds.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(ranks):
        of_rank = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, scenario, str(folder)]
        started.append(
            subprocess.Popen(
                command, env={**os.environ, **where, **of_rank, **environment}, stderr=subprocess.PIPE, text=True
            )
        )
    deadline = time.monotonic() + limit
    found = []
    try:
        for process in started:
            _, err = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
            found.append((process.returncode, err))
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"a rank of {scenario} hangs") from error
    finally:
        for process in started:
            process.kill()
            process.communicate()
    return found


def image_sets() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return (
        random.integers(0, 256, (150, 12, 12, 3), dtype=np.uint8),
        random.integers(0, 200, (133, 12, 12, 3), dtype=np.uint8),
    )


ON = {"protocol": "compact", "device": "cpu", "batch_size": 16}


def told(evaluation: Any) -> dict[str, Any]:
    document = evaluation.to_dict()
    for name in ("environment", "elapsed_seconds"):
        del document[name]
    digests = {name: array.tolist() for name, array in evaluation.per_image.items()}
    influence = {
        f"{name}:{what}": np.asarray(array).tolist()
        for name, result in evaluation.results.items()
        for what, array in result.per_image.items()
    }
    return {**document, "digests": digests, "per_image": influence}


# --- what several ranks must do as one does -----------------------------------------------------------------------


def every_metric(folder: Path) -> Any:
    from ganeval import evaluate

    real, fake = image_sets()
    return told(evaluate(real, fake, metrics=None, test=real[:40] // 2, feature_memory=20_000, **ON))


def folders(folder: Path) -> Any:
    """Class folders, a broken file that is skipped, another that is no image; fewer batches than ranks."""
    from ganeval import evaluate

    on = {**ON, "batch_size": 4}
    skipped = evaluate(folder / "real", folder / "fake", on_error="skip", **on)
    classes = evaluate(folder / "real", folder / "whole", per_class=True, **on)
    few = evaluate(folder / "real" / "a", folder / "fake" / "b", on_error="skip", **{**on, "batch_size": 64})
    return [told(skipped), told(classes), told(few)]


def folders_for(folder: Path) -> None:
    from PIL import Image

    real, fake = image_sets()
    for side, images in {"real": real, "fake": fake, "whole": fake}.items():
        for name in ("a", "b"):
            (folder / side / name).mkdir(parents=True)
            for i, image in enumerate(images[: 13 if name == "a" else 9]):
                Image.fromarray(image // (1 if name == "a" else 2)).save(folder / side / name / f"{i:02}.png")
    (folder / "fake" / "a" / "05.png").write_bytes(b"no image")
    (folder / "fake" / "a" / "list.txt").write_text("nothing")


def pairs(folder: Path) -> Any:
    """Several outputs of one input, an unreadable file of either set; fewer batches than ranks."""
    from ganeval import diversity, paired

    on = {"device": "cpu", "distance": "compact", "on_error": "skip"}
    whole = paired(folder / "inputs", folder / "outputs", pair_by_fake=r"(.+)_\d", batch_size=3, **on)
    few = paired(folder / "inputs", folder / "outputs", pair_by_fake=r"(.+)_\d", batch_size=64, **on)
    several = diversity(folder / "outputs", group_by=r"^(\d)", pairs=9, **on)
    return [told(whole), told(few), told(several)]


def pairs_for(folder: Path) -> None:
    from PIL import Image

    real, fake = image_sets()
    for side in ("inputs", "outputs"):
        (folder / side).mkdir()
    for i in range(14):
        Image.fromarray(real[i]).save(folder / "inputs" / f"{i:02}.png")
        for k in range(2):
            Image.fromarray(fake[2 * i + k]).save(folder / "outputs" / f"{i:02}_{k}.png")
    (folder / "inputs" / "03.png").write_bytes(b"no image")
    (folder / "outputs" / "05_0.png").write_bytes(b"no image")


def other_sources(folder: Path) -> Any:
    """A stream, a generator that draws noise, a statistics file with rows, three images."""
    import torch

    from ganeval import build_statistics, evaluate

    real, fake = image_sets()

    def noisy(z: torch.Tensor) -> torch.Tensor:
        return (torch.rand(len(z), 3, 12, 12) * z.abs().mean().clamp(0.1, 1) * 255).to(torch.uint8)

    statistics = build_statistics(real, rows=True, **ON)
    stream = evaluate(statistics, [fake[i : i + 10] for i in range(0, 133, 10)], reference="sample", **ON)
    made = evaluate(statistics, noisy, num_samples=50, latent_dim=4, **ON)
    three = evaluate(real[:3], fake[:2], **{**ON, "batch_size": 1})
    assert statistics.digests is not None
    return [told(stream), told(made), told(three), statistics.digests.tolist()]


def wavelets(folder: Path) -> Any:
    """``fwd``, whose width is that of the images: known before the pass, found in it, and not yet known to a rank that
    draws no image; beside features, and alone.
    """
    from ganeval import Evaluator, evaluate

    real, fake = image_sets()
    on: dict[str, Any] = {**ON, "wavelet_level": 2}
    both = evaluate(real, fake, metrics=("fid", "fwd"), **on)
    stream = evaluate(real, [fake[i : i + 10] for i in range(0, 133, 10)], metrics=("fwd",), **on)
    one_batch = evaluate(real, fake[:60], metrics=("fwd",), **{**on, "batch_size": 64})
    with Evaluator(real, metrics=("fid", "fwd"), **on) as evaluator:
        evaluator.update_from(dots(), 70)
        updated = told(evaluator.compute())
    return [told(both), told(stream), told(one_batch), updated]


def loop(folder: Path) -> Any:
    """Each rank gives images of its own, of which one process gives all; a generator's are shared out."""
    from ganeval import Evaluator

    real, fake = image_sets()
    logged = []
    with Evaluator(real, metrics=("fid", "kid", "precision"), log=lambda flat, step: logged.append(step), **ON) as e:
        rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if rank != 1 or size == 1:  # one rank has nothing
            givers = [r for r in range(size) if r != 1] or [0]
            for part in np.array_split(fake, 16)[givers.index(rank) :: len(givers)]:
                e.update(part)
        first = told(e.compute())
        e.reset()
        e.update_from(dots(), 70)
        e.update_from(dots(), 30)
        second = told(e.compute(7))
    assert logged == ([1, 7] if rank == 0 else [])
    for one in (first, second):  # how the updates were cut is not a result
        one["fake"] = {k: v for k, v in one["fake"].items() if k in ("n", "digest", "skipped", "notes")}
        one["digests"] = {k: sorted(v) for k, v in one["digests"].items()}
        one["per_image"] = {k: sorted(v) for k, v in one["per_image"].items() if "digest" not in k}
    return [first, second]


def dots() -> Any:
    import torch

    class Dots(torch.nn.Module):
        latent_dim, value_range = 5, (-1.0, 1.0)

        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))
            self.norm = torch.nn.BatchNorm1d(5)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.norm(z)[:, :3, None, None] * self.scale * torch.linspace(-1, 1, 12)).expand(
                -1, 3, 12, 12
            )

    return Dots()


# --- what must end, and say why -----------------------------------------------------------------------------------


def fails(folder: Path) -> Any:
    """An image that only one rank finds broken, in the middle of the pass."""
    from ganeval import evaluate

    real, fake = image_sets()
    if os.environ["RANK"] == "1":
        from ganeval.images.indexed import UnreadableImage
        from ganeval.images.types import Images

        def load(self: object, index: int) -> object:
            raise UnreadableImage("spoilt")

        from ganeval.images.array import ArrayImages

        assert issubclass(ArrayImages, Images)
        ArrayImages.load = load  # type: ignore[method-assign,assignment]
        ArrayImages.encoded = True  # not looked at before the pass
    evaluate(real, fake, **ON)


def killed(folder: Path) -> Any:
    from ganeval import distributed, evaluate
    from ganeval.features.extractor import FeatureExtractor

    real, fake = image_sets()
    if os.environ["RANK"] == "1":
        through = FeatureExtractor.__call__

        def call(self: Any, batch: Any) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)
            return through(self, batch)

        FeatureExtractor.__call__ = call  # type: ignore[method-assign]
    del distributed
    evaluate(real, fake, **{**ON, "batch_size": 4})


def absent(folder: Path) -> Any:
    """One rank alone evaluates, as code under ``rank_zero_only`` does; the other one stays until that has ended."""
    import torch.distributed as dist

    from ganeval import Evaluator

    real, fake = image_sets()
    dist.init_process_group("gloo")  # however long they take to meet, 8 s are for what comes after
    evaluator = Evaluator(real, timeout=8, **ON)
    evaluator.update(fake)
    ended = folder / "ended"
    if os.environ["RANK"] == "1":
        while not ended.exists():
            time.sleep(0.02)
        return
    try:
        evaluator.compute()
    finally:
        ended.touch()


def apart(folder: Path) -> Any:
    """``sync=False``: this rank alone."""
    from ganeval import evaluate

    real, fake = image_sets()
    return told(evaluate(real, fake, sync=False, **ON)) if os.environ.get("RANK", "0") == "0" else None


def talk(folder: Path) -> Any:
    """Sums and gathers by themselves; and ranks that are at different calls."""
    from ganeval import distributed
    from ganeval.errors import GanEvalError

    for _ in range(5):  # a group for every call, none in the way of the next
        with distributed.joined() as group:
            group.agree("again")
    with distributed.joined() as group:
        rank = group.rank
        sums = group.sums([np.full(2, rank + 1.0), np.array(rank), np.float64(0.5)], "sums")
        assert [one.dtype.str for one in sums] == ["<f8", "<i8", "<f8"]
        parts = group.gather(np.full((rank, 2), rank, np.float32), "gather")
        assert [part.tolist() for part in parts] == [[[r, r]] * r for r in range(group.size)]
        assert group.gather_json({"rank": rank}, "json") == [{"rank": r} for r in range(group.size)]
        assert sum(len(range(11)[group.share(11)]) for _ in [0]) in (11 // group.size, 11 // group.size + 1)
        try:
            group.agree("one call" if rank else "another call")
        except GanEvalError as error:
            return [[one.tolist() for one in sums], str(error)]
    return None


SCENARIOS: dict[str, Callable[[Path], Any]] = {
    one.__name__: one
    for one in (every_metric, folders, pairs, other_sources, wavelets, loop, fails, killed, absent, apart, talk)
}


def main(scenario: str, folder: str) -> None:
    result = SCENARIOS[scenario](Path(folder))
    (Path(folder) / f"{scenario}-{os.environ['RANK']}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
