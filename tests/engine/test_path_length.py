"""The engine of ppl: what a generator is given, what is refused, and closed forms through all of it."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from scipy.special import polygamma
from support.peers import needs_peer
from torch import Tensor, nn

import ganeval
from ganeval.api import evaluate
from ganeval.distributed import Group
from ganeval.engine.config import EvaluationConfig
from ganeval.engine.path_length import NOISE, LatentPaths, measure_generator
from ganeval.errors import ConfigError, InputError, WeightsError
from ganeval.features.perceptual import PerceptualDistance, load_distance
from ganeval.generators.load import open_source
from ganeval.images.generated import GeneratedSource
from ganeval.images.latents import seed_of
from ganeval.metrics.path_length import Path, slerp
from ganeval.results import MetricResult

SIDE = 4
PIXELS = 3 * SIDE * SIDE


def squared_error(dtype: torch.dtype = torch.float32) -> PerceptualDistance:
    """Sum over channels, mean over places: |a - b|^2 / 16. (A distance of one's own need not scale its maps.)"""

    class Squares(PerceptualDistance):
        def __call__(self, a: Tensor, b: Tensor) -> Tensor:
            return (a.to(self.dtype) - b.to(self.dtype)).square().sum((1, 2, 3))

    return Squares("squares", lambda x: [x], None, torch.device("cpu"), dtype)


class Linear(nn.Module):
    """G(z) = A z, in -1..1 as far as anybody says."""

    value_range = (-1.0, 1.0)

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.latent_dim = size
        self.matrix = nn.Parameter(torch.randn(PIXELS, size, generator=torch.Generator().manual_seed(0)) / 20)

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.matrix.T).reshape(-1, 3, SIDE, SIDE)

    @property
    def trace(self) -> float:
        return float(self.matrix.detach().double().square().sum())


class Tanh(nn.Module):
    """Four layers, smooth, as small as a generator can be; counts what it sees."""

    value_range = (-1.0, 1.0)
    latent_dim = 6

    def __init__(self) -> None:
        super().__init__()
        widths = [6, 24, 24, 24, PIXELS]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in pairwise(widths)]
        self.layers = nn.Sequential(*layers)
        self.seen: list[Tensor] = []
        self.modes: set[tuple[bool, bool, torch.dtype]] = set()

    def forward(self, z: Tensor) -> Tensor:
        self.seen.append(z.clone())
        made: Tensor = self.layers(z).reshape(-1, 3, SIDE, SIDE)
        self.modes.add((self.training, torch.is_grad_enabled(), made.dtype))
        return made


class Mapped:
    """A user's object with the two callables that paths in w need."""

    value_range = (-1.0, 1.0)
    latent_dim = 8

    def __init__(self, scale: float = 2.0, classes: bool = False) -> None:
        self.linear, self.scale, self.classes = Linear(), scale, classes
        self.labels: list[Tensor] = []

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            self.labels.append(labels)
        return self.scale * z

    def synthesis(self, w: Tensor) -> Tensor:
        made: Tensor = self.linear(w)
        return made

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.synthesis(self.mapping(z, labels))


def ppl(generator: Any, **options: Any) -> MetricResult:
    return ganeval.path_length(
        generator, **{"distance": squared_error(), "pairs": 400, "trim": False, "device": "cpu", **options}
    )


# --- closed forms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 64])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("sampling", ["full", "end"])
def test_linear_generator_in_z_against_theory(size: int, unit: bool, sampling: str) -> None:
    """(pi^2/4 + trigamma(d/2)/2) tr(A'A), over d on unit circles; d = 4 draws latents of very different lengths."""
    generator = Linear(size)
    found = ppl(generator, pairs=3000, unit=unit, sampling=sampling, epsilon=1e-3)
    expected = (math.pi**2 / 4 + float(polygamma(1, size / 2)) / 2) * generator.trace / (size if unit else 1)
    assert found.standard_error is not None
    assert abs(found.value - expected) < 3 * found.standard_error
    assert found.standard_error < 0.03 * expected


