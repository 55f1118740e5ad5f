"""The value of the Frechet distance from moments, and with bias and error from rows, next to scipy's square root."""

from __future__ import annotations

from typing import Any

from benchmarks import material
from benchmarks.options import Options
from benchmarks.runs import agree, in_turns, job, ratio, row, timed


def times(n: int, d: int, rounds: int) -> dict[str, Any]:
    """The runs in turns, in this process, and by how much the values differ."""
    import numpy as np
    import scipy.linalg

    from benchmarks.neighbours import features
    from ganeval.metrics.frechet import frechet_distance, frechet_inference
    from ganeval.statistics.linalg import Coupling
    from ganeval.statistics.moments import Moments
    from ganeval.statistics.rows import FeatureRows

    sides = []
    for seed in (1, 2):
        moments, rows, array = Moments(d), FeatureRows(d), features(n, d, seed) * np.float32(1 + 0.02 * seed)
        for start in range(0, n, 512):
            moments.update(array[start : start + 512])
        rows.append(array)
        sides.append((moments.finish(), rows))
    (w, w_rows), (s, s_rows) = sides

    some = slice(0, 64)  # imports and first calls
    scipy.linalg.sqrtm(w.covariance[some, some] @ s.covariance[some, some])
    Coupling.of(w.covariance[some, some], s.covariance[some, some])
    found = in_turns(
        {
            "sqrtm": lambda: timed(lambda: scipy.linalg.sqrtm(w.covariance @ s.covariance)),
            "value": lambda: timed(lambda: frechet_distance(w, s)),
            "all with rows": lambda: timed(lambda: frechet_inference(w, s, w_rows, s_rows)),
        },
        rounds,
    )
    value, root = frechet_distance(w, s).value, np.trace(scipy.linalg.sqrtm(w.covariance @ s.covariance)).real
    shift = w.mean - s.mean
    plain = float(shift @ shift + np.trace(w.covariance) + np.trace(s.covariance) - 2 * root)
    return {"rounds": found, "value": value, "by sqrtm": plain}


def measure(options: Options) -> dict[str, Any]:
    n, d = (600, 128) if options.quick else (10_000, 2048)
    out: list[dict[str, object]] = []
    raw = {}
    for threads in dict.fromkeys((options.threads, 1)):
        raw[str(threads)] = found = job("frechet:times", threads=threads, n=n, d=d, rounds=options.rounds)
        agree({"ganeval": found["value"], "scipy": found["by sqrtm"]}, [("ganeval", "scipy")])
        rounds, where = found["rounds"], f"{threads} thread{'s' * (threads > 1)}"
        needed = threads == options.threads
        for run, title, need in (
            ("value", "the value from moments", ">= 8"),
            ("all with rows", f"value, bias and error with the rows of 2 x {n} images", None),
        ):
            out.append(row(f"sqrtm / {title}, {where}", ratio(rounds, "sqrtm", run), "x", need if needed else None))
        for run in rounds[0]:
            out.append(row(f"{run}, {where}", [each[run]["wall"] for each in rounds], "s"))
        if needed:
            weights = material.weights(options.folder)
            images = 8 if options.quick else 64
            network = job("inception:bare", weights=str(weights), device=options.device, images=images, limit=False)
            pass_ = 2 * n / network["own"]
            more = [(each["all with rows"]["wall"] - each["value"]["wall"]) / pass_ for each in rounds]
            out.append(row(f"bias and error / network's time for 2 x {n} images", more, "", "<= 0.15"))
    return {"settings": {"n": n, "d": d}, "rounds": raw, "rows": out}
