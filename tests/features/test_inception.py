"""FID's Inception-v3 against the peers' own networks under one file of weights, on images that are not 299 x 299."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from support.peers import needs_peer
from torch import Tensor, nn

from ganeval.arithmetic import strict_float32
from ganeval.errors import InputError, WeightsError
from ganeval.features.inception import TAPS, FIDInception, load_inception
from ganeval.features.weights import load_state_dict
from ganeval.images.resize import PIL_MODES, resize, resize_pil

TOLERANCE = 1e-4  # of the largest feature: what is promised; 1e-5 is what is seen
PEERS = {  # resize, scale
    "pytorch-fid": ("torch-bilinear", lambda x: 2 * (x / 255) - 1),
    "torch-fidelity": ("tf1-bilinear", lambda x: (x - 128) / 128),
    "torchmetrics": ("torch-bilinear-antialias", lambda x: (x - 128) / 128),
    "clean": ("pil-bicubic-float", lambda x: (x - 128) / 128),
}


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth colours with noise on top, and a bright rectangle: uint8 (H, W, 3)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = np.stack([np.sin(2 * np.pi * (random.uniform(1, 6) * x + random.uniform(1, 6) * y)) for _ in range(3)], -1)
    image = 128 + 70 * waves + random.normal(0, 25, (height, width, 3))
    image[height // 4 : height // 2, width // 3 : width // 2] = random.integers(0, 256, 3)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


PICTURES = [picture(32, 32, 0), picture(64, 64, 1), picture(150, 200, 2), picture(400, 310, 3)]


def network_input(image: np.ndarray, mode: str) -> Tensor:
    if mode in PIL_MODES:
        return resize_pil(image, 299, mode)[None]
    return resize(torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None], 299, mode)


@pytest.fixture(scope="module")
def state_dict(surrogate_weights: Path) -> dict[str, Tensor]:
    return load_state_dict(surrogate_weights)


@pytest.fixture(scope="module")
def fast(state_dict: dict[str, Tensor]) -> FIDInception:
    return load_inception(state_dict)


@pytest.fixture(scope="module")
def plain(state_dict: dict[str, Tensor]) -> FIDInception:
    return load_inception(state_dict, fast=False)


@pytest.fixture(scope="module")
def batch() -> Tensor:
    return torch.cat([network_input(image, "tf1-bilinear") / 128 - 1 for image in PICTURES[:3]])


@needs_peer("pytorch_fid", "torch_fidelity", "torchmetrics", "cleanfid")
@pytest.mark.parametrize("peer", PEERS)
def test_features_against_peers(peer: str, surrogate: ModuleType, surrogate_weights: Path, fast: FIDInception) -> None:
    mode, scale = PEERS[peer]
    theirs = surrogate.peer_taps(peer, PICTURES, surrogate_weights)
    expected_taps = {"pytorch-fid": {"64", "192", "768", "2048"}, "clean": {"2048"}}.get(peer, set(TAPS) - {"sfid"})
    assert set(theirs) == expected_taps
    with torch.inference_mode():
        ours = fast(torch.cat([scale(network_input(image, mode)) for image in PICTURES]), taps=theirs)
    for tap, expected in theirs.items():
        found = ours[tap].numpy()
        assert found.shape == expected.shape == (len(PICTURES), TAPS[tap])
        assert np.abs(expected - expected[:1]).max() > 0.1 * np.abs(expected).max()  # features tell images apart
        assert np.abs(found - expected).max() < TOLERANCE * np.abs(expected).max(), tap


@needs_peer("torch_fidelity", "torchmetrics")
def test_the_resize_of_another_protocol_is_seen(
    surrogate: ModuleType, surrogate_weights: Path, fast: FIDInception
) -> None:
    """The comparison above can fail: one peer's resize with another's features is far beyond its tolerance."""
    expected = surrogate.peer_features("torchmetrics", PICTURES[2:3], surrogate_weights)
    with torch.inference_mode():
        found = fast(network_input(PICTURES[2], "tf1-bilinear") / 128 - 1)["2048"].numpy()
    assert np.abs(found - expected).max() > 10 * TOLERANCE * np.abs(expected).max()


def test_fast_form_against_plain(fast: FIDInception, plain: FIDInception, batch: Tensor) -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in plain.modules()) == 94
    assert fast.Mixed_6a.branch3x3.conv.weight.is_contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        quick, slow = fast(batch, taps=TAPS), plain(batch, taps=TAPS)
    for tap, width in TAPS.items():
        assert slow[tap].shape == (3, width)
        assert (quick[tap] - slow[tap]).abs().max() < 1e-5 * slow[tap].abs().max(), tap


def test_batch_and_order_of_taps_change_nothing(fast: FIDInception, batch: Tensor) -> None:
    before = batch.clone()
    with torch.inference_mode():
        together = fast(batch, taps=list(TAPS))
        alone = [fast(image[None], taps=list(TAPS)[::-1]) for image in batch]
    assert torch.equal(batch, before)
    for tap in TAPS:
        single = torch.cat([features[tap] for features in alone])
        assert (single - together[tap]).abs().max() < 2e-6 * together[tap].abs().max(), tap


@pytest.mark.parametrize(
    ("tap", "last", "not_reached"),
    [
        ("64", "Conv2d_2b_3x3", "Conv2d_3b_1x1"),
        ("192", "Conv2d_4a_3x3", "Mixed_5b"),
        ("sfid", "Mixed_6d", "Mixed_6e"),
        ("768", "Mixed_6e", "Mixed_7a"),
    ],
)
def test_shallow_taps_stop_early(fast: FIDInception, batch: Tensor, tap: str, last: str, not_reached: str) -> None:
    called: list[str] = []
    children = fast.named_children()
    hooks = [child.register_forward_hook(lambda *_, name=name: called.append(name)) for name, child in children]
    try:
        with torch.inference_mode():
            out = fast(batch[:1], taps={tap})
    finally:
        for hook in hooks:
            hook.remove()
    assert list(out) == [tap]
    assert last in called
    assert not_reached not in called


def test_sfid_tap_is_the_branch_after_relu_in_height_width_channel_order(fast: FIDInception, batch: Tensor) -> None:
    seen: list[Tensor] = []
    hook = fast.Mixed_6d.branch1x1.register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    with torch.inference_mode():
        features = fast(batch[:2], taps=["sfid"])["sfid"]
    hook.remove()
    (branch,) = seen
    assert branch.shape == (2, 192, 17, 17)
    assert branch.min() == 0
    expected = np.stack([image[:7].numpy().transpose(1, 2, 0).reshape(-1) for image in branch])
    assert np.array_equal(features.numpy(), expected)
    assert not np.array_equal(features.numpy(), branch[:, :7].reshape(2, -1).numpy())


def test_logits_are_the_linear_map_of_the_features(
    fast: FIDInception, batch: Tensor, state_dict: dict[str, Tensor]
) -> None:
    with torch.inference_mode():
        out = fast(batch, taps=["2048", "logits", "logits_unbiased"])
    by_hand = out["2048"].double() @ state_dict["fc.weight"].double().T
    assert (out["logits_unbiased"] - by_hand).abs().max() < 1e-5 * by_hand.abs().max()
    bias = out["logits"] - out["logits_unbiased"]
    torch.testing.assert_close(bias, state_dict["fc.bias"].expand(3, -1), atol=1e-4, rtol=0)


def test_padding_is_not_counted_and_the_last_pool_is_a_maximum(fast: FIDInception) -> None:
    """On a constant map an average that counts padding is lower at the border; and maxima exceed averages."""
    seen: dict[str, Tensor] = {}
    places = {"5b": fast.Mixed_5b, "6e": fast.Mixed_6e, "7b": fast.Mixed_7b, "7c": fast.Mixed_7c}
    channels = {"5b": 192, "6e": 768, "7b": 1280, "7c": 2048}
    for name, block in places.items():
        hook = block.branch_pool.register_forward_pre_hook(lambda _m, inputs, name=name: seen.update({name: inputs[0]}))
        ramp = torch.arange(9.0).reshape(1, 1, 3, 3).expand(1, channels[name], 3, 3)
        with torch.inference_mode():
            block(ramp)
        hook.remove()
    averages = torch.tensor([[2.0, 2.5, 3.0], [3.5, 4.0, 4.5], [5.0, 5.5, 6.0]])
    maxima = torch.tensor([[4.0, 5.0, 5.0], [7.0, 8.0, 8.0], [7.0, 8.0, 8.0]])
    for name in places:
        torch.testing.assert_close(seen[name][0, 0], maxima if name == "7c" else averages)


def test_shape_of_the_network(state_dict: dict[str, Tensor], plain: FIDInception) -> None:
    assert len(state_dict) == 472
    assert sum(p.numel() for p in plain.parameters()) == 23_850_960
    assert not plain.training
    assert not any(p.requires_grad for p in plain.parameters())
    assert all(not m.training for m in plain.modules())


def test_loading_draws_no_random_numbers(state_dict: dict[str, Tensor]) -> None:
    """Initialising weights that are replaced at once costs seconds, and would change the user's random stream."""
    before = torch.get_rng_state()
    net = load_inception(state_dict)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(p.requires_grad for p in net.parameters())
    assert not any(module.training for module in net.modules())
    assert all(tensor.device.type == "cpu" for tensor in net.state_dict().values())


