"""Generators and rendered images: image i is the same whatever happens around it, and nothing else is touched."""

from __future__ import annotations

import functools
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganeval.errors import ConfigError, InputError
from ganeval.images import shapes
from ganeval.images.generated import GeneratedSource
from ganeval.images.latents import seed_of
from ganeval.images.open import open_images
from ganeval.images.options import OpenOptions
from ganeval.images.types import ImageSource
from ganeval.images.user_models import NOISE

RANGE = (-1.0, 1.0)


class Generator(nn.Module):
    """Latents to images in -1..1; looks at its mode, and may draw from the global random state."""

    latent_dim = 6

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Linear(6, 3 * 4 * 5), nn.BatchNorm1d(60), nn.Dropout(0.5), nn.Tanh())
        self.frozen = nn.BatchNorm1d(1).eval()
        self.noise = 0.0
        self.seen: list[tuple[bool, bool, int]] = []

    def forward(self, z: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_grad_enabled(), len(z)))
        x = self.body(z)
        if self.noise:
            x = x + self.noise * torch.rand(len(z), 60)
        return x.reshape(-1, 3, 4, 5)


def drawn(source: ImageSource, batch_size: int = 4, **options: Any) -> dict[str, int]:
    found = {}
    for batch in source.batches(batch_size, **options):
        assert batch.digests is not None
        found.update(zip(batch.names, batch.digests.tolist(), strict=True))
    return found


def opened(generator: Any, n: int = 10, **options: Any) -> ImageSource:
    return open_images(generator, num_samples=n, **{"value_range": RANGE, **options})


def test_an_image_depends_on_seed_and_number_alone_batch() -> None:
    expected = drawn(opened(Generator()))
    assert list(expected) == [f"#{i}" for i in range(10)]
    assert len(set(expected.values())) == 10
    for batch_size in (1, 3, 10, 64):
        torch.manual_seed(batch_size)
        np.random.default_rng(batch_size)
        assert drawn(opened(Generator()), batch_size) == expected
    assert drawn(opened(Generator(), n=4)) == dict(list(expected.items())[:4])
    chosen = drawn(opened(Generator(), num=5, seed=0))
    assert len(chosen) == 5
    assert chosen.items() <= expected.items()
    assert not set(drawn(opened(Generator(), seed=1)).values()) & set(expected.values())


def test_pixels_against_the_generator() -> None:
    generator = Generator().eval()
    (batch,) = opened(generator).batches(10)
    latents = [
        np.random.Generator(np.random.Philox(key=[0, i])).standard_normal(6, dtype=np.float32) for i in range(10)
    ]
    with torch.no_grad():
        made = generator(torch.from_numpy(np.stack(latents)))
    np.testing.assert_array_equal(batch.images, (made * 127.5 + 128).clamp(0, 255).to(torch.uint8))


def test_mode_random_state_and_gradients_are_as_they_were() -> None:
    generator = Generator().train()
    generator.frozen.eval()
    generator.noise = 1e-3  # drawn from the global state
    modes = [m.training for m in generator.modules()]
    assert set(modes) == {True, False}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    for batch in opened(generator).batches(4):
        assert [m.training for m in generator.modules()] == modes  # between batches too: a training loop may go on
        assert torch.equal(torch.get_rng_state(), state)
        assert not batch.images.requires_grad
    assert generator.seen == [(False, False, 4)] + 10 * [(False, False, 1)]  # once it is seen to draw
    generator.body = nn.Identity()  # fails, and still everything is put back
    with pytest.raises(InputError, match=r"Generator fails on latents of shape \(2, 6\), torch.float32 on cpu"):
        opened(generator).check()
    assert torch.equal(torch.get_rng_state(), state)
    assert generator.training
    assert not generator.frozen.training


def test_noise_of_the_generator_repeats() -> None:
    generator = Generator()
    generator.noise = 2.0
    with pytest.raises(InputError, match="outside the declared range"):
        drawn(opened(generator))
    source = opened(generator, value_range=(-1, 3))
    expected = drawn(source)
    assert source.report.notes[NOISE] == 10
    for batch_size in (1, 3, 10):
        torch.manual_seed(batch_size)
        assert drawn(opened(generator, value_range=(-1, 3)), batch_size) == expected  # of (seed, i), as all else
    assert drawn(opened(generator, value_range=(-1, 3), num=4)).items() <= expected.items()


def test_noise_of_numpy_and_python_repeats_and_is_put_back() -> None:
    def make(z: Tensor) -> Tensor:
        noise = np.random.rand(len(z), 3, 2, 1) * [random.random(), 0.5]  # noqa: NPY002
        return torch.from_numpy(noise)

    before = np.random.get_state()[1].tobytes(), random.getstate()  # type: ignore[index,union-attr]  # noqa: NPY002
    expected = drawn(opened(make, latent_dim=2))
    assert len(set(expected.values())) == 10
    assert drawn(opened(make, latent_dim=2), 3) == expected
    assert (np.random.get_state()[1].tobytes(), random.getstate()) == before  # type: ignore[index,union-attr]  # noqa: NPY002