def test_linear_generator_in_w_against_theory() -> None:
    generator = Mapped()
    for sampling in ("full", "end"):
        found = ppl(generator, space="w", sampling=sampling, pairs=3000, epsilon=1e-3)
        expected = 2 * generator.linear.trace * generator.scale**2
        assert found.standard_error is not None
        assert abs(found.value - expected) < 3 * found.standard_error
        assert found.standard_error < 0.03 * expected


def test_constant_generator_is_exactly_0() -> None:
    for value in (0.0, 0.3, 1.0):
        found = ppl(lambda z, v=value: torch.full((len(z), 3, 8, 8), v), latent_dim=5, value_range=(-1, 1))
        assert found.value == 0.0
        assert found.interval is None
    found = ppl(lambda z: torch.zeros(len(z), 3, 8, 8), latent_dim=5, value_range=(-1, 1), distance="compact", pairs=20)
    assert found.value == 0.0


def test_float32_against_float64() -> None:
    single, double = Tanh(), Tanh().double()
    one = ppl(single)
    other = ppl(double, distance=squared_error(torch.float64))
    assert one.value == pytest.approx(other.value, rel=1e-3)
    assert one.value != other.value
    assert {dtype for _, _, dtype in single.modes} == {torch.float32}
    assert {dtype for _, _, dtype in double.modes} == {torch.float64}


def test_formula_written_out() -> None:
    """Pair by pair, from the latents that the package draws."""
    generator = Tanh()
    found = ppl(generator, pairs=6, seed=5, trim=True)
    distances = []
    for i in range(6):
        stream = [
            np.random.Generator(np.random.Philox(key=np.array([5, i], np.uint64), counter=[0, 0, 0, part]))
            for part in (2, 3)
        ]
        z = stream[0].standard_normal((2, 6), dtype=np.float32)
        t = stream[1].random()
        radius = np.sqrt((z.astype(np.float64) ** 2).sum(1).mean())
        ends = [torch.from_numpy(slerp(z[:1], z[1:], t + e) * radius) for e in (0.0, 1e-4)]
        with torch.no_grad():
            a, b = (generator.double()(x) for x in ends)
        distances.append(float((a - b).square().sum()) / 1e-8)
    np.testing.assert_allclose(found.per_image["ppl_distance"], distances, rtol=5e-3)