def test_counters_of_batches_and_half_precision_are_accepted(
    state_dict: dict[str, Tensor], fast: FIDInception, batch: Tensor
) -> None:
    norms = [name.removesuffix("running_mean") for name in state_dict if name.endswith("running_mean")]
    counters = {f"{name}num_batches_tracked": torch.tensor(7) for name in norms}
    assert len(counters) == 94
    with torch.inference_mode():
        same = load_inception(state_dict | counters)(batch[:1], taps=["192"])["192"]
        half = load_inception({n: t.half() for n, t in state_dict.items()})(batch[:1], taps=["192"])["192"]
        expected = fast(batch[:1], taps=["192"])["192"]
    assert torch.equal(same, expected)
    assert half.dtype == torch.float32
    assert 0 < (half - expected).abs().max() < 0.01 * expected.abs().max()


def test_load_inception_iv(state_dict: dict[str, Tensor]) -> None:
    def refused(message: str, changed: dict[str, Tensor | None]) -> None:
        wrong = {name: tensor for name, tensor in (state_dict | changed).items() if tensor is not None}
        with pytest.raises(WeightsError, match=message) as caught:
            load_inception(wrong)
        assert len(str(caught.value)) < 600

    refused(r"1 missing \(fc\.bias\)", {"fc.bias": None})
    refused(r"1 unexpected \(AuxLogits\.fc\.bias\)", {"AuxLogits.fc.bias": torch.zeros(1000)})
    refused(r"fc\.weight has shape \(1000, 2048\) instead of \(1008, 2048\)", {"fc.weight": torch.zeros(1000, 2048)})
    refused("damaged: fc.bias holds NaN", {"fc.bias": torch.full((1008,), torch.nan)})
    refused(r"472 missing \(Conv2d_1a_3x3\.conv\.weight, .*, \.\.\.\)", dict.fromkeys(state_dict))
    with pytest.raises(WeightsError, match=r"472 missing .* 1 unexpected"):
        load_inception({"features.0.weight": torch.zeros(3)})


