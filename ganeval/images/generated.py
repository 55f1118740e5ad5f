"""Images that are made when they are asked for: rendered shapes, and what a generator makes of latents."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.decode import Pixels, UnreadableImage, digest
from ganeval.images.indexed import Images, check_batches, check_on_error
from ganeval.images.loading import Regrouper
from ganeval.images.pixels import ValueRange, to_uint8
from ganeval.images.source import ImageBatch, ImageSource, Prepare, SourceReport

_SHAPES = re.compile(r"dataset:shapes(?:-(plain|striped))?(?::(\d+))?(?:@(\d+))?")


class ShapesImages(Images):
    """Rendered images 0 to n - 1 of ``ganeval.images.shapes``."""

    kind = "shapes"

    def __init__(self, n: int, seed: int, size: int, variant: str) -> None:
        self.ignored: Counter[str] = Counter()
        self._n, self._seed, self._size, self._variant = n, seed, size, variant

    def __len__(self) -> int:
        return self._n

    def load(self, index: int) -> Pixels:
        from ganeval.images.shapes import render

        return Pixels(render(index, seed=self._seed, size=self._size, variant=self._variant))

    def labels(self) -> list[str]:
        from ganeval.images.shapes import CLASSES, label

        return [CLASSES[label(index, seed=self._seed)] for index in range(self._n)]

    def facts(self) -> dict[str, object]:
        return {"variant": self._variant, "size": self._size, "seed": self._seed}


def open_shapes(spec: str, num_samples: int | None, seed: int) -> ShapesImages:
    """``dataset:shapes[-plain|-striped][:SIZE][@SEED]``; 32 pixels and the run's seed where they are not said.

    Raises:
        InputError: another spelling, no number of images, or a size that cannot be rendered.
    """
    match = _SHAPES.fullmatch(spec)
    if match is None:
        raise InputError(
            f"{spec!r} names no rendered images; needed is dataset:shapes, dataset:shapes-plain or "
            "dataset:shapes-striped, with :SIZE and @SEED if you like: dataset:shapes:64@1."
        )
    if num_samples is None:
        raise InputError(f"{spec} has any number of images: say how many with --num-samples.")
    variant, size, own_seed = match.groups()
    images = ShapesImages(num_samples, seed if own_seed is None else int(own_seed), int(size or 32), variant or "mixed")
    images.load(0)  # a size out of range is said here
    return images


class GeneratedSource(ImageSource):
    """What a callable makes of latents; image i is made of a latent that depends on ``(seed, i)`` alone.

    Latents are standard normal, from a Philox stream whose key is (seed, i), so no two images share one, and batch
    size, subsets and the global random state change nothing; or they come from the generator's own
    ``sample_latents(n, generator)``. The generator runs in evaluation mode, on its own device, without gradients; its
    mode and the random state of torch are afterwards as they were. A generator that draws noise by itself finds torch
    seeded by (seed, first image of the batch), so its images repeat at the same batch size.

    Args:
        spec: as the user knows it.
        generator: z (N, ...) to images (N, 3 or 1, H, W): uint8, or floats in ``value_range``.
        n: how many images.
        seed: of the latents.
        value_range: of floats.
        latent_dim: shape of one latent; else the generator's ``latent_dim`` or ``z_dim``.
    """

    def __init__(
        self,
        spec: str,
        generator: Callable[[Tensor], Any],
        n: int | None,
        seed: int,
        value_range: ValueRange | None,
        latent_dim: int | tuple[int, ...] | None,
        *,
        indices: np.ndarray | None = None,
        chosen: dict[str, int] | None = None,
    ) -> None:
        if n is None:
            raise InputError(f"{spec} makes any number of images: say how many with --num-samples (num_samples=...).")
        self.spec = spec
        self.report = SourceReport()
        self._generator, self._seed, self._range, self._n = generator, seed, value_range, n
        self._module = _module_of(generator)
        self._sampler = getattr(generator, "sample_latents", None) if latent_dim is None else None
        self._shape = _latent_shape(spec, generator, latent_dim) if self._sampler is None else ()
        self._indices = np.arange(n) if indices is None else indices
        self._chosen = chosen

    @property
    def length(self) -> int:
        return len(self._indices)

    def subset(self, n: int, seed: int) -> GeneratedSource:
        if not 1 <= n <= self.length:
            raise InputError(f"{self.spec}: {n} images were asked for; there are {self.length}.")
        rows = np.sort(np.random.default_rng(seed).choice(self.length, n, replace=False, shuffle=False))
        latent_dim = self._shape if self._sampler is None else None
        settings = (self.spec, self._generator, self._n, self._seed, self._range, latent_dim)
        chosen = {"n": n, "of": self.length, "seed": seed}
        return GeneratedSource(*settings, indices=self._indices[rows], chosen=chosen)

    def describe(self) -> dict[str, object]:
        return {
            "spec": self.spec,
            "kind": "generator",
            "n": self.length,
            "subset": self._chosen,
            "seed": self._seed,
            "latents": list(self._shape) if self._sampler is None else "sample_latents",
            "value_range": None if self._range is None else list(self._range),
        }

    def check(self, on_error: str = "stop") -> None:
        """Make two images, so that a generator that does not fit is found before the long part."""
        check_on_error(on_error)
        self._make(self._indices[:2].tolist())

    def batches(
        self, batch_size: int, *, workers: int = 0, prepare: Prepare | None = None, on_error: str = "stop"
    ) -> Iterator[ImageBatch]:
        check_batches(batch_size, workers, on_error)
        return self._batches(batch_size, prepare)

    def _batches(self, batch_size: int, prepare: Prepare | None) -> Iterator[ImageBatch]:
        self.report.restart()
        regrouper = Regrouper(batch_size, self.report)
        for start in range(0, self.length, batch_size):
            indices = self._indices[start : start + batch_size].tolist()
            images, notes = self._make(indices)
            self.report.notes.update(notes)
            digests = None
            if images.device.type == "cpu":
                arrays = images.permute(0, 2, 3, 1).numpy()
                digests = np.array([digest(array) for array in arrays], dtype=np.uint64)
            if prepare is not None:
                images = torch.stack([prepare(image.permute(1, 2, 0).cpu().numpy()) for image in images])
            yield from regrouper.add(images, [f"#{index}" for index in indices], digests)
        yield from regrouper.rest()

    def _make(self, indices: list[int]) -> tuple[Tensor, Counter[str]]:
        """Images of these numbers: uint8 (N, 3, H, W) on the generator's device, and notes."""
        device, dtype = _place_of(self._generator, self._module)
        latents = torch.cat([self._latent(index) for index in indices]).to(device)
        if latents.is_floating_point() and dtype is not None:
            latents = latents.to(dtype)
        with _as_found(self._module, device, _seed_of(self._seed, indices[0])), torch.no_grad():
            try:
                made = self._generator(latents)
            except (RuntimeError, TypeError, ValueError) as error:
                raise InputError(
                    f"{self.spec} fails on latents of shape {tuple(latents.shape)}, {latents.dtype} on {device}: "
                    f"{type(error).__name__}: {str(error).strip()}. Check --latent-dim and the generator."
                ) from error
        return self._checked(made, len(indices))

    def _latent(self, index: int) -> Tensor:
        if self._sampler is None:
            stream = np.random.Generator(np.random.Philox(key=np.array([self._seed, index], dtype=np.uint64)))
            return torch.from_numpy(stream.standard_normal((1, *self._shape), dtype=np.float32))
        latent = self._sampler(1, torch.Generator().manual_seed(_seed_of(self._seed, index)))
        if not isinstance(latent, Tensor) or latent.ndim < 2 or len(latent) != 1:
            raise InputError(
                f"{self.spec}: sample_latents(1, generator) must return a tensor (1, ...); got "
                f"{tuple(latent.shape) if isinstance(latent, Tensor) else type(latent).__name__}."
            )
        return latent

    def _checked(self, made: Any, n: int) -> tuple[Tensor, Counter[str]]:
        if not isinstance(made, (Tensor, np.ndarray)):
            raise InputError(
                f"{self.spec} returns a {type(made).__name__}; needed is a tensor (N, 3, H, W). "
                "Wrap it, for example lambda z: generator(z)[0]."
            )
        shape = tuple(made.shape)
        if len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3):
            raise InputError(
                f"{self.spec} returns NHWC images, shape {shape}; needed is (N, 3, H, W): permute(0, 3, 1, 2)."
            )
        if len(shape) != 4 or shape[0] != n or shape[1] not in (1, 3):
            raise InputError(
                f"{self.spec} makes an array of shape {shape} of {n} latents; needed is ({n}, 3, H, W), or 1 channel."
            )
        try:
            return to_uint8(made, value_range=self._range, prefer="NCHW", what=self.spec)
        except UnreadableImage as error:
            raise InputError(f"{self.spec} makes an image that cannot be used: {error}.") from error