def test_labels_are_even_and_of_seed_and_number_alone() -> None:
    seen: list[Tensor] = []

    def make(z: Tensor, label: Tensor) -> Tensor:
        seen.append(label)
        return (z[:, :3, None, None] + 0 * label[:, None, None, None]).tanh().expand(-1, -1, 2, 2)

    def labels(n: int, batch_size: int, **options: Any) -> list[int]:
        seen.clear()
        drawn(opened(make, n, latent_dim=4, num_classes=5, **options), batch_size)
        return torch.cat(seen).tolist()

    expected = labels(2000, 500)
    assert seen[0].dtype == torch.int64
    counts = np.bincount(expected, minlength=5)
    assert float(((counts - 400) ** 2 / 400).sum()) < 18.5  # chi squared of 4 degrees of freedom, p = 0.001
    assert labels(100, 7) == expected[:100]
    assert labels(2000, 500, seed=1) != expected
    source = opened(make, 100, latent_dim=4, num_classes=5)
    assert source.labels() == [str(label) for label in expected[:100]]
    assert source.describe()["num_classes"] == 5
    latents = opened(Generator())  # and they change nothing in the latents
    labelled = opened(lambda z, label: Generator().eval()(z), latent_dim=6, num_classes=3)
    assert drawn(labelled) == drawn(latents)


def test_a_fixed_batch_gives_an_image_its_place_batch() -> None:
    seen: list[Tensor] = []

    def make(z: Tensor) -> Tensor:
        seen.append(z)
        return torch.tanh(z).reshape(-1, 1, 2, 3)

    def source(n: int) -> GeneratedSource:
        return GeneratedSource("make", make, OpenOptions(num_samples=n, value_range=RANGE, latent_dim=6), fixed_batch=4)

    expected = drawn(source(10))
    assert [z.shape for z in seen] == 3 * [(4, 6)]
    assert not seen[-1][2:].any()
    whole = torch.cat(seen)
    for batch_size in (1, 3, 10):
        seen.clear()
        assert drawn(source(10), batch_size) == expected
        assert torch.equal(torch.cat(seen), whole)
    seen.clear()
    some = source(10).part([1, 6, 7])
    assert drawn(some) == {name: expected[name] for name in ("#1", "#6", "#7")}
    assert torch.equal(seen[0][1], whole[1])
    assert torch.equal(seen[1][2:], whole[6:8])
    assert some.report.notes == {"grey replicated to three channels": 3}  # what fills up is not counted


def test_modules_that_a_function_names_are_in_evaluation_mode() -> None:
    generator = Generator().train()

    class Holder:
        latent_dim = 6

        def __init__(self) -> None:
            self.model = generator

        def __call__(self, z: Tensor) -> Tensor:
            return self.model(z)

    expected = drawn(opened(Generator()))
    for make in (lambda z: generator(z), Holder(), Holder().__call__, functools.partial(generator)):
        assert drawn(opened(make, latent_dim=6)) == expected
        assert generator.training


def test_device_is_put_back() -> None:
    """Without an accelerator: the module is told to move, and told to come back."""
    elsewhere: list[str] = []

    class Moving(nn.Module):
        latent_dim = 6

        def __init__(self) -> None:
            super().__init__()
            self.body = Generator().eval()

        def forward(self, z: Tensor) -> Tensor:
            elsewhere.append(z.dtype.__str__())
            return self.body(z)

        def to(self, device: Any) -> Any:  # type: ignore[override]
            elsewhere.append(f"to {device}")
            return self

    moving = Moving()
    assert drawn(opened(moving, 6, device=torch.device("meta"))) == drawn(opened(Generator(), 6))
    assert elsewhere == ["to meta", "torch.float32", "torch.float32", "to cpu"]
    assert drawn(opened(moving, 6, device=torch.device("cpu")))
    assert "to" not in " ".join(elsewhere[4:]).replace("torch", "")
    places: list[torch.device] = []

    def function(z: Tensor) -> Tensor:
        places.append(z.device)
        return torch.zeros(len(z), 3, 2, 2)

    for _ in range(2):
        drawn(opened(function, 2, latent_dim=3, device=torch.device("meta")))
        function.device = "cpu"  # type: ignore[attr-defined]
    assert [place.type for place in places] == ["meta", "cpu"]