def test_taps_iv(fast: FIDInception, batch: Tensor) -> None:
    with pytest.raises(InputError, match=r"no tap 1024. Available: 64, 192, 768, 2048"):
        fast(batch, taps=["1024", "64"])


SETTINGS: dict[str, Callable[[], None]] = {
    "defaults": lambda: None,
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "matmul_precision_high": lambda: torch.set_float32_matmul_precision("high"),
    "matmul_precision_medium": lambda: torch.set_float32_matmul_precision("medium"),
    "cudnn_off": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
}
if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
    SETTINGS |= {
        "new_everywhere": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
        "new_matmul": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    }


def precision_state() -> dict[str, object]:
    backends = torch.backends
    readers: dict[str, Callable[[], object]] = {
        "matmul": torch.get_float32_matmul_precision,
        "allow_tf32": lambda: backends.cuda.matmul.allow_tf32,
        "cudnn": lambda: backends.cudnn.allow_tf32,
        "all": lambda: backends.fp32_precision,
        "cuda.matmul": lambda: backends.cuda.matmul.fp32_precision,
        "cudnn.conv": lambda: backends.cudnn.conv.fp32_precision,
        "cudnn.rnn": lambda: backends.cudnn.rnn.fp32_precision,
        "mkldnn.matmul": lambda: backends.mkldnn.matmul.fp32_precision,
        "mkldnn.conv": lambda: backends.mkldnn.conv.fp32_precision,
    }
    state: dict[str, object] = {}
    for name, read in readers.items():
        try:
            state[name] = read()
        except (RuntimeError, AttributeError) as error:  # PyTorch refuses to read what disagrees; older ones lack some
            state[name] = type(error)
    return state


@pytest.fixture
def restored_precision() -> Iterator[None]:
    before = precision_state()
    yield
    backends = torch.backends
    if isinstance(before["all"], str):
        backends.fp32_precision = before["all"]
    torch.set_float32_matmul_precision(str(before["matmul"]))
    backends.cudnn.allow_tf32 = before["cudnn"]
    for name in ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv"):
        if isinstance(before[name], str):
            backend, operation = name.split(".")
            getattr(getattr(backends, backend), operation).fp32_precision = before[name]
    assert precision_state() == before


@pytest.mark.usefixtures("restored_precision")
@pytest.mark.parametrize("setting", SETTINGS)
def test_strict_float32_whatever_was_set(setting: str) -> None:
    SETTINGS[setting]()
    before = precision_state()
    inside: dict[str, object] = {}

    def fail() -> None:
        with strict_float32():
            inside.update(precision_state())
            raise KeyError

    with pytest.raises(KeyError):  # left by an exception, the settings come back too
        fail()
    assert precision_state() == before
    assert inside["matmul"] == "highest"
    assert inside["cudnn"] is False
    assert inside["allow_tf32"] is False
    assert not {"tf32", "bf16"} & {v for k, v in inside.items() if k != "all"}