@pytest.mark.parametrize("epsilon", [pytest.param(1e-2, marks=pytest.mark.nightly), 1e-4])
def test_ppl_against_lpips(tmp_path: FilePath, epsilon: float) -> None:
    """The formula written out with the package's own module, under the same random trunk: images of 64 pixels."""
    import lpips
    from torchvision.models import alexnet

    class Large(Tanh):
        def forward(self, z: Tensor) -> Tensor:
            return nn.functional.interpolate(super().forward(z), (64, 64), mode="bicubic").clone()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = {k: v * 2 for k, v in alexnet(weights=None).state_dict().items() if k.startswith("features")}
    torch.save(trunk, tmp_path / "alex.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, of the arguments that lpips uses
        theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    names = [name for name in theirs.state_dict() if name.startswith("net.")]
    theirs.load_state_dict({name: trunk[f"features.{name.split('.', 2)[2]}"] for name in names}, strict=False)
    generator, n = Large(), 120
    options: dict[str, Any] = {"epsilon": epsilon, "distance": "lpips-alex", "weights": tmp_path / "alex.pth"}
    found = ppl(generator, pairs=n, trim=True, **options)
    assert found.label.startswith("PPL[lpips-alex-")
    walk = LatentPaths(open_source(generator, num_samples=n), Path(epsilon=epsilon))  # type: ignore[arg-type]
    with torch.no_grad():
        one, other = walk.images(range(n), (0.0, epsilon))
        d = theirs.double()(one.double(), other.double()).flatten().numpy() / epsilon**2
    low, high = np.percentile(d, 1, method="lower"), np.percentile(d, 99, method="higher")
    assert found.value == pytest.approx(d[(d >= low) & (d <= high)].mean(), rel=1e-4 if epsilon == 1e-2 else 1e-3)


@needs_peer("torch_fidelity")
def test_ppl_against_torch_fidelity() -> None:
    """Its latents, its generator wrapper and its reduction, with one distance: lines in z are w under no mapping."""
    from torch_fidelity.generative_model_modulewrapper import GenerativeModelModuleWrapper
    from torch_fidelity.metric_ppl import KEY_METRIC_PPL_MEAN, KEY_METRIC_PPL_RAW, calculate_ppl
    from torch_fidelity.registry import register_sample_similarity
    from torch_fidelity.sample_similarity_base import SampleSimilarityBase

    class Squares(SampleSimilarityBase):
        def __init__(self, name: str, **_: object) -> None:
            super().__init__(name)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a - b).square().sum((1, 2, 3))

    register_sample_similarity("squares", Squares)
    generator, n = Tanh(), 60
    theirs = calculate_ppl(
        1, input1=GenerativeModelModuleWrapper(generator, 6, "normal", 0), input1_model_num_samples=n, cuda=False,
        ppl_sample_similarity="squares", ppl_sample_similarity_resize=None, ppl_discard_percentile_lower=None,
        ppl_discard_percentile_higher=None, ppl_reduction="none", ppl_epsilon=1e-4, verbose=False, rng_seed=3,
        ppl_z_interp_mode="lerp",
    )  # fmt: skip
    drawn = np.random.RandomState(3).randn(2, n, 6).astype(np.float32)

    class Same:
        value_range = (-1.0, 1.0)
        synthesis = generator

        def sample_latents(self, n: int, random: torch.Generator) -> Tensor:
            return torch.from_numpy(drawn[:, (random.initial_seed() - seed_of(0, 0)) % 2**32])

        def mapping(self, z: Tensor) -> Tensor:
            return z

        def __call__(self, z: Tensor) -> Tensor:
            return generator(z)  # type: ignore[no-any-return]

    found = ppl(Same(), pairs=n, space="w", sampling="end")
    np.testing.assert_allclose(found.per_image["ppl_distance"], theirs[KEY_METRIC_PPL_RAW], rtol=2e-2)
    assert found.value == pytest.approx(theirs[KEY_METRIC_PPL_MEAN], rel=1e-3)


def test_end_starts_at_the_first_latent() -> None:
    generator = Tanh()
    ppl(generator, pairs=4, sampling="end", batch_size=4)
    last = generator.seen[-1]
    walk = LatentPaths(open_source(generator, num_samples=4), Path(sampling="end"))  # type: ignore[arg-type]
    for i in range(4):
        first = walk._pair(i)[0]
        torch.testing.assert_close(last[i] / last[i].norm(), first / first.norm(), rtol=0, atol=1e-6)


# --- what the generator is given ---------------------------------------------------------------------------------


def test_latents_depend_on_seed_and_number_alone_batch() -> None:
    expected = ppl(Tanh(), pairs=23).per_image
    for batch_size in (1, 7, 64):
        torch.manual_seed(batch_size)
        found = ppl(Tanh(), pairs=23, batch_size=batch_size).per_image
        np.testing.assert_array_equal(found["ppl_latent_digests"], expected["ppl_latent_digests"])
        np.testing.assert_allclose(found["ppl_distance"], expected["ppl_distance"], rtol=2e-2)
    fewer = ppl(Tanh(), pairs=9).per_image
    np.testing.assert_array_equal(fewer["ppl_latent_digests"], expected["ppl_latent_digests"][:9])
    other = ppl(Tanh(), pairs=23, seed=1).per_image
    assert not set(other["ppl_latent_digests"]) & set(expected["ppl_latent_digests"])
    assert len(set(expected["ppl_latent_digests"])) == 23


def test_both_ends_in_one_batch_and_all_is_as_it_was() -> None:
    generator = Tanh().train()
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    ppl(generator, pairs=10, batch_size=5)
    assert [len(z) for z in generator.seen] == [3 * 8, 2 * 5, 2 * 5]
    for z in generator.seen[1:]:
        start, end = z.double().chunk(2)
        apart = (end - start).norm(dim=1) / start.norm(dim=1)
        assert float(apart.min()) > 1e-5
        assert float(apart.max()) < math.pi * 1.01e-4
        torch.testing.assert_close(start.norm(dim=1), end.norm(dim=1), rtol=1e-6, atol=0)
    assert generator.modes == {(False, False, torch.float32)}
    assert generator.training
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert python_state == random.getstate()


