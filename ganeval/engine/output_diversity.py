"""Diversity of several outputs of one input, from its options to its result: each input's outputs meet once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ganeval.distributed import ONE, Group
from ganeval.engine.config import shown_progress
from ganeval.engine.evaluation import NO_SET
from ganeval.engine.inputs import require_effect
from ganeval.engine.pair_networks import load_paired_distance
from ganeval.engine.paired import digest_of, groups_of, label_of, open_numbered, preparation
from ganeval.engine.paired_config import DiversityConfig
from ganeval.engine.partners import drawn_images
from ganeval.engine.sharding import pulsed
from ganeval.environment import environment
from ganeval.errors import ConfigError, InputError, NotEnoughSamplesError, listed, number_of
from ganeval.features.devices import choose_device
from ganeval.features.perceptual import PerceptualDistance
from ganeval.images.grouping import text_ids
from ganeval.images.types import NumberedSource
from ganeval.metrics import output_diversity as metric
from ganeval.parsing.arguments import option
from ganeval.results import Evaluation

# the number of an input, the places of its outputs, their images and digests
Outputs: TypeAlias = "tuple[int, list[int], list[Tensor], list[np.uint64]]"
_CALL = "outputs"
_PAIRS = 8  # at a time: the maps of LPIPS are large, 17 MB an image of 256 x 256 in its first layer


def run_diversity(outputs: object, config: DiversityConfig, group: Group = ONE) -> Evaluation:
    """Open the outputs, group them by input, and measure each input.

    Args:
        group: the processes that share the inputs.

    Raises:
        InputError: images that cannot be used, without an input, or of unequal sizes within one.
        NotEnoughSamplesError: an input with one output.
        WeightsError: the weights of the distance are missing or damaged.
        ConfigError: no grouping, or an option that has no effect here.
    """
    started = time.perf_counter()
    require_effect([outputs], config)
    if config.group_by is None and config.prompts is None:
        raise _no_inputs()
    device = choose_device(config.device)
    source = open_numbered("outputs", outputs, config, device)
    source.check(config.on_error)
    names = source.names() or [f"#{i}" for i in range(source.length)]
    ids = _inputs(source, names, config)
    _, first, input_of = np.unique(ids, return_index=True, return_inverse=True)
    distance = load_paired_distance(config, device)
    order = np.argsort(first[input_of], kind="stable")  # the outputs of one input, then those of the next
    numbers = np.argsort(np.argsort(first))[input_of][order]  # of their inputs, in order of first appearance
    mine = np.flatnonzero(numbers % group.size == group.rank)
    part = source.part(order[mine])
    by_input = pulsed(_by_input(part, numbers[mine], config), math.ceil(len(first) / group.size), group, _CALL)
    found, digests = _measured(by_input, order[mine], names, distance, config)
    values, rows, marks, skipped = _gathered(found, digests, part, group)
    inputs = np.sort(first)[values[:, 0].astype(np.intp)]
    protocol = replace(distance.protocol("diversity"), prepare=preparation("fake", config))
    measured = metric.result(
        values[:, 1],
        len(rows),
        ids[inputs],
        pairs=config.pairs,
        seed=config.seed,
        label=label_of("diversity", distance),
        protocol=protocol,
        level=config.level,
        warnings=distance.warnings,
    )
    warnings = list(distance.warnings)
    if skipped:
        warnings.insert(0, f"{number_of(len(skipped), 'unreadable file')} skipped ({listed([s[0] for s in skipped])})")
    return Evaluation(
        results={measured.name: measured},
        real=NO_SET,
        fake={**source.describe(), "n": len(rows), "digest": digest_of(marks), "skipped": skipped},
        environment={**environment(device, protocol.precision), **({"ranks": group.size} if group.size > 1 else {})},
        warnings=tuple(warnings),
        elapsed_seconds=time.perf_counter() - started,
        per_image={"fake_image_digests": marks},
    )


def _inputs(source: NumberedSource, names: list[str], config: DiversityConfig) -> np.ndarray:
    """The id of the input of each output: as the user says, or its prompt."""
    if config.group_by is not None:
        return groups_of(names, config.group_by, "OUTPUTS")
    if (prompts := source.prompts()) is None:
        raise _no_inputs()
    ids = text_ids(prompts)
    if len(np.unique(ids)) == source.length:
        raise NotEnoughSamplesError(
            f"{source.spec} makes one output of each prompt; expected 2 or more. Ask for several times as many images "
            f"as there are prompts: {option('num_samples', 2 * source.length)}."
        )
    return ids


def _no_inputs() -> ConfigError:
    example = option("group_by", "(.+)_[0-9]+")
    return ConfigError(f"name the input of each output: {example} for cat_0.png and cat_1.png.")


def _measured(
    by_input: Iterator[Outputs],
    rows: np.ndarray,
    names: list[str],
    distance: PerceptualDistance,
    config: DiversityConfig,
) -> tuple[list[tuple[int, float]], list[tuple[int, np.uint64]]]:
    """(input, value) of each input of this rank, and (row, digest) of each output.

    Args:
        rows: of the outputs in the source.
        names: of all images of the source.
    """
    found, digests = [], []
    with shown_progress(config.progress, "outputs", len(rows)) as progress:
        for number, places, images, marks in by_input:
            first = names[rows[places[0]]]
            if any(image.shape != images[0].shape for image in images):
                steps = option("prepare", "resize:256:bicubic")
                raise InputError(f"outputs of the input of {first} have unequal sizes. Bring them to one: {steps}.")
            if len(images) < 2:
                raise NotEnoughSamplesError(f"{first} is the only output of its input; expected 2 or more.")
            floats = torch.stack(images).to(distance.device, distance.dtype) / 127.5 - 1
            with torch.inference_mode():
                value = mean_distance(floats, distance, pairs=config.pairs, number=number, seed=config.seed)
            found.append((number, value))
            digests += [(int(rows[place]), mark) for place, mark in zip(places, marks, strict=True)]
            progress(len(images))
    return found, digests


def _by_input(part: NumberedSource, numbers: np.ndarray, config: DiversityConfig) -> Iterator[Outputs]:
    """The outputs of one input after another: its number, their places, images and digests."""
    outputs: list[tuple[int, Tensor, np.uint64]] = []
    for place, image, mark in drawn_images(part, config):
        if outputs and numbers[place] != numbers[outputs[0][0]]:
            yield _together(outputs, numbers)
            outputs = []
        outputs.append((place, image, mark))
    if outputs:
        yield _together(outputs, numbers)


def _together(outputs: list[tuple[int, Tensor, np.uint64]], numbers: np.ndarray) -> Outputs:
    places, images, marks = (list(column) for column in zip(*outputs, strict=True))
    return int(numbers[places[0]]), places, images, marks


def _gathered(
    found: list[tuple[int, float]], digests: list[tuple[int, np.uint64]], part: NumberedSource, group: Group
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[list[str]]]:
    """What all ranks have: (input, value) rows, the rows of the images with their digests, and unreadable files."""
    values = np.concatenate(group.gather(np.array(found, np.float64).reshape(-1, 2), f"{_CALL}: values"))
    rows = np.concatenate(group.gather(np.array([row for row, _ in digests], np.int64), f"{_CALL}: places"))
    marks = np.concatenate(group.gather(np.array([mark for _, mark in digests], np.uint64), f"{_CALL}: digests"))
    reports = group.gather_json([list(pair) for pair in part.report.skipped], f"{_CALL}: reports")
    if not len(values):
        raise NotEnoughSamplesError("no input has outputs that can be used. Give images that can be read.")
    order = np.argsort(rows, kind="stable")
    skipped = sorted([list(one) for report in reports for one in report])
    return values[np.argsort(values[:, 0], kind="stable")], rows[order], marks[order], skipped


def mean_distance(
    images: Tensor, distance: PerceptualDistance, *, pairs: int | None = None, number: int = 0, seed: int = 0
) -> float:
    """Mean distance over the pairs of the outputs for one input.

    Args:
        images: (K, 3, H, W) floats in [-1, 1], K at least 2.
        pairs: how many of the K (K - 1) / 2 pairs, drawn by the seed and the number of the input; None: all.
        number: of the input.

    Raises:
        NotEnoughSamplesError: fewer than 2 outputs, or fewer pairs than ``pairs``.
    """
    chosen = np.array(list(combinations(range(len(images)), 2)))
    if len(chosen) < (pairs or 1):
        raise NotEnoughSamplesError(
            f"diversity takes {pairs or 1} pairs of the outputs for one input; input {number} has {len(images)} "
            f"outputs, {len(chosen)} pairs."
        )
    if pairs is not None:
        chosen = np.random.default_rng([seed, number]).permutation(chosen)[:pairs]
    maps, found = distance.maps(images), []
    for some in np.array_split(chosen, math.ceil(len(chosen) / _PAIRS)):
        one, other = ([m[torch.from_numpy(side).to(m.device)] for m in maps] for side in some.T.copy())
        found.append(distance.between(one, other).cpu().double())
    return float(torch.cat(found).mean())
