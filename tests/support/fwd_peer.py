"""FWD as pytorchfwd computes it, of the images of ``pair``: one JSON object on stdout, by "level height width".

pytorchfwd pins an old scipy and makes float64 the default of torch, so it runs in a process of its own. The values in
``tests/metrics/test_fwd.py`` are the output of

    pip install --no-deps pytorchfwd==1.0.1 ptwt==1.0.1 PyWavelets==1.9.0
    python tests/support/fwd_peer.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

CASES = ((1, 4, 6), (2, 8, 8), (3, 16, 24), (4, 32, 32), (4, 32, 48))


def pair(height: int, width: int, n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of images (n, H, W, 3): noise on colours, and the same in other colours, blurred along the rows."""
    random = np.random.RandomState(height * 1000 + width)  # its numbers never change
    sets = random.randint(0, 120, (2, n, height, width, 3)) + random.randint(0, 120, (2, n, 1, 1, 3))
    real, fake = sets
    fake = (fake + np.roll(fake, 1, axis=2)) // 2 + 10
    return real.astype(np.uint8), fake.astype(np.uint8)


def main() -> None:
    from pytorchfwd import fwd

    fwd.NUM_PROCESSES = 0
    values = {}
    for level, height, width in CASES:
        with TemporaryDirectory() as folder:
            paths = []
            for name, images in zip(("real", "fake"), pair(height, width), strict=True):
                place = Path(folder) / name
                place.mkdir()
                for i, image in enumerate(images):
                    Image.fromarray(image).save(place / f"{i:03}.png")
                paths.append(str(place))
            sys.stdout, out = sys.stderr, sys.stdout  # it prints
            value = fwd.compute_fwd(paths, "haar", level, False, 32, None)
            sys.stdout = out
        values[f"{level} {height} {width}"] = float(value)
    print(json.dumps(values, indent=1))


if __name__ == "__main__":
    main()
