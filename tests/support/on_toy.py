"""What a run on the device of ``toy_device`` comes to, as JSON, for ``test_devices``."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import asdict

import numpy as np
import torch
from support import toy_device as toy

import ganeval
from ganeval.arithmetic import widest_float
from ganeval.cli import doctor
from ganeval.features.devices import accelerators, choose_device
from ganeval.features.extractor import FeatureExtractor
from ganeval.images.types import ImageBatch
from ganeval.protocol import get_protocol

warnings.simplefilter("ignore", ganeval.GanEvalWarning)
logged: list[str] = []
logging.getLogger("ganeval").addHandler(handler := logging.Handler())
handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
CPU, DEVICE = torch.device("cpu"), choose_device("auto")
REAL, FAKE = np.random.default_rng(0).integers(0, 256, (2, 60, 12, 12, 3), dtype=np.uint8)
FAKE = FAKE // 2
IMAGES = torch.from_numpy(REAL[:5]).permute(0, 3, 1, 2)
BATCH = ImageBatch(IMAGES, list("abcde"), None)


def features() -> dict[str, object]:
    exact = FeatureExtractor(get_protocol("compact"), device=CPU)(BATCH)["256"]
    extractor = FeatureExtractor(get_protocol("compact"), device=DEVICE)
    found, home = extractor(BATCH)["256"], extractor._network
    there = {str(one.device) for one in home.parameters()}
    extractor.release()
    released = {str(one.device) for one in home.parameters()}
    return {
        "device": str(found.device), "weights": sorted(there), "released": sorted(released),
        "deviation": float((found.cpu() - exact).abs().max() / exact.abs().max()), "warnings": extractor.warnings,
    }  # fmt: skip


def evaluation(device: str) -> dict[str, object]:
    logged.clear()
    found = ganeval.evaluate(
        REAL, FAKE, protocol="compact", metrics=["fid", "kid", "precision", "recall"], device=device, cache=False
    )
    values = {name: one.value for name, one in found.results.items()}
    return {"values": values, "warnings": found.warnings, "logged": list(logged)}


def looked_at() -> list[dict[str, object]]:
    return [asdict(finding) for finding in doctor.accelerators_against_cpu()]


report = {
    "devices": [str(one) for one in accelerators()],
    "chosen": [str(choose_device(name)) for name in ("auto", "toy", "toy:0", torch.device("toy", 0), "cpu")],
    "widest": str(widest_float(DEVICE)),
    "features": features(),
    "cpu": evaluation("cpu"),
    "toy": evaluation("toy"),
    "doctor": looked_at(),
}
toy.WRONG["convolution"] = 1.001
report["doctor, wrong"] = looked_at()
toy.WRONG.clear()
toy.LACKS |= {"gelu", "topk"}
report["lacking"] = evaluation("toy")
report["doctor, lacking"] = looked_at()
print(json.dumps(report))
