"""Mean and covariance of feature rows, streamed: update, merge, finish; float64 throughout.

The state is (n, shift c, sum of (x - c), sum of (x - c)(x - c)^T) with c near the mean, so that nothing cancels.
States with one shift add up; ``rebase`` moves a state to another shift exactly. Batch size, order and sharding
therefore change a result by rounding only (1e-12 relative and less).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg.blas import dsyrk

from ganeval.errors import InputError, NotEnoughSamplesError


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """The first two moments of a set of feature rows: all that a Frechet distance looks at.

    Attributes:
        n: number of rows, at least 2; None where a file does not say.
        mean: (d,) float64.
        covariance: (d, d) float64, divided by n - ddof.
        ddof: 1 (every peer but StyleGAN's PyTorch scripts) or 0.

    Raises:
        InputError: shapes that do not fit, NaN or infinite entries, a ddof other than 0 and 1.
        NotEnoughSamplesError: n below 2.
    """

    n: int | None
    mean: np.ndarray
    covariance: np.ndarray
    ddof: int = 1

    def __post_init__(self) -> None:
        for name in ("mean", "covariance"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if self.mean.ndim != 1 or self.mean.size == 0 or self.covariance.shape != (self.mean.size, self.mean.size):
            raise InputError(
                f"a mean of d numbers needs a covariance of d x d; got shapes {self.mean.shape} and "
                f"{self.covariance.shape}. Take both from one set of features."
            )
        for name in ("mean", "covariance"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(f"the {name} of the features has NaN or infinite entries: compute it again.")
        if self.ddof not in (0, 1):
            raise InputError(f"the covariance divides by n - ddof with ddof 0 or 1; got ddof={self.ddof}.")
        if self.n is not None and self.n < 2:
            raise NotEnoughSamplesError(f"a covariance needs at least 2 feature rows; got {self.n}.")

    @property
    def dimension(self) -> int:
        return int(self.mean.size)

    def with_ddof(self, ddof: int) -> Gaussian:
        """The same sample with the covariance divided by n - ddof.

        Raises:
            InputError: n is not known.
        """
        if ddof == self.ddof:
            return self
        if self.n is None:
            raise InputError(f"statistics of ddof {self.ddof} turn into ddof {ddof} only if their n is known.")
        return Gaussian(self.n, self.mean, self.covariance * ((self.n - self.ddof) / (self.n - ddof)), ddof)


class Moments:
    """An accumulator for mean and covariance; a monoid, whose empty state is ``Moments(d)``.

    Args:
        d: features in a row.
        shift: (d,) the point near the mean that is subtracted; default the mean of the first batch. Processes that
            add up their states by an all-reduce must share it.

    >>> moments = Moments(2)
    >>> moments.update(np.array([[0.0, 0.0], [2.0, 4.0]]))
    >>> moments.finish().covariance
    array([[2., 4.],
           [4., 8.]])
    """

    def __init__(self, d: int, *, shift: np.ndarray | None = None) -> None:
        if d < 1:
            raise InputError(f"Moments expects at least 1 feature; got d={d}.")
        self.dimension = d
        self.shift = None if shift is None else np.array(shift, dtype=np.float64).reshape(d)
        self.n = 0  # rows seen so far
        self._sum = np.zeros(d)
        self._outer = np.zeros((d, d))  # only the lower triangle is defined

    def update(self, rows: Any, *, names: Sequence[str] | None = None) -> None:
        """Add rows.

        Args:
            rows: (b, d) numpy array or torch tensor, float32 or float64; half precision is upcast with a warning.
            names: the rows' images, for error messages.

        Raises:
            InputError: another width, no floats, or a row with NaN or infinity, which is named.
        """
        rows = as_rows(rows, self.dimension, first=self.n, names=names)
        if not len(rows):
            return
        wide = rows.astype(np.float64)
        if self.shift is None:
            self.shift = wide.mean(axis=0)
        wide -= self.shift
        self.n += len(wide)
        self._sum += wide.sum(axis=0)
        # In place and one triangle only: for small batches the d x d memory traffic costs more than the arithmetic.
        dsyrk(1.0, wide.T, beta=1.0, c=self._outer.T, overwrite_c=1)

    def rebase(self, shift: np.ndarray) -> None:
        """Move to another shift: with delta = old - new, s += n delta, Q += s delta^T + delta s^T + n delta delta^T."""
        shift = np.array(shift, dtype=np.float64).reshape(self.dimension)
        if self.shift is not None:
            delta = self.shift - shift
            cross = np.outer(self._sum, delta)
            self._outer += cross + cross.T + self.n * np.outer(delta, delta)
            self._sum += self.n * delta
        self.shift = shift

    def merge(self, other: Moments) -> Moments:
        """Add another accumulator's rows to this one; returns this one. ``other`` is left as it is.

        Raises:
            InputError: another width.
        """
        if self.dimension != other.dimension:
            raise InputError(f"cannot merge moments of {other.dimension} features into moments of {self.dimension}.")
        if other.n == 0:
            return self
        if self.n == 0:
            self.shift = other.shift
        if self.shift is not other.shift and not np.array_equal(_known(self.shift), _known(other.shift)):
            other = Moments.from_arrays(other.to_arrays())
            other.rebase(_known(self.shift))
        self.n += other.n
        self._sum += other._sum
        self._outer += other._outer
        return self

    def finish(self, ddof: int = 1) -> Gaussian:
        """mean = c + s/n and covariance = (Q - n m m^T)/(n - ddof) with m = s/n.

        Args:
            ddof: 1 or 0.

        Raises:
            NotEnoughSamplesError: fewer than 2 rows.
        """
        n = self.n
        if n < 2 or self.shift is None:
            raise NotEnoughSamplesError(f"a covariance needs at least 2 feature rows; got {n}.")
        offset = self._sum / n
        outer = np.tril(self._outer - n * np.outer(offset, offset)) / (n - ddof)
        return Gaussian(n, self.shift + offset, outer + np.tril(outer, -1).T, ddof)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state: ``n`` (1,), ``shift`` (d,), ``sum`` (d,), ``outer`` (d, d).

        Of states with one ``shift`` the other three add up, in an all-reduce as in a file.
        """
        shift = np.full(self.dimension, np.nan) if self.shift is None else self.shift
        return {
            "n": np.array([self.n], dtype=np.int64),
            "shift": shift.copy(),
            "sum": self._sum.copy(),
            "outer": np.tril(self._outer) + np.tril(self._outer, -1).T,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Moments:
        """The inverse of ``to_arrays``.

        Raises:
            InputError: an array is missing or has another shape.
        """
        try:
            moments = cls(int(arrays["shift"].size))
            moments.n = int(arrays["n"].item())
            moments._sum[:] = arrays["sum"]
            moments._outer[:] = arrays["outer"]
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"these arrays are no state of Moments: {error}. Pass what to_arrays() gave.") from error
        if np.isfinite(arrays["shift"]).all():
            moments.shift = np.array(arrays["shift"], dtype=np.float64)
        elif moments.n:
            raise InputError("these arrays are no state of Moments: rows without a finite shift.")
        return moments


def as_rows(rows: Any, d: int, *, first: int = 0, names: Sequence[str] | None = None) -> np.ndarray:
    """Feature rows as a (b, d) float32 or float64 array on the host, checked.

    Args:
        rows: numpy array or torch tensor, on any device.
        d: features a row must have.
        first: index of the first of these rows, for messages.
        names: the rows' images, for messages.

    Raises:
        InputError: another width, no floats, or a row with NaN or infinity, which is named.
    """
    if hasattr(rows, "detach"):  # a torch tensor; torch itself need not be imported for that
        rows = rows.detach().cpu()
        if rows.dtype.itemsize < 4 and rows.dtype.is_floating_point:
            _warn_half(str(rows.dtype))
            rows = rows.float()
        rows = rows.numpy()
    array: np.ndarray = np.asarray(rows)
    if array.dtype == np.float16:
        _warn_half("float16")
        array = array.astype(np.float32)
    if array.dtype not in (np.float32, np.float64):
        raise InputError(f"features are float32 or float64; got {array.dtype}. Convert them first.")
    if array.ndim != 2 or array.shape[1] != d:
        raise InputError(
            f"expected rows of {d} features, shape (b, {d}); got {array.shape}. Use one extractor for all."
        )
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        image = f" ({names[bad]})" if names is not None else ""
        raise InputError(
            f"feature row {first + bad}{image} has NaN or infinite entries; {int((~finite).sum())} of these "
            f"{len(array)} rows do. Look at that image, and at the precision the network runs in."
        )
    return array


def _warn_half(dtype: str) -> None:
    warnings.warn(
        f"{dtype} features are upcast; their rounding stays in the result. Keep features in float32.",
        UserWarning,
        stacklevel=4,
    )


def _known(shift: np.ndarray | None) -> np.ndarray:
    if shift is None:  # cannot happen: a state with rows has a shift
        raise InputError("a state with rows has no shift.")
    return shift
