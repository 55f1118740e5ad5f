"""Steps between an image and the protocol's own resize: crops, resizes, padding and patches, as papers take them.

Steps are written from left to right and separated by commas, for instance ``center-crop,resize:256:lanczos``. Each
takes 8-bit RGB and gives 8-bit RGB:

    center-crop[:S]    the middle S x S (default: of the shorter side), from (length - S) // 2 on
    adm-crop:S         the centre crop of guided-diffusion and DiT: halved by Pillow's box filter while the shorter side
                       has 2 S pixels or more, then Pillow's bicubic to a shorter side of S, then the middle
    resize:S:FILTER    to S x S, or W x H: the filters are those of ``FILTERS``
    pad[:S]            black, to a square of S (default: of the longer side), from (S - length) // 2 on
    patches:SxN        N crops of S x S at random places; only as the last step. Those of an image belong together
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from ganeval.errors import ConfigError
from ganeval.images.decode import Pixels, UnreadableImage
from ganeval.images.indexed import IndexedSource
from ganeval.images.types import Images, ImageSource, SourceReport
from ganeval.parsing.arguments import option

Step = Callable[[np.ndarray], np.ndarray]  # uint8 (H, W, 3) to uint8 (H', W', 3)

_PILLOW = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_TORCH: Mapping[str, Mapping[str, object]] = {
    f"torch-{mode}{suffix}": {"mode": mode, "antialias": bool(suffix), "align_corners": False}
    for mode in ("bilinear", "bicubic")
    for suffix in ("", "-antialias")
}
FILTERS = (*_PILLOW, *_TORCH)
MOST = 2**15  # pixels of a side
STEPS = "center-crop[:S], adm-crop:S, resize:S:FILTER, pad[:S], patches:SxN"


def center_crop(image: np.ndarray, size: int | None = None) -> np.ndarray:
    """The middle square of ``size``, or of the shorter side.

    Raises:
        UnreadableImage: the image is smaller.
    """
    height, width = image.shape[:2]
    size = size or min(height, width)
    if min(height, width) < size:
        raise UnreadableImage(f"it has {width} x {height} pixels; center-crop:{size} expected {size} or more")
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def adm_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The centre crop with which ADM and DiT prepare ImageNet."""
    picture = Image.fromarray(image)
    while min(picture.size) >= 2 * size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = size / min(picture.size)
    target = round(picture.width * scale), round(picture.height * scale)
    return center_crop(np.asarray(picture.resize(target, Image.Resampling.BICUBIC)), size)


