"""Errors and diversity of image translation, with the standard error of means whose parts share a source.

Several outputs of one source image are one observation, not several. With clusters g of n values x and their mean m

    Var(m) = C / (C - 1) * sum_g (sum_{i in g} (x_i - m))^2 / n^2,        C: number of clusters,

which is the usual sd^2 / n where every source has one value.

Cycle error (Zhu et al. 2017) is |F(G(a)) - a|_1 per pixel on a scale from 0 (black) to 1 (white), identity error
|G(b) - b|_1. A low cycle error can be bought by hiding the source in noise that nobody sees (Chu et al. 2017), so it
is also taken after G(a) was rounded to 8 bits, and after noise of sd 2/255, which drown what is hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganeval.engine.output_diversity import mean_distance
from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.features.perceptual import PerceptualDistance
from ganeval.metrics.intervals import quantile, symmetric_interval
from ganeval.results import Interval
from ganeval.training.loop import to_float

Translate = Callable[[Tensor], Tensor]  # float (N, 3, H, W) in [-1, 1] to the same

_PIXELS = 2**18  # at a time: the maps of LPIPS are large
NOISE = 2 / 255  # sd, on the scale from 0 to 1
_OF_ROUNDING, _OF_NOISE = 0.25 / 255, NOISE * math.sqrt(2 / math.pi)  # mean absolute values of the two


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """A mean over n values in C clusters.

    Attributes:
        standard_error: None for a single cluster.
        influence: (C,) of each cluster, mean 0 and in the order of first appearance; sd(influence, ddof 1) / sqrt(C)
            is the standard error.
    """

    value: float
    standard_error: float | None
    n: int
    clusters: int
    influence: np.ndarray

    def interval(self, level: float = 0.95) -> Interval | None:
        """By Student's quantiles with C - 1 degrees of freedom; None where nothing varies."""
        if not self.standard_error:
            return None
        half = quantile(level, self.clusters - 1) * self.standard_error
        return symmetric_interval(self.value, half, level, "clustered", "population")

    def to_dict(self) -> dict[str, object]:
        return {"value": self.value, "standard_error": self.standard_error, "n": self.n, "clusters": self.clusters}


def clustered_mean(values: np.ndarray, sources: Sequence[object] | np.ndarray | None = None) -> ClusteredMean:
    """The mean of values, those of one source together.

    Args:
        values: (n,).
        sources: (n,) the source of each, as any hashable value; None: all sources differ.

    Raises:
        NotEnoughSamplesError: no value.
        InputError: another number of sources, or values that are not finite.

    >>> clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), ["a", "a", "b", "b"]).standard_error
    1.0
    """
    x = np.asarray(values, dtype=np.float64)
    if not len(x):
        raise NotEnoughSamplesError("a mean needs at least one value; found none. Give more images.")
    if not np.isfinite(x).all():
        raise InputError(f"value {int(np.argmin(np.isfinite(x)))} is not a finite number: look for NaN in the images.")
    if sources is None:
        places = np.arange(len(x))
    elif len(sources) != len(x):
        raise InputError(f"{len(sources)} sources were named for {len(x)} values; expected one for each.")
    else:
        order: dict[object, int] = {}
        places = np.array([order.setdefault(source, len(order)) for source in list(sources)])
    clusters, mean = int(places.max()) + 1, float(x.mean())
    influence = np.bincount(places, x - mean) * (clusters / len(x))
    error = float(influence.std(ddof=1) / math.sqrt(clusters)) if clusters > 1 else None
    return ClusteredMean(mean, error, len(x), clusters, influence)


# --- diversity ---------------------------------------------------------------------------------------------------


def diversity(
    outputs: Iterable[Tensor],
    distance: PerceptualDistance,
    *,
    pairs: int | None = None,
    sources: Sequence[object] | None = None,
    seed: int = 0,
) -> ClusteredMean:
    """How different the outputs for one input are: the mean distance over its pairs, then over inputs.

    With LPIPS and 10 outputs an input, all 45 pairs, this is the diversity of StarGAN v2; with 19 of the pairs that of
    BicycleGAN (Zhang et al. 2018 give the distance). Noise is diverse: read it together with a metric of fidelity.

    Args:
        outputs: for each input (K, 3, H, W) floats in [-1, 1], K at least 2.
        pairs: so many of the K (K - 1) / 2 pairs of each input, by seed and number of the input; None: all.
        sources: (inputs,) what two inputs share if they are not independent, for instance an image translated to
            several domains; None: nothing.

    Raises:
        NotEnoughSamplesError: fewer than 2 outputs of an input, or fewer pairs than asked for.
    """
    means = [
        mean_distance(images, distance, pairs=pairs, number=number, seed=seed) for number, images in enumerate(outputs)
    ]
    return clustered_mean(np.array(means), sources)