def test_value_range_of_the_generator() -> None:
    generator = Generator()
    generator.value_range = (-1, 1)  # type: ignore[assignment]
    assert drawn(opened(generator, value_range=None)) == drawn(opened(Generator()))
    assert drawn(opened(generator, value_range=(-2, 2))) != drawn(opened(Generator()))


@pytest.mark.parametrize("error", [KeyError("layer"), AssertionError(), ZeroDivisionError("x\ny"), ImportError("cv2")])
def test_whatever_it_raises_is_told_in_one_line(error: Exception) -> None:
    def make(z: Tensor) -> Tensor:
        raise error

    with pytest.raises(InputError, match=f"make fails on latents .*: {type(error).__name__}") as raised:
        opened(make, latent_dim=2).check()
    assert "\n" not in str(raised.value)
    assert f"(at {__file__}:" in str(raised.value)


def test_plain_functions_bound_methods_and_other_latents() -> None:
    seen: list[Tensor] = []

    def make(z: Tensor) -> Tensor:
        seen.append(z)
        return torch.zeros(len(z), 1, 2, 2)

    source = opened(make, 3, latent_dim=5)
    assert drawn(source).keys() == {"#0", "#1", "#2"}
    assert source.report.notes == {"grey replicated to three channels": 3}
    assert seen[0].shape == (3, 5)
    drawn(opened(make, 3, latent_dim=(4, 1, 1)))
    assert seen[1].shape == (3, 4, 1, 1)
    make.z_dim = 8  # type: ignore[attr-defined]
    drawn(opened(make, 3))
    assert seen[2].shape == (3, 8)
    assert drawn(opened(Generator().forward, latent_dim=6)) == drawn(opened(Generator().eval()))
    assert opened(make).spec == "make"


def test_latents_are_standard_normal_and_all_different() -> None:
    seen: list[Tensor] = []

    def make(z: Tensor) -> Tensor:
        seen.append(z)
        return torch.zeros(len(z), 3, 2, 2, dtype=torch.uint8)

    drawn(opened(make, 2000, latent_dim=16, value_range=None), 500)
    latents = torch.cat(seen)
    assert abs(float(latents.mean())) < 0.03
    assert abs(float(latents.std()) - 1) < 0.03
    assert len(torch.unique(latents, dim=0)) == 2000
    correlation = torch.corrcoef(torch.cat([latents[:-1], latents[1:]], 1).T)[:16, 16:]
    assert float(correlation.abs().max()) < 0.12  # neighbours share nothing


def test_seeds_of_torch_do_not_meet_within_a_run() -> None:
    assert len({seed_of(3, i) for i in range(100_000)}) == 100_000
    assert seed_of(3, 0) != seed_of(4, 0)


def test_a_sampler_of_its_own() -> None:
    class Own(Generator):
        def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
            return 0.1 * torch.randn(n, 6, generator=generator)

    expected = drawn(opened(Own()))
    assert drawn(opened(Own()), 3) == expected
    assert len(set(expected.values())) == 10
    assert expected != drawn(opened(Generator()))
    assert drawn(opened(Own(), num=4)).items() <= expected.items()
    assert opened(Own()).describe()["latents"] == "sample_latents"
    Own.sample_latents = lambda self, n, generator: torch.zeros(6)  # type: ignore[method-assign,assignment]
    with pytest.raises(InputError, match=r"must return a tensor \(1, ...\); got \(6,\)"):
        opened(Own()).check()


def test_half_precision_weights_get_half_precision_latents() -> None:
    class Half(nn.Module):
        z_dim = 4

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))

        def forward(self, z: Tensor) -> Tensor:
            assert z.dtype == torch.bfloat16
            return torch.tanh(z * self.scale)[:, :, None, None].expand(-1, -1, 2, 2)[:, :3]

    assert len(drawn(opened(Half(), 3))) == 3


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            lambda z: torch.zeros(len(z), 4, 5, 3),
            r"returns NHWC images, shape \(2, 4, 5, 3\); .* permute\(0, 3, 1, 2\)",
        ),
        (lambda z: torch.zeros(3, 3, 4, 4), r"makes an array of shape \(3, 3, 4, 4\) of 2 latents; expected \(2, 3,"),
        (lambda z: torch.zeros(3, 4, 4), r"of shape \(3, 4, 4\)"),
        (lambda z: torch.zeros(len(z), 4, 8, 8), r"of shape \(2, 4, 8, 8\)"),
        (lambda z: torch.full((len(z), 3, 4, 4), float("nan")), r"image 0 \(--seed 0\) holds NaN"),
        (lambda z: torch.full((len(z), 3, 4, 4), 1.5), "reach from 1.5 to 1.5, outside the declared range -1..1"),
        (
            lambda z: torch.zeros(len(z), 3, 4, 4, dtype=torch.int32),
            "int32 in the declared range -1..1 would have three values",
        ),
        (lambda z: (torch.zeros(len(z), 3, 4, 4), None), r"returns a tuple; .* lambda z: generator\(z\)\[0\]"),
        (lambda z: None, "returns a NoneType"),
    ],
)
def test_outputs_iv(output: Any, message: str) -> None:
    source = opened(output, latent_dim=2)
    for use in (source.check, lambda: next(iter(source.batches(2)))):
        with pytest.raises(InputError, match=message) as error:
            use()
        assert "\n" not in str(error.value)


