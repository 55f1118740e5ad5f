"""Any accelerator that PyTorch knows: chosen by name, spared what it cannot do, looked at, and left as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils import backend_registration

from ganeval.arithmetic import unsupported_errors, widest_float
from ganeval.errors import ConfigError
from ganeval.features import devices
from ganeval.features.devices import accelerators, choose_device, give_back

TESTS = Path(__file__).resolve().parent.parent
PLAIN = "60 real images"  # what the warning on the size of the sample begins with


@pytest.fixture(scope="module")
def report() -> Any:
    """Of a device that has no float64, in a process of its own."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this PyTorch has no devices in Python")
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    run = subprocess.run(
        [sys.executable, "-m", "support.on_toy"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_a_device_that_extends_pytorch_is_chosen(report: Any) -> None:
    assert report["devices"] == ["toy:0"]
    assert report["chosen"] == ["toy", "toy", "toy:0", "toy:0", "cpu"]
    assert report["widest"] == "torch.float32"


def test_features_on_it_against_the_cpu(report: Any) -> None:
    found = report["features"]
    assert found["device"] == "toy:0"
    assert found["deviation"] < 1e-5
    assert found["warnings"] == []
    assert (found["weights"], found["released"]) == (["toy:0"], ["cpu"])


def test_what_needs_float64_is_done_on_the_host_and_told_once(report: Any) -> None:
    here, there = report["cpu"], report["toy"]
    for name, value in here["values"].items():
        assert there["values"][name] == pytest.approx(value, rel=1e-5), name
    told = [w for w in there["warnings"] if not w.startswith(PLAIN)]
    assert told == there["logged"]
    (sentence,) = told
    assert sentence.startswith("kernels are computed on the host: Cannot convert a toy tensor to float64")
    assert here["logged"] == []


def test_a_network_with_an_operation_that_it_lacks_runs_on_the_host(report: Any) -> None:
    here, there = report["cpu"], report["lacking"]
    assert there["values"] == here["values"]
    told = "features of compact-v1 are computed on the host: The operator 'aten::gelu' is not implemented for toy"
    assert there["warnings"].count(told) == 1
    searches = "neighbours are searched on the host: The operator 'aten::topk' is not implemented for toy"
    assert searches in there["warnings"]
    assert len(there["logged"]) == len(set(there["logged"])) == 3  # the kernels' is the third


def test_doctor_compares_it_with_the_cpu(report: Any) -> None:
    (fine,), (wrong,), (lacking,) = report["doctor"], report["doctor, wrong"], report["doctor, lacking"]
    assert {one["what"] for one in (fine, wrong, lacking)} == {"compact-v1 on toy:0"}
    assert fine["state"] == "ok"
    assert 0 < fine["deviation"] < 1e-5
    assert wrong["state"] == "broken"
    assert 1e-4 < wrong["deviation"] < 0.1
    assert "at most 1e-04 is expected" in wrong["found"]
    assert "--device cpu" in wrong["advice"]
    assert lacking["state"] == "missing"
    assert "aten::gelu" in lacking["found"]


def test_several_kinds_of_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretended: CUDA's come first, one CPU stays the last; names with and without an index."""
    for kind, number in (("cuda", 2), ("xpu", 1)):
        monkeypatch.setattr(getattr(torch, kind), "is_available", lambda: True)
        monkeypatch.setattr(getattr(torch, kind), "device_count", lambda number=number: number)
    assert [str(one) for one in accelerators()] == ["cuda:0", "cuda:1", "xpu:0"]
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("xpu") == torch.device("xpu")
    assert choose_device(torch.device("xpu", 0)) == torch.device("xpu:0")
    with pytest.raises(ConfigError, match="no device 'xpu:1'. Available: auto, cuda, cuda:0, cuda:1, xpu, xpu:0, cpu"):
        choose_device("xpu:1")


def test_memory_is_given_back_where_there_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this PyTorch does not have is left out, and what was never used is not begun."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("cache"))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    for name in ("_cuda_clearCublasWorkspaces", "_host_emptyCache"):
        monkeypatch.setattr(torch._C, name, lambda name=name: calls.append(name), raising=False)
    cuda = torch.device("cuda")
    give_back(cuda)
    give_back(torch.device("cpu"))
    assert calls == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    give_back(cuda)
    assert calls == ["_cuda_clearCublasWorkspaces", "cache", "_host_emptyCache"]
    for name in ("_cuda_clearCublasWorkspaces", "_host_emptyCache"):
        monkeypatch.delattr(torch._C, name)
    give_back(cuda)
    assert calls[3:] == ["cache"]
    monkeypatch.setattr(devices, "_module", lambda kind: SimpleNamespace())
    give_back(torch.device("xpu"))
    assert calls[4:] == []


def test_errors_of_an_unsupported_operation() -> None:
    """An error on CUDA is an error; other devices have no kind of error for what they cannot do."""
    assert (
        unsupported_errors(torch.device("cuda"))
        == unsupported_errors(torch.device("cpu"))
        == (torch.cuda.OutOfMemoryError,)
    )
    assert issubclass(NotImplementedError, unsupported_errors(torch.device("mps")))
    assert widest_float(torch.device("cpu")) == torch.float64