def unconditional_diversity(images: Tensor, distance: PerceptualDistance, *, seed: int = 0) -> ClusteredMean:
    """The mean distance over disjoint random pairs of images (N, 3, H, W) in [-1, 1], so that its error is plain.

    Raises:
        NotEnoughSamplesError: fewer than 2 images.
    """
    half = len(images) // 2
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
    size = min(64, max(1, _PIXELS // math.prod(images.shape[2:])))
    parts = zip(torch.split(order[:half], size), torch.split(order[half : 2 * half], size), strict=True)
    return clustered_mean(np.concatenate([[], *(distance(images[i], images[j]).cpu().numpy() for i, j in parts)]))


# --- errors ------------------------------------------------------------------------------------------------------


def absolute_error(images: Tensor, others: Tensor) -> np.ndarray:
    """(N,) mean absolute difference over channels and pixels, from 0 to 1.

    Args:
        images, others: uint8, or floats in [-1, 1]; one of each is allowed.

    Raises:
        InputError: of different shapes.
    """
    if images.shape != others.shape:
        raise InputError(f"images of shape {tuple(images.shape)} cannot be compared with {tuple(others.shape)}.")
    one, other = (
        x.cpu().double() / 255 if x.dtype == torch.uint8 else (x.cpu().double() + 1) / 2 for x in (images, others)
    )
    found: np.ndarray = (one - other).abs().flatten(1).mean(1).numpy()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationErrors:
    """Of one direction, from 0 to 1 per pixel; the perceptual one in the units of its distance.

    Attributes:
        cycle: |F(G(a)) - a|.
        cycle_rounded: the same, G(a) rounded to 8 bits on the way.
        cycle_noisy: the same, with noise of sd 2/255 on G(a).
        cycle_plus_noise: |F(G(a)) + noise - a| with the same noise, which a translator has that passes it on as it is.
            What ``cycle_noisy`` has beyond it is what the noise has destroyed.
        identity: |G(b) - b|; None without images of the target domain.
        cycle_perceptual: a perceptual distance between F(G(a)) and a; None without one.
        warnings: that the cycle does not survive rounding, or noise.
    """

    cycle: ClusteredMean
    cycle_rounded: ClusteredMean
    cycle_noisy: ClusteredMean
    cycle_plus_noise: ClusteredMean
    identity: ClusteredMean | None
    cycle_perceptual: ClusteredMean | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        names = ("cycle", "cycle_rounded", "cycle_noisy", "cycle_plus_noise", "identity", "cycle_perceptual")
        means: dict[str, ClusteredMean | None] = {name: getattr(self, name) for name in names}
        found: dict[str, object] = {k: None if m is None else m.to_dict() for k, m in means.items()}
        return {**found, "warnings": list(self.warnings)}


def translation_errors(
    there: Translate,
    back: Translate,
    source: Tensor,
    target: Tensor | None = None,
    *,
    distance: PerceptualDistance | None = None,
    sources: Sequence[object] | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> TranslationErrors:
    """Cycle and identity errors of the direction ``there``, whose way back is ``back``.

    A second value is suspicious, and warned of, where it is more than twice what the first and the rounding or noise
    itself, passed on as it is, account for together.

    Args:
        there, back: floats in [-1, 1] to floats, not rounded, in evaluation mode.
        source: uint8 (N, 3, H, W) of the domain that ``there`` starts from.
        target: uint8 (M, 3, H, W) of the other, for the identity error.
        distance: also taken between F(G(a)) and a.
        sources: (N,) what images of ``source`` share that are not independent, such as crops of one photograph.
        batch_size: changes nothing but rounding.
        seed: of the noise, which depends on it and on the number of the image alone.

    Raises:
        InputError: a translation of another size, or values that are not finite.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("clean", "rounded", "noisy", "plus", "perceptual")}
    for numbers in torch.split(torch.arange(len(source), device="cpu"), batch_size):
        images = source[numbers]
        made = there(to_float(images))
        returned = back(made)
        parts["clean"].append(absolute_error(returned, images))
        if distance is not None:
            parts["perceptual"].append(distance(returned, to_float(images).to(returned.device)).cpu().numpy())
        noise = _noise(made, numbers.tolist(), seed)
        for name, disturbed in (("rounded", _rounded(made)), ("noisy", made + noise)):
            parts[name].append(absolute_error(back(disturbed), images))
        parts["plus"].append(absolute_error(returned + noise.to(returned.device), images))
    means = {name: clustered_mean(np.concatenate(values), sources) for name, values in parts.items() if values}
    same = None
    if target is not None:
        made_of = [absolute_error(there(to_float(b)), b) for b in torch.split(target, batch_size)]
        same = clustered_mean(np.concatenate(made_of))
    warnings = []
    for name, what, itself in (("rounded", "rounding to 8 bits", _OF_ROUNDING), ("noisy", "noise of 2/255", _OF_NOISE)):
        clean, after = means["clean"].value, means[name].value
        if after > 2 * (clean + itself):
            warnings.append(
                f"the cycle error grows from {clean:.4f} to {after:.4f} by {what} on the way: the translation hides "
                "its source where nobody sees it, and the cycle error says little about what it shows"
            )
    return TranslationErrors(
        cycle=means["clean"],
        cycle_rounded=means["rounded"],
        cycle_noisy=means["noisy"],
        cycle_plus_noise=means["plus"],
        identity=same,
        cycle_perceptual=means.get("perceptual"),
        warnings=tuple(warnings),
    )


def _rounded(images: Tensor) -> Tensor:
    """As a PNG of these images would hold them."""
    return ((images.clamp(-1, 1) + 1) * 127.5 + 0.5).floor().clamp(0, 255) / 127.5 - 1


def _noise(images: Tensor, numbers: Sequence[int], seed: int) -> Tensor:
    shape = images.shape[1:]
    drawn = [np.random.default_rng([seed, i]).standard_normal(shape, dtype=np.float32) for i in numbers]
    return torch.from_numpy(np.stack(drawn)).to(images.device, images.dtype) * (2 * NOISE)
