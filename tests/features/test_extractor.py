"""Resize, scale and network of a protocol, on batches of any sizes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from ganeval.errors import ConfigError, WeightsError
from ganeval.features import extractor as extractors
from ganeval.features.batch_sizes import Sizes, usual_batch
from ganeval.features.compact import CompactNet
from ganeval.features.devices import choose_device
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.networks import published_sha256
from ganeval.features.registry import NETWORKS
from ganeval.features.residence import Residence
from ganeval.features.scaling import SCALES
from ganeval.images.open import open_images
from ganeval.images.types import ImageBatch
from ganeval.protocol import PROTOCOLS, get_protocol

CPU, META = torch.device("cpu"), torch.device("meta")
MEANS = {"imagenet": (0.485, 0.456, 0.406), "clip": (0.48145466, 0.4578275, 0.40821073)}
DEVIATIONS = {"imagenet": (0.229, 0.224, 0.225), "clip": (0.26862954, 0.26130258, 0.27577711)}


def noise(n: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def batch(images: torch.Tensor | list[torch.Tensor]) -> ImageBatch:
    return ImageBatch(images, [str(i) for i in range(len(images))], None)


def test_every_protocol_has_its_scale_and_a_network() -> None:
    for protocol in PROTOCOLS.values():
        assert protocol.scale in SCALES
        ends = SCALES[protocol.scale](torch.tensor([0.0, 255.0]).expand(1, 3, 1, 2))[0, :, 0]
        if protocol.scale in ("imagenet", "clip"):
            assert torch.allclose(ends[:, 1] - ends[:, 0], 1 / torch.tensor(DEVIATIONS[protocol.scale]))
            assert torch.allclose(-ends[:, 0] / (ends[:, 1] - ends[:, 0]), torch.tensor(MEANS[protocol.scale]))
        else:
            assert torch.all(ends[:, 0] == (-127 / 128 if protocol.scale == "(x-127)/128" else -1))
            assert torch.all((ends[:, 1] > 0.99) & (ends[:, 1] <= 1))


@pytest.mark.parametrize("size", [32, 20, 64])
def test_rows_do_not_depend_on_their_neighbours(size: int) -> None:
    extractor = FeatureExtractor(get_protocol("compact"), device=CPU)
    images = noise(5, size)
    together = extractor(batch(images))["256"]
    alone = torch.cat([extractor(batch(images[i : i + 1]))["256"] for i in range(5)])
    assert together.shape == (5, 256)
    assert torch.allclose(together, alone, atol=1e-5 * float(together.abs().max()))


def test_mixed_sizes_are_resized_each_by_itself() -> None:
    extractor = FeatureExtractor(get_protocol("compact"), device=CPU)
    images = [noise(1, size)[0] for size in (32, 20, 64)]
    mixed = extractor(batch(images))["256"]
    alone = torch.cat([extractor(batch(image[None]))["256"] for image in images])
    assert torch.allclose(mixed, alone, atol=1e-5 * float(mixed.abs().max()))


def test_the_network_sees_strict_float32_and_the_users_settings_return() -> None:
    extractor = FeatureExtractor(get_protocol("compact"), device=CPU)
    seen: list[tuple[torch.dtype, bool, bool]] = []

    def look(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append((inputs[0].dtype, torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")))

    extractor._network.register_forward_pre_hook(look)
    before = torch.get_float32_matmul_precision()
    with torch.autocast("cpu", torch.bfloat16):
        rows = extractor(batch(noise(2, 32)))["256"]
    assert seen == [(torch.float32, True, False)]
    assert rows.dtype == torch.float32
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("deterministic", [False, True])
def test_settings_of_kernels_neither_leak_in_nor_out(deterministic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training program times its kernels, or refuses those that do not repeat; both are its own affair."""
    extractor = FeatureExtractor(get_protocol("compact"), device=CPU)
    cudnn = torch.backends.cudnn
    seen = []
    extractor._network.register_forward_pre_hook(
        lambda *_: seen.append(
            (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled())
        )
    )
    for name, value in (("enabled", False), ("benchmark", True), ("deterministic", deterministic)):
        monkeypatch.setattr(cudnn, name, value)
    torch.use_deterministic_algorithms(deterministic, warn_only=deterministic)
    try:
        extractor(batch(noise(2, 32)))
        after = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert seen == [(True, False, False, False)]
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (False, True, deterministic)
    assert after == (deterministic, deterministic)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_full_memory_takes_fewer_images_at_once(mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves until they fit, the same features, and a warning that names the size; later batches begin with it."""
    images = [noise(1, size)[0] for size in (32, 20, 64, 32, 24, 32, 40)] if mixed else noise(7, 32)
    extractor = FeatureExtractor(get_protocol("compact"), device=CPU)
    whole = extractor(batch(images))["256"]
    network, sizes = extractor._network, []

    def full(x: torch.Tensor, taps: tuple[str, ...]) -> dict[str, torch.Tensor]:
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
        return network(x, taps)

    monkeypatch.setattr(extractor, "_run", full)
    assert torch.allclose(extractor(batch(images))["256"], whole, atol=1e-5 * float(whole.abs().max()))
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert "the memory of cpu held 1 images at once: --batch-size 1 (batch_size=1)" in extractor.warnings
    extractor(batch(images[:3]))
    assert sizes[9:] == [1, 1, 1]


def test_no_memory_for_one_image_iv(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = FeatureExtractor(get_protocol("compact"), device=CPU)

    def full(x: torch.Tensor, taps: tuple[str, ...]) -> dict[str, torch.Tensor]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    monkeypatch.setattr(extractor, "_run", full)
    with pytest.raises(ConfigError, match=r"no memory for one image.*CUDA out of memory\).*--device cpu.*--batch-size"):
        extractor(batch(noise(3, 32)))


def test_pillow_resize_runs_where_images_are_decoded() -> None:
    protocol = get_protocol("clean")
    assert protocol.resize == "pil-bicubic-float"
    source = open_images(np.asarray(noise(3, 40)))
    from functools import partial

    from ganeval.images.resize import resize_pil

    (prepared,) = source.batches(3, prepare=partial(resize_pil, size=299, mode=protocol.resize))
    assert isinstance(prepared.images, torch.Tensor)
    assert prepared.images.shape == (3, 3, 299, 299)
    assert prepared.images.dtype == torch.float32


def test_published_hashes() -> None:
    assert published_sha256("inception-2015-12-05").startswith("6726825d")
    assert len(published_sha256("compact-v1")) == 64


def test_other_weights_are_labelled_by_their_hash(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    save_file({k: v.half() for k, v in CompactNet().state_dict().items()}, path)
    extractor = FeatureExtractor(get_protocol("compact"), device=CPU, weights=path)
    assert not extractor.protocol.verified
    assert extractor.protocol.label() == f"FD[compact-{(extractor.protocol.weights or '')[:8]}]"
    assert "not those" in extractor.warnings[0]
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="mine.safetensors"):
        FeatureExtractor(get_protocol("compact"), device=CPU, weights=path)


class Operations(TorchDispatchMode):
    """Counts copies between devices."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.copies += function.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        return function(*args, **(kwargs or {}))


def test_weights_stay_on_the_host_and_only_the_copy_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy comes back, the same memory serves again, and memory is given back only where some was taken."""
    given = []
    monkeypatch.setattr(extractors, "give_back", given.append)
    one = FeatureExtractor(get_protocol("compact"), device=META)
    weights = {name: tensor.data_ptr() for name, tensor in one._network.state_dict().items()}
    one.release()
    assert given == []
    for calls in (1, 2):
        assert one(batch(noise(3, 32)))["256"].device == META
        assert {tensor.device for tensor in one._network.state_dict().values()} == {META}
        with Operations() as counted:
            one.release()
            one.release()
        assert counted.copies == 0
        assert {name: tensor.data_ptr() for name, tensor in one._network.state_dict().items()} == weights
        assert given == [META] * calls
    assert one.warnings == ()


def test_a_compiled_network_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(extractors, "give_back", given.append)
    one = FeatureExtractor(get_protocol("compact"), device=META)
    one(batch(noise(3, 32)))
    one.compiled = True
    one.release()
    assert {tensor.device for tensor in one._network.state_dict().values()} == {META}
    assert given == [META]


def test_the_last_batch_is_filled_up_on_an_accelerator_alone() -> None:
    """New kernels for one smaller batch cost more than its missing rows; a size that comes again gets its own."""
    for device, expected in ((META, [8, 8, 8, 3, 8]), (CPU, [8, 8, 3, 3, 5])):
        one, seen = FeatureExtractor(get_protocol("compact"), device=device), []
        one._network.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(len(inputs[0])))
        for n in (8, 8, 3, 3, 5):
            assert one(batch(noise(n, 32)))["256"].shape == (n, 256)
        assert seen == expected
    one._fits = 4  # the memory does not hold more
    one._sizes = Sizes()
    assert [len(one._sizes.padded(noise(n, 2), fits)) for n, fits in ((8, None), (3, 4), (2, 4))] == [8, 3, 3]


def test_rows_of_a_batch_that_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same features as without, in order."""
    alone, one = (FeatureExtractor(get_protocol("compact"), device=CPU) for _ in range(2))
    monkeypatch.setattr(one, "device", torch.device("cpu:0"))
    sizes = Sizes()
    images = [noise(n, 32, seed=n).float() for n in (6, 4)]
    filled = [sizes.padded(part, None) for part in images]
    assert [len(part) for part in filled] == [6, 6]
    assert torch.equal(filled[1][:4], images[1])
    assert torch.equal(filled[1][4:], images[1][-1:].expand(2, -1, -1, -1))
    rows = alone._network(filled[1] / 128 - 1, ("256",))["256"]
    exact = alone._network(images[1] / 128 - 1, ("256",))["256"]
    assert torch.allclose(rows[:4], exact, atol=1e-5 * float(exact.abs().max()))


@pytest.mark.parametrize(
    ("memory", "usual", "large_maps"), [(80, 256, 256), (16, 256, 256), (12, 128, 128), (8, 128, 64)]
)
def test_usual_batch_by_the_memory(memory: int, usual: int, large_maps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(total_memory=memory * 10**9 + 10**8)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    cuda = torch.device("cuda")
    assert usual_batch(NETWORKS["inception-2015-12-05"], cuda) == usual_batch(NETWORKS["compact-v1"], cuda) == usual
    assert {usual_batch(NETWORKS[name], cuda) for name in ("vgg16-fc2", "dinov2-vitl14", "clip-vitl14-336")} == {
        large_maps
    }
    assert usual_batch(NETWORKS["inception-2015-12-05"], META) == 128
    assert (usual_batch(NETWORKS["compact-v1"], CPU), usual_batch(NETWORKS["vgg16-fc2"], CPU)) == (64, 8)


def test_weights_are_page_locked_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each, also those that two layers share; where no memory can be locked they stay as they are."""
    layer = torch.nn.Linear(3, 3)
    network = torch.nn.Sequential(layer, layer, torch.nn.BatchNorm1d(3))
    locked: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: locked.append(self.clone()) or locked[-1])
    there = Residence(network, torch.device("cuda"))
    assert len(locked) == 2 + 2 + 3
    assert network[0].weight.data_ptr() == network[1].weight.data_ptr() == locked[0].data_ptr()
    there.cast(torch.bfloat16)
    assert len(locked) == 7 + 6  # all but the counter
    assert {tensor.dtype for tensor in network.parameters()} == {torch.bfloat16}
    assert network[2].num_batches_tracked.dtype == torch.int64

    def full(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("cannot lock memory")

    monkeypatch.setattr(torch.Tensor, "pin_memory", full)
    before = network[0].weight.data_ptr()
    Residence(network, torch.device("cuda"))
    assert network[0].weight.data_ptr() == before


def test_choose_device_iv() -> None:
    assert choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match="this machine has no device 'cuda:99'. Available: auto, "):
        choose_device("cuda:99")


@pytest.mark.gpu
@pytest.mark.parametrize("protocol", ["compact", "ttur", "pytorch-fid", "torchmetrics", "clean"])
def test_accelerator_equals_cpu(protocol: str, surrogate_weights: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    weights = None if protocol == "compact" else surrogate_weights
    rows = []
    for device in ("cpu", "cuda"):
        extractor = FeatureExtractor(get_protocol(protocol), device=torch.device(device), weights=weights)
        (images,) = open_images("dataset:shapes:64", num_samples=8).batches(8, prepare=extractor.prepare)
        rows.append(extractor(images)[extractor.protocol.layer].cpu())
    tolerance = 1e-5 if protocol == "compact" else 1e-4
    assert float((rows[0] - rows[1]).abs().max()) <= tolerance * float(rows[0].abs().max())
