"""What ``lite`` sees at 256 pixels and ``compact`` does not, on few photographs; benchmarks/lite_faults.py has all."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from support.benchmarks_of_checkout import importable  # noqa: F401

from ganeval.features.networks import why_unavailable

pytestmark = [
    pytest.mark.skipif(why_unavailable("efficientnet-lite0") is not None, reason="needs ganeval[imagenet]"),
    pytest.mark.skipif(not (find_spec("skimage") and find_spec("sklearn")), reason="needs their photographs"),
]


def test_a_checkerboard_is_seen_by_lite_and_not_by_compact() -> None:
    from benchmarks import lite_faults

    fault = "checkerboard, share of 255"
    lite, compact = (
        lite_faults.measure(network, number=4, levels=slice(1, 2), faults=(fault,))[0]
        for network in ("lite", "compact")
    )
    assert lite.growth > 4 * lite.error > 0
    assert abs(compact.growth) < 3 * compact.error
    row = lite_faults.table([lite, compact]).splitlines()[-1]
    assert row.startswith(f"| {fault} | 0.05: {lite.growth:.3g} ({lite.growth / lite.error:.1f}) | 0.05: ")


def test_faults_at_level_0_change_nothing_and_the_next_levels_ever_more() -> None:
    from benchmarks import lite_faults

    images, owners = lite_faults.crops(2)
    assert images.shape == (len(owners), 256, 256, 3)
    assert len(set(owners.tolist())) == len(lite_faults.photographs()) >= 10
    few = images[::9]
    for change, levels in lite_faults.FAULTS.values():
        changes = [abs(change(few, level).astype(float) - few).mean() for level in levels]
        assert 0 < changes[0] < changes[1] < changes[2]
    assert (lite_faults.noise(few, 0) == few).all()
    assert (lite_faults.checkerboard(few, 0) == few).all()


@pytest.mark.nightly
def test_lite_is_much_faster_than_inception() -> None:
    from benchmarks import lite_speed

    assert lite_speed.main(["--threads", "1", "--rounds", "3"]) > 4
