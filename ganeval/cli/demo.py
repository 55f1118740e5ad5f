"""``ganeval demo``: a generator and two broken copies of it, offline, and what each metric says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganeval.cli import output as out
from ganeval.cli.options import Command, option, output_options, report_path
from ganeval.cli.places import Output
from ganeval.errors import InputError
from ganeval.parsing.layout import format_number, table_of, to_json

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganeval.results import Evaluation, MetricResult

PLAIN, STRIPED = "dataset:shapes-plain:64", "dataset:shapes-striped:64"  # other scenes than the shipped models saw
GENERATOR, METRICS = "gen:dcgan-shapes", ("fid", "is", "precision", "recall", "coverage")
PHOTOGRAPHS, PHOTOGRAPHS_REFERENCE = "gen:dcgan-cifar10", "stats:cifar10-test"
NOISE = 40.0  # standard deviation, in grey levels of 256
DISTINCT = 20  # images that the collapsed generator can make
FINE = "dataset:shapes:256"
FINE_MEASURES = {"compact": ("fid", "compact"), "fwd": ("fwd", "compact"), "lite": ("fid", "lite")}  # metric, protocol
FINE_LEVEL = 0.05  # of the grid, a share of 255
FINE_IMAGES = 24  # of each set
FILES = {"demo.json", "dcgan.png", "collapsed.png", "noisy.png", "photographs.png", "translation.png", "finer.png"}
_SHOWN = 64
_NEXT = (
    "ganeval eval real/ fake/ --protocol compact",
    "ganeval fid stats:cifar10-test gen:dcgan-cifar10 --num-samples 2000 --protocol compact",
    "ganeval sample 'gen:cyclegan-plain2striped(gen:dcgan-shapes)' -n 100 -o samples",
)


@dataclass(frozen=True, slots=True)
class DemoSet:
    """One set of images, uint8 (N, 3, H, W), and its evaluation."""

    name: str
    what: str
    images: Tensor
    evaluation: Evaluation


@click.command(cls=Command)
@option(
    "-o",
    "--output",
    type=Output(folder=True),
    default=Path("ganeval-demo"),
    help="Folder for the pictures and demo.json.",
)
@option("-n", "--num-samples", type=click.IntRange(min=100), default=1000, help="Images of each set.")
@option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the samples and of the noise.")
@option("--device", default="auto", metavar="auto|cpu|cuda[:i]|mps", help="Where the networks run.")
@report_path
@output_options
def demo(*, output: Path, num_samples: int, seed: int, device: str, report: Path | None, fmt: str) -> None:
    """Run the whole pipeline offline on what ships with ganeval: which metric reacts to which fault?

    Samples the shipped DCGAN of rendered scenes, breaks the samples in two ways, and measures all three sets against
    newly rendered scenes. Measures the shipped DCGAN of CIFAR-10 against that data set's test images, whose statistics
    ship, and translates scenes with the shipped CycleGAN. A fault that is finer than 32 x 32 pixels shows what the
    shipped network cannot see.

    \b
    Example:
      ganeval demo
    """
    from ganeval.features.networks import why_unavailable
    from ganeval.files import write_text
    from ganeval.result_files import Record

    if output.exists() and (not output.is_dir() or {p.name for p in output.iterdir()} - FILES):
        raise InputError(f"{output} exists and holds other files. Choose another folder with --output.")
    output.mkdir(parents=True, exist_ok=True)
    sets, reference = _measure(output, num_samples, seed, device, single_images=report is not None)
    photographs = _photographs(output / "photographs.png", num_samples, seed, device)
    translation = _translate(output / "translation.png", seed=seed, device=device)
    finer = _finer(output / "finer.png", seed=seed, device=device)
    fields = {
        **sets[0].evaluation.to_dict(),  # the unbroken generator, so that demo.json can be a baseline
        "demo": {
            one.name: {
                "what": one.what,
                "results": {name: result.to_dict() for name, result in one.evaluation.results.items()},
                "picture": f"{one.name}.png",
            }
            for one in sets
        },
        "photographs": {
            "what": PHOTOGRAPHS,
            "results": {name: result.to_dict() for name, result in photographs.results.items()},
            "picture": "photographs.png",
        },
        "translation": {**translation, "picture": "translation.png"},
        "finer": {**finer, "picture": "finer.png"},
    }
    write_text(output / "demo.json", to_json(fields) + "\n")
    if report is not None:
        from ganeval.report.page import Subject, write_report

        looks = [partial(_images_at, {"fake": one.images, "real": reference}) for one in sets]
        records = [Record.of(one.evaluation, one.what) for one in sets]
        write_report(report, [Subject(record=r, look=look) for r, look in zip(records, looks, strict=True)])
    pair, untranslated, cycle = (f"{translation[name]:.3f}" for name in ("pair", "untranslated", "cycle"))
    translated = (
        f"CycleGAN, plain to striped scenes: L1 to the true pair {pair} (untranslated {untranslated}), to the scene "
        f"and back {cycle}"
    )
    scores = ", ".join(f"{r.label} {_with_error(r)}" for r in photographs.results.values())
    text = f"{_table(sets, fmt)}\n\nDCGAN of CIFAR-10: {scores}\n{translated}\n{_finer_text(finer)}"
    out.answer(fields, text, fmt=fmt, target=None)
    for name, evaluation in (*((one.name, one.evaluation) for one in sets), ("photographs", photographs)):
        if (reason := evaluation["fid"].reason) is not None:
            out.note(f"{name}: no interval for FD: {reason}")
    out.note(
        f"pictures and demo.json are in {output}; the columns of translation.png are scene, translation, true "
        "counterpart, translation back; finer.png shows parts of scenes, below them the same with the grid"
    )
    if (missing := why_unavailable("efficientnet-lite0")) is not None:
        out.note(f"the network that sees the finer fault was left out: {missing}")
    if fmt == "text":
        out.say("\nTry next:\n" + "\n".join(f"  {line}" for line in _NEXT))


def _table(sets: Sequence[DemoSet], fmt: str) -> str:
    """Every metric of every set, with its standard error: a row is a metric."""
    rows = zip(*(one.evaluation.results.values() for one in sets), strict=True)
    return table_of(["", *(one.what for one in sets)], [[row[0].label, *map(_with_error, row)] for row in rows], fmt)


def _with_error(result: MetricResult) -> str:
    value, error = result.value, result.standard_error
    return format_number(value, error) + ("" if error is None else f" ± {format_number(error, error)}")


def _measure(output: Path, n: int, seed: int, device: str, *, single_images: bool) -> tuple[list[DemoSet], Tensor]:
    """Evaluate the samples and their broken copies, and save a grid of each; also return the reference."""
    from ganeval.api import build_statistics, evaluate
    from ganeval.training.pictures import save_grid

    images, reference = (_sample(spec, n, seed, device) for spec in (GENERATOR, PLAIN))
    settings: dict[str, Any] = {"protocol": "compact", "device": device, "progress": out.progress}
    statistics = build_statistics(reference, rows=True, note=f"{n} scenes of {PLAIN}", **settings)
    sets = []
    for name, (what, shown) in _broken(images, seed).items():
        evaluation = evaluate(
            statistics, shown, metrics=METRICS, reference="sample", single_images=single_images, **settings
        )
        sets.append(DemoSet(name, what, shown, evaluation))
        save_grid(output / f"{name}.png", shown[:_SHOWN], 8)
    return sets, reference


def _broken(images: Tensor, seed: int) -> dict[str, tuple[str, Tensor]]:
    """The images as they are, as a collapsed generator would draw them, and as a noisy one would."""
    import torch

    noise = NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    noisy = (images.float() + noise).round().clamp(0, 255).to(torch.uint8)
    repeated = images[torch.arange(len(images)) % DISTINCT]
    return {
        "dcgan": ("the DCGAN as it is", images),
        "collapsed": (f"only {DISTINCT} different images", repeated),
        "noisy": (f"noise of {NOISE:.0f} grey levels", noisy),
    }


def _photographs(picture: Path, n: int, seed: int, device: str) -> Evaluation:
    """Evaluate the DCGAN of CIFAR-10 against statistics of that data set, and save a grid of its samples."""
    from ganeval.api import evaluate
    from ganeval.training.pictures import save_grid

    images = _sample(PHOTOGRAPHS, n, seed, device)
    save_grid(picture, images[:_SHOWN], 8)
    settings: dict[str, Any] = {"protocol": "compact", "device": device, "progress": out.progress}
    return evaluate(PHOTOGRAPHS_REFERENCE, images, metrics=("fid", "is"), **settings)


def _translate(picture: Path, *, seed: int, device: str, n: int = 64) -> dict[str, float]:
    """Errors of the CycleGAN on rendered scenes, whose true counterparts are known: L1 on the scale from -1 to 1.

    The picture has scene, translation, counterpart, way back.
    """
    import torch

    from ganeval.training.pictures import save_grid
    from ganeval.training.translation import l1

    there = f"gen:cyclegan-plain2striped({PLAIN})"
    specs = (PLAIN, there, STRIPED, f"gen:cyclegan-striped2plain({there})")
    scenes, made, pairs, back = (_sample(spec, n, seed, device) for spec in specs)
    save_grid(picture, torch.stack([scenes, made, pairs, back], dim=1)[:8].flatten(0, 1), 8)
    return {"pair": l1(made, pairs), "untranslated": l1(scenes, pairs), "cycle": l1(back, scenes), "n": n}


def _finer(picture: Path, *, seed: int, device: str) -> dict[str, Any]:
    """By measure, how much a Frechet distance grows when a grid is added to scenes of 256 pixels.

    The grid makes every second row and column brighter and the others darker, as transposed convolutions do. The error
    of the growth is that of the paired difference, with the reference fixed. A network without weights is left out.
    """
    import numpy as np
    import torch

    from ganeval.api import evaluate
    from ganeval.features.networks import why_unavailable
    from ganeval.protocol import get_protocol
    from ganeval.training.pictures import save_grid

    scenes = _sample(FINE, 2 * FINE_IMAGES, seed, device)
    real, fake = scenes[:FINE_IMAGES], scenes[FINE_IMAGES:]
    sign = 1.0 - 2 * (torch.arange(fake.shape[2]) % 2)
    grid = FINE_LEVEL / 2 * 255 * (sign[:, None] + sign)
    broken = (fake + grid).round().clamp(0, 255).to(torch.uint8)
    parts = torch.cat([images[:4, :, 96:160, 96:160] for images in (fake, broken)])
    save_grid(picture, parts.repeat_interleave(3, 2).repeat_interleave(3, 3), 4)
    growth = {}
    for name, (metric, protocol) in FINE_MEASURES.items():
        if why_unavailable(get_protocol(protocol).extractor) is not None:
            continue
        settings: dict[str, Any] = {"protocol": protocol, "device": device, "progress": out.progress}
        before, after = (
            evaluate(real, images, metrics=(metric,), reference="population", **settings)[metric]
            for images in (fake, broken)
        )
        moved = after.per_image[f"{metric}_influence_fake"] - before.per_image[f"{metric}_influence_fake"]
        growth[name] = {
            "label": after.label,
            "without": before.value,
            "with": after.value,
            "growth": after.value - before.value,
            "standard_error": float(np.std(moved, ddof=1) / np.sqrt(len(moved))),
        }
    return {"what": f"grid of {FINE_LEVEL:.0%} in scenes of 256 pixels", "n": FINE_IMAGES, "measures": growth}


def _finer_text(finer: Mapping[str, Any]) -> str:
    growth = ", ".join(
        f"{one['label']} grows by {format_number(one['growth'], one['standard_error'])} ± "
        f"{format_number(one['standard_error'], one['standard_error'])}"
        for one in finer["measures"].values()
    )
    return f"{finer['what'].capitalize()}: {growth}"


def _sample(spec: str, n: int, seed: int, device: str) -> Tensor:
    import torch

    from ganeval.features.devices import choose_device
    from ganeval.generators.load import open_source

    source = open_source(spec, num_samples=n, seed=seed, device=choose_device(device))
    return torch.cat([torch.as_tensor(batch.images).cpu() for batch in source.batches(250)])


def _images_at(images: Mapping[str, Tensor], side: str, places: Sequence[int]) -> dict[int, np.ndarray]:
    return {place: images[side][place].permute(1, 2, 0).numpy() for place in places}
