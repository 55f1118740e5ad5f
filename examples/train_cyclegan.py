"""Train a CycleGAN from scratch, offline: plain objects become striped and back, without any paired images.

    python examples/train_cyclegan.py --output plain-striped                       # rendered shapes, an hour on a CPU
    python examples/train_cyclegan.py --output plain-striped --size 32 --steps 2000    # a first look, in minutes
    python examples/train_cyclegan.py --cifar10 horse deer --output horse-deer     # two classes; fetches CIFAR-10
    python examples/train_cyclegan.py --domains apples/ oranges/ --output mine --paper     # your own folders

The same from the command line: ganeval train cyclegan --domain-a apples/ --domain-b oranges/ --output mine
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganeval.images.open import open_images
from ganeval.training.cyclegan import train_cyclegan

# Settings for small images on a CPU. The paper's networks, `--paper`, are for 128 pixels and more, and a GPU.
SMALL: dict[str, Any] = {
    "width": 16, "blocks": 6, "discriminator_width": 32, "batch_size": 4, "rate": 4e-4, "precision": "bf16",
    "skip": True,  # generators make what is added to their input
    "keep_weight": 1.0,  # ... and add no more than the game asks for, which anchors the colours
    "cycle_through": 0.0,  # no gradient that would teach the one to leave hints for the other
    "identity_weight": 1.0, "identity_every": 4,
}  # fmt: skip
PAPER: dict[str, Any] = {"width": 64, "blocks": 9, "discriminator_width": 64, "batch_size": 1}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", nargs=2, metavar="SPEC", help="images of two domains, in place of rendered shapes")
    parser.add_argument("--cifar10", nargs=2, metavar="CLASS", help="two classes of CIFAR-10, for instance horse deer")
    parser.add_argument("--cifar10-images", default="dataset:cifar10:train", help="where CIFAR-10 is")
    parser.add_argument("--paper", action="store_true", help="the paper's networks and losses")
    parser.add_argument("--output", type=Path, default=Path("plain-striped"))
    parser.add_argument("--size", type=int, help="in pixels: 64, of CIFAR-10 32")
    parser.add_argument("--width", type=int)
    parser.add_argument("--blocks", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--steps", type=int, default=16_000)
    parser.add_argument("--images", type=int, default=20_000, help="of each rendered domain")
    parser.add_argument("--test-images", type=int, default=800, help="of each domain, in an evaluation")
    options = parser.parse_args(arguments)
    recipe = dict(PAPER if options.paper else SMALL)
    recipe |= {k: v for k in ("width", "blocks", "batch_size") if (v := getattr(options, k)) is not None}

    # 1. Two domains, not paired: other scenes in each. Of the rendered ones the true pairs of the test are known.
    size = options.size or (32 if options.cifar10 else 64)
    domains: tuple[Any, Any]
    if options.cifar10:
        names = tuple(options.cifar10)
        domains = classes(options.cifar10_images, names)
    elif options.domains:
        names, domains = ("a", "b"), tuple(options.domains)
    else:
        names = ("plain", "striped")
        domains = f"dataset:shapes-plain:{size}@101", f"dataset:shapes-striped:{size}@202"
        recipe |= {
            "test_a": f"dataset:shapes-plain:{size}@303", "test_b": f"dataset:shapes-striped:{size}@303",
            "paired_test": True, "num_samples": options.images,
        }  # fmt: skip

    # 2. The game. If it is killed, run it again: it continues from the last checkpoint, with the same result.
    folder = train_cyclegan(
        *domains, options.output, names=names, size=size, steps=options.steps, num_test=options.test_images,
        eval_every=max(1, options.steps // 8), resume=True, **recipe,
    )  # fmt: skip

    # 3. The results in both directions; examples/cyclegan_evaluation.py has more, with error bars.
    metrics: dict[str, Any] = json.loads((folder / "a2b.json").read_text(encoding="utf-8"))["metrics"]
    for direction, (source, target) in (("a2b", names), ("b2a", names[::-1])):
        before, after = metrics[f"{direction}_fd_untranslated"], metrics[f"{direction}_fd"]
        print(f"{source} to {target}: FD[compact-v1] to {target} {before:.3g} untranslated, {after:.3g} translated;")
        print(f"    L1 on [-1, 1] of the cycle {metrics[f'{direction}_cycle_l1']:.3f}")
    print(f"See {folder / 'game.png'} for the whole game.")
    return metrics


def classes(spec: str, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """The images of two classes as tensors: any image source can be a domain."""
    source = open_images(spec, download=spec.startswith("dataset:"))
    labels = source.labels() or []
    if missing := [name for name in names if name not in labels]:
        known = ", ".join(sorted(set(labels))) or "none"
        raise SystemExit(f"{spec} has no class {missing[0]!r}; its classes are: {known}")
    images = torch.cat([torch.as_tensor(batch.images) for batch in source.batches(1000)])
    return tuple(images[[label == name for label in labels]] for name in names)


if __name__ == "__main__":
    main()
