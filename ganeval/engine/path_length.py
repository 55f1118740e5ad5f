"""Perceptual path length of a generator: steps on paths between its latents, and how far its images move on them.

Pair i has its own two latents, label and place on the path, of (seed, i) alone. Both ends of a step go through the
generator in one batch, with the same label. It runs in evaluation mode, without gradients, in its own precision, TF32
and autocast off, and what it makes is never clamped or rounded.

At a step of 1e-4 the images move by about 1e-3 of a grey level, so every rounding of them is all that would be seen:
of 8 bits, 50 times the true number. A generator that rounds is therefore refused.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganeval.arithmetic import widest_float
from ganeval.distributed import Group
from ganeval.engine.config import EvaluationConfig
from ganeval.errors import InputError
from ganeval.features.perceptual import PerceptualDistance, prepare
from ganeval.images.generated import GeneratedSource
from ganeval.images.model_outputs import to_image_array
from ganeval.images.module_search import find_attribute
from ganeval.metrics import path_length as metric
from ganeval.metrics.path_length import lerp, slerp
from ganeval.results import MetricResult

NOT_PPL = (
    "PPL[compact-v1] is not comparable with published PPL: a small network that ships with ganeval, 32 x 32 pixels"
)
NOISE = "the generator draws noise of its own, so the ends of a step went through it one by one, with the same noise"
_TRIES = 100  # draws of a pair until there is a path between its latents
_LOOK = 8  # pairs that are looked at before the long part
_ROUGH = 0.5  # measured: 0.01 of the shipped DCGAN, above 1 where any part of it is rounded
_FAR = 3.0  # on the scale where the declared range is -1..1


def measure_generator(
    source: GeneratedSource,
    distance: PerceptualDistance,
    config: EvaluationConfig,
    group: Group,
    *,
    pairs: int,
) -> MetricResult:
    """``ppl`` of an opened generator. Each rank of a group takes its share of the batches.

    Raises:
        InputError: the generator fails, or rounds its images.
    """
    path = metric.Path.of(config.settings)
    walk = LatentPaths(source, path)
    numbers, distances = np.arange(pairs), np.zeros(pairs)
    with config.progress_of(f"ppl: {source.spec}", pairs) as progress, source.model.on_device():
        roughness, pixels = walk.check(numbers[:_LOOK].tolist())
        most, room = (16, 2**18) if distance.device.type == "cpu" else (64, 2**20)  # the maps of LPIPS are large
        size = config.batch_size or min(most, max(1, room // math.prod(pixels)))
        mine = numbers[numbers // size % group.size == group.rank]
        for start in range(0, len(mine), size):
            batch = mine[start : start + size]
            one, other = walk.images(batch.tolist(), (0.0, path.epsilon))
            distances[batch] = distance(one, other).cpu().double().numpy()
            progress(len(batch))
    digests = np.array([walk.digest(number) for number in numbers.tolist()], dtype=np.uint64)
    (distances,) = group.sums([distances], "ppl: distances")  # each rank has zeros for the pairs of the others
    drew = any(group.gather_json(walk.draws_noise, "ppl: noise"))
    return metric.measure(
        distances / path.epsilon**2,
        digests,
        path=path,
        protocol=distance.protocol(path.name),
        level=config.level,
        details={"pixels": list(pixels), "roughness": roughness},
        warnings=(*distance.warnings, *((NOISE,) if drew else ())),
    )


def digest_of_paths(result: MetricResult) -> str:
    """Stands for all the latents, labels and places of a path length, 32 hexadecimal digits."""
    return hashlib.blake2b(result.per_image["ppl_latent_digests"].tobytes()).hexdigest()[:32]


class LatentPaths:
    """Images of one generator at places on its paths.

    A generator that is seen to draw random numbers by itself would give the two ends of a batch different noise: it
    makes one image at a time, each time with all random states seeded by the number of the pair.

    Raises:
        InputError: it has no ``mapping`` and ``synthesis`` for paths in w, no range of values, or weights of half
            precision.
    """

    def __init__(self, source: GeneratedSource, path: metric.Path) -> None:
        self.spec, self.path, self.draws_noise = source.spec, path, False
        self._model, self._latents = source.model, source.latents
        self._parts = self._mapping_and_synthesis() if path.space == "w" else None
        _, dtype = self._model.place()
        if dtype in (torch.float16, torch.bfloat16):
            raise self._rounds(f"its weights are {str(dtype).removeprefix('torch.')}")

    def images(self, numbers: Sequence[int], steps: Sequence[float]) -> list[Tensor]:
        """For each step beyond the pairs' places, (n, 3, h, w) as a distance takes them.

        Args:
            numbers: of the pairs.
            steps: in t.
        """
        if not self.draws_noise:
            made, self.draws_noise = self._run(numbers, steps)
            if not self.draws_noise:
                return list(self._prepared(made).chunk(len(steps)))
        columns = [[self._run([i], [step])[0] for i in numbers] for step in steps]
        return [self._prepared(torch.cat(column)) for column in columns]

    def check(self, numbers: Sequence[int]) -> tuple[float, tuple[int, int]]:
        """Look for rounding before the long part.

        Of a generator that is smooth, x(t + 2e) - 2 x(t + e) + x(t) is far below x(t + e) - x(t); rounding anywhere
        in it makes the two alike.

        Returns:
            The ratio of the two norms, and height and width of what reaches the distance.

        Raises:
            InputError: its values lie on the grid of 8 bits or of half precision, or it changes in steps.
        """
        step = min(self.path.epsilon, 1e-3)
        if not self.draws_noise:
            made, drew = self._run(numbers, (0.0, step, 2 * step))
        if self.draws_noise or drew:
            made = torch.cat([self._run([i], [s])[0] for s in (0.0, step, 2 * step) for i in numbers])
        if grid := self._grid(made):
            raise self._rounds(grid)
        ready = self._prepared(made).cpu().double()  # there is no float64 everywhere
        if float(ready.abs().max()) > _FAR:
            raise InputError(
                f"{self.spec}: what it makes reaches from {float(made.min()):.6g} to {float(made.max()):.6g}, far "
                f"outside the declared range {self._range()}: declare the range it has (--value-range)."
            )
        start, middle, end = ready.chunk(3)
        first, second = float((middle - start).norm()), float((end - 2 * middle + start).norm())
        varies = bool((ready.amax(0) > ready.amin(0)).any())
        roughness = second / first if first > 0 else math.inf if varies else 0.0
        if roughness > _ROUGH:
            raise self._rounds(
                f"on equal steps of {step:g} its images change by unequal amounts (by {roughness:.2g} of the change "
                "itself)",
                "Switch half precision off inside it. If it is float32 throughout, its images hardly move "
                "at this step: take a larger one (--epsilon 0.001).",
            )
        return roughness, (start.shape[2], start.shape[3])

    def digest(self, number: int) -> int:
        """64 bits that stand for the latents, the label and the place of this pair."""
        state = hashlib.blake2b(self._pair(number).contiguous().numpy().tobytes(), digest_size=8)
        label = -1 if self._latents.num_classes is None else self._latents.label(number)
        state.update(np.array([self._place(number), label], dtype=np.float64).tobytes())
        return int.from_bytes(state.digest(), "little")

    def _run(self, numbers: Sequence[int], steps: Sequence[float]) -> tuple[Tensor, bool]:
        """Images at all the steps of all these pairs as one batch, as the generator made them; step by step."""
        pairs = torch.stack([self._pair(number) for number in numbers], dim=1)  # (2, n, ...)
        places = np.array([self._place(number) for number in numbers])
        call: Callable[..., Any] | None = None
        if self._parts is None:
            points = [self._circle(pairs.numpy(), places + step) for step in steps]
            latents = torch.from_numpy(np.concatenate(points))
            inputs = [latents if self._model.place()[1] == torch.float64 else latents.to(pairs.dtype)]
            copies = len(steps)
        else:
            inputs, copies = [pairs.flatten(0, 1)], 2
            mapping, synthesis = self._parts

            def call(*inputs: Tensor) -> Any:
                start, end = mapping(*inputs).chunk(2)
                wide = widest_float(start.device)
                t = torch.from_numpy(places).to(start.device, wide).reshape(-1, *[1] * (start.ndim - 1))
                ways = [lerp(start.to(t.dtype), end.to(t.dtype), t + step) for step in steps]
                return synthesis(torch.cat(ways).to(start.dtype))

        if self._latents.num_classes is not None:
            inputs.append(torch.tensor([self._latents.label(n) for n in numbers], device="cpu").repeat(copies))
        seed = self._latents.seed(numbers[0])
        with self._model.run(*inputs, seed=seed, what="latents", call=call, exact=True) as (made, drew):
            made, _ = to_image_array(made, len(numbers) * len(steps), spec=self.spec, what="latents")
            images = made.detach().clone() if isinstance(made, Tensor) else torch.from_numpy(np.array(made))
        if images.dtype not in (torch.float32, torch.float64):
            raise self._rounds(f"it makes images of {str(images.dtype).removeprefix('torch.')}")
        return images, drew

    def _pair(self, number: int) -> Tensor:
        """(2, ...) latents with a path between them."""
        for pair in islice(self._latents.pairs(number), _TRIES):
            pair = pair.cpu()
            one, other = pair.numpy()[:, None]
            if self._parts is not None or metric.defined(one, other)[0]:
                return pair
        raise InputError(
            f"{self.spec}: {_TRIES} times its latents lay on one line through 0, and there is no great circle "
            "between such. A latent needs two dimensions or more (or take --space w)."
        )

    def _place(self, number: int) -> float:
        return self._latents.place(number) if self.path.sampling == "full" else 0.0

    def _circle(self, pairs: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(n, ...) float64 places on the great circles, see ``Path.unit``."""
        units = slerp(pairs[0], pairs[1], t)
        if self.path.unit:
            return units
        flat = pairs.reshape(2, len(t), -1).astype(np.float64)
        radius = np.sqrt(np.square(flat).sum(2).mean(0))
        return np.asarray(units * radius.reshape(-1, *[1] * (units.ndim - 1)))

    def _prepared(self, made: Tensor) -> Tensor:
        return prepare(made, self._range(), crop=self.path.crop, size=self.path.resize)

    def _range(self) -> tuple[float, float]:
        if self._model.value_range is None:
            raise InputError(
                f"{self.spec}: say which values stand for black and for white in what it makes, for example "
                "--value-range -1,1 (value_range=(-1, 1) in Python)."
            )
        return self._model.value_range

    def _mapping_and_synthesis(self) -> tuple[Callable[..., Tensor], Callable[..., Any]]:
        found = [find_attribute(self._model.model, name) for name in ("mapping", "synthesis")]
        if not all(callable(part) for part in found):
            raise InputError(
                f"{self.spec}: paths in w need a generator with two callables, mapping(z) to w and synthesis(w) to "
                "images; this one lacks them. Take --space z, or wrap it in an object that has them."
            )
        return found[0], found[1]

    def _grid(self, made: Tensor) -> str | None:
        """Which coarse grid all values lie on, if any; what does not depend on the latents is not looked at."""
        values = made.flatten(1).cpu()
        values = values[:, values.amax(0) > values.amin(0)]
        if not values.numel():
            return None
        low, high = self._range()
        levels = (values.double() - low) * (255 / (high - low))
        if float((levels - levels.round()).abs().max()) < 1e-3:
            return "all values that it makes lie on the 8-bit grid"
        for dtype in (torch.bfloat16, torch.float16):  # the coarser first
            if torch.equal(values.to(dtype).to(values.dtype), values):
                return f"all values that it makes are {str(dtype).removeprefix('torch.')} numbers"
        return None

    def _rounds(self, why: str, advice: str = "") -> InputError:
        advice = advice or "Give the generator as it is before images are saved: float32, not rounded."
        return InputError(
            f"{self.spec}: ppl divides the change of the image over a step by the step squared, so that rounding "
            f"would be all that it measures, and this generator rounds: {why}. {advice}"
        )