def test_autocast_around_it_is_off() -> None:
    expected = ppl(Tanh(), pairs=20).value
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ppl(Tanh(), pairs=20).value == expected


def test_labels_are_the_same_at_both_ends() -> None:
    generator = Mapped()
    seen: list[Tensor] = []

    def conditional(z: Tensor, labels: Tensor) -> Tensor:
        seen.append(labels)
        return generator.linear(z) * (1 + labels[:, None, None, None])

    ppl(conditional, pairs=12, num_classes=5, latent_dim=8, value_range=(-1, 1), batch_size=12)
    start, end = seen[-1].chunk(2)
    assert torch.equal(start, end)
    assert len(set(start.tolist())) > 2
    of_w = Mapped(classes=True)
    ppl(of_w, space="w", pairs=12, num_classes=5, batch_size=12)
    assert torch.equal(torch.cat([start, start]), of_w.labels[-1])


def test_noise_is_the_same_at_both_ends() -> None:
    """A generator that draws its own: neither the value nor a pair of another batch size sees it."""

    class Noisy(Tanh):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z) + 0.1 * torch.randn(len(z), 3, SIDE, SIDE)

    clean, found = ppl(Tanh(), pairs=30), ppl(Noisy(), pairs=30)
    np.testing.assert_allclose(found.per_image["ppl_distance"], clean.per_image["ppl_distance"], rtol=2e-2)
    assert found.warnings == (NOISE,)
    again = ppl(Noisy(), pairs=30, batch_size=7)
    np.testing.assert_array_equal(again.per_image["ppl_distance"], found.per_image["ppl_distance"])


def test_sampler_of_its_own_and_redraws() -> None:
    """Latents on one line are drawn again; a sampler that gives no others is an error."""

    class OnALine(Linear):
        draws = 0

        def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
            self.draws += 1
            z = torch.rand(n, 8, generator=generator)
            return z[:1].repeat(n, 1) * torch.tensor([[1.0], [-2.0]])[:n] if self.draws % 2 else z

    generator = OnALine()
    assert ppl(generator, pairs=5).value > 0
    with pytest.raises(InputError, match=r"100 times its latents lay on one line.*two dimensions or more"):
        ppl(Linear(1), pairs=5)
    assert ppl(Mapped(), space="w", pairs=5).value > 0


def test_epsilon_crop_and_resize_have_an_effect() -> None:
    """Only the corner moves, outside of the crop; halving the step leaves a smooth path's length alone."""

    def corner(z: Tensor) -> Tensor:
        images = torch.zeros(len(z), 3, 32, 32)
        images[:, :, :8, :8] = z[:, :1, None, None].tanh()
        return images

    options = {"latent_dim": 3, "value_range": (-1, 1), "pairs": 50}
    assert ppl(corner, **options).value > 1
    assert ppl(corner, **options, crop=True).value == 0.0
    whole, small = ppl(corner, **options), ppl(corner, **options, resize=16)
    assert small.value == pytest.approx(whole.value / 4, rel=1e-3)  # a quarter of the pixels, in a sum
    assert whole.details["pixels"] == [32, 32]
    assert small.details["pixels"] == [16, 16]
    seen = Tanh()
    coarse = ppl(seen, epsilon=1e-3)
    assert coarse.value == pytest.approx(ppl(Tanh(), epsilon=5e-4).value, rel=1e-3)
    start, end = seen.seen[-1].double().chunk(2)
    assert float(((end - start).norm(dim=1) / start.norm(dim=1)).max()) > 1.5e-4


# --- what is refused ---------------------------------------------------------------------------------------------


