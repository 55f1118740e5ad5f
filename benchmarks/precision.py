"""How far ganeval's numbers are from each peer's own, on the same images under the same weights.

    python benchmarks/precision.py [--quick] [-o benchmarks/results/precision.json] [--page docs/precision.md]

Each peer is run through its own code, as it is installed here. Inception has the stand-in weights of the tests
(``tests/surrogate.py``), other networks random ones: the arithmetic is the same. No image is 299 x 299 pixels, where
every resize is the identity. ``--quick`` leaves out what is measured end to end, from files to the number. ``--page``
writes the table into that page, between its two marks.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import surrogate  # noqa: E402
from support.weights import of  # noqa: E402

from ganeval.api import evaluate  # noqa: E402
from ganeval.features.clip import load_clip  # noqa: E402
from ganeval.features.extractor import FeatureExtractor  # noqa: E402
from ganeval.features.perceptual import load_distance  # noqa: E402
from ganeval.features.registry import NETWORKS  # noqa: E402
from ganeval.features.scaling import SCALES  # noqa: E402
from ganeval.features.torchvision_inception import load_torchvision_inception  # noqa: E402
from ganeval.images.resize import resize  # noqa: E402
from ganeval.images.types import ImageBatch  # noqa: E402
from ganeval.metrics.frechet import frechet_distance  # noqa: E402
from ganeval.metrics.inception_score import split_scores  # noqa: E402
from ganeval.metrics.kernel import subset_distances  # noqa: E402
from ganeval.metrics.precision_recall import neighbourhoods  # noqa: E402
from ganeval.protocol import get_protocol  # noqa: E402
from ganeval.statistics.moments import Moments  # noqa: E402

CPU = torch.device("cpu")
PIXELS = (32, 64, 128, 256, 512, 1024)
LAYER, GREY, RELATIVE, SHARE = "of the largest feature", "grey levels", "of the value", "of a share"
PEERS = {"pytorch-fid": "pytorch-fid", "ttur": "torch-fidelity", "torchmetrics": "torchmetrics", "clean": "clean-fid"}
MARKS = ("<!-- measured: begin -->", "<!-- measured: end -->")
PACKAGES = (
    "pytorch-fid", "torch-fidelity", "torchmetrics", "clean-fid", "prdc", "lpips", "torch", "torchvision", "scipy",
    "numpy", "pillow",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: the largest difference over the inputs, and what is promised."""

    what: str
    peer: str
    inputs: str
    difference: float
    unit: str
    tolerance: float


def noise(pixels: int) -> Tensor:
    random = torch.Generator().manual_seed(pixels)
    return torch.randint(0, 256, (1, 3, pixels, pixels), generator=random).float()


def resizes() -> Iterator[Row]:
    """White noise, where modes differ most."""
    from cleanfid.resize import build_resizer
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as tensorflow

    clean, size = build_resizer("clean"), (299, 299)

    def pillow(x: Tensor) -> Tensor:
        small = Image.fromarray(as_bytes(x)).resize((224, 224), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(small).transpose(2, 0, 1))

    peers: list[tuple[str, str, float, Callable[[Tensor], Tensor]]] = [
        ("tf1-bilinear", "torch-fidelity", 0, lambda x: tensorflow(x, size=size, align_corners=False)),
        ("tf1-bilinear", "the affine grid of NVIDIA's scripts, written out", 0.03, affine),
        ("torch-bilinear", "pytorch-fid (in 0..1)", 1e-4,
         lambda x: 255 * functional.interpolate(x / 255, size, mode="bilinear")),
        ("torch-bilinear-antialias", "torchmetrics (PyTorch's call)", 0,
         lambda x: functional.interpolate(x, size, mode="bilinear", antialias=True)),
        ("pil-bicubic-float", "clean-fid", 0, lambda x: torch.from_numpy(clean(as_bytes(x)).transpose(2, 0, 1))),
        ("pil-bicubic-uint8", "Pillow, as dgm-eval calls it", 0, pillow),
    ]  # fmt: skip
    images = [noise(pixels) for pixels in PIXELS]
    for mode, peer, tolerance, theirs in peers:
        size_of = 224 if mode == "pil-bicubic-uint8" else 299
        worst = max(float((resize(x, size_of, mode) - theirs(x)).abs().max()) for x in images)
        yield Row(f"resize `{mode}`", peer, f"noise, {PIXELS[0]} to {PIXELS[-1]} pixels", worst, GREY, tolerance)


