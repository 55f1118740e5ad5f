"""Another arithmetic than float32: what the network computes in, what is told about it, and what may meet what."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ganeval
from ganeval import arithmetic as torch_arithmetic
from ganeval.api import build_statistics, evaluate
from ganeval.arithmetic import inference, strict_float32
from ganeval.cli.main import main
from ganeval.engine.reference_files import load_reference
from ganeval.errors import ConfigError, IncomparableError
from ganeval.features.custom import CustomNetwork
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.precision import Deviation, require_precision
from ganeval.images.open import open_images
from ganeval.images.types import ImageBatch
from ganeval.protocol import PROTOCOLS, Protocol, get_protocol, routed
from ganeval.statistics.reference import save_statistics

CPU = torch.device("cpu")


def images(n: int, kind: str = "shapes", seed: int = 0) -> np.ndarray:
    (batch,) = open_images(f"dataset:{kind}:32@{seed}", num_samples=n).batches(n)
    return np.asarray(batch.images)


def extractor(precision: str, weights: Path | None = None, protocol: str = "compact", n: int = 8) -> FeatureExtractor:
    from dataclasses import replace

    return FeatureExtractor(replace(get_protocol(protocol), precision=precision), device=CPU, weights=weights)


def batch(n: int, seed: int = 0) -> ImageBatch:
    return ImageBatch(torch.from_numpy(images(n, seed=seed)), [str(i) for i in range(n)], None)


@pytest.mark.parametrize("protocol", ["compact", pytest.param("ttur", marks=pytest.mark.nightly)])
def test_the_network_computes_in_what_was_asked_for(protocol: str, surrogate_weights: Path) -> None:
    weights = surrogate_weights if protocol == "ttur" else None
    exact = extractor("float32", weights, protocol)(batch(4))
    one = extractor("bf16", weights, protocol)
    seen: list[torch.dtype] = []

    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = function(*args, **(kwargs or {}))
            if "conv" in str(function) and isinstance(out, torch.Tensor) and out.is_floating_point():
                seen.extend((args[0].dtype, out.dtype))
            return out

    with Look():
        rows = one(batch(4))
        first = list(dict.fromkeys(seen))
        seen.clear()
        again = one(batch(4))
    assert first == [torch.float32, torch.bfloat16]  # the calibration, and then what was asked for
    assert len(seen) >= 7
    assert set(seen) == {torch.bfloat16}  # the calibration is done once
    for tap, block in rows.items():
        assert float((again[tap] - block).abs().max()) <= 1e-2 * float(block.abs().max())
        assert block.dtype == torch.float32
        apart = float((block - exact[tap]).abs().max() / exact[tap].abs().max())
        assert 1e-4 < apart < 5e-2
        assert one.deviation is not None
        # where float32 alone has a faster form of the network (Inception on the CPU), the two differ by its noise
        assert one.deviation.relative == pytest.approx(apart, rel=1e-6, abs=1e-5 if protocol == "ttur" else 0)
        assert one.deviation.images == 4


def test_a_first_batch_that_fails_does_not_spoil_the_next() -> None:
    one, ran = extractor("bf16"), extractor("bf16")
    works = one._run

    def fails(*_: object) -> dict[str, torch.Tensor]:
        raise RuntimeError("a kernel that fails")

    one._run = fails
    with pytest.raises(RuntimeError, match="a kernel that fails"):
        one(batch(4))
    one._run = works
    for _ in range(2):
        assert torch.equal(one(batch(4))["256"], ran(batch(4))["256"])
    assert one.deviation is None  # nothing is left to compare with
    assert "compare values of one precision only" in one.warnings[-1]


def test_float32_is_what_it_was_to_the_last_bit() -> None:
    one = extractor("float32")
    rows = one(batch(4))["256"]
    with strict_float32(), torch.inference_mode():
        x = (torch.from_numpy(images(4)).float() - 127.5) / 127.5
        assert torch.equal(rows, one._network(x, ("256",))["256"])
    assert one.deviation is None
    assert one.warnings == ()


def test_deviation_against_theory() -> None:
    exact = {"a": torch.tensor([[4.0, 0.0], [0.0, -2.0]])}
    other = {"a": exact["a"] + torch.tensor([[0.0, 0.3], [0.4, 0.0]])}
    found = Deviation.between(exact, other)
    assert found.relative == pytest.approx(0.1)
    assert found.length["a"] == pytest.approx((0.25 / 2) ** 0.5)
    assert "1.0e-01 of the largest one" in found.describe("bf16", "a")
    assert "less than about 0.7:" in found.describe("bf16", "a")
    assert "Frechet" not in found.describe("bf16", "b")


@pytest.mark.nightly
def test_the_root_of_a_distance_moves_by_less_than_is_told() -> None:
    """On all images, and not on the first alone, the bound is a theorem."""
    real, fake = images(50, seed=1), images(45, "shapes-striped", seed=2)
    values = {}
    for name in ("float32", "bf16"):
        result = evaluate(real, fake, protocol="compact", device="cpu", precision=name)["fid"]
        values[name] = result.value
        told = [w for w in result.warnings if "arithmetic" in w]
        assert len(told) == (name == "bf16")
    one = extractor("bf16")
    length = 0.0
    for side in (real, fake):
        exact = extractor("float32")(ImageBatch(torch.from_numpy(side), [""] * len(side), None))
        half = one(ImageBatch(torch.from_numpy(side), [""] * len(side), None))
        length += Deviation.between(exact, half).length["256"]
    assert values["float32"] != values["bf16"]
    assert abs(values["float32"] ** 0.5 - values["bf16"] ** 0.5) <= length
    assert values["bf16"] == pytest.approx(values["float32"], rel=0.02)


def test_values_of_two_precisions_do_not_meet(tmp_path: Path) -> None:
    real, fake = images(60, seed=1), images(60, seed=2)
    settings = {"protocol": "compact", "device": "cpu"}
    path = save_statistics(tmp_path / "real.npz", build_statistics(real, precision="bf16", **settings))
    stored = load_reference(path)
    assert stored.protocol is not None
    assert stored.protocol.precision == "bf16"
    assert any("bf16 arithmetic moves features" in w for w in (stored.meta or {})["warnings"])
    with pytest.raises(IncomparableError, match="precision: float32 against bf16.*--protocol compact --precision bf16"):
        evaluate(path, fake, **settings)
    result = evaluate(path, fake, precision="bf16", **settings)
    plain = evaluate(real, fake, **settings)
    assert result["fid"].protocol.key() != plain["fid"].protocol.key()
    assert "(compact, bf16, 60 real, 60 fake)" in str(result["fid"])
    assert result.environment["dtype"] == "bf16"
    with ganeval.Evaluator(path, precision="bf16", **settings) as evaluator:
        evaluator.update(fake)
        assert evaluator.compute()["fid"].value == pytest.approx(result["fid"].value, rel=1e-6)


def test_every_network_of_a_run_takes_the_precision() -> None:
    for name in ("stylegan", "ttur"):
        protocol = Protocol(**{**_fields(get_protocol(name)), "precision": "bf16"})
        assert routed(protocol, "precision").precision == "bf16"
        assert routed(protocol, "cmmd", "cmmd").precision == "bf16"
    assert routed(get_protocol("ttur"), "cmmd", "cmmd") == PROTOCOLS["cmmd"]


def _fields(protocol: Protocol) -> dict[str, object]:
    return {name: getattr(protocol, name) for name in Protocol.__dataclass_fields__}


def test_a_network_of_ones_own_runs_under_autocast() -> None:
    seen: list[torch.dtype] = []
    layer = torch.nn.Linear(3 * 8 * 8, 16)

    def network(x: torch.Tensor) -> torch.Tensor:
        out = layer(x.flatten(1))
        seen.append(out.dtype)
        return out

    own = CustomNetwork(network=network, size=8, resize="torch-bilinear", scale="x/255")
    evaluate(images(40), images(40, seed=3), protocol=own, device="cpu", precision="bf16")
    assert seen[0] == torch.float32  # where its width was looked at
    assert seen.count(torch.float32) == 2
    assert torch.bfloat16 in seen


@pytest.mark.parametrize("precision", ["fp16", "tf32", "half"])
def test_what_the_device_does_not_have_iv(precision: str) -> None:
    with pytest.raises(ConfigError, match=f"precision.*{precision}"):
        evaluate(images(4), images(4), protocol="compact", device="cpu", precision=precision)


def test_devices_iv(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability, there in (((7, 5), ["float32", "fp16"]), ((8, 0), ["float32", "bf16", "fp16", "tf32"])):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        for precision in ("float32", "bf16", "fp16", "tf32"):
            if precision in there:
                require_precision(precision, torch.device("cuda"))
            else:
                with pytest.raises(ConfigError, match="Supported: float32, fp16"):
                    require_precision(precision, torch.device("cuda"))
    with pytest.raises(ConfigError, match="on mps. Supported: float32"):
        require_precision("bf16", torch.device("mps"))


def test_tf32_is_on_only_where_it_was_asked_for() -> None:
    """Here no device has it, but the switches are there."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with strict_float32(tf32=True):
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    with inference("float32", CPU):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
        assert torch.is_inference_mode_enabled()
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_the_commands_tell_and_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--num-samples", "60", "--protocol", "compact", "--device", "cpu", "--precision"]
    sets = ["dataset:shapes-plain", "dataset:shapes-striped"]
    assert main(["fid", *sets, *common, "bf16"]) == 0
    said = capsys.readouterr()
    assert "(compact, bf16, 60 real, 60 fake)" in said.out
    assert "bf16 arithmetic moves features by up to" in said.err
    assert "on the first 16 images" in said.err
    assert main(["stats", "build", sets[0], *common, "bf16", "-o", str(tmp_path / "real.npz")]) == 0
    assert "bf16 arithmetic moves features by up to" in capsys.readouterr().err
    assert main(["fid", str(tmp_path / "real.npz"), sets[1], *common, "float32"]) == 2
    assert "--precision bf16" in capsys.readouterr().err
    assert main(["fid", *sets, *common, "tf32"]) == 2
    assert "is not supported on cpu. Supported: float32, bf16" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "most"), [("tf32", 5e-3), ("fp16", 1e-2), ("bf16", 5e-2)])
def test_accelerator_arithmetic(precision: str, most: float, surrogate_weights: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    from dataclasses import replace

    rows = {}
    for name in ("float32", precision):
        protocol = replace(get_protocol("ttur"), precision=name)
        one = FeatureExtractor(protocol, device=torch.device("cuda"), weights=surrogate_weights)
        rows[name] = one(batch(8))["2048"]
    apart = float((rows[precision] - rows["float32"]).abs().max() / rows["float32"].abs().max())
    assert 1e-6 < apart < most


def test_the_warning_of_older_names_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch 2.9 and 2.10 have it: one warning a process, at the first of the older names."""
    coming, setter = ["Please use the new API settings to control TF32 behavior"], torch.set_float32_matmul_precision

    def warns(precision: str) -> None:
        if coming:
            warnings.warn(coming.pop(), UserWarning, stacklevel=2)
        setter(precision)

    monkeypatch.setattr(torch, "set_float32_matmul_precision", warns)
    torch_arithmetic._silence_deprecation.cache_clear()
    before = torch.get_float32_matmul_precision()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with strict_float32(tf32=True):
            assert torch.get_float32_matmul_precision() == "high"
    assert coming == []
    assert torch.get_float32_matmul_precision() == before
