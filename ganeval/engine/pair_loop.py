"""The one loop over pairs of images: draw both, compute every metric, and gather what all ranks have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ganeval.distributed import Group
from ganeval.engine.config import shown_progress
from ganeval.engine.pair_networks import PairNetworks
from ganeval.engine.pair_values import LEAST, pair_values
from ganeval.engine.paired_config import PairedConfig
from ganeval.engine.partners import PairBatch, Pairing, draw_pairs
from ganeval.engine.sharding import pulsed
from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.parsing.arguments import option

_CALL = "paired images"


@dataclass(slots=True)
class PairValues:
    """What is known of the pairs that could be used, in order.

    Attributes:
        values: float64 (n,), by metric.
        rows: their places in the pairing.
        digests: uint64 (2, n), of reals and of fakes.
        left_out: metrics that are not computed, and why.
        skipped: (name, reason) of unreadable images, of reals and of fakes.
    """

    values: dict[str, np.ndarray]
    rows: np.ndarray
    digests: np.ndarray
    left_out: dict[str, str]
    skipped: tuple[list[list[str]], list[list[str]]]


@dataclass(slots=True)
class _Share:
    """What this rank has found."""

    metrics: list[str]
    values: list[dict[str, np.ndarray]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    digests: list[np.ndarray] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def measure_pairs(
    pairing: Pairing,
    metrics: Sequence[str],
    networks: PairNetworks,
    config: PairedConfig,
    device: torch.device,
    group: Group,
) -> PairValues:
    """Compute the metrics of every pair. Rank r takes the batches r, r + size, ... that one process would draw.

    Raises:
        InputError: pairs of unequal sizes, images that are too small for a metric, or that cannot be used.
        NotEnoughSamplesError: no pair can be used.
        RankError: another rank failed.
    """
    pairs = np.arange(pairing.length)
    own = pairs[pairs // config.batch_size % group.size == group.rank]
    sources = pairing.sources(own)
    most = math.ceil(math.ceil(pairing.length / config.batch_size) / group.size)
    share = _Share(list(metrics))
    with shown_progress(config.progress, f"pairs: {pairing.fake.spec}", len(own)) as progress:
        for batch in pulsed(draw_pairs(*sources, config), most, group, _CALL):
            _add(share, batch, own, pairing, networks, config, device)
            progress(len(batch.rows))
    reports = [list(map(list, source.report.skipped)) for source in sources]
    return _gathered(share, reports, group, pairing)


def _add(
    share: _Share,
    batch: PairBatch,
    own: np.ndarray,
    pairing: Pairing,
    networks: PairNetworks,
    config: PairedConfig,
    device: torch.device,
) -> None:
    """The values of one batch of pairs, those of one size together."""
    rows = own[batch.rows].tolist()
    by_size: dict[tuple[int, ...], list[int]] = {}
    for i, (one, other) in enumerate(zip(batch.real, batch.fake, strict=True)):
        if one.shape != other.shape:
            raise InputError(_unequal(pairing, rows[i], one.shape, other.shape))
        by_size.setdefault(tuple(one.shape), []).append(i)
    _leave_out_small(share, by_size, config, pairing, rows)
    values = {name: np.zeros(len(rows)) for name in share.metrics}
    for places in by_size.values():
        real, fake = (torch.stack([images[i] for i in places]).to(device) for images in (batch.real, batch.fake))
        for name, found in pair_values(share.metrics, real, fake, networks, config.channels).items():
            values[name][places] = found
    share.values.append(values)
    share.rows += rows
    share.digests.append(batch.digests)


def _unequal(pairing: Pairing, row: int, *shapes: Sequence[int]) -> str:
    (real,), (fake,) = pairing.names([row])
    sizes = " and ".join(f"{shape[-1]} x {shape[-2]}" for shape in shapes)
    steps = option("prepare", f"resize:{shapes[0][-1]}x{shapes[0][-2]}:bicubic")
    return (
        f"the pair {real} and {fake} has unequal sizes: {sizes} pixels. Bring both sets to one size, for instance "
        f"{steps}."
    )


def _leave_out_small(
    share: _Share,
    sizes: Mapping[tuple[int, ...], Sequence[int]],
    config: PairedConfig,
    pairing: Pairing,
    rows: Sequence[int],
) -> None:
    """Drop metrics for which an image is too small, or stop where they were asked for by name."""
    shape = min(sizes, key=lambda shape: min(shape[-2:]))
    side = min(shape[-2:])
    for name, least in LEAST.items():
        if name not in share.metrics or side >= least:
            continue
        ((fake,),) = pairing.names([rows[sizes[shape][0]]])[1:]
        why = f"{fake} has {shape[-1]} x {shape[-2]} pixels, expected sides of at least {least}"
        if config.metrics is not None:
            raise InputError(f"{name} cannot be computed: {why}. Ask for other metrics.")
        share.left_out[name] = why
        share.metrics.remove(name)


def _gathered(share: _Share, skipped: list[list[list[str]]], group: Group, pairing: Pairing) -> PairValues:
    """What all ranks have found, in the order of the pairs."""
    reports = group.gather_json([share.left_out, skipped], f"{_CALL}: reports")
    left_out = {name: why for one, _ in reversed(reports) for name, why in one.items()}
    metrics = [name for name in share.metrics if name not in left_out]
    rows = np.concatenate(group.gather(np.array(share.rows, np.int64), f"{_CALL}: places"))
    both = _merged([one[0] for _, one in reports]), _merged([one[1] for _, one in reports])
    if not len(rows):
        first = (both[0] or both[1])[0]
        raise NotEnoughSamplesError(
            f"none of {pairing.length} pairs can be used ({first[0]}: {first[1]}). Give images that can be read."
        )
    digests = np.concatenate([np.empty((2, 0), np.uint64), *share.digests], axis=1).T
    digests = np.concatenate(group.gather(digests, f"{_CALL}: digests"))
    order = np.argsort(rows, kind="stable")
    values = {}
    for name in metrics:
        own = np.concatenate([np.empty(0), *(one[name] for one in share.values)])
        values[name] = np.concatenate(group.gather(own, f"{_CALL}: {name}"))[order]
    return PairValues(values, rows[order], digests[order].T, left_out, both)


def _merged(reports: Sequence[Sequence[Sequence[str]]]) -> list[list[str]]:
    """The unreadable images of all ranks; one that has several partners was met several times."""
    return [list(one) for one in dict.fromkeys(tuple(one) for report in reports for one in report)]
