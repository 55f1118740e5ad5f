"""One digest for a set of images, whatever their order and however they were sharded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

_MASK = (1 << 64) - 1


@dataclass(slots=True)
class SetDigest:
    """A monoid over the images' 64-bit digests: their number, their exclusive or, and their sum modulo 2^64."""

    count: int = 0
    xor: int = 0
    total: int = 0

    def update(self, digests: np.ndarray) -> None:
        self.merge(
            SetDigest(len(digests), int(np.bitwise_xor.reduce(digests)), int(digests.sum(dtype=np.uint64)))
            if len(digests)
            else SetDigest()
        )

    def merge(self, other: SetDigest) -> None:
        self.count += other.count
        self.xor ^= other.xor
        self.total = (self.total + other.total) & _MASK

    def hexdigest(self) -> str:
        """32 hexadecimal digits.

        >>> SetDigest().hexdigest()
        'f8c03f71bc9bd3d88e4da4a80b4f0de4'
        """
        return hashlib.blake2b(f"{self.count}:{self.xor}:{self.total}".encode(), digest_size=16).hexdigest()
