"""How values and their errors change with the number of images: the table of docs/choosing.md.

    python benchmarks/sample_size.py [--real dataset:cifar10:test] [--sizes 250 1000] [--page docs/choosing.md]

The DCGAN that ships, against as many real images, under ``compact``; one seeded draw of each size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ganeval.api import evaluate
from ganeval.parsing.layout import format_number
from ganeval.results import MetricResult

SIZES = (250, 500, 1000, 2000, 5000, 10_000)
METRICS = {"fid": "FD", "kid": "KID", "precision": "precision", "coverage": "coverage", "ind": "IND"}
MARKS = ("<!-- by number: begin -->", "<!-- by number: end -->")


def cell(result: MetricResult) -> str:
    """What the interval is around, and half of its width."""
    if result.interval is None:
        return "none: too few"
    half = (result.interval.high - result.interval.low) / 2
    centre = result.value if result.corrected is None else result.corrected
    return f"{format_number(centre, half)} &plusmn; {format_number(half, half)}"


def line(real: str, n: int) -> str:
    run = evaluate(
        real, "gen:dcgan-cifar10", num_real=n, num_samples=n, protocol="compact", metrics=tuple(METRICS), device="cpu"
    )
    fd, plain = run["fid"], format_number(run["fid"].value, run["fid"].standard_error)
    around_plain = fd.corrected is None and fd.interval is not None
    cells = [cell(fd), "none: too few"] if around_plain else [plain, cell(fd)]
    return f"| {n} | " + " | ".join([*cells, *(cell(run[name]) for name in METRICS if name != "fid")]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", default="dataset:cifar10:test")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    names = ["images of a side", "FD, plain", "FD, corrected", *list(METRICS.values())[1:]]
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for n in options.sizes:
        lines.append(line(options.real, n))
        print(lines[-1], flush=True)
    if options.page:
        before, _, rest = options.page.read_text(encoding="utf-8").partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        table = "\n".join(lines)
        options.page.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
