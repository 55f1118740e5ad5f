"""Resize, scale and network of a protocol, on batches of any sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ganeval.errors import ConfigError, WeightsError
from ganeval.features.compact import CompactNet
from ganeval.features.extractor import SCALES, choose_device, load_extractor, published_weights
from ganeval.images.source import ImageBatch, open_images
from ganeval.protocol import COMPACT, INCEPTION, PROTOCOLS, get_protocol

CPU = torch.device("cpu")
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
            assert torch.all(ends[:, 0] == -1)
            assert torch.all((ends[:, 1] > 0.99) & (ends[:, 1] <= 1))


@pytest.mark.parametrize("size", [32, 20, 64])
def test_rows_do_not_depend_on_their_neighbours(size: int) -> None:
    extractor = load_extractor(get_protocol("compact"), device=CPU)
    images = noise(5, size)
    together = extractor(batch(images))["256"]
    alone = torch.cat([extractor(batch(images[i : i + 1]))["256"] for i in range(5)])
    assert together.shape == (5, 256)
    assert torch.allclose(together, alone, atol=1e-5 * float(together.abs().max()))


def test_mixed_sizes_are_resized_each_by_itself() -> None:
    extractor = load_extractor(get_protocol("compact"), device=CPU)
    images = [noise(1, size)[0] for size in (32, 20, 64)]
    mixed = extractor(batch(images))["256"]
    alone = torch.cat([extractor(batch(image[None]))["256"] for image in images])
    assert torch.allclose(mixed, alone, atol=1e-5 * float(mixed.abs().max()))


def test_the_network_sees_strict_float32_and_the_users_settings_return() -> None:
    extractor = load_extractor(get_protocol("compact"), device=CPU)
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
    extractor = load_extractor(get_protocol("compact"), device=CPU)
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
    extractor = load_extractor(get_protocol("compact"), device=CPU)
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
    extractor = load_extractor(get_protocol("compact"), device=CPU)

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
    assert published_weights(INCEPTION).startswith("6726825d")
    assert len(published_weights(COMPACT)) == 64


def test_other_weights_are_labelled_by_their_hash(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    save_file({k: v.half() for k, v in CompactNet().state_dict().items()}, path)
    extractor = load_extractor(get_protocol("compact"), device=CPU, weights=path)
    assert not extractor.protocol.verified
    assert extractor.protocol.label() == f"FD[compact-{(extractor.protocol.weights or '')[:8]}]"
    assert "not those" in extractor.warnings[0]
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="mine.safetensors"):
        load_extractor(get_protocol("compact"), device=CPU, weights=path)


@pytest.mark.parametrize("compiled", [False, True])
def test_release_empties_the_store_and_leaves_a_compiled_network(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = load_extractor(get_protocol("compact"), device=torch.device("cpu"))
    emptied, moved = [], []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    monkeypatch.setattr(one._network, "to", moved.append)
    one.device, one.compiled = torch.device("cuda"), compiled
    one.release()
    one.release()
    assert len(emptied) == 2
    assert moved == ([] if compiled else ["cpu"])


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
        extractor = load_extractor(get_protocol(protocol), device=torch.device(device), weights=weights)
        (images,) = open_images("dataset:shapes:64", num_samples=8).batches(8, prepare=extractor.prepare)
        rows.append(extractor(images)[extractor.protocol.layer].cpu())
    tolerance = 1e-5 if protocol == "compact" else 1e-4
    assert float((rows[0] - rows[1]).abs().max()) <= tolerance * float(rows[0].abs().max())
