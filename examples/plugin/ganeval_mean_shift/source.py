"""Images of noise: ``noise:N@SEED`` names N of them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ganeval.errors import InputError
from ganeval.images.decode import Pixels
from ganeval.images.types import Images


class Noise(Images):
    kind = "noise"

    def __init__(self, n: int, seed: int) -> None:
        self.ignored: Counter[str] = Counter()
        self._n, self._seed = n, seed

    def __len__(self) -> int:
        return self._n

    def load(self, index: int) -> Pixels:
        return Pixels(np.random.default_rng((self._seed, index)).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def open_noise(text: str, options: object) -> Noise:
    n, _, seed = text.partition("@")
    if not (n.isdecimal() and seed.isdecimal()):
        raise InputError(f"noise:{text} is not the name of images. Expected noise:N@SEED, for instance noise:100@1.")
    return Noise(int(n), int(seed))
