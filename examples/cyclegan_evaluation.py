"""How good is an image translator? Both ways, against the untranslated baseline, with error bars.

    python examples/cyclegan_evaluation.py                       # the translators that ship: plain <-> striped shapes
    python examples/cyclegan_evaluation.py --run plain-striped   # those of a training run

A translator a to b must *move the domain*: FD(b, G(a)) far below FD(b, a), what one gets for doing nothing. It must
*keep the scene*: F(G(a)) is a again (cycle error), images of b stay as they are (identity error), and, for rendered
scenes, whose true pairs are known, G(a) is the counterpart of a. Neither alone means anything: the identity keeps
every scene, and a generator that returns one fixed picture's neighbours can move the domain.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from torch import Tensor

from ganeval.generators.checkpoint import WEIGHTS, load_generator
from ganeval.training.loop import load_images
from ganeval.training.translation import Direction, Yardstick, translator

SHIPPED = ("cyclegan-plain2striped", "cyclegan-striped2plain")


def main(arguments: list[str] | None = None) -> dict[str, Direction]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a training run")
    parser.add_argument("--domains", nargs=2, metavar="SPEC", help="test images of both domains, in place of shapes")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("-n", type=int, default=2000, help="images of each domain")
    parser.add_argument("--seed", type=int, default=404, help="of the rendered scenes, which no training has seen")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    options = parser.parse_args(arguments)
    folder, names = (options.run, ("a2b", "b2a")) if options.run else (WEIGHTS, SHIPPED)
    there, back = (translator(load_generator(folder / f"{name}.safetensors").module) for name in names)

    # 1. Test images. Pairs are shared out: one half of the scenes is translated, the other half is the target,
    #    because a distance between a scene and its own counterpart would not be one between two samples.
    if options.domains:
        a, b = (load_images(spec, size=options.size, num_samples=options.n) for spec in options.domains)
        yardsticks = Yardstick(a, b), Yardstick(b, a)
    else:
        n = options.n
        a, b = (scenes(variant, 2 * n, options) for variant in ("plain", "striped"))
        yardsticks = Yardstick(a[:n], b[n:], pairs=b[:n]), Yardstick(b[:n], a[n:], pairs=a[:n])

    # 2. Both directions.
    found = {"a to b": yardsticks[0](there, back), "b to a": yardsticks[1](back, there)}
    for name, direction in found.items():
        print(f"\n{name}\n" + "\n".join(f"  {line}" for line in told(direction)))
    if options.json:
        options.json.write_text(json.dumps({k: v.to_dict() for k, v in found.items()}, indent=2) + "\n")
    return found


def scenes(variant: str, n: int, options: argparse.Namespace) -> Tensor:
    return load_images(f"dataset:shapes-{variant}:{options.size}@{options.seed}", size=options.size, num_samples=n)


def told(found: Direction) -> list[str]:
    lines = [f"untranslated  {found.untranslated}", f"translated    {found.translated}"]
    if found.interval is not None:
        low, high = found.interval.low, found.interval.high
        verdict = "the domain has moved" if high < 0 else "away from it" if low > 0 else "cannot tell"
        lines.append(f"difference    {found.difference:.2f}, 95 % CI {low:.2f} to {high:.2f} (paired): {verdict}")
    lines.append(f"cycle L1      {found.cycle:.4f} on [-1, 1]")
    lines.append(f"identity L1   {found.identity:.4f}")
    if found.pair is not None and found.pair_untranslated:
        share = found.pair / found.pair_untranslated
        lines.append(f"L1 to pair    {found.pair:.4f}, untranslated {found.pair_untranslated:.4f}: {share:.2f} of it")
    return lines


if __name__ == "__main__":
    main()
