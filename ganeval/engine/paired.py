"""Pairs of images from their options to their results: open, find partners, one pass, the mean of each metric."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ganeval.arithmetic import widest_float
from ganeval.digests import SetDigest
from ganeval.distributed import ONE, Group
from ganeval.engine.inputs import preparation_of, require_effect
from ganeval.engine.pair_loop import PairValues, measure_pairs
from ganeval.engine.pair_networks import PairNetworks, load_pair_networks, unavailable
from ganeval.engine.pair_values import LEAST
from ganeval.engine.paired_config import PairedConfig, PerceptualOptions
from ganeval.engine.partners import Pairing, find_partners
from ganeval.environment import environment
from ganeval.errors import ConfigError, InputError, NotEnoughSamplesError, listed, number_of
from ganeval.features.devices import choose_device
from ganeval.features.perceptual import PerceptualDistance
from ganeval.generators.load import open_source
from ganeval.images.grouping import UNKNOWN, Grouping, incomplete
from ganeval.images.preparation import combined, parse_preparation, prepared
from ganeval.images.types import NumberedSource
from ganeval.metrics import pairs as metric
from ganeval.metrics.registry import METRICS, named_metrics
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol
from ganeval.results import Evaluation, MetricResult


def run_paired(real: object, fake: object, config: PairedConfig, group: Group = ONE) -> Evaluation:
    """Open and pair both sets, one pass over the pairs, every metric.

    Args:
        group: the processes that share the pairs.

    Raises:
        InputError: images without a partner, pairs of unequal sizes, or images that cannot be used.
        NotEnoughSamplesError: no pair can be used.
        WeightsError: the weights of a metric that was named are missing or damaged.
        ConfigError: an option that has no effect here.
        RankError: another rank failed.
    """
    started = time.perf_counter()
    device = choose_device(config.device)
    require_effect([real, fake], config)
    wanted, notes = _wanted(config)
    reals, fakes = (open_numbered(*one, config, device) for one in (("real", real), ("fake", fake)))
    pairing = find_partners(reals, fakes, config)
    for source in (pairing.real, pairing.fake):
        source.check(config.on_error)
    groups, remarks = _groups(pairing, config)
    networks = load_pair_networks(wanted, config, device)
    found = measure_pairs(pairing, wanted, networks, config, device, group)
    arrays = _arrays(pairing, found, groups, config)
    results = _results(found, config, networks, device, arrays)
    if not results:
        raise NotEnoughSamplesError("all pairs are identical: their PSNR is infinite. Ask for other metrics.")
    notes += [*pairing.notes, *remarks]
    notes += [f"{name} is not computed: {why}" for name, why in found.left_out.items()]
    warnings = [warning for one in results.values() for warning in one.warnings]
    if left_out := pairing.length - len(found.rows):
        named = listed([name for one in found.skipped for name, _ in one])
        warnings.insert(0, f"{number_of(left_out, 'pair')} left out, of which an image is unreadable ({named})")
    sources = {"real": pairing.real, "fake": pairing.fake}
    described = {
        side: {**source.describe(), "n": len(digests), "digest": digest_of(digests), "skipped": skipped}
        for (side, source), digests, skipped in zip(sources.items(), found.digests, found.skipped, strict=True)
    }
    return Evaluation(
        results=results,
        real=described["real"],
        fake=described["fake"],
        environment={**environment(device, _precision(device)), **({"ranks": group.size} if group.size > 1 else {})},
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(notes),
        elapsed_seconds=time.perf_counter() - started,
        per_image=arrays,
    )


def _arrays(
    pairing: Pairing, found: PairValues, groups: np.ndarray | None, config: PairedConfig
) -> dict[str, np.ndarray]:
    """What is known of single images: digests, clusters, and their places in sources that hold more than the pairs."""
    real, fake = found.digests
    arrays = {"fake_input_digests": real, "real_image_digests": real, "fake_image_digests": fake}
    if groups is not None:
        arrays["fake_groups"] = groups[found.rows]
    elif pairing.repeated:  # of one real, by whose digest the clusters of two models are the same
        arrays["fake_groups"] = real
    complete = len(found.rows) == pairing.length
    for side, places, in_order in zip(("real", "fake"), pairing.places, pairing.in_order, strict=True):
        if not (in_order and complete):
            arrays[f"{side}_places"] = places[found.rows].astype(np.int64)
    if config.single_images:
        for side, names in zip(("real", "fake"), pairing.names(found.rows.tolist()), strict=True):
            arrays[f"{side}_image_names"] = np.array(names)
    return arrays


def _wanted(config: PairedConfig) -> tuple[list[str], list[str]]:
    """The metrics to compute, and notes on those that are left out."""
    names = [one.name for one in METRICS.values() if one.command == "paired"]
    if config.metrics is not None:
        chosen = named_metrics(config.metrics)
        if others := [one.name for one in chosen if one.name not in names]:
            raise ConfigError(f"{others[0]} is not a metric of pairs. Available: {', '.join(names)}.")
        return list(dict.fromkeys(one.name for one in chosen)), []
    missing = unavailable(names, config)
    notes = ["; ".join(f"{name} is not computed: {why}" for name, why in missing.items())] if missing else []
    return [name for name in names if name not in missing], notes


def open_numbered(name: str, spec: object, config: PerceptualOptions, device: torch.device) -> NumberedSource:
    """Open an image set behind its steps.

    Args:
        name: ``real`` or ``fake``, or another word for messages; of other words the steps are ``config.prepare``.

    Raises:
        InputError: images that cannot be used, or a stream.
    """
    source = open_source(spec, options=config.opening(device=str(device)))
    if not isinstance(source, NumberedSource):
        raise InputError(
            f"{name.upper()} {source.spec} is a stream; expected images of a known number. Save them first."
        )
    if not (text := preparation(name, config)):
        return source
    found = prepared(source, parse_preparation(text), config.seed)
    assert isinstance(found, NumberedSource)
    return found


def preparation(name: str, config: PerceptualOptions) -> str:
    """The steps of an image set, in the form that is part of a protocol; empty: none.

    Raises:
        ConfigError: they are no steps, or take patches.
    """
    text = preparation_of(config, name)
    if text and parse_preparation(text).patches is not None:
        raise ConfigError(f"{option('prepare')}: patches of two images show other places; got {text!r}. Take a crop.")
    return text


def label_of(name: str, distance: PerceptualDistance) -> str:
    """The label of a metric of a perceptual distance, such as ``LPIPS[alex]``."""
    mark = "" if distance.verified else f"-{(distance.weights or 'unknown')[:8]}"
    return f"{METRICS[name].acronym}[{distance.name.removeprefix('lpips-')}{mark}]"


# --- results ---------------------------------------------------------------------------------------------------------


def _results(
    found: PairValues,
    config: PairedConfig,
    networks: PairNetworks,
    device: torch.device,
    arrays: Mapping[str, np.ndarray],
) -> dict[str, MetricResult]:
    results = {}
    for name, values in found.values.items():
        acronym = METRICS[name].acronym
        protocol = _protocol(name, config, device)
        label = acronym if config.channels == "rgb" else f"{acronym}[y]"
        warnings: tuple[str, ...] = ()
        if name == "lpips":
            distance = networks.distance
            assert distance is not None
            protocol = replace(distance.protocol("paired"), prepare=protocol.prepare)
            warnings = distance.warnings
            label = label_of(name, distance)
        elif name in networks.extractors:
            extractor = networks.extractors[name]
            protocol = replace(extractor.protocol, name="paired", prepare=protocol.prepare)
            warnings = extractor.warnings
            label = protocol.label(acronym)
        one = metric.result(
            name,
            values,
            protocol=protocol,
            label=label,
            reference=digest_of(arrays["real_image_digests"]),
            inputs=arrays["fake_input_digests"],
            level=config.level,
            groups=arrays.get("fake_groups"),
            warnings=warnings,
        )
        if one is not None:
            results[name] = one
        else:
            found.left_out[name] = "all pairs are identical"
    return results


def _protocol(name: str, config: PairedConfig, device: torch.device) -> Protocol:
    """Steps, channels, window, data range and arithmetic of a metric of pixels."""
    window = f", Gaussian window {metric.WINDOW}, sigma {metric.SIGMA:g}" if name in LEAST else ""
    return Protocol(
        name="paired",
        extractor="pixels",
        layer=f"{config.channels}{window}",
        resize="none",
        size=0,
        scale="x/255",
        precision=_precision(device),
        verified=True,
        prepare=combined({side: preparation(side, config) for side in ("real", "fake")}),
    )


def _groups(pairing: Pairing, config: PairedConfig) -> tuple[np.ndarray | None, list[str]]:
    """Ids of the clusters of all pairs, where the user names them, and notes on what counts as one."""
    if config.group_by is None:
        remark = "outputs of one input count as one in the error bars"
        return None, [remark] if pairing.repeated else []
    names = pairing.names(range(pairing.length))[1]
    ids = groups_of(names, config.group_by, "FAKE")
    return ids, ["pairs that belong together count as one in the error bars"]


def groups_of(names: Sequence[str], by: str | Path, where: str) -> np.ndarray:
    """Ids of the groups of images, (n,) uint64.

    Args:
        where: the image set, for messages.

    Raises:
        ConfigError: no image has a group.
        InputError: some images have none.
    """
    grouping = Grouping(by)
    ids = grouping(names)
    lacking = [name for name, known in zip(names, ids, strict=True) if known == UNKNOWN]
    if len(lacking) == len(names):
        grouping.reject({where: names[0]})
    if lacking:
        raise InputError(incomplete(str(by), where, len(lacking), len(names), lacking[:3]))
    return ids


def _precision(device: torch.device) -> str:
    return str(widest_float(device)).removeprefix("torch.")


def digest_of(digests: np.ndarray) -> str:
    """The digest of a set, from those of its images in order."""
    whole = SetDigest()
    whole.update(digests)
    return whole.hexdigest()
