"""Moments and rows of features that lie on an accelerator, gathered without waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ganeval.statistics.moments import Moments, as_rows
from ganeval.statistics.rows import FeatureRows

Receiver = Callable[[np.ndarray], None]  # of rows (b, d) float32, which it copies if it keeps them
_AHEAD = 2  # batches that may be under way before the host waits for the first of them


class DeviceMoments:
    """The sums of ``Moments`` on the features' own device: float64, one pass, nothing that the host waits for.

    Equals ``Moments`` of the same rows to 1e-12 relative. Rows are not looked at: whoever reads them checks them.

    Args:
        d: features in a row.
        shift: (d,) the point near the mean that is subtracted; None: the mean of the first batch.
    """

    def __init__(self, d: int, device: torch.device, shift: Tensor | None = None) -> None:
        self.n = 0
        self._shift = None if shift is None else shift.to(device, torch.float64)
        self._sum = torch.zeros(d, dtype=torch.float64, device=device)
        self._outer = torch.zeros(d, d, dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Add rows (b, d), of any float type."""
        if not len(rows):
            return
        wide = rows.double()
        if self._shift is None:
            self._shift = wide.mean(0)
        wide = wide - self._shift
        self.n += len(wide)
        self._sum += wide.sum(0)
        self._outer.addmm_(wide.T, wide)

    def to_host(self) -> Moments:
        """The same state; here the host waits."""
        moments = Moments(len(self._sum))
        if self._shift is None:
            return moments
        state = {
            "n": torch.tensor([self.n], device="cpu"),
            "shift": self._shift,
            "sum": self._sum,
            "outer": self._outer,
        }
        return Moments.from_arrays({name: tensor.cpu().numpy() for name, tensor in state.items()})


class DeviceSink:
    """Takes features on a device for moments and rows on the host, a few batches behind.

    Rows come back once, through page-locked memory, and are checked as they arrive, so that a row that is not finite is
    named as always; ``finish`` brings in what is still under way, and the moments. Rows of the host stay there.

    Args:
        device: where the moments are summed; features that lie elsewhere are taken there.
    """

    def __init__(self, moments: Moments | None, rows: FeatureRows | None, device: torch.device) -> None:
        self._moments, self._rows, self._device = moments, rows, device
        self._sums: DeviceMoments | None = None
        self._on_host: Moments | None = None
        self._coming: deque[tuple[Tensor | np.ndarray, torch.cuda.Event | None, Sequence[str], Receiver | None]]
        self._coming = deque()
        self._landed = 0 if moments is None else moments.n

    def add(self, features: Tensor | np.ndarray, names: Sequence[str], receiver: Receiver | None = None) -> None:
        """Add rows (b, d) of these images; they are kept in float32, as on the host.

        Args:
            features: a tensor on the device, or an array on the host.
            receiver: is given the rows when they are on the host.
        """
        if isinstance(features, np.ndarray):
            self._coming.append((features, None, names, receiver))
        else:
            self._coming.append((*self._sent(features.float()), names, receiver))
        while len(self._coming) > _AHEAD:
            self._land()

    def _sent(self, features: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
        if self._moments is not None:
            if self._sums is None:
                shift = self._moments.shift
                start = None if shift is None else torch.from_numpy(shift)
                self._sums = DeviceMoments(features.shape[1], self._device, start)
            self._sums.update(features.to(self._device, non_blocking=True))
        on_cuda = features.device.type == "cuda"
        host = torch.empty(features.shape, dtype=torch.float32, device="cpu", pin_memory=on_cuda)
        host.copy_(features, non_blocking=True)
        return host, torch.cuda.current_stream(features.device).record_event() if on_cuda else None

    def _land(self) -> None:
        rows, event, names, receiver = self._coming.popleft()
        if event is not None:
            event.synchronize()
        block = as_rows(rows, rows.shape[1], first=self._landed, names=names)
        self._landed += len(block)
        if self._moments is not None and isinstance(rows, np.ndarray):
            if self._on_host is None:
                self._on_host = Moments(block.shape[1], shift=self._moments.shift)
            self._on_host.update(block)
        if self._rows is not None:
            self._rows.append(block)
        if receiver is not None:
            receiver(block)

    def finish(self) -> None:
        """Bring everything to the host."""
        while self._coming:
            self._land()
        if self._moments is not None:
            for sums in (self._sums.to_host() if self._sums is not None else None, self._on_host):
                if sums is not None:
                    self._moments.merge(sums)
