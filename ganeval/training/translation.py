"""How good is a pair of image translators? Distances between domains, cycle and identity errors, errors to true pairs.

A translation from A to B should move the distribution to B's: FD(B, G(A)) far below FD(B, A), the distance of the
untranslated images. It should keep the scene: the way back should lead to where it began, and where the true
counterpart of an image is known, the translation should be near it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ganeval.errors import InputError
from ganeval.metrics.difference import Measurement, difference
from ganeval.metrics.intervals import quantile, symmetric_interval
from ganeval.results import Interval, MetricResult
from ganeval.training.judge import Judge, flat
from ganeval.training.loop import to_float, to_uint8
from ganeval.training.translation_errors import absolute_error

Translate = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of a translation. L1 errors are means over images, channels and pixels, on [-1, 1].

    Attributes:
        untranslated: distance of the source images, as they are, from the target domain.
        translated: distance of their translations from the target domain.
        difference: translated - untranslated, bias-corrected; None where the distances have no interval.
        interval: of the difference, the images paired and the target shared; its whole length below 0 means that the
            translation moves the domain.
        cycle: L1 between the source images and their translations translated back.
        identity: L1 between target images and their translations, which should be equal.
        pair: L1 between translations and true counterparts, if known.
        pair_untranslated: L1 between source images and true counterparts.
        others: other metrics by name, of the untranslated images and of the translations.
    """

    untranslated: MetricResult
    translated: MetricResult
    difference: float | None
    interval: Interval | None
    cycle: float
    identity: float
    pair: float | None = None
    pair_untranslated: float | None = None
    others: Mapping[str, tuple[MetricResult, MetricResult]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """A flat dictionary for a log or a model card."""
        out: dict[str, object] = {}
        for name, result in (("fd", self.translated), ("fd_untranslated", self.untranslated)):
            out |= {
                name: result.value,
                f"{name}_corrected": result.corrected,
                f"{name}_interval": _ends(result.interval),
            }
        out |= {"fd_difference": self.difference, "fd_difference_interval": _ends(self.interval)}
        out |= {"cycle_l1": self.cycle, "identity_l1": self.identity, "n": self.translated.n_fake}
        if self.pair is not None:
            out |= {"pair_l1": self.pair, "pair_l1_untranslated": self.pair_untranslated}
        for name, (before, after) in self.others.items():
            out |= {f"{name}_untranslated": before.value, **flat(name, after)}
        return out


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


class Yardstick:
    """Measure translators on fixed images; values that do not depend on the translator are measured once.

    Args:
        source: uint8 (N, 3, H, W), not among the images of the training.
        target: uint8 (M, 3, H, W) of the target domain, not among the images of the training, nor the counterparts of
            ``source``.
        pairs: uint8 (N, 3, H, W), the true counterparts of ``source``, where they are known.
        protocol: protocol of the distances.
        metrics: measured in addition to the Frechet distance; None for those of ``judge.METRICS`` that the number of
            images allows.
        device: device of the protocol's network.
        level: confidence level of the intervals.

    Raises:
        InputError: the pairs have another shape than the source.
        ConfigError: a metric is unknown.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        *,
        pairs: Tensor | None = None,
        protocol: str = "compact",
        metrics: Sequence[str] | None = (),
        device: str = "auto",
        level: float = 0.95,
    ) -> None:
        if pairs is not None and pairs.shape != source.shape:
            raise InputError(f"Pairs of shape {tuple(pairs.shape)} do not match images of shape {tuple(source.shape)}.")
        self.source, self.target, self.pairs, self.level = source, target, pairs, level
        names = None if metrics is None else tuple(dict.fromkeys(("fid", *metrics)))
        self._judge = Judge(target, protocol=protocol, metrics=names, device=device)
        self._before: Mapping[str, MetricResult] | None = None

    def __call__(self, there: Translate, back: Translate) -> Direction:
        """Measure the translator ``there``, whose way back is ``back``, both as ``translator`` makes them."""
        made = there(self.source)
        if self._before is None:
            self._before = self._measure(self.source)
        before, after = self._before, self._measure(made)
        difference, interval = paired_difference(before["fid"], after["fid"], self.level)
        return Direction(
            untranslated=before["fid"],
            translated=after["fid"],
            difference=difference,
            interval=interval,
            cycle=l1(back(made), self.source),
            identity=l1(there(self.target), self.target),
            pair=None if self.pairs is None else l1(made, self.pairs),
            pair_untranslated=None if self.pairs is None else l1(self.source, self.pairs),
            others={name: (before[name], after[name]) for name in after if name != "fid"},
        )

    def _measure(self, images: Tensor) -> Mapping[str, MetricResult]:
        return self._judge.measure(images, reference="sample", level=self.level)


def paired_difference(
    before: MetricResult, after: MetricResult, level: float = 0.95
) -> tuple[float | None, Interval | None]:
    """after - before, bias-corrected, with its interval: both against one target, image i of both made of one source.

    What the two have in common drops out of the error (``ganeval.metrics.difference``).
    """
    if before.corrected is None or after.corrected is None:
        return None, None
    pair = []
    for result in (before, after):
        arrays = dict(result.per_image)
        for digests, influence in (("fake_input", "fid_influence_fake"), ("real_image", "fid_influence_real")):
            arrays[f"{digests}_digests"] = np.arange(len(arrays[influence]))
        pair.append(Measurement(result=result, arrays=arrays))
    found = difference(*pair)
    half = quantile(level) * found.standard_error
    return found.value, symmetric_interval(found.value, half, level, "influence", "population")


def l1(images: Tensor, others: Tensor) -> float:
    """Mean absolute difference of 8-bit images, on the scale from -1 to 1."""
    return 2 * float(absolute_error(images, others).mean())


def translator(generator: nn.Module, *, batch_size: int = 32) -> Translate:
    """Wrap a generator as a function of 8-bit images, in evaluation mode, without gradients, in batches of one shape.

    Shape:
        uint8 (N, 3, H, W) -> the same, on the CPU.
    """
    floats = float_translator(generator)

    def translate(images: Tensor) -> Tensor:
        return torch.cat([to_uint8(floats(to_float(part))).cpu() for part in torch.split(images, batch_size)])

    return translate


def float_translator(generator: nn.Module) -> Translate:
    """Wrap a generator as a function of floats in [-1, 1], in one batch; the result stays on its device."""

    def translate(images: Tensor) -> Tensor:
        first, training = next(generator.parameters()), generator.training
        generator.eval()
        try:
            with torch.inference_mode():
                entering = images.contiguous(memory_format=torch.channels_last).to(first.device, first.dtype)
                made: Tensor = generator(entering)
                return made
        finally:
            generator.train(training)

    return translate
