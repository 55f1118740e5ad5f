"""Which metric on which network, and what has to be kept of each image set for it; without any image."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganeval.engine.accumulator import Requirement
from ganeval.engine.config import EvaluationConfig, Settings
from ganeval.engine.inputs import ImageSet
from ganeval.engine.planning import (
    MetricTask,
    applicable,
    chosen_metrics,
    idle,
    make_plan,
    minimum_of,
    networks_of,
    requirements_of,
    tasks_of,
    used,
)
from ganeval.errors import ConfigError
from ganeval.images.open import open_images
from ganeval.metrics.registry import METRICS, named_metrics
from ganeval.protocol import get_protocol
from ganeval.statistics.reference import Statistics

COMPACT, TTUR = get_protocol("compact"), get_protocol("ttur")
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
IMAGES = ImageSet("images", open_images(PIXELS))
OWN = {"meta": {"protocol": COMPACT.to_dict()}}
MOMENTS = ImageSet("moments.npz", None, Statistics(np.zeros(256), np.eye(256), n=9, ddof=1, **OWN))  # type: ignore[arg-type]
ROWS = ImageSet(
    "rows.npz",
    None,
    Statistics(np.zeros(256), np.eye(256), n=9, ddof=1, rows=np.zeros((9, 256), np.float32), **OWN),  # type: ignore[arg-type]
)


def tasks(*names: str, protocol: Any = COMPACT) -> list[MetricTask]:
    return tasks_of(named_metrics(names), protocol)


def kept(name: str, *metrics: str, reference: str = "sample", **chosen: Any) -> dict[str, Requirement]:
    """By layer, what has to be kept of an image set."""
    planned = [replace(task, reference=reference) for task in tasks(*metrics, protocol=TTUR)]
    return {layer: needed for (_, layer), needed in requirements_of(name, planned, Settings(**chosen)).items()}


def test_what_metrics_need_of_an_image_set() -> None:
    assert kept("fake", "fid") == {"features": Requirement(True, True)}  # rows for its error bar
    assert kept("real", "fid", reference="population") == {"features": Requirement(True, False)}
    assert kept("real", "fid", reference="population", floor=True) == {"features": Requirement(True, True)}
    assert kept("real", "fid", reference="population", per_class=True) == {"features": Requirement(True, True)}
    assert kept("real", "kid") == {"features": Requirement(False, True)}
    assert kept("real", "fid", "sfid", "kid", reference="population") == {
        "features": Requirement(True, True),
        "spatial": Requirement(True, False),
    }
    assert kept("real", "rke") == {"features": Requirement(False, True)}  # whose value of the reals is told, too
    assert kept("test", "fid", "kid") == kept("test", "rke") == {}
    assert kept("fake", "is") == {"logits": Requirement(False, True)}
    assert kept("test", "authpct") == {"features": Requirement(False, True)}


metric_names = st.sampled_from(["fid", "sfid", "kid", "is", "precision", "ind", "authpct"])


@settings(max_examples=25)
@given(names=st.lists(metric_names, unique=True, min_size=1, max_size=4))
def test_what_is_needed_does_not_depend_on_the_order(names: list[str]) -> None:
    for name in ("real", "fake", "test"):
        found = [kept(name, *order, reference="population") for order in permutations(names)]
        assert all(one == found[0] for one in found)
        for metric in names:  # and is never less than one of them needs
            for layer, needed in kept(name, metric, reference="population").items():
                assert found[0][layer].moments >= needed.moments
                assert found[0][layer].rows >= needed.rows


def test_metrics_with_a_protocol_of_their_own_go_to_its_network() -> None:
    planned = tasks("cmmd", "fid", protocol=TTUR)
    assert [task.protocol.name for task in planned] == ["cmmd", "ttur"]
    assert networks_of(planned, TTUR)[0] == TTUR.extractor  # the run's own comes first
    assert set(networks_of(planned, TTUR)) == {task.protocol.extractor for task in planned}
    assert networks_of(tasks("ppl"), COMPACT) == []
    everything = tasks_of(None, COMPACT)
    assert [task.metric.name for task in everything] == [m.name for m in METRICS.values() if m.in_eval]


def test_chosen_metrics_and_their_minimum() -> None:
    assert chosen_metrics(EvaluationConfig(metrics=None)) is None
    names = ("fid", "precision")
    chosen = chosen_metrics(EvaluationConfig(metrics=names))
    assert chosen == named_metrics(names)
    assert minimum_of(chosen) == max(METRICS[name].minimum for name in names)
    assert minimum_of(None) == 2


@pytest.mark.parametrize(
    ("metric", "sets", "message"),
    [
        ("fid", {"fake": IMAGES}, "it compares with real images; give REAL"),
        ("fid", {"real": IMAGES}, "there are no generated images"),
        ("ct", {"real": IMAGES, "fake": IMAGES}, "it needs held-out real images; give"),
        ("sfid", {"real": IMAGES, "fake": IMAGES}, "the network compact-v1 has no output"),
        ("ppl", {"fake": IMAGES}, "it takes a generator, and FAKE is not one"),
        ("kid", {"real": MOMENTS, "fake": IMAGES}, "have no features of single images; give images, or build"),
    ],
)
def test_a_metric_that_cannot_be_computed_iv(metric: str, sets: dict[str, ImageSet], message: str) -> None:
    """An error where it was asked for by name; else a note, and the others are computed."""
    with pytest.raises(ConfigError, match=f"{metric} cannot be computed here: .*{message}"):
        applicable(tasks(metric), sets, COMPACT, asked=True)
    planned = tasks(metric, "rke")
    if "fake" not in sets or METRICS[metric].test:
        return
    wanted, notes = applicable(planned, sets, COMPACT, asked=False)
    assert [task.metric.name for task in wanted] == ["rke"]
    assert len(notes) == 1
    assert notes[0].startswith(f"{metric} is not computed: ")
    assert message in notes[0]


def test_nothing_is_left_to_compute_iv() -> None:
    with pytest.raises(ConfigError, match="there is no metric to compute. kid is not computed: it compares"):
        applicable(tasks("kid"), {"fake": IMAGES}, COMPACT, asked=False)


def test_held_out_images_that_no_metric_takes_iv() -> None:
    sets = {"real": IMAGES, "fake": IMAGES, "test": IMAGES}
    with pytest.raises(ConfigError, match="no metric of this run takes held-out real images"):
        applicable(tasks("fid"), sets, COMPACT, asked=True)
    wanted, _ = applicable(tasks("fid", "authpct"), sets, COMPACT, asked=True)
    assert [task.metric.name for task in wanted] == ["fid", "authpct"]


@pytest.mark.parametrize(
    ("real", "given", "reference"),
    [
        (IMAGES, None, "sample"),
        (MOMENTS, None, "population"),
        (ROWS, "sample", "sample"),
        (IMAGES, "population", "population"),
    ],
)
def test_what_the_reference_is(real: ImageSet, given: str | None, reference: str) -> None:
    (task,), _ = applicable(tasks("fid"), {"real": real, "fake": IMAGES}, COMPACT, asked=True, reference=given)
    assert task.reference == reference
    assert task.statistics == ({"real"} if real.statistics else frozenset())


def test_each_metric_takes_the_part_that_it_needs() -> None:
    """Of a file with images and statistics: moments where they are enough, else the images."""
    both = replace(MOMENTS, spec="both.npz", images=IMAGES.images)
    sets = {"real": both, "fake": IMAGES}
    wanted, _ = applicable(tasks("fid", "kid"), sets, COMPACT, asked=True)
    assert {task.metric.name: set(task.statistics) for task in wanted} == {"fid": {"real"}, "kid": set()}
    fid, kid = wanted
    for planned, images, statistics in (([fid], False, True), ([kid], True, False), ([fid, kid], True, True)):
        one, needed = used("real", both, planned, Settings())
        assert one is not None
        assert (one.images is not None, one.statistics is not None) == (images, statistics)
        assert needed
    assert used("real", IMAGES, [fid], Settings())[0] is IMAGES
    assert used("real", None, [fid], Settings())[0] is None


def test_statistics_of_unknown_origin_serve_when_that_is_said() -> None:
    unknown = Statistics(np.zeros(256), np.eye(256), n=9, ddof=1)
    sets = {"real": ImageSet("both.npz", IMAGES.images, unknown), "fake": IMAGES}
    with pytest.raises(ConfigError, match="--assume-protocol .*both.npz:images"):
        applicable(tasks("fid"), sets, COMPACT, asked=True)
    (task,), _ = applicable(tasks("fid"), sets, COMPACT, asked=True, assume_protocol=True)
    assert task.statistics == {"real"}


def test_settings_that_no_task_reads() -> None:
    chosen = Settings(splits=3, kid_kernel="rbf")
    assert idle(chosen, tasks("kid")) == ["splits"]
    assert idle(chosen, tasks("fid")) == ["splits", "kid_kernel"]
    assert idle(chosen, tasks("is", "kid")) == []
    assert idle(Settings(), tasks("fid")) == []


def test_the_plan_of_a_run() -> None:
    sets = {"real": IMAGES, "fake": IMAGES}
    plan = make_plan(sets, EvaluationConfig(protocol="compact", metrics=("fid", "precision")))
    assert [task.metric.name for task in plan.on_features] == ["fid", "precision"]
    assert [protocol.name for protocol in plan.protocols] == ["compact"]
    assert plan.asked
    assert plan.distance is None
    assert plan.left_out == ()
    for name in ("real", "fake"):
        assert list(plan.requirements[name].values()) == [Requirement(moments=True, rows=True)]
    every = make_plan(sets, EvaluationConfig(protocol="compact", metrics=None))
    assert not every.asked
    assert any(note.startswith("sfid is not computed: ") for note in every.left_out)
    assert {"fid", "kid"} <= {task.metric.name for task in every.tasks}
