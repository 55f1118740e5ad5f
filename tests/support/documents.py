"""Documents as ganeval writes them, without measuring anything: what tests damage and read again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from support.gates import COMPACT, record, result, run_of

from ganeval.result_files import write_record
from ganeval.statistics.reference import Statistics, save_statistics

N = 40
ENVIRONMENT = {
    "versions": {"python": "3.12.1", "ganeval": "0.1.0", "timm": None}, "platform": "Linux", "device": "cpu (x86_64)",
    "threads": 1, "dtype": "float32", "tf32": False, "compiled": False, "commit": "0123456789ab",
}  # fmt: skip
REAL = {
    "spec": "real/", "kind": "folder", "n": N, "subset": None, "digest": "r1", "skipped": [["a.png", "cut short"]],
    "notes": {"grey": 2}, "formats": {"PNG": N}, "ignored": {},
}  # fmt: skip
FAKE = {
    "spec": "gen:dcgan-cifar10", "kind": "generator", "n": N, "subset": {"n": N, "of": 100, "seed": 1}, "seed": 0,
    "latents": [100], "value_range": [-1.0, 1.0], "digest": "f1", "skipped": [], "notes": {}, "formats": {},
}  # fmt: skip


def write_run(path: Path, seed: int = 0) -> dict[str, Any]:
    """A run with several metrics, with values of single images next to it, and the verdict of a gate; its tree."""
    rng = np.random.default_rng(seed)
    fake, real = rng.normal(size=N), rng.normal(size=N)
    details = {
        "trace": "cholesky", "floor": {"value": 4.7, "n": [N // 2, N // 2]},
        "by_size": [{"n": 10, "value": 19.6, "corrected": None, "standard_error": None},
                    {"n": 20, "value": 12.4, "corrected": 9.9, "standard_error": 1.2}],
        "per_class": {
            "cat": {"n_real": 20, "n_fake": 20, "value": 5.0, "interval": [3.0, 6.0], "corrected": 4.5, "reason": None},
            "dog": {"n_real": 20, "n_fake": 20, "value": 4.7, "interval": None, "corrected": None, "reason": "few"},
        },
    }  # fmt: skip
    subsets = {"mean": 0.3, "std": 0.1, "subsets": 10, "size": 10}
    walk = {"space": "z", "sampling": "full", "epsilon": 1e-4, "unit": False}
    results = (
        run_of("fid", 10.0 + seed, fake, real, bias=1.0, details=details),
        run_of("kid", 0.3 + seed, fake, real, details={"kernel": "polynomial", "subsets": subsets}),
        result(0.7, 0.02, name="precision", n=N, settings={"k": 3}, details={"degrees_of_freedom": 3}),
        result(0.6, None, name="recall", n=N),
        result(0.1, 0.02, name="ind", n=N, details={"p_value": 0.2}),
        result(9.0, 1.0, name="ppl", n=N, settings=walk, details={"unit": "pairs"}),
        result(55.0, 2.0, name="authpct", n=N),
    )
    run = record(*results).evaluation
    run = replace(
        run, real=REAL, fake=FAKE, environment=ENVIRONMENT, warnings=("w",), notes=("n",), elapsed_seconds=2.5
    )
    digests = np.arange(N, dtype=np.uint64)
    arrays = {
        "fid_influence_fake": fake, "fid_influence_real": real, "kid_influence_fake": fake, "kid_influence_real": real,
        "fake_input_digests": digests, "fake_image_digests": digests, "real_image_digests": digests + 1000,
        "realism_fake": rng.uniform(0.5, 1.5, N), "nearest_real_fake": rng.integers(0, N, N),
        "nearest_distance_fake": rng.uniform(1, 2, N), "nearest_ratio_fake": rng.uniform(0, 2, N),
        "own_distance_real": rng.uniform(1, 2, N), "nearest_distance_real": rng.uniform(1, 2, N),
        "covered_real": rng.integers(0, 2, N).astype(float), "ppl_distance": rng.uniform(1, 2, N),
        "ppl_latent_digests": digests, "real_image_names": np.array([f"{i}.png" for i in range(N)]),
    }  # fmt: skip
    write_record(run, path, arrays=arrays, more={"gate": VERDICT})
    tree: dict[str, Any] = json.loads(path.read_text())
    return tree


CHECK = {
    "metric": "kid", "kind": "max", "requirement": "at most 25", "status": "pass", "outcome": "pass", "reason": "r",
    "judged": True, "label": "KID[compact-v1]", "value": 0.3, "baseline": None, "measured": 0.3, "limit": 25.0,
    "bound": 0.4, "standard_error": 0.1, "level": 0.95, "p_value": 1.0, "adjusted_p": 1.0, "n_real": N, "n_fake": N,
    "protocol": "compact", "protocol_key": COMPACT.key(), "pairing": None, "pairing_note": None, "needed": None,
    "source": "s", "accepted": False,
}  # fmt: skip
VERDICT = {"verdict": "pass", "exit_code": 0, "checks": [CHECK, {**CHECK, "kind": "min"}], "warnings": ["w"]}

RULES = {
    "gate": {
        "protocol": "compact", "on-inconclusive": "error",
        "rules": {
            "kid": {"max": 25.0, "min-samples": 10, "level": 0.95, "compare": "corrected", "source": "a paper"},
            "precision": {"min": 0.5, "max-regression": {"abs": 0.1}},
            "fid": {"max": 30.0, "max-regression": {"rel": 0.05}, "compare": "value"},
        },
    }
}  # fmt: skip

_SHARD = {"shard": 1, "of": 2, "first": 0, "n": N, "whole": {"spec": "real/", "kind": "folder", "n": 2 * N}}
META = {
    "protocol": COMPACT.to_dict(), "source": {**REAL, "subset": _SHARD}, "environment": ENVIRONMENT, "note": "faces",
    "warnings": ["w"],
}  # fmt: skip


def write_statistics(path: Path, meta: str | None = None, d: int = 8) -> Path:
    """Statistics of ``META``, or with this text in its place."""
    covariance = np.eye(d)
    save_statistics(path, Statistics(np.zeros(d), covariance, N, 1, META))
    if meta is not None:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        np.savez(path, **{**arrays, "meta": np.array(meta)})
    return path
