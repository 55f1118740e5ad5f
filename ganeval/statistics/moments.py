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
        groups: 0, or the number of hashed groups to keep apart for ``delete_group_jackknife`` (ten there). A row's
            group is its 64-bit digest modulo ``groups``, so any order and any sharding give the same groups. Memory is
            8 d^2 bytes a group: 335 MB for ten groups of 2048 features.
        shift: (d,) the point near the mean that is subtracted; default the mean of the first batch. Processes that
            add up their states by an all-reduce must share it.

    >>> moments = Moments(2)
    >>> moments.update(np.array([[0.0, 0.0], [2.0, 4.0]]))
    >>> moments.finish().covariance
    array([[2., 4.],
           [4., 8.]])
    """

    def __init__(self, d: int, *, groups: int = 0, shift: np.ndarray | None = None) -> None:
        if d < 1 or groups < 0:
            raise InputError(f"Moments needs d of 1 or more and groups of 0 or more; got d={d}, groups={groups}.")
        self.dimension = d
        self.groups = groups
        self.shift = None if shift is None else np.array(shift, dtype=np.float64).reshape(d)
        count = max(groups, 1)
        self._n = np.zeros(count, dtype=np.int64)
        self._sum = np.zeros((count, d))
        self._outer = np.zeros((count, d, d))  # lower triangles; the rest is whatever it is

    @property
    def n(self) -> int:
        """Rows seen so far."""
        return int(self._n.sum())

    @property
    def n_by_group(self) -> np.ndarray:
        return self._n.copy()

    def update(self, rows: Any, digests: np.ndarray | None = None, *, names: Sequence[str] | None = None) -> None:
        """Add rows.

        Args:
            rows: (b, d) numpy array or torch tensor, float32 or float64; half precision is upcast with a warning.
            digests: (b,) uint64, one a row; needed if, and used only if, there are groups.
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
        if self.groups:
            if digests is None or len(digests) != len(rows):
                raise InputError(f"hashed groups need one digest a row; got {len(rows)} rows and digests {digests!r}.")
            group = np.asarray(digests, dtype=np.uint64) % np.uint64(self.groups)
            for g in np.unique(group):
                self._add(int(g), wide[group == g])
        else:
            self._add(0, wide)

    def _add(self, group: int, centred: np.ndarray) -> None:
        self._n[group] += len(centred)
        self._sum[group] += centred.sum(axis=0)
        # In place and one triangle only: for small batches the d x d memory traffic costs more than the arithmetic.
        dsyrk(1.0, centred.T, beta=1.0, c=self._outer[group].T, overwrite_c=1)

    def rebase(self, shift: np.ndarray) -> None:
        """Move to another shift: with delta = old - new, s += n delta, Q += s delta^T + delta s^T + n delta delta^T."""
        shift = np.array(shift, dtype=np.float64).reshape(self.dimension)
        if self.shift is not None:
            delta = self.shift - shift
            for g, n in enumerate(self._n):
                cross = np.outer(self._sum[g], delta)
                self._outer[g] += cross + cross.T + n * np.outer(delta, delta)
                self._sum[g] += n * delta
        self.shift = shift

    def merge(self, other: Moments) -> Moments:
        """Add another accumulator's rows to this one; returns this one. ``other`` is left as it is.

        Raises:
            InputError: another width, or another number of groups.
        """
        if (self.dimension, self.groups) != (other.dimension, other.groups):
            raise InputError(
                f"moments of {other.dimension} features in {other.groups} groups do not merge into moments of "
                f"{self.dimension} features in {self.groups} groups."
            )
        if other.n == 0:
            return self
        if self.n == 0:
            self.shift = other.shift
        if self.shift is not other.shift and not np.array_equal(_known(self.shift), _known(other.shift)):
            other = Moments.from_arrays(other.to_arrays())
            other.rebase(_known(self.shift))
        self._n += other._n
        self._sum += other._sum
        self._outer += other._outer
        return self

    def finish(self, ddof: int = 1, *, without_group: int | None = None) -> Gaussian:
        """mean = c + s/n and covariance = (Q - n m m^T)/(n - ddof) with m = s/n.

        Args:
            ddof: 1 or 0.
            without_group: leave out one of the hashed groups.

        Raises:
            NotEnoughSamplesError: fewer than 2 rows.
        """
        kept = [g for g in range(len(self._n)) if g != without_group]
        n = int(self._n[kept].sum())
        if n < 2 or self.shift is None:
            raise NotEnoughSamplesError(f"a covariance needs at least 2 feature rows; got {n}.")
        offset = self._sum[kept].sum(axis=0) / n
        outer = np.tril(self._outer[kept].sum(axis=0) - n * np.outer(offset, offset)) / (n - ddof)
        return Gaussian(n, self.shift + offset, outer + np.tril(outer, -1).T, ddof)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state: ``n`` (g,), ``shift`` (d,), ``sum`` (g, d), ``outer`` (g, d, d), with g the groups, or 1.

        Of states with one ``shift`` the other three add up, in an all-reduce as in a file.
        """
        shift = np.full(self.dimension, np.nan) if self.shift is None else self.shift
        return {
            "n": self._n.copy(), "shift": shift.copy(), "sum": self._sum.copy(),
            "outer": np.tril(self._outer) + np.swapaxes(np.tril(self._outer, -1), -1, -2),
            "groups": np.array(self.groups),
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Moments:
        """The inverse of ``to_arrays``.

        Raises:
            InputError: an array is missing or has another shape.
        """
        try:
            moments = cls(int(arrays["shift"].size), groups=int(arrays["groups"]))
            moments._n[:] = arrays["n"]
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