def rounded(kind: str) -> Any:
    generator = Tanh()

    def made(z: Tensor) -> Any:
        x = generator(z)
        levels = ((x + 1) * 127.5).round()
        return {
            "uint8": lambda: levels.to(torch.uint8),
            "numpy uint8": lambda: levels.to(torch.uint8).numpy(),
            "8-bit grid": lambda: levels / 127.5 - 1,
            "another grid": lambda: (x * 100).round() / 100,
            "float16": lambda: x.half(),
            "float16 in float32": lambda: x.half().float(),
            "bfloat16 in float32": lambda: x.bfloat16().float(),
            "half inside": lambda: (
                (generator.layers[:3](z).half().float() @ generator.layers[3][0].weight.T)
                .tanh()
                .reshape(-1, 3, SIDE, SIDE)
            ),
            "binary": lambda: x.sign(),
        }[kind]()

    return made


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("uint8", "it makes images of uint8"),
        ("numpy uint8", "it makes images of uint8"),
        ("8-bit grid", "all values that it makes lie on the 8-bit grid"),
        ("another grid", "its images change by unequal amounts"),
        ("float16", "it makes images of float16"),
        ("float16 in float32", "are float16 numbers"),
        ("bfloat16 in float32", "are bfloat16 numbers"),
        ("half inside", "its images change by unequal amounts"),
        ("binary", "all values that it makes lie on the 8-bit grid"),
    ],
)
def test_rounding_is_refused_with_its_reason(kind: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"rounding would be all that it measures.*{reason}"):
        ppl(rounded(kind), latent_dim=6, value_range=(-1, 1))


def test_what_rounding_would_have_measured() -> None:
    """Why it is refused: at 8 bits the number is tens of times too large."""
    generator = Tanh()
    walk = LatentPaths(open_source(generator, num_samples=400), Path())  # type: ignore[arg-type]
    one, other = walk.images(range(400), (0.0, 1e-4))
    true = float((one - other).square().sum((1, 2, 3)).mean()) / 1e-8
    one, other = ((x * 127.5).round() / 127.5 for x in (one, other))
    assert float((one - other).square().sum((1, 2, 3)).mean()) / 1e-8 > 10 * true
    roughness, _ = walk.check(range(8))
    assert roughness < 0.05


@pytest.mark.parametrize(
    ("generator", "options", "message"),
    [
        (lambda: Tanh().half(), {}, "its weights are float16"),
        (Tanh, {"space": "w"}, "paths in w need a generator with two callables"),
        (lambda: lambda z: Tanh()(z), {"latent_dim": 6}, "say which values stand for black and for white"),
        (lambda: lambda z: Tanh()(z), {"value_range": (-1, 1)}, "does not declare the size of its latents"),
        (Tanh, {"value_range": (0, 0.01)}, "far outside the declared range"),
        (lambda: lambda z: z, {"latent_dim": 6, "value_range": (-1, 1)}, r"makes an array of shape \(24, 6\)"),
        (lambda: np.zeros((5, 8, 8, 3), np.uint8), {}, "it takes a generator, and FAKE is not one"),
        (lambda: "gen:cyclegan-plain2striped", {}, "translates images"),
        (lambda: lambda z: torch.full((len(z), 3, 8, 8), math.nan), {"latent_dim": 2, "value_range": (0, 1)}, "NaN"),
        (lambda: lambda z: 1 / 0, {"latent_dim": 2, "value_range": (0, 1)}, "ZeroDivisionError"),
    ],
)
def test_generator_iv(generator: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, ConfigError), match=message):
        ppl(generator(), **options)


def test_options_iv() -> None:
    with pytest.raises(ConfigError, match="Unknown perceptual distance 'lpips'"):
        ppl(Tanh(), distance="lpips")
    with pytest.raises(ConfigError, match="the distance is loaded already"):
        ppl(Tanh(), weights="x.pth")
    with pytest.raises(ConfigError, match="must be a number between 0 and 1; got 1.5"):
        ppl(Tanh(), level=1.5)


class OneOfMany(Group):
    """A rank that computes alone: the others add what they have afterwards."""

    def sums(self, arrays: Sequence[np.ndarray], call: str) -> list[np.ndarray]:
        raise Shared(arrays[0])


