"""The whole pipeline on what ships with the package: a good generator, two broken ones, and what each metric says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganeval.api import build_statistics, evaluate
from ganeval.engine.loop import ProgressFactory
from ganeval.errors import InputError
from ganeval.features.devices import choose_device
from ganeval.files import write_text
from ganeval.generators.load import open_source
from ganeval.report.page import Subject
from ganeval.result_files import Record
from ganeval.results import SCHEMA, Evaluation, MetricResult, to_json
from ganeval.training.pictures import save_grid
from ganeval.training.translation import l1

GENERATOR = "gen:dcgan-cifar10"
REFERENCE = "stats:cifar10-test"
PLAIN, STRIPED = "dataset:shapes-plain:64", "dataset:shapes-striped:64"
AGAINST_DATA = ("fid", "is")
AGAINST_ITSELF = ("precision", "recall", "coverage")
AGAINST = "FD and IS are against CIFAR-10's test images; P, R and coverage against another sample of the DCGAN"
NOISE = 40.0  # standard deviation, in grey levels of 256
DISTINCT = 20  # images that the collapsed generator knows
FILES = {"demo.json", "dcgan.png", "collapsed.png", "noisy.png", "translation.png"}
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One set of images and what was measured of it."""

    name: str
    what: str
    images: Tensor
    against_data: Evaluation
    against_itself: Evaluation

    def results(self) -> Mapping[str, MetricResult]:
        return {**self.against_data.results, **self.against_itself.results}


@dataclass(frozen=True, slots=True)
class Translation:
    """What the CycleGAN made of rendered scenes, whose true counterparts are known; L1 on the scale from -1 to 1."""

    pair: float
    untranslated: float
    cycle: float
    n: int


@dataclass(frozen=True, slots=True)
class Demo:
    """All sets; ``reference`` is the other sample, uint8 (N, 3, H, W)."""

    rows: tuple[Row, ...]
    translation: Translation
    reference: Tensor

    def to_dict(self) -> dict[str, object]:
        """The document: ``demo`` by set, and ``translation``; at top level the results of the unbroken generator."""
        unbroken = self.rows[0]
        return {
            **replace(unbroken.against_data, results=unbroken.results()).to_dict(),
            "demo": {row.name: as_fields(row) for row in self.rows},
            "translation": {**asdict(self.translation), "picture": "translation.png"},
        }


def run_demo(
    output: Path, *, num_samples: int = 1000, seed: int = 0, device: str = "auto",
    progress: ProgressFactory | None = None, single_images: bool = False,
) -> Demo:  # fmt: skip
    """Sample, break, measure, translate; write a grid of each set and ``demo.json``.

    The distances are to CIFAR-10's test images. Precision, recall and coverage need the single reference images, which
    do not ship; they are measured against another sample of the same generator, so that an unbroken one scores as high
    as can be.

    Args:
        single_images: as in ``evaluate``, for a report.

    Raises:
        InputError: ``output`` holds something else than an earlier demo.
    """
    if output.exists() and (not output.is_dir() or {p.name for p in output.iterdir()} - FILES):
        raise InputError(f"{output} is there already and holds other things. Choose another folder with --output.")
    output.mkdir(parents=True, exist_ok=True)
    images = _drawn(GENERATOR, 2 * num_samples, seed, device)
    own, others = images[:num_samples], images[num_samples:]
    settings: dict[str, Any] = {"protocol": "compact", "device": device, "progress": progress}
    reference = build_statistics(others, rows=True, note=f"another sample of {GENERATOR}", **settings)
    settings["single_images"] = single_images
    rows = []
    for name, (what, shown) in broken(own, seed).items():
        against_data = evaluate(REFERENCE, shown, metrics=AGAINST_DATA, **settings)
        against_itself = evaluate(reference, shown, metrics=AGAINST_ITSELF, reference="sample", **settings)
        rows.append(Row(name, what, shown, against_data, against_itself))
        save_grid(output / f"{name}.png", shown[:_SHOWN], 8)
    demo = Demo(tuple(rows), translated(output / "translation.png", seed=seed, device=device), others)
    write_text(output / "demo.json", to_json({"schema": SCHEMA, **demo.to_dict()}) + "\n")
    return demo


def translated(picture: Path, *, seed: int, device: str, n: int = 64) -> Translation:
    """Plain scenes to striped ones and back; the picture shows scene, translation, true counterpart and way back."""
    there = f"gen:cyclegan-plain2striped({PLAIN})"
    specs = (PLAIN, there, STRIPED, f"gen:cyclegan-striped2plain({there})")
    scenes, made, pairs, back = (_drawn(spec, n, seed, device) for spec in specs)
    save_grid(picture, torch.stack([scenes, made, pairs, back], dim=1)[:8].flatten(0, 1), 8)
    return Translation(l1(made, pairs), l1(scenes, pairs), l1(back, scenes), n)


def broken(images: Tensor, seed: int) -> dict[str, tuple[str, Tensor]]:
    """The images as they are, as a collapsed generator would draw them, and as a noisy one would."""
    noise = NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    noisy = (images.float() + noise).round().clamp(0, 255).to(torch.uint8)
    repeated = images[torch.arange(len(images)) % DISTINCT]
    return {
        "dcgan": ("the DCGAN as it is", images),
        "collapsed": (f"it knows {DISTINCT} images only", repeated),
        "noisy": (f"noise of {NOISE:.0f} grey levels", noisy),
    }


def as_fields(row: Row) -> dict[str, object]:
    return {
        "what": row.what,
        "results": {name: result.to_dict() for name, result in row.results().items()},
        "picture": f"{row.name}.png",
    }


def _drawn(spec: str, n: int, seed: int, device: str) -> Tensor:
    source = open_source(spec, num_samples=n, seed=seed, device=choose_device(device))
    return torch.cat([torch.as_tensor(batch.images).cpu() for batch in source.batches(250)])


def demo_subjects(demo: Demo) -> list[Subject]:
    """The sets of the demo, each with both of its measurements, and the images that are at hand."""
    subjects = []
    for row in demo.rows:
        both = row.against_data, row.against_itself
        evaluation = replace(
            row.against_data, results=row.results(), per_image={**both[0].per_image, **both[1].per_image},
            warnings=tuple(dict.fromkeys(text for one in both for text in one.warnings)),
            notes=tuple(dict.fromkeys([*(text for one in both for text in one.notes), AGAINST])),
            elapsed_seconds=sum(one.elapsed_seconds for one in both),
        )  # fmt: skip
        images = {"fake": row.images, "real": demo.reference}
        subjects.append(Subject(record=Record.of(evaluation, row.what), look=partial(_held, images)))
    return subjects


def _held(images: Mapping[str, Tensor], side: str, places: Sequence[int]) -> dict[int, np.ndarray]:
    return {place: images[side][place].permute(1, 2, 0).numpy() for place in places}