def _seed_of(seed: int, index: int) -> int:
    """A seed of 32 bits, all that torch's CPU generator keeps; different for all images of one run."""
    start = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest(), "little")
    return (start + index) % 2**32


def _latent_shape(spec: str, generator: Any, latent_dim: int | tuple[int, ...] | None) -> tuple[int, ...]:
    for size in (latent_dim, getattr(generator, "latent_dim", None), getattr(generator, "z_dim", None)):
        if isinstance(size, int) and size > 0:
            return (size,)
        if isinstance(size, (tuple, list)) and size and all(isinstance(n, int) and n > 0 for n in size):
            return tuple(size)
        if size is not None:
            raise InputError(f"{spec}: a latent has a positive size, or several; got {size!r} (--latent-dim).")
    raise InputError(
        f"{spec} does not tell the size of its latents: pass --latent-dim (latent_dim=...), or give it an attribute "
        "latent_dim or z_dim, or a method sample_latents(n, generator)."
    )


def _module_of(generator: Any) -> torch.nn.Module | None:
    owner = generator if isinstance(generator, torch.nn.Module) else getattr(generator, "__self__", None)
    return owner if isinstance(owner, torch.nn.Module) else None


def _place_of(generator: Any, module: torch.nn.Module | None) -> tuple[torch.device, torch.dtype | None]:
    """Where latents have to be, and the floating-point type of the weights they meet."""
    tensors = [] if module is None else [*module.parameters(), *module.buffers()]
    if tensors:
        return tensors[0].device, next((t.dtype for t in tensors if t.is_floating_point()), None)
    device = getattr(generator, "device", "cpu")
    return torch.device(device) if isinstance(device, (str, torch.device)) else torch.device("cpu"), None


@contextlib.contextmanager
def _as_found(module: torch.nn.Module | None, device: torch.device, seed: int) -> Iterator[None]:
    """Evaluation mode and seeded randomness inside; outside, every sub-module's mode and torch's state as before."""
    modes = [] if module is None else [(m, m.training) for m in module.modules()]
    cuda = set[int]()
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        here = torch.cuda.current_device()
        cuda = {here, here if device.index is None else device.index} if device.type == "cuda" else {here}
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=sorted(cuda)):
        torch.default_generator.manual_seed(seed)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        if mps is not None:
            torch.mps.manual_seed(seed)
        try:
            if module is not None and any(training for _, training in modes):
                module.eval()
            yield
        finally:
            if module is not None and modes[0][1]:
                module.train()  # a module may do more than set a flag
            for part, training in modes:  # and some parts may have been left in another mode on purpose
                part.training = training
            if mps is not None:
                torch.mps.set_rng_state(mps)