class Shared(Exception):
    """What this rank gives to the sum."""


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_pairs(ranks: int) -> None:
    """Each pair is computed by one rank, in the batch of one process."""
    distance = load_distance("compact", device=torch.device("cpu"))

    def work(group: Group) -> MetricResult:
        source = open_source("gen:dcgan-cifar10", num_samples=37)
        assert isinstance(source, GeneratedSource)
        return measure_generator(source, distance, EvaluationConfig(batch_size=4), group, pairs=37)

    parts = []
    for rank in range(ranks):
        with pytest.raises(Shared) as shared:
            work(OneOfMany(rank, ranks))
        parts.append(shared.value.args[0])
    assert all(np.count_nonzero(part) < 37 for part in parts)
    alone = work(Group()).per_image["ppl_distance"]
    np.testing.assert_array_equal(np.sum(parts, axis=0) / 1e-4**2, alone)


# --- among other metrics -----------------------------------------------------------------------------------------


def test_shipped_generator_offline() -> None:
    found = evaluate(None, "gen:dcgan-cifar10", metrics=("ppl",), pairs=60, distance="compact", device="cpu")
    result = found["ppl"]
    assert result.label == "PPL[compact-v1]"
    assert 20 < result.value < 200
    assert result.details["roughness"] < 0.05  # type: ignore[operator]
    assert found.fake["n"] == 60
    assert "not comparable with published PPL" in found.notes[0]


def test_in_eval_by_name_alone() -> None:
    images = torch.zeros(30, 3, 32, 32, dtype=torch.uint8)
    options: dict[str, Any] = {"protocol": "compact", "device": "cpu"}
    found = evaluate(None, "gen:dcgan-cifar10", metrics=("ppl", "vendi"), num_samples=40, **options)
    assert list(found.results) == ["ppl", "vendi"]
    alone = ganeval.path_length("gen:dcgan-cifar10", pairs=40, distance="compact", device="cpu")
    assert found["ppl"].value == pytest.approx(alone.value, rel=1e-6)
    assert found["ppl"].comparison_key() == alone.comparison_key()
    assert "ppl" not in evaluate(None, "gen:dcgan-cifar10", metrics=None, num_samples=40, **options).results
    with pytest.raises(ConfigError, match="ppl cannot be computed here: it takes a generator"):
        evaluate(None, images, metrics=("ppl", "vendi"), **options)
    by_name = evaluate(None, "gen:dcgan-cifar10", metrics=("ppl",), num_samples=40, **options)
    assert by_name["ppl"].value == alone.value
    more = evaluate(None, "gen:dcgan-cifar10", metrics=("ppl", "vendi"), num_samples=40, pairs=12, crop=True, **options)
    assert more["ppl"].n_fake == 12
    assert more["ppl"].settings["crop"] is True
    assert any(note.startswith("compact-v1 is a small network") and "FD" not in note for note in found.notes)


def test_weights_of_its_distance_in_eval(tmp_path: FilePath) -> None:
    """Those named for LPIPS are what it takes there: the very value that it has alone, and it changes with them."""
    network = ganeval.CustomNetwork(
        network=lambda x: x.flatten(1)[:, :6], size=8, resize="pil-bicubic-uint8", scale="2*(x/255)-1"
    )
    values = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            trunk = torchvision.models.vgg16(weights=None).features.state_dict()
        path = tmp_path / f"{seed}.pth"
        torch.save({f"features.{name}": value for name, value in trunk.items()}, path)
        options: dict[str, Any] = {"device": "cpu", "seed": 0}
        found = evaluate(
            None, "gen:dcgan-cifar10", metrics=("ppl", "vendi"), num_samples=12, protocol=network,
            weights={"lpips-vgg": path}, **options,
        )["ppl"]  # fmt: skip
        alone = ganeval.path_length("gen:dcgan-cifar10", pairs=12, weights=path, **options)
        assert found.value == pytest.approx(alone.value, rel=1e-6)
        assert found.label == alone.label
        assert found.label.startswith("PPL[lpips-vgg-")
        values.append(found.value)
    assert abs(values[0] - values[1]) > 1e-3 * values[0]
    with pytest.raises(WeightsError, match="not 'lpips-vgg'"):  # no metric of that run would read them
        evaluate(
            None, "gen:dcgan-cifar10", metrics=("vendi",), num_samples=12, protocol=network,
            weights={"lpips-vgg": path}, **options,
        )  # fmt: skip
