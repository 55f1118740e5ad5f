"""Inputs of a generator: latents, labels, prompts and places on a path; each of them of the seed and its index."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.class_labels import ClassLabels
from ganeval.images.module_search import find_attribute
from ganeval.images.module_watch import Watch
from ganeval.images.options import OpenOptions
from ganeval.images.prompts import read_prompts
from ganeval.images.user_models import EXITS, describe_error, keep_random_states
from ganeval.parsing.arguments import option

_LATENT, _PAIR, _PLACE = 0, 2, 3  # parts of the stream of one number, which never meet; 1, 4 and 5 are of labels


class Latents:
    """Inputs of one generator.

    Latents are standard normal, from a Philox stream whose key is (seed, number), so no two numbers share one; or
    they come from the generator's own ``sample_latents(n, generator)``. Of labels see ``ganeval.images.class_labels``.
    A generator with prompts has latents too where the options or its own attributes declare them.

    Args:
        spec: the generator, as the user knows it.
        generator: may have ``sample_latents``, ``latent_dim`` or ``z_dim``.
        options: ``seed`` of everything that is drawn here; ``latent_dim``, the shape of one latent, else the
            generator's own; ``keep_mode``, leave modules that ``sample_latents`` runs in their mode; ``prompts``; and
            of labels, see ``ganeval.images.class_labels``.

    Attributes:
        prompts: None for a generator that takes none.
        drawn: whether there are latents.
    """

    def __init__(self, spec: str, generator: Any, options: OpenOptions) -> None:
        self._spec, self.run_seed, self._labels = spec, options.seed, ClassLabels(spec, options)
        self.num_classes, latent_dim = self._labels.num_classes, options.latent_dim
        self.prompts = None if options.prompts is None else read_prompts(options.prompts, options.caption_column)
        self._sampler = find_attribute(generator, "sample_latents") if latent_dim is None else None
        shape = _latent_shape(spec, generator, latent_dim) if self._sampler is None else ()
        if shape is None and self.prompts is None:
            raise InputError(
                f"{spec} does not declare the size of its latents: pass --latent-dim (latent_dim=...), or give it an "
                "attribute latent_dim or z_dim, or a method sample_latents(n, generator). For a generator that takes "
                f"text, give {option('prompts')}."
            )
        self.drawn, self._shape = shape is not None, shape or ()
        self._watch = None if self._sampler is None else Watch(self._sampler, keep_mode=options.keep_mode)

    def latent(self, number: int) -> Tensor:
        """(1, ...), of the image of this number."""
        if self._sampler is None:
            return self._normal(self._stream(number, _LATENT), 1)
        return self._sampled(1, torch.Generator().manual_seed(seed_of(self.run_seed, number)))

    def pairs(self, number: int) -> Iterator[Tensor]:
        """(2, ...), the ends of the path of this number; then others, for whoever cannot use the first."""
        if self._sampler is None:
            stream = self._stream(number, _PAIR)
            while True:
                yield self._normal(stream, 2)
        generator = torch.Generator().manual_seed(seed_of(self.run_seed, number))
        while True:
            yield self._sampled(2, generator)

    def place(self, number: int) -> float:
        """Uniform on [0, 1), of the path of this number."""
        return float(self._stream(number, _PLACE).random())

    def label(self, number: int) -> int:
        return self._labels.label(number, self._stream)

    def digest(self, number: int) -> int:
        """64 bits that stand for latent, label and prompt: equal for two generators that are given the same.

        Without latents, the seed of the random numbers that the generator draws itself is in their place.
        """
        prompt = "" if self.prompts is None else f" {self.prompts.text(number)}"
        if not self.drawn:
            text = f"{self.seed(number)}{prompt}"
            return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        latent = self.latent(number)
        text = f"{latent.dtype}{tuple(latent.shape)}{None if self.num_classes is None else self.label(number)}{prompt}"
        state = hashlib.blake2b(text.encode(), digest_size=8)
        state.update(latent.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return int.from_bytes(state.digest(), "little")

    def seed(self, number: int) -> int:
        """The seed for random numbers that the generator draws itself."""
        return seed_of(self.run_seed, number)

    def describe(self) -> dict[str, object]:
        return {
            "seed": self.run_seed,
            "latents": None if not self.drawn else list(self._shape) if self._sampler is None else "sample_latents",
            **self._labels.describe(),
            **({} if self.prompts is None else self.prompts.describe()),
        }

    def _stream(self, number: int, part: int) -> np.random.Generator:
        key, counter = np.array([self.run_seed, number], dtype=np.uint64), np.array([0, 0, 0, part], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    def _normal(self, stream: np.random.Generator, n: int) -> Tensor:
        return torch.from_numpy(stream.standard_normal((n, *self._shape), dtype=np.float32))

    def _sampled(self, n: int, generator: torch.Generator) -> Tensor:
        assert self._sampler is not None
        state = generator.get_state()

        def once() -> Any:
            assert self._sampler is not None
            generator.set_state(state)
            # a sampler that draws from the global states draws other numbers for every image, and the same in every run
            seed = int(torch.randint(2**31, (1,), generator=torch.Generator().set_state(state)))
            with keep_random_states(), torch.no_grad():
                torch.default_generator.manual_seed(seed)
                np.random.seed(seed)  # noqa: NPY002
                random.seed(seed)
                return self._sampler(n, generator)

        try:
            with nullcontext(once()) if self._watch is None else self._watch(once) as latent:
                latent = latent.clone() if isinstance(latent, Tensor) else latent
            if self._watch is not None and self._watch.first is None:  # it runs no modules
                self._watch = None
        except EXITS:
            raise
        except BaseException as error:  # user code may raise anything
            raise InputError(f"{self._spec}: sample_latents({n}, generator) fails: {describe_error(error)}.") from error
        if not isinstance(latent, Tensor) or latent.ndim < 2 or len(latent) != n:
            raise InputError(
                f"{self._spec}: sample_latents({n}, generator) must return a tensor ({n}, ...); got "
                f"{tuple(latent.shape) if isinstance(latent, Tensor) else type(latent).__name__}."
            )
        return latent


def seed_of(seed: int, index: int) -> int:
    """A seed of 32 bits, all that torch's CPU generator keeps; different for all images of one run."""
    start = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest(), "little")
    return (start + index) % 2**32


def _latent_shape(spec: str, generator: Any, latent_dim: int | tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The shape of one latent; None where nothing declares it."""
    for size in (latent_dim, find_attribute(generator, "latent_dim"), find_attribute(generator, "z_dim")):
        if isinstance(size, int) and size > 0:
            return (size,)
        if isinstance(size, (tuple, list)) and size and all(isinstance(n, int) and n > 0 for n in size):
            return tuple(size)
        if size is not None:
            raise InputError(f"{spec}: a latent has a positive size, or several; got {size!r} (--latent-dim).")
    return None
