"""The network that ships: that it is the one its card describes, and that its features stay."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from ganeval.features.compact import CompactNet, load_compact
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.registry import COMPACT_FILE
from ganeval.features.weights import load_state_dict
from ganeval.images.open import open_images
from ganeval.protocol import get_protocol

CPU = torch.device("cpu")
CARD = json.loads(COMPACT_FILE.with_suffix(".json").read_text())


def test_card() -> None:
    content = COMPACT_FILE.read_bytes()
    assert CARD["sha256"] == hashlib.sha256(content).hexdigest()
    assert CARD["bytes"] == len(content) <= 6_000_000
    assert CARD["parameters"] == sum(p.numel() for p in CompactNet().parameters())


def test_features_of_fixed_images_are_pinned() -> None:
    """Features of four rendered images, as torch 2.15.0 on x86-64 gives them: the extractor on ``dataset:shapes@7``."""
    extractor = FeatureExtractor(get_protocol("compact"), device=CPU)
    (batch,) = open_images("dataset:shapes@7", num_samples=4).batches(4)
    rows = extractor(batch)["256"].double()
    assert rows.shape == (4, 256)
    assert rows.norm(dim=1).tolist() == pytest.approx(PINNED_NORMS, rel=1e-5)
    assert rows[:, ::51].flatten().tolist() == pytest.approx(PINNED_VALUES, abs=1e-5 * float(rows.abs().max()))


def test_maps_and_logits() -> None:
    network = load_compact(load_state_dict(COMPACT_FILE), device=CPU).network
    out = network(torch.zeros(2, 3, 32, 32))
    shapes = {name: tuple(x.shape) for name, x in out.items()}
    assert shapes == {
        "block1": (2, 64, 15, 15), "block2": (2, 256, 7, 7), "block3": (2, 256, 3, 3), "features": (2, 256),
        "logits": (2, 10),
    }  # fmt: skip


def test_logits_of_one_view_are_those_of_the_network() -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    module = load_compact(load_state_dict(COMPACT_FILE), device=CPU)
    out = module(x, ("256", "logits-1"))
    assert torch.equal(out["logits-1"], module.network(x)["logits"])
    assert torch.equal(out["256"], module(x, ("256", "logits-6"))["256"])


def test_six_views_are_taken_where_the_protocol_asks_for_them() -> None:
    taken = {}
    for name in ("compact", "compact:logits-6"):
        extractor = FeatureExtractor(get_protocol(name), device=CPU, layers=("features", "logits"))
        (batch,) = open_images("dataset:shapes@7", num_samples=2).batches(2)
        taken[name] = extractor(batch)
    assert [list(rows) for rows in taken.values()] == [["256", "logits-1"], ["256", "logits-6"]]
    one, six = taken.values()
    assert torch.equal(one["256"], six["256"])
    assert not torch.allclose(one["logits-1"], six["logits-6"], atol=1e-2)


def test_mean_logits_of_six_views() -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    module = load_compact(load_state_dict(COMPACT_FILE), device=CPU)

    def of(image: torch.Tensor) -> torch.Tensor:
        return (module.network(image)["logits"] + module.network(image.flip(3))["logits"]) / 2

    def moved(image: torch.Tensor, rows: list[int]) -> torch.Tensor:
        return image[:, :, rows][:, :, :, rows]

    def shifted(rows: list[int]) -> torch.Tensor:
        both = (moved(x, rows), moved(x.flip(3), rows))
        return sum(module.network(image)["logits"] for image in both) / 2  # type: ignore[return-value]

    down, up = [1, *range(31)], [*range(1, 32), 30]  # the border is reflected
    expected = of(x) / 2 + shifted(down) / 4 + shifted(up) / 4
    with torch.inference_mode():
        assert torch.allclose(module(x, ("logits-6",))["logits-6"], expected, atol=1e-5)
    assert not torch.allclose(of(x), expected, atol=1e-2)


def test_mean_logits_do_not_depend_on_the_side() -> None:
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    module = load_compact(load_state_dict(COMPACT_FILE), device=CPU)
    assert torch.allclose(module(x, ("logits-6",))["logits-6"], module(x.flip(3), ("logits-6",))["logits-6"], atol=1e-5)
    assert not torch.allclose(module(x, ("256",))["256"], module(x.flip(3), ("256",))["256"], atol=1e-2)


PINNED_NORMS = [19.56897, 17.0646, 17.08938, 17.34626]
PINNED_VALUES = [
    0.321425,
    1.60964,
    1.457353,
    0.047069,
    0.409196,
    1.367333,
    -0.013463,
    -0.035968,
    0.966127,
    -0.017367,
    -0.08386,
    2.097915,
    0.603134,
    0.848902,
    1.240468,
    0.283373,
    0.00262,
    1.95319,
    0.725362,
    0.534435,
    1.30046,
    1.104478,
    1.441881,
    1.637097,
]