def resized(image: np.ndarray, width: int, height: int, how: str) -> np.ndarray:
    """All of the image at ``width`` x ``height``, by Pillow on 8 bits or by torch in float32, rounded and clamped."""
    if how in _PILLOW:
        found = Image.fromarray(image).resize((width, height), Image.Resampling[how.upper()])
        return np.asarray(found)
    data = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float()
    data = interpolate(data, size=(height, width), **_TORCH[how])  # type: ignore[arg-type]
    return data[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def padded(image: np.ndarray, size: int | None = None) -> np.ndarray:
    """In the middle of a black square of ``size``, or of the longer side.

    Raises:
        UnreadableImage: the image is larger.
    """
    height, width = image.shape[:2]
    size = size or max(height, width)
    if max(height, width) > size:
        raise UnreadableImage(f"it has {width} x {height} pixels; pad:{size} expected {size} or less")
    found = np.zeros((size, size, 3), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    found[top : top + height, left : left + width] = image
    return found


@dataclass(frozen=True, slots=True)
class Preparation:
    """The steps of ``text``; see the module.

    Attributes:
        text: in the form that is part of a protocol.
        patches: (size, number) of the patches of an image; None: the image itself.
    """

    text: str
    steps: tuple[Step, ...]
    patches: tuple[int, int] | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """All steps but patches.

        Raises:
            UnreadableImage: the image is too small, or too large, for a step.
        """
        for step in self.steps:
            image = step(image)
        return np.ascontiguousarray(image)

    def patch(self, image: np.ndarray, seed: int, index: int, number: int) -> np.ndarray:
        """Patch ``number`` of image ``index``: its place depends on the seed and on both numbers alone.

        Raises:
            UnreadableImage: the image is smaller than a patch.
        """
        assert self.patches is not None
        size = self.patches[0]
        height, width = image.shape[:2]
        if min(height, width) < size:
            raise UnreadableImage(f"it has {width} x {height} pixels; patches of {size} expected {size} or more")
        random = np.random.default_rng([seed, index, number])
        top, left = random.integers(0, (height - size + 1, width - size + 1))
        return np.ascontiguousarray(image[top : top + size, left : left + size])


def parse_preparation(text: str) -> Preparation:
    """The steps that a text names.

    Raises:
        ConfigError: an unknown step or filter, a size that is none, or patches before another step.

    >>> parse_preparation("center-crop, resize:64:lanczos").text
    'center-crop,resize:64:lanczos'
    """
    parts = [part.strip() for part in text.split(",")]
    steps: list[Step] = []
    patches = None
    for place, part in enumerate(parts):
        if (found := re.fullmatch(r"patches:(\d+)x(\d+)", part)) and place == len(parts) - 1:
            patches = _size(part, found[1]), _size(part, found[2])
        else:
            steps.append(_step(part))
    return Preparation(",".join(parts), tuple(steps), patches)


def _step(text: str) -> Step:
    if found := re.fullmatch(r"center-crop(?::(\d+))?", text):
        return partial(center_crop, size=_size(text, found[1]) if found[1] else None)
    if found := re.fullmatch(r"adm-crop:(\d+)", text):
        return partial(adm_crop, size=_size(text, found[1]))
    if found := re.fullmatch(r"pad(?::(\d+))?", text):
        return partial(padded, size=_size(text, found[1]) if found[1] else None)
    if (found := re.fullmatch(r"resize:(\d+)(?:x(\d+))?:(.+)", text)) and found[3] in FILTERS:
        width = _size(text, found[1])
        return partial(resized, width=width, height=_size(text, found[2]) if found[2] else width, how=found[3])
    expected = f"a filter of {', '.join(FILTERS)}" if text.startswith("resize:") else STEPS
    last = "; patches come last" if text.startswith("patches:") else ""
    raise ConfigError(f"{option('prepare')} expected {expected}, separated by commas{last}; got {text!r}.")


def _size(step: str, digits: str) -> int:
    if not 1 <= int(digits) <= MOST:
        raise ConfigError(f"{option('prepare')} expected whole numbers from 1 to {MOST}; got {step!r}.")
    return int(digits)


def combined(by_set: Mapping[str, str]) -> str:
    """The preparation of a run as its protocol names it, from that of each image set; empty where there is none.

    >>> combined({"real": "pad", "fake": "pad"})
    'pad'
    >>> combined({"real": "", "fake": "center-crop:64"})
    'real none; fake center-crop:64'
    """
    if len(set(by_set.values())) <= 1:
        return next(iter(by_set.values()), "")
    return "; ".join(f"{name} {text or 'none'}" for name, text in by_set.items())


def of_set(text: str, name: str) -> str:
    """What ``combined`` says of one image set.

    >>> of_set("real none; fake center-crop:64", "fake")
    'center-crop:64'
    """
    parts = dict(part.split(" ", 1) for part in text.split("; ")) if "; " in text else {}
    found = parts.get(name, "" if parts else text)
    return "" if found == "none" else found


class PreparedImages(Images):
    """Images behind their steps; with patches, N images in place of each, one after another."""

    def __init__(self, images: Images, preparation: Preparation, seed: int) -> None:
        self._images, self._preparation, self._seed = images, preparation, seed
        self._each = 1 if preparation.patches is None else preparation.patches[1]
        self.kind, self.ignored, self.encoded = images.kind, images.ignored, images.encoded
        self.deep_range, self.in_memory, self.reopens = images.deep_range, images.in_memory, images.reopens
        self.by_threads = images.by_threads

    def __len__(self) -> int:
        return len(self._images) * self._each

    def load(self, index: int) -> Pixels:
        whole, number = divmod(index, self._each)
        pixels = self._loaded(whole)
        array = self._preparation(pixels.array)
        if self._preparation.patches is not None:
            array = self._preparation.patch(array, self._seed, whole, number)
        return replace(pixels, array=array)

    def _loaded(self, index: int) -> Pixels:
        if not self._images.on_accelerator:
            return self._images.load(index)
        data, notes = self._images.take([index])
        return Pixels(data[0].permute(1, 2, 0).cpu().numpy(), tuple(notes))

    @property
    def sizes(self) -> set[tuple[int, int]]:  # type: ignore[override]
        try:
            after = [self._preparation(np.zeros((*size, 3), np.uint8)) for size in self._images.sizes]
        except UnreadableImage:  # too small for a step
            return set()
        if self._preparation.patches is not None:
            after = [self._preparation.patch(image, self._seed, 0, 0) for image in after]
        return {(image.shape[0], image.shape[1]) for image in after}

    def name(self, index: int) -> str:
        whole, number = divmod(index, self._each)
        return self._images.name(whole) + (f"#{number}" if self._each > 1 else "")

    def fault(self, index: int) -> str | None:
        whole, number = divmod(index, self._each)
        return self._images.fault(whole) if number == 0 else None

    @property
    def on_disk(self) -> bool:
        return self._images.on_disk

    def read(self, index: int) -> bytes:
        return self._images.read(index // self._each)

    def fingerprint(self, index: int) -> bytes | None:
        return self._marked(index, self._images.fingerprint(index // self._each))

    def mark(self, index: int, pixels: Pixels) -> bytes:
        marked = self._marked(index, self._images.mark(index // self._each, pixels))
        assert marked is not None
        return marked

    def _marked(self, index: int, mark: bytes | None) -> bytes | None:
        """What identifies a prepared image: the file, the steps, and of a patch its number."""
        if mark is None:
            return None
        where = f"{self._preparation.text} {(self._seed, index) if self._each > 1 else ''}"
        return blake2b(mark + where.encode(), digest_size=16).digest()

    def stamp(self, index: int) -> tuple[int, ...] | None:
        return self._images.stamp(index // self._each)

    @property
    def takes_range(self) -> bool:
        return self._images.takes_range

    def labels(self) -> list[str] | None:
        labels = self._images.labels()
        return labels and [label for label in labels for _ in range(self._each)]

    def classes(self) -> list[str] | None:
        return self._images.classes()

    def group(self, index: int) -> str | None:
        whole = index // self._each
        return self._images.group(whole) or (self._images.name(whole) if self._each > 1 else None)

    def facts(self) -> dict[str, object]:
        return {**self._images.facts(), "prepare": self._preparation.text}


def prepared(source: ImageSource, preparation: Preparation, seed: int) -> ImageSource:
    """The same images behind the steps.

    Args:
        seed: of the places of patches.

    Raises:
        ConfigError: patches of images that cannot be read by number.
    """
    found = copy.copy(source)
    found.report = SourceReport(ignored=Counter(source.report.ignored))
    if isinstance(source, IndexedSource) and isinstance(found, IndexedSource):
        each = 1 if preparation.patches is None else preparation.patches[1]
        found.images = PreparedImages(source.images, preparation, seed)
        found.given_labels = source.given_labels and [label for label in source.given_labels for _ in range(each)]
        found.indices = (source.indices[:, None] * each + np.arange(each)).ravel()
    elif preparation.patches is not None:
        raise ConfigError(
            f"{option('prepare')} takes patches of images in a folder, an archive, an array or a data set; "
            f"{source.spec} is none. Save its images first."
        )
    elif type(source).batches is not ImageSource.batches:
        raise ConfigError(f"{option('prepare')} has no effect on {source.spec}: this source draws its own batches.")
    else:
        found.steps = preparation
    return found
