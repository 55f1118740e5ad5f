"""The tiles of ``tiles`` on an accelerator: the same lifted rows, the same answers within float32 rounding.

Products are strict float32: TF32 keeps 10 bits of every factor, which would outgrow the band that float64 rechecks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ganeval.features.precision import strict_float32
from ganeval.statistics.tiles import BANDS, MARGIN, TINY, Pairs

_ROWS, _COLUMNS = 4096, 8192


def nearest_torch(
    points: np.ndarray, queries: np.ndarray | None, width: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """The ``width`` nearest lifted rows of ``points`` to every query, or to every point among the others.

    Returns:
        As ``tiles.within``.
    """
    z = torch.from_numpy(points).to(device)
    asked = z if queries is None else torch.from_numpy(queries).to(device)
    distances = np.full((len(asked), width), np.inf, np.float32)
    indices = np.full((len(asked), width), -1, np.int32)
    with strict_float32(), torch.inference_mode():
        for start in range(0, len(asked), _ROWS):
            left = _turned(asked[start : start + _ROWS])
            best = torch.full((len(left), 0), torch.inf, device=device)
            of = torch.full((len(left), 0), -1, dtype=torch.int64, device=device)
            for first in range(0, len(z), _COLUMNS):
                tile = left @ z[first : first + _COLUMNS].T
                if queries is None:
                    own = torch.arange(start, start + len(left), device=device)
                    here = (own >= first) & (own < first + tile.shape[1])
                    tile[here, own[here] - first] = torch.inf
                numbers = torch.arange(first, first + tile.shape[1], device=device).expand(len(left), -1)
                best, of = torch.cat([best, tile], dim=1), torch.cat([of, numbers], dim=1)
                best, kept = best.topk(min(width, best.shape[1]), dim=1, largest=False)
                of = of.gather(1, kept)
            rows = slice(start, start + len(left))
            distances[rows, : best.shape[1]], indices[rows, : best.shape[1]] = best.cpu().numpy(), of.cpu().numpy()
    indices[np.isposinf(distances)] = -1
    return distances, indices


def close_pairs_torch(
    a: np.ndarray, b: np.ndarray, of_rows: np.ndarray | None, of_columns: np.ndarray | None, device: torch.device
) -> Iterator[Pairs]:
    """As ``tiles.close_pairs``."""
    y, x = torch.from_numpy(a).to(device), torch.from_numpy(b).to(device)
    rows = torch.from_numpy(of_rows).to(device) if of_rows is not None else None
    columns = torch.from_numpy(of_columns).to(device) if of_columns is not None else None
    for i in range(0, len(y), _ROWS):
        with strict_float32(), torch.inference_mode():
            left = _turned(y[i : i + _ROWS])
            found = []
            for j in range(0, len(x), _COLUMNS):
                tile = left @ x[j : j + _COLUMNS].T
                close = torch.zeros_like(tile, dtype=torch.bool)
                if rows is not None:
                    close |= tile <= rows[i : i + _ROWS, None]
                if columns is not None:
                    close |= tile <= columns[None, j : j + _COLUMNS]
                row, column = close.nonzero(as_tuple=True)
                found.append(((row + i).cpu().numpy(), (column + j).cpu().numpy(), tile[row, column].cpu().numpy()))
        yield from found


def promising_pairs_torch(
    queries: np.ndarray, centres: np.ndarray, numerators: np.ndarray, band: float, epsilon: float, device: torch.device
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As ``tiles.promising_pairs``."""
    x, y, r = (torch.from_numpy(array).to(device) for array in (queries, centres, numerators))
    for i in range(0, len(x), _ROWS):
        with strict_float32(), torch.inference_mode():
            left = _turned(x[i : i + _ROWS])
            least = torch.zeros(len(left), 1, device=device)
            found = []
            for j in range(0, len(y), _COLUMNS):
                squared = left @ y[j : j + _COLUMNS].T + (band + epsilon + TINY)
                ratios = r[j : j + _COLUMNS] / squared
                least = torch.maximum(least, ratios.amax(dim=1, keepdim=True))
                row, column = ((ratios >= least / MARGIN) | (squared <= BANDS * band + epsilon)).nonzero(as_tuple=True)
                found.append(((row + i).cpu().numpy(), (column + j).cpu().numpy()))
        yield from found


def _turned(z: torch.Tensor) -> torch.Tensor:
    return torch.cat([-2 * z[:, :-2], z[:, -1:], torch.ones_like(z[:, -1:])], dim=1)
