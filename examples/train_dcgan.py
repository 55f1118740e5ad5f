"""Train a DCGAN from scratch, offline, and measure whether it has come nearer to the data.

    python examples/train_dcgan.py --output dcgan-shapes          # rendered shapes, a few minutes on a CPU
    python examples/train_dcgan.py --data my-images/ --size 64 --output dcgan-mine --minutes 120

The same from the command line: ganeval train dcgan --data dataset:shapes --num-samples 5000 --output dcgan-shapes
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import ganeval
from ganeval.generators.dcgan import Generator
from ganeval.training.dcgan import train_dcgan


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="dataset:shapes", help="a folder, an archive, or rendered images")
    parser.add_argument("--images", type=int, default=5000, help="how many of them")
    parser.add_argument("--output", type=Path, default=Path("dcgan-shapes"))
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument("--samples", type=int, default=2000, help="images in an evaluation")
    options = parser.parse_args(arguments)

    # 1. The game. If it is killed, run it again: it continues from the last checkpoint, with the same result.
    weights = train_dcgan(
        options.data,
        options.output,
        num_samples=options.images,
        size=options.size,
        width=options.width,
        batch_size=options.batch_size,
        steps=options.steps,
        max_minutes=options.minutes,
        eval_every=max(1, options.steps // 4),
        eval_samples=options.samples,
        final_samples=options.samples,
        resume=True,
    )

    # 2. The card has the results. FD[compact-v1] is not FID, but needs no download.
    card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    before, after = card["curve"][0]["fd"], card["metrics"]["fd"]
    print(f"FD[compact-v1] {before:.3g} before, {after:.3g} after {card['steps']} steps")

    # 3. The generator is a torch module like yours: z in, images out. Here it meets other images of the same kind.
    network = load(weights, card["arguments"])
    fresh = "dataset:shapes@1" if options.data == "dataset:shapes" else options.data
    result = ganeval.fid(
        fresh, network, protocol="compact", num_samples=options.samples, num_real=options.samples, value_range=(-1, 1)
    )
    print(result)
    print(f"See {options.output / 'game.png'} for the whole game.")
    return {"before": before, "after": after, "fresh": result.value}


def load(weights: Path, arguments: dict[str, int]) -> Generator:
    """float16 in the file, float32 here."""
    from safetensors.torch import load_file

    network = Generator(**arguments)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()})
    return network.eval()


if __name__ == "__main__":
    main()
