"""Statistics of shares become those of the whole; images that would count twice are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganeval.api import build_statistics
from ganeval.errors import IncomparableError, InputError, NotEnoughSamplesError
from ganeval.images.open import open_images
from ganeval.protocol import get_protocol
from ganeval.statistics import merging
from ganeval.statistics.merging import merge_statistics
from ganeval.statistics.moments import Moments
from ganeval.statistics.reference import Statistics, load_statistics, save_statistics

D = 5


def features(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32) + 2.0


def built(x: np.ndarray, *, digests: np.ndarray | None = None, rows: bool = False, **meta: Any) -> Statistics:
    moments = Moments(D)
    moments.update(x)
    g = moments.finish()
    meta = {"protocol": get_protocol("compact").to_dict(), "source": {"spec": "real/"}, "warnings": [], **meta}
    return Statistics(g.mean, g.covariance, g.n, g.ddof, meta=meta, rows=x if rows else None, digests=digests)


def shards(*sizes: int) -> list[Statistics]:
    x = features(sum(sizes))
    ids = np.random.default_rng(1).integers(0, 2**64, len(x), dtype=np.uint64)
    cuts = np.cumsum(sizes)[:-1]
    return [built(a, digests=i, rows=True) for a, i in zip(np.split(x, cuts), np.split(ids, cuts), strict=True)]


def test_merge_is_exact_in_any_order(tmp_path: Path) -> None:
    parts = [load_statistics(save_statistics(tmp_path / str(i), s)) for i, s in enumerate(shards(30, 2, 50, 18))]
    whole = built(features(100))
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        merged = merge_statistics([parts[i] for i in order])
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-13)
        np.testing.assert_allclose(merged.covariance, whole.covariance, atol=1e-13)
        assert (merged.n, merged.ddof, merged.warnings) == (100, 1, ())
        assert merged.rows is not None
        assert merged.rows.shape == (100, D)
        assert merged.digests is not None
        assert len(merged.digests) == 100
        assert merged.protocol == get_protocol("compact")
    pairwise = merge_statistics([merge_statistics(parts[:2]), merge_statistics(parts[2:])])
    np.testing.assert_allclose(pairwise.covariance, whole.covariance, atol=1e-13)
    assert load_statistics(save_statistics(tmp_path / "all", pairwise)).n == 100


def test_images_that_count_twice_are_found_iv() -> None:
    a, b = shards(30, 20)
    overlapping = Statistics(
        b.mean, b.covariance, b.n, b.ddof, meta=b.meta, source_path=Path("b.npz"),
        digests=np.concatenate([a.digests[:7], b.digests[7:]]),  # type: ignore[index]
    )  # fmt: skip
    with pytest.raises(InputError, match=r"7 images are in both statistics and b\.npz, and would count twice"):
        merge_statistics([a, overlapping])
    with pytest.raises(InputError, match="30 images are in both"):
        merge_statistics([a, a])
    blind = Statistics(b.mean, b.covariance, b.n, b.ddof, meta=b.meta, source_path=Path("b.npz"))
    merged = merge_statistics([a, blind])
    assert merged.warnings == ("merged without a check for images that count twice: no image digests in b.npz",)
    assert merged.digests is None


def test_merge_iv(tmp_path: Path) -> None:
    a, b = shards(30, 20)
    other = Statistics(
        b.mean, b.covariance, b.n, 1, meta={"protocol": {**get_protocol("compact").to_dict(), "resize": "tf1-bilinear"}}
    )
    with pytest.raises(IncomparableError, match="resize: torch-bilinear-antialias against tf1-bilinear"):
        merge_statistics([a, other])
    unknown = Statistics(b.mean, b.covariance, b.n, 1, source_path=Path("b.npz"))
    with pytest.raises(IncomparableError, match=r"b\.npz does not say under which protocol"):
        merge_statistics([a, unknown])
    assert merge_statistics([a, unknown], assume_protocol=True).n == 50
    with pytest.raises(InputError, match=r"b\.npz does not say of how many images"):
        merge_statistics([a, Statistics(b.mean, b.covariance, source_path=Path("b.npz"), meta=a.meta)])
    with pytest.raises(IncomparableError, match="5 features, ddof 1.*5 features, ddof 0"):
        merge_statistics([a, Statistics(b.mean, b.covariance, 20, 0, meta=a.meta)])
    with pytest.raises(InputError, match="nothing to merge"):
        merge_statistics([])


# --- shards of one set -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "of"), [(1000, 3), (257, 2), (256, 2), (100, 7), (5, 8), (1, 1)])
def test_shards_are_all_images_and_none_twice(n: int, of: int) -> None:
    source = open_images(np.zeros((n, 1, 1, 3), np.uint8))
    runs = [source.shard(i, of).indices for i in range(1, of + 1)]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(np.concatenate(runs), np.arange(n))
    sizes = [len(run) for run in runs]
    assert max(sizes) - min(sizes) <= (1 if n < 128 * of else 255)


def test_shards_iv() -> None:
    source = open_images(np.zeros((5, 1, 1, 3), np.uint8))
    for number, of in ((0, 2), (3, 2)):
        with pytest.raises(InputError, match=f"I from 1 to N.*{number}/{of}"):
            source.shard(number, of)  # type: ignore[attr-defined]
    images = np.zeros((5, 8, 8, 3), np.uint8)
    with pytest.raises(NotEnoughSamplesError, match="found 0 images in shard 1/8 of"):
        build_statistics(images, shard=(1, 8), protocol="compact", device="cpu")
    with pytest.raises(InputError, match="come as they come"):
        build_statistics(iter([images]), shard=(1, 2), protocol="compact", device="cpu")


def test_shards_and_merge_against_the_whole(tmp_path: Path) -> None:
    """Through files, end to end: the borders lie between batches, so that every image has the same features."""
    options = {"num_samples": 700, "protocol": "compact", "device": "cpu"}
    whole = build_statistics("dataset:shapes", **options)  # type: ignore[arg-type]
    files = []
    for i in (3, 1, 2):  # in any order
        shard = build_statistics("dataset:shapes", shard=(i, 3), **options)  # type: ignore[arg-type]
        files.append(save_statistics(tmp_path / f"{i}", shard))
    merged = merge_statistics(load_statistics(file) for file in files)
    assert merged.n == whole.n == 700
    scale = np.abs(whole.covariance).max()
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-10)
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=0, atol=1e-10 * scale)
    assert merged.digest == whole.digest
    assert merged.warnings == whole.warnings
    again = merge_statistics([load_statistics(file) for file in files[:2]])
    assert again.warnings[-1] == (
        f"{700 - (again.n or 0)} images are in none of these shards: dataset:shapes has 700, the first missing is "
        "number 256"
    )
    assert merge_statistics([again, load_statistics(files[2])]).warnings == whole.warnings
    with pytest.raises(InputError, match=r"are in both .*1\.npz and"):
        merge_statistics([load_statistics(files[1]), merged])


def shard_of_one_set(first: int, n: int, number: int, **other: object) -> Statistics:
    whole = {"spec": "gen:mine", "kind": "generator", "n": 100, "seed": 0, "subset": None, **other}
    subset = {"shard": number, "of": 2, "first": first, "n": n, "whole": whole}
    return built(features(n, number), source={"spec": "gen:mine", "subset": subset})


def test_shards_without_digests_must_not_overlap_by_number() -> None:
    """Images that were made on an accelerator have no digests."""
    one, two = shard_of_one_set(0, 50, 1), shard_of_one_set(50, 50, 2)
    merged = merge_statistics([one, two])
    assert len(merged.warnings) == 1
    assert "no image digests" in merged.warnings[0]
    with pytest.raises(InputError, match="shards 1/2 and 2/2 of the same gen:mine, which overlap"):
        merge_statistics([one, shard_of_one_set(49, 50, 2)])
    with pytest.raises(InputError, match="which overlap"):
        merge_statistics([merged, two])  # seen through an earlier merge
    assert merge_statistics([one, shard_of_one_set(49, 50, 2, seed=1)]).n == 100  # other images


def test_of_very_many_images_an_even_draw_of_digests_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganeval.statistics.reference.MAX_DIGESTS", 40)
    parts = [load_statistics(save_statistics(tmp_path / f"{i}", s)) for i, s in enumerate(shards(30, 60, 90))]
    ids = np.sort(np.concatenate([s.digests for s in shards(30, 60, 90)]))  # type: ignore[arg-type]
    assert [s.digests is None for s in parts] == [False, True, True]
    for merged in (merge_statistics(parts), merge_statistics([merge_statistics(parts[1:]), parts[0]])):
        assert merged.digests is None
        np.testing.assert_array_equal(merged.digest_sample, ids[:40])  # as if it had been drawn from the whole
        np.testing.assert_array_equal(load_statistics(save_statistics(tmp_path / "m", merged)).digest_sample, ids[:40])
        for part in parts:  # a share that counts twice is found, also in what was merged before
            with pytest.raises(InputError, match="at least .* images are in both"):
                merge_statistics([merged, part])
    monkeypatch.setattr(merging, "MAX_COMPARED", 30)
    with pytest.raises(InputError, match="at least .* images are in both"):
        merge_statistics([*parts, parts[1]])
    assert merge_statistics(parts).n == 180
