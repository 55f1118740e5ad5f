from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from ganeval.cli import doctor
from ganeval.cli.main import main
from ganeval.features import devices
from ganeval.features.extractor import FeatureExtractor


def test_doctor_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = {f["what"]: f for f in json.loads(capsys.readouterr().out)["doctor"]}
    assert findings["matrix square root"]["state"] == "ok"
    assert findings["torch with torchvision"]["state"] == "ok"
    assert findings["Inception weights"]["state"] in {"ok", "missing"}
    assert "cpu" in findings["devices"]["found"]


@pytest.mark.parametrize("state", ["ok", "broken"])
def test_doctor_runs_two_images_on_every_accelerator(
    state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second CPU stands for one; ``test_devices`` has one that computes wrongly by itself."""
    there = torch.device("cpu", 0)
    monkeypatch.setattr(devices, "accelerators", lambda: [there])
    if state == "broken":
        resized = FeatureExtractor._resized

        def wrong(self: FeatureExtractor, images: Any) -> torch.Tensor:
            return resized(self, images) * (1.001 if self.device == there else 1)

        monkeypatch.setattr(FeatureExtractor, "_resized", wrong)
    monkeypatch.setattr(doctor, "_trace", lambda: doctor.Finding("matrix square root", "ok", ""))
    assert main(["doctor", "--json"]) == (0 if state == "ok" else 2)
    findings = {f["what"]: f for f in json.loads(capsys.readouterr().out)["doctor"]}
    found = findings["compact-v1 on cpu:0"]
    assert found["state"] == state
    assert found["deviation"] == 0 if state == "ok" else 1e-4 < found["deviation"] < 0.1
    assert findings["devices"]["found"].endswith("cpu:0")
    assert findings["python"]["deviation"] is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_doctor_finds_cuda_well() -> None:
    findings = [f for f in doctor.accelerators_against_cpu() if "cuda:0" in f.what]
    assert findings
    assert {f.state for f in findings} == {"ok"}


def test_cpu_only_torch_beside_a_cuda_torchvision_is_recognised() -> None:
    error = "operator torchvision::nms does not exist"
    advice = doctor.torch_pair_advice({"torch": "2.13.0+cpu", "torchvision": "0.28.0"}, error)
    assert "CPU-only build" in advice
    assert "pip uninstall -y torch torchvision" in advice
    other = doctor.torch_pair_advice({"torch": "2.4.0", "torchvision": "0.28.0"}, error)
    assert "do not match" in other
    assert error in other


def test_a_broken_pair_is_named_and_exits_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it fails in the wild: torchvision raises RuntimeError when its operators meet a torch without them."""
    import builtins

    real_import = builtins.__import__

    def broken(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("torchvision"):
            raise RuntimeError("operator torchvision::nms does not exist")
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]

    versions = {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    real_version = doctor.importlib.metadata.version
    monkeypatch.setattr(builtins, "__import__", broken)
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda p: versions.get(p) or real_version(p))
    assert main(["doctor"]) == 2
    out, err = capsys.readouterr()
    assert "broken   torch with torchvision" in out
    assert "CPU-only build" in err


def test_disagreeing_square_roots_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganeval.statistics import linalg

    real = linalg.trace_sqrt

    def wrong(w: object, s: object, *, method: str = "auto") -> linalg.TraceSqrt:
        found = real(w, s, method=method)  # type: ignore[arg-type]
        return linalg.TraceSqrt(found.value * 1.001, found.method, ()) if method == "sqrtm" else found

    monkeypatch.setattr(linalg, "trace_sqrt", wrong)
    finding = doctor._trace()
    assert finding.state == "broken"
    assert "disagree" in finding.found