def as_bytes(image: Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).numpy().astype(np.uint8)


def affine(images: Tensor, size: int = 299) -> Tensor:
    shift = 1 / images.shape[-1] - 1 / size
    theta = torch.tensor([[[1.0, 0.0, shift], [0.0, 1.0, shift]]])
    grid = functional.affine_grid(theta, [1, 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def pictures(n: int, size: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def networks(folder: Path) -> Iterator[Row]:
    """Resize, scale and network under random weights, where the peer has all three; else the network alone."""
    from torch_fidelity.feature_extractor_clip import VisionTransformer
    from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16
    from torchvision.models import inception_v3, vgg16

    def row(what: str, peer: str, ours: Tensor, theirs: Tensor) -> Row:
        difference = float((ours.double() - theirs.double()).abs().max() / theirs.abs().max())
        return Row(what, peer, f"{len(ours)} images, random weights", difference, LAYER, 1e-5)

    path = folder / "vgg16.pth"
    torch.save(of(lambda: vgg16(weights=None, init_weights=False)), path)
    images = pictures(2, 40)
    extractor = FeatureExtractor(get_protocol("vgg16"), device=CPU, weights=path)
    ours = extractor(ImageBatch(images, ["a", "b"], None))["4096"]
    del extractor
    theirs = FeatureExtractorVGG16("vgg16", ["fc2_relu"], feature_extractor_weights_path=str(path))(images)[0]
    yield row("VGG16, with its resize", "torch-fidelity", ours, theirs)

    def inception() -> nn.Module:
        return inception_v3(weights=None, aux_logits=True, transform_input=False, init_weights=False)

    state = of(inception)
    x = SCALES["2*(x/255)-1"](pictures(2, 299).float())
    peer = inception()
    peer.load_state_dict(state)
    with torch.inference_mode():
        yield row(
            "torchvision's Inception-v3, logits", "torchvision",
            load_torchvision_inception(state)(x, ("logits",))["logits"], peer.eval()(x),
        )  # fmt: skip
    shape = NETWORKS["clip-vitb32"].options

    def clip() -> nn.Module:
        image_size, patch_size, width, layers, output_dim = shape.values()
        return VisionTransformer(image_size, patch_size, width, layers, width // 64, output_dim)

    state = of(clip)
    x = SCALES["clip"](pictures(2, shape["image_size"]).float())
    peer = clip()
    peer.load_state_dict(state)
    whole = {**{f"visual.{k}": v for k, v in state.items()}, "text_projection": torch.zeros(3, 3)}
    with torch.inference_mode():
        yield row(
            "CLIP ViT-B/32", "torch-fidelity", load_clip(whole, **shape)(x)[str(shape["output_dim"])], peer.eval()(x)
        )


def perceptual(folder: Path) -> Iterator[Row]:
    """The distances that PPL takes, under the published heads and random trunks."""
    import lpips
    from torchvision import models

    random = torch.Generator().manual_seed(1)
    a = torch.rand(3, 3, 64, 64, generator=random) * 2 - 1
    b = a + 0.2 * torch.randn(a.shape, generator=random)
    for net, name in zip(("vgg", "alex", "squeeze"), ("vgg16", "alexnet", "squeezenet1_1"), strict=True):
        trunk = of(lambda name=name: getattr(models, name)(weights=None))
        trunk = {k: v.clone() for k, v in trunk.items() if k.startswith("features.")}
        path = folder / f"{net}.pth"
        torch.save(trunk, path)
        theirs = lpips.LPIPS(net=net, pretrained=True, pnet_rand=True, verbose=False)
        names = [key for key in theirs.state_dict() if key.startswith("net.")]
        theirs.load_state_dict({key: trunk[f"features.{key.split('.', 2)[2]}"] for key in names}, strict=False)
        ours = load_distance(f"lpips-{net}", device=CPU, weights=path)(a, b)
        with torch.inference_mode():
            expected = theirs(a, b).flatten()
        difference = float(((ours - expected) / expected).abs().max())
        yield Row(f"LPIPS, {name}", "lpips", "3 pairs of 64 x 64 pixels, random trunk", difference, RELATIVE, 2e-5)


def estimators() -> Iterator[Row]:
    """The same features, or logits, into our estimator and the peer's."""
    from prdc import compute_prdc
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    random = np.random.default_rng(0)
    mix = random.standard_normal((256, 256)) / 16
    real, fake = (np.maximum(random.standard_normal((1500, 256)) @ mix + shift, 0) for shift in (0.2, 0.3))
    real, fake = real.astype(np.float32), fake.astype(np.float32)
    on = "1500 + 1500 rows of 256 features"
    ours = frechet_distance(*(moments(x) for x in (real, fake))).value
    for peer in PEERS.values():
        difference = abs(ours - peer_distance(peer, real, fake)) / ours
        yield Row("Frechet distance of the same features", peer, on, difference, RELATIVE, 1e-5)
    out = kid_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), kid_subsets=50, kid_subset_size=500, verbose=False,
        rng_seed=2020,
    )  # fmt: skip
    found = subset_distances(real, fake, subsets=50, size=500)
    theirs = out["kernel_inception_distance_mean"]
    yield Row(
        "KID, mean over 50 subsets of 500", "torch-fidelity", on, abs(found.mean() - theirs) / theirs, RELATIVE, 1e-5
    )
    logits = (3 * random.standard_normal((2000, 1008))).astype(np.float32)
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=True, rng_seed=2020)
    difference = abs(split_scores(logits, splits=10).mean() / theirs["inception_score_mean"] - 1)
    yield Row(
        "Inception Score, mean of 10 parts", "torch-fidelity", "2000 rows of 1008 logits", difference, RELATIVE, 1e-6
    )
    real, fake = (scale * random.standard_normal((n, 16)) for n, scale in ((1500, 1.0), (1400, 0.8)))
    real, fake = real.astype(np.float32), fake.astype(np.float32)
    on = "1500 + 1400 rows of 16 features"
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = compute_prdc(real.astype(np.float64), fake.astype(np.float64), nearest_k=5)
    ours = neighbourhoods(real, fake, k=dict.fromkeys(theirs, 5), strict=True).values()
    for name in theirs:
        yield Row(f"{name}, k = 5, `<`", "prdc", on, abs(ours[name] - theirs[name]), SHARE, 1e-12)
    theirs = prc_features_to_metric(
        torch.from_numpy(fake).double(), torch.from_numpy(real).double(), prc_neighborhood=3, prc_batch_size=10000,
        save_cpu_ram=False, verbose=False,
    )  # fmt: skip
    three = dict.fromkeys(("precision", "recall", "density", "coverage"), 3)
    ours = neighbourhoods(real, fake, k=three, strict=False).values()
    for name in ("precision", "recall"):  # its shares are means in float32
        yield Row(f"{name}, k = 3, `<=`", "torch-fidelity", on, abs(ours[name] - theirs[name]), SHARE, 1e-7)


def moments(rows: np.ndarray):  # type: ignore[no-untyped-def]
    accumulator = Moments(rows.shape[1])
    accumulator.update(rows)
    return accumulator.finish()


def peer_distance(peer: str, real: np.ndarray, fake: np.ndarray) -> float:
    """The peer's own arithmetic."""
    if peer == "torchmetrics":
        from torchmetrics.image.fid import _compute_fid

        x, y = (torch.from_numpy(f).double() for f in (real, fake))
        return float(_compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)))
    if peer == "torch-fidelity":
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        statistics = [fid_features_to_statistics(torch.from_numpy(f)) for f in (real, fake)]
        return float(fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"])
    if peer == "clean-fid":
        from cleanfid.fid import fid_from_feats

        return float(fid_from_feats(real, fake))
    from pytorch_fid.fid_score import calculate_frechet_distance

    pair = [(f.astype(float).mean(0), np.cov(f.astype(float), rowvar=False)) for f in (real, fake)]
    return float(calculate_frechet_distance(*pair[0], *pair[1]))


SIZES = ((32, 32), (200, 150), (64, 64), (350, 320))


def saved(folder: Path, n: int, seed: int, sharpness: float) -> list[np.ndarray]:
    """Smooth colour fields and noise, in mixed sizes, as PNG."""
    folder.mkdir()
    random, out = np.random.default_rng(seed), []
    for i in range(n):
        height, width = SIZES[i % len(SIZES)]
        small = Image.fromarray(random.integers(0, 256, (random.integers(2, 9), 5, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), float)
        out.append(np.clip(smooth + sharpness * random.normal(0, 60, smooth.shape), 0, 255).astype(np.uint8))
        Image.fromarray(out[-1]).save(folder / f"{i:03}.png")
    return out


def end_to_end(folder: Path) -> Iterator[Row]:
    """From files to the number."""
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    weights = surrogate.write_surrogate(folder / "inception.pth")
    real, fake = saved(folder / "real", 24, 1, 0.1), saved(folder / "fake", 22, 2, 0.6)
    on = "24 + 22 files of four sizes"
    for protocol, peer in PEERS.items():
        names = ("fid", "is", "kid") if protocol == "ttur" else ("fid",)
        ours = evaluate(
            folder / "real", folder / "fake", protocol=protocol, weights=weights, device="cpu", metrics=names,
            cache=False,
            **({"kid_subsets": (12, 20), "splits": 5} if protocol == "ttur" else {}),
        )  # fmt: skip
        name = "clean" if protocol == "clean" else peer
        reals, fakes = (surrogate.peer_taps(name, x, weights) for x in (real, fake))
        tail = ", its resize before torch-fidelity's network" if peer == "clean-fid" else ""
        theirs = peer_distance(peer, reals["2048"], fakes["2048"])
        yield Row(f"`fid --protocol {protocol}`", peer + tail, on, abs(ours["fid"].value / theirs - 1), RELATIVE, 1e-5)
        yield from features(protocol, peer, fakes, fake[:8], weights)
        if protocol != "ttur":
            continue
        score = isc_features_to_metric(
            torch.from_numpy(fakes["logits_unbiased"]), splits=5, shuffle=True, rng_seed=2020
        )
        mean = ours["is"].details["splits"]["mean"]  # type: ignore[index]
        yield Row("`is`, mean of 5 parts", peer, on, abs(mean / score["inception_score_mean"] - 1), RELATIVE, 1e-5)
        distance = kid_features_to_metric(
            *(torch.from_numpy(x["2048"]) for x in (fakes, reals)), kid_subsets=12, kid_subset_size=20, verbose=False,
            rng_seed=2020,
        )["kernel_inception_distance_mean"]  # fmt: skip
        mean = ours["kid"].details["subsets"]["mean"]  # type: ignore[index]
        yield Row("`kid --kid-subsets 12x20`", peer, on, abs(mean / distance - 1), RELATIVE, 1e-5)


def features(
    protocol: str, peer: str, theirs: dict[str, np.ndarray], images: list[np.ndarray], weights: Path
) -> Iterator[Row]:
    """Every layer that the peer has, the worst of them."""
    taps = tuple(tap for tap in theirs if tap != "logits")
    extractor = FeatureExtractor(get_protocol(protocol), device=CPU, weights=weights)
    batches = [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]
    extractor.taps = taps
    prepare = extractor.prepare
    ready = torch.stack([prepare(image) for image in images]) if prepare else batches
    ours = extractor(ImageBatch(ready, [""] * len(images), None))
    worst = max(
        float(np.abs(ours[tap].numpy() - theirs[tap][: len(images)]).max() / np.abs(theirs[tap]).max()) for tap in taps
    )
    what = f"Inception with the resize of `{protocol}`"
    inputs = f"{len(images)} images of four sizes; layers {', '.join(taps)}"
    yield Row(what, peer, inputs, worst, LAYER, 1e-4)


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def table(found: dict) -> str:
    """The rows as Markdown."""
    lines = ["| | peer | largest difference | promised | on |", "|---|---|---|---|---|"]
    for row in found["rows"]:
        difference = "0, bit for bit" if row["difference"] == 0 else f"{row['difference']:.1e} {row['unit']}"
        promised = "0" if row["tolerance"] == 0 else f"{row['tolerance']:g}"
        lines.append(f"| {row['what']} | {row['peer']} | {difference} | {promised} | {row['inputs']} |")
    told = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return "\n".join([*lines, "", f"Measured with {told}; {found['machine']}."])


def write_page(page: Path, found: dict) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{table(found)}\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' warnings are none of ours
        folder = Path(name)
        parts = [resizes(), networks(folder), perceptual(folder), estimators()]
        for part in parts if options.quick else [*parts, end_to_end(folder)]:
            for row in part:
                rows.append(row)
                print(f"{row.difference:9.2g} <= {row.tolerance:<7g} {row.what} ({row.peer})", flush=True)
    found = {
        "rows": [asdict(row) for row in rows],
        "versions": versions(),
        "machine": f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)",
    }
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.page:
        write_page(options.page, found)
    over = [row.what for row in rows if row.difference > row.tolerance]
    sys.exit(f"beyond what is promised: {', '.join(over)}" if over else 0)


if __name__ == "__main__":
    main()
