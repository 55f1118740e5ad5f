"""CLIPScore of images and their captions: captions assigned, embedded, one pass over the images, an Evaluation."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganeval.arithmetic import exact_float32
from ganeval.engine.clip_score_config import ClipScoreConfig
from ganeval.engine.config import shown_progress
from ganeval.engine.inputs import require_effect
from ganeval.engine.paired import digest_of, groups_of
from ganeval.engine.prefetch import prefetched
from ganeval.environment import environment
from ganeval.errors import InputError, listed, number_of
from ganeval.features.clip_text import CONTEXT, load_text_encoder
from ganeval.features.devices import choose_device, give_back
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.registry import get_network
from ganeval.features.weights import by_network
from ganeval.generators.load import open_source
from ganeval.images.captions import Assigned, assign_captions
from ganeval.images.grouping import text_ids
from ganeval.images.prompts import in_columns
from ganeval.images.types import NumberedSource
from ganeval.metrics.clip_score import NAME, SCALINGS, measure
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol
from ganeval.results import Evaluation

BY_CAPTION = "caption"  # of --group-by


@dataclass(frozen=True, slots=True)
class Captioned:
    """Images that have a caption, and that caption of each, in order.

    Attributes:
        origin: where the captions come from, for the provenance.
        notes: on how captions were assigned.
        warnings: captions without an image.
        places: of these images among all; None: they are all.
    """

    source: NumberedSource
    captions: list[str]
    origin: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    places: np.ndarray | None = None


def run_clip_score(images: object, config: ClipScoreConfig) -> Evaluation:
    """Open the images, find their captions, embed both, and measure.

    Raises:
        InputError: images without a caption (unless they are skipped), or images or captions that cannot be used.
        WeightsError: the weights of CLIP are missing, damaged, or without a text side.
        ConfigError: a library is not installed, or an option that has no effect here.
    """
    started = time.perf_counter()
    device = choose_device(config.device)
    captioned = _captioned(_opened(images, config, device), config)
    source = captioned.source
    source.check()
    groups = _groups(captioned, config)
    path = by_network(config.weights, [config.clip_network]).get(config.clip_network)
    extractor = FeatureExtractor(
        image_protocol(config.clip_network), device=device, weights=path, batch_size=config.batch_size
    )
    scaling = SCALINGS[config.scaling]
    encoder = load_text_encoder(get_network(config.clip_network), device, path)
    texts = list(dict.fromkeys(captioned.captions))
    with shown_progress(config.progress, "captions", len(texts)) as progress:
        embedded = encoder([scaling.prefix + text for text in texts], progress)
    places = {text: place for place, text in enumerate(texts)}
    rows = torch.tensor([places[caption] for caption in captioned.captions])
    cosines, digests = _cosines(source, extractor, embedded, rows, config)
    give_back(device)
    cut = {text.removeprefix(scaling.prefix) for text in encoder.cut}
    number_cut = sum(caption in cut for caption in captioned.captions)
    result = measure(
        cosines,
        scaling,
        protocol=extractor.protocol,
        level=config.level,
        groups=groups,
        warnings=(*extractor.warnings, *captioned.warnings, *_warnings(captioned, groups, number_cut)),
        details={"captions": len(texts), "cut": number_cut},
    )
    arrays = _arrays(captioned, digests, groups, config)
    return Evaluation(
        results={NAME: result},
        real={"spec": None, "kind": "none", "n": None, "digest": None},
        fake={
            **source.describe(),
            "n": len(cosines),
            "digest": digest_of(digests) if len(digests) else None,
            "captions": {"spec": captioned.origin, "digest": digest_of(arrays["fake_input_digests"])},
        },
        environment=environment(device, "float32"),
        warnings=result.warnings,
        notes=captioned.notes,
        elapsed_seconds=time.perf_counter() - started,
        per_image=arrays,
    )


def _arrays(
    captioned: Captioned, digests: np.ndarray, groups: np.ndarray | None, config: ClipScoreConfig
) -> dict[str, np.ndarray]:
    """What is known of single images."""
    arrays = {"fake_input_digests": text_ids(captioned.captions)}
    if len(digests):
        arrays["fake_image_digests"] = digests
    if groups is not None:
        arrays["fake_groups"] = groups
    if captioned.places is not None:
        arrays["fake_places"] = captioned.places
    if config.single_images:
        arrays["fake_captions"] = np.array(captioned.captions)
        if (names := captioned.source.names()) is not None:
            arrays["fake_image_names"] = np.array(names)
    return arrays


def image_protocol(network: str) -> Protocol:
    """How CLIP's own code prepares an image: the shorter side to the network's size, bicubic, and the middle square."""
    declared = get_network(network)
    return Protocol(
        name=NAME,
        extractor=network,
        layer=declared.layers[-1],
        resize="pil-bicubic-uint8-square",
        size=declared.options["image_size"],
        scale="clip",
    )


# --- captions ---------------------------------------------------------------------------------------------------


def _opened(spec: object, config: ClipScoreConfig, device: torch.device) -> NumberedSource:
    require_effect([spec], replace(config, caption_column=None))  # that of captions is looked at where they are read
    source = open_source(spec, options=config.opening(device=str(device)))
    if not isinstance(source, NumberedSource):
        raise InputError(f"{source.spec} is a stream; captions need images of a known number. Save them first.")
    return source


def _captioned(source: NumberedSource, config: ClipScoreConfig) -> Captioned:
    """The images that have a caption.

    Raises:
        InputError: there are others, and they are not to be skipped; or no image has one.
    """
    found = assign_captions(
        source,
        config.captions,
        name_column=config.name_column,
        caption_column=config.caption_column,
        of_prompts=in_columns(config.prompts),
    )
    with_caption = [i for i, caption in enumerate(found.captions) if caption is not None]
    lacking = source.length - len(with_caption)
    if lacking and (config.on_unpaired == "stop" or not with_caption):
        raise InputError(_without_caption(source, found))
    notes, places = [], None
    if found.by_order:
        notes.append("captions were assigned by the order of the images")
    if lacking:
        notes.append(f"images without a caption were left out: {lacking} of {source.length}")
        places = np.array(with_caption, np.int64)
        source = source.part(places)
    warnings: tuple[str, ...] = ()
    if found.unused:
        warnings = (f"{number_of(len(found.unused), 'caption has', 'captions have')} no image: {listed(found.unused)}",)
    captions = [caption for caption in found.captions if caption is not None]
    return Captioned(source, captions, _origin(found, config), tuple(notes), warnings, places)


def _without_caption(source: NumberedSource, found: Assigned) -> str:
    names = found.rows or source.names() or [f"#{i}" for i in range(source.length)]
    lacking = [name for name, caption in zip(names, found.captions, strict=True) if caption is None]
    advice = "Add them"
    if len(lacking) < source.length:
        advice += f", or leave these images out with {option('on_unpaired', 'skip')}"
    known = f"; {number_of(len(found.unused), 'caption has', 'captions have')} no image ({listed(found.unused)})"
    return (
        f"{number_of(len(lacking), 'image of', 'images of')} {source.spec} without a caption: {listed(lacking)}"
        f"{known if found.unused else ''}. {advice}."
    )


def _groups(captioned: Captioned, config: ClipScoreConfig) -> np.ndarray | None:
    """Ids of the images that count as one."""
    if config.group_by is None:
        return None
    if config.group_by == BY_CAPTION:
        return text_ids(captioned.captions)
    source = captioned.source
    if (names := source.names()) is None:
        raise InputError(
            f"{option('group_by')} is searched in the names of images, and those of {source.spec} have no names. Use "
            f"{option('group_by', BY_CAPTION)}, or leave it out."
        )
    return groups_of(names, config.group_by, source.spec)


def _warnings(captioned: Captioned, groups: np.ndarray | None, cut: int) -> tuple[str, ...]:
    n, different = len(captioned.captions), len(set(captioned.captions))
    warnings = []
    if cut:
        warnings.append(
            f"{number_of(cut, 'caption was', 'captions were')} longer than {CONTEXT} tokens: only the first "
            f"{CONTEXT - 2} tokens were used"
        )
    if different < n and groups is None:
        warnings.append(
            f"{n} images have {number_of(different, 'different caption')}: images of one caption are not independent; "
            f"{option('group_by', BY_CAPTION)} counts them as one in the error bar"
        )
    return tuple(warnings)


# --- embeddings -------------------------------------------------------------------------------------------------


def _cosines(
    source: NumberedSource, extractor: FeatureExtractor, embedded: Tensor, rows: Tensor, config: ClipScoreConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The one pass over the images: the cosine of each image and its caption, and the digests of the images.

    There are no digests of images that are made on an accelerator.

    Args:
        embedded: of the different captions, (m, d), of length 1.
        rows: which of them is that of each image.
    """
    found: list[Tensor] = []
    digests: list[np.ndarray] = []
    batches = source.batches(extractor.batch_size, workers=config.workers, prepare=extractor.prepare)
    done = 0
    with shown_progress(config.progress, f"images: {source.spec}", source.length) as progress:
        for batch in prefetched(batches, extractor.device):
            features = extractor(batch)[extractor.protocol.layer]
            n = len(features)
            with exact_float32(features.device):
                partners = embedded[rows[done : done + n].to(embedded.device)].to(features.device)
                found.append((normalize(features.float(), dim=1) * partners).sum(dim=1))
            digests += [] if batch.digests is None else [batch.digests]
            done += n
            progress(n)
    return torch.cat([one.cpu() for one in found]).numpy(), np.concatenate([np.empty(0, np.uint64), *digests])


def _origin(found: Assigned, config: ClipScoreConfig) -> str:
    if found.column is not None:
        return f"column {found.column} of the images"
    if config.captions is None:
        return "next to the images" if config.prompts is None else "the prompts of the generator"
    return str(config.captions) if isinstance(config.captions, str | Path) else "given from Python"
