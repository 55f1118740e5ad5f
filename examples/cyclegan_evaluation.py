"""How good is an image translator? Both ways, against the untranslated baseline, with error bars.

    python examples/cyclegan_evaluation.py                       # the translators that ship: plain <-> striped shapes
    python examples/cyclegan_evaluation.py --run plain-striped   # those of a training run

A translator a to b must *move the domain*: FD(b, G(a)) and KD far below FD(b, a) and KD, what one gets for doing
nothing. It must *keep the scene*: F(G(a)) is a again (cycle error), also if G(a) is rounded or disturbed on the way, so
that nothing is hidden in it; images of b stay as they are (identity error); and, for rendered scenes, whose true pairs
are known, G(a) is the counterpart of a. Neither alone means anything: the identity keeps every scene, and a generator
that returns one fixed picture's neighbours can move the domain. A translator that draws noise should use it:
its diversity is the perceptual distance between two translations of one image.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ganeval.features.perceptual import load_distance
from ganeval.generators.checkpoint import WEIGHTS, load_generator
from ganeval.training.loop import load_images
from ganeval.training.translation import Direction, Yardstick, float_translator, translator
from ganeval.training.translation_errors import ClusteredMean, TranslationErrors, diversity, translation_errors

METRICS = ("kid",)  # the kernel distance, in addition to FD
SHIPPED = ("cyclegan-plain2striped", "cyclegan-striped2plain")


def main(arguments: list[str] | None = None) -> dict[str, tuple[Direction, TranslationErrors]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a training run")
    parser.add_argument("--domains", nargs=2, metavar="SPEC", help="test images of both domains, in place of shapes")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("-n", type=int, default=2000, help="images of each domain")
    parser.add_argument("--seed", type=int, default=404, help="of the rendered scenes, which no training has seen")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    options = parser.parse_args(arguments)
    folder, names = (options.run, ("a2b", "b2a")) if options.run else (WEIGHTS, SHIPPED)
    models = [load_generator(folder / f"{name}.safetensors").module for name in names]
    (there, back), floats = map(translator, models), [float_translator(model) for model in models]

    # 1. Test images. Pairs are shared out: one half of the scenes is translated, the other half is the target,
    #    because a distance between a scene and its own counterpart would not be one between two samples.
    if options.domains:
        a, b = (load_images(spec, size=options.size, num_samples=options.n) for spec in options.domains)
        yardsticks = Yardstick(a, b, metrics=METRICS), Yardstick(b, a, metrics=METRICS)
    else:
        n = options.n
        a, b = (scenes(variant, 2 * n, options) for variant in ("plain", "striped"))
        yardsticks = (
            Yardstick(a[:n], b[n:], pairs=b[:n], metrics=METRICS),
            Yardstick(b[:n], a[n:], pairs=a[:n], metrics=METRICS),
        )

    # 2. Both directions: distances of 8-bit images; errors of the floats, before anything rounds them.
    found = {}
    for name, yardstick, one, other in (("a to b", yardsticks[0], 0, 1), ("b to a", yardsticks[1], 1, 0)):
        direction = yardstick(*((there, back) if one == 0 else (back, there)))
        errors = translation_errors(floats[one], floats[other], yardstick.source, yardstick.target)
        varied = variety(floats[one], yardstick.source)
        found[name] = direction, errors
        print(f"\n{name}\n" + "\n".join(f"  {line}" for line in lines(direction, errors, varied)))
    if options.json:
        numbers = {name: {**direction.to_dict(), "errors": e.to_dict()} for name, (direction, e) in found.items()}
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return found


def scenes(variant: str, n: int, options: argparse.Namespace) -> Tensor:
    return load_images(f"dataset:shapes-{variant}:{options.size}@{options.seed}", size=options.size, num_samples=n)


def variety(translate: Callable[[Tensor], Tensor], images: Tensor) -> ClusteredMean | None:
    """How different two translations of one image are; None where they are the same, as CycleGAN's are."""
    floats = images[:200] / 127.5 - 1
    one, other = translate(floats), translate(floats)
    if torch.equal(one, other):
        return None
    return diversity(torch.stack([one, other], dim=1), load_distance("compact", device=one.device))


def lines(found: Direction, errors: TranslationErrors, varied: ClusteredMean | None = None) -> list[str]:
    lines = [f"untranslated  {found.untranslated}", f"translated    {found.translated}"]
    if found.interval is not None:
        low, high = found.interval.low, found.interval.high
        verdict = "the domain has moved" if high < 0 else "away from it" if low > 0 else "cannot tell"
        lines.append(f"difference    {found.difference:.2f}, 95 % CI {low:.2f} to {high:.2f} (paired): {verdict}")
    for before, after in found.others.values():
        lines += [f"untranslated  {before}", f"translated    {after}"]
    lines.append(f"cycle L1      {number(errors.cycle)} per pixel, from 0 (black) to 1 (white)")
    lines.append(f"  by 8 bits   {number(errors.cycle_rounded)}")
    lines.append(f"  by noise    {number(errors.cycle_noisy)}")
    if errors.identity is not None:
        lines.append(f"identity L1   {number(errors.identity)}")
    if found.pair is not None and found.pair_untranslated:
        pair, untranslated = found.pair / 2, found.pair_untranslated / 2  # they are on [-1, 1]
        lines.append(f"L1 to pair    {pair:.4f}, untranslated {untranslated:.4f}: {pair / untranslated:.2f} of it")
    if varied is not None:
        lines.append(f"diversity     {number(varied)} (compact, two translations of each image)")
    lines += [f"warning: {warning}" for warning in errors.warnings]
    return lines


def number(mean: ClusteredMean) -> str:
    return f"{mean.value:.4f}" + (f" ± {mean.standard_error:.4f}" if mean.standard_error else "")


if __name__ == "__main__":
    main()