def test_iv() -> None:
    with pytest.raises(InputError, match="say how many with --num-samples"):
        open_images(Generator(), value_range=RANGE)
    with pytest.raises(InputError, match="does not declare the size of its latents: pass --latent-dim"):
        opened(lambda z: z)
    for size in (0, -3, 2.5, (4, 0)):
        with pytest.raises(ConfigError, match="latent_dim must be a positive whole number, or several"):
            opened(lambda z: z, latent_dim=size)
    with pytest.raises(InputError, match="need a declared range"):
        opened(Generator(), value_range=None).check()
    with pytest.raises(InputError, match="11 images were requested, but it has only 10"):
        opened(Generator(), num=11)


def test_describe() -> None:
    assert opened(Generator(), 10, num=4, seed=2).describe() == {
        "spec": "Generator",
        "kind": "generator",
        "n": 4,
        "subset": {"n": 4, "of": 10, "seed": 2},
        "seed": 2,
        "latents": [6],
        "value_range": [-1.0, 1.0],
    }


def test_prepare_and_uint8_outputs() -> None:
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
    source = open_images(lambda z: images[: len(z)], num_samples=2, latent_dim=1)
    (plain,) = source.batches(2)
    assert torch.equal(plain.images, images)
    (batch,) = source.batches(2, prepare=lambda x: torch.from_numpy(x.astype(np.float32)))
    assert torch.equal(batch.images, images.permute(0, 2, 3, 1).float())
    np.testing.assert_array_equal(batch.digests, plain.digests)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_generator_on_a_gpu_stays_there() -> None:
    class OnGpu(nn.Module):
        latent_dim = 12

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, z: Tensor) -> Tensor:
            torch.rand(5, device=z.device)
            return torch.tanh(z * self.scale).reshape(-1, 3, 2, 2)

    state = torch.cuda.get_rng_state()
    batches = list(opened(OnGpu().cuda()).batches(4))
    assert all(batch.images.is_cuda and batch.digests is None for batch in batches)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    expected = torch.cat([batch.images for batch in opened(OnGpu()).batches(3)])
    found = torch.cat([batch.images.cpu() for batch in batches])
    assert int((found.int() - expected.int()).abs().max()) <= 1  # tanh differs by rounding


# --- rendered images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "seed", "options"),
    [
        ("dataset:shapes", 3, {"seed": 3, "size": 32, "variant": "mixed"}),
        ("dataset:shapes-plain", 0, {"seed": 0, "size": 32, "variant": "plain"}),
        ("dataset:shapes-striped:16", 5, {"seed": 5, "size": 16, "variant": "striped"}),
        ("dataset:shapes:64@1", 5, {"seed": 1, "size": 64, "variant": "mixed"}),
        ("dataset:shapes-plain@7", 5, {"seed": 7, "size": 32, "variant": "plain"}),
    ],
)
def test_shapes(spec: str, seed: int, options: dict[str, Any]) -> None:
    source = open_images(spec, num_samples=5, seed=seed)
    (batch,) = source.batches(5)
    for index, image in enumerate(batch.images):
        np.testing.assert_array_equal(image.permute(1, 2, 0), shapes.render(index, **options))
    expected = {"spec": spec, "kind": "shapes", "n": 5, "subset": None}
    assert source.describe() == {**expected, **options}
    assert source.labels() == [shapes.CLASSES[shapes.label(i, seed=options["seed"])] for i in range(5)]
    assert drawn(pickle.loads(pickle.dumps(source))) == drawn(source)
    assert drawn(source, 2, workers=2) == drawn(source)


def test_shapes_iv() -> None:
    with pytest.raises(InputError, match="any number of images: say how many with --num-samples"):
        open_images("dataset:shapes")
    for spec in ("dataset:shapes-round", "dataset:shapes:big", "dataset:shapes@1:64", "dataset:shapes:"):
        with pytest.raises(InputError, match="does not name rendered images"):
            open_images(spec, num_samples=3)
    with pytest.raises(InputError, match="8 to 4096 pixels a side; got 1"):
        open_images("dataset:shapes:1", num_samples=3)
    assert open_images("dataset:shapes", num=4).length == 4
    assert isinstance(open_images(Generator(), num=4, value_range=RANGE), GeneratedSource)
