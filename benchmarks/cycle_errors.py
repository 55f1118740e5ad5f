"""How much of the cycle of a CycleGAN survives rounding to 8 bits and noise of 2 grey levels on the way.

    python -m benchmarks.cycle_errors [A2B.safetensors B2A.safetensors] [--number 800] [--write]

Without files, of the pair that ships, on scenes that it was not trained on. A cycle that only works because the
translation hides its source loses it to rounding or to noise. ``--write`` puts the figures into the model cards.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ganeval.files import write_text
from ganeval.generators import load
from ganeval.generators.checkpoint import load_generator
from ganeval.training.translation import float_translator
from ganeval.training.translation_errors import translation_errors

SHIPPED = Path(load.__file__).with_name("weights")
DOMAINS = ("dataset:shapes-plain:64@303", "dataset:shapes-striped:64@303")


def scenes(spec: str, number: int) -> torch.Tensor:
    return torch.cat(
        [torch.as_tensor(batch.images) for batch in load.open_source(spec, num_samples=number).batches(100)]
    )


def measure(files: list[Path], number: int) -> list[dict[str, object]]:
    """The figures of the way there and back, from either domain."""
    there, back = (float_translator(load_generator(path).module) for path in files)
    a, b = (scenes(spec, number) for spec in DOMAINS)
    found = []
    for spec, errors in zip(
        DOMAINS, (translation_errors(there, back, a, b), translation_errors(back, there, b, a)), strict=True
    ):
        means = {
            name: {"value": round(mean.value, 6), "standard_error": round(mean.standard_error or 0.0, 6)}
            for name, mean in (
                ("cycle", errors.cycle),
                ("rounded", errors.cycle_rounded),
                ("noisy", errors.cycle_noisy),
                ("plus_noise", errors.cycle_plus_noise),
            )
        }
        found.append({"scenes": spec, "n": number, "scale": [0, 1], **means})
    return found


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = [SHIPPED / f"cyclegan-{name}.safetensors" for name in ("plain2striped", "striped2plain")]
    parser.add_argument("files", nargs="*", type=Path, default=shipped)
    parser.add_argument("--number", type=int, default=800)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    if len(options.files) != 2:
        parser.error("expected two files: a to b, and b to a")
    found = measure(options.files, options.number)
    for path, figures in zip(options.files, found, strict=True):
        print(json.dumps(figures, indent=1))
        if options.write:
            card = path.with_suffix(".json")
            fields = json.loads(card.read_text(encoding="utf-8"))
            fields["cycle_errors"] = {
                **figures,
                "command": f"python -m benchmarks.cycle_errors --number {options.number}",
            }
            write_text(card, json.dumps(fields, indent=2) + "\n")
    return found


if __name__ == "__main__":
    main()
