"""What is computed in one run, on which network each of it, and what has to be kept of each side for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from ganeval.engine.accumulator import Need, Place
from ganeval.engine.inputs import Opened, made_under, serves
from ganeval.errors import ConfigError
from ganeval.features.networks import not_at_hand
from ganeval.images.generated import GeneratedSource
from ganeval.metrics.registry import METRICS, Metric
from ganeval.metrics.settings import Settings
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol, routed

Sides = Mapping[str, Opened | None]  # None: images that come later


@dataclass(frozen=True, slots=True)
class Task:
    """A metric, and the protocol of its features; the weights of that are not known yet.

    Attributes:
        statistics: the image sets of which it takes statistics, not images.
        reference: ``sample`` or ``population``: what REAL is for it.
    """

    metric: Metric
    protocol: Protocol
    statistics: frozenset[str] = frozenset()
    reference: str = "sample"

    @property
    def place(self) -> Place:
        return self.protocol, self.metric.layer


def tasks_of(metrics: Sequence[Metric] | None, protocol: Protocol) -> list[Task]:
    """Each metric (None: all that ``eval`` computes unasked) on its network in a run under ``protocol``."""
    candidates = metrics if metrics is not None else [m for m in METRICS.values() if m.in_eval]
    return [Task(m, routed(protocol, m.name, m.protocol)) for m in candidates]


def networks_of(tasks: Sequence[Task], protocol: Protocol) -> list[str]:
    """The networks that the tasks could need, the run's own first."""
    tasks = sorted(tasks, key=lambda task: task.protocol != protocol)
    return list(dict.fromkeys(task.protocol.extractor for task in tasks))


def applicable(
    tasks: Sequence[Task], sides: Sides, protocol: Protocol, *, asked: bool, given: Collection[str] = (),
    reference: str | None = None, assume_protocol: bool = False,
) -> tuple[list[Task], list[str]]:  # fmt: skip
    """The tasks that these sides and networks serve, and a note on each that was not asked for by name.

    Of an image set with images and statistics, each task takes the part that it needs: one made of moments the
    statistics, where their protocol is known or assumed, and any other the images.

    Args:
        protocol: the run's.
        asked: whether the metrics were asked for by name.
        given: networks for which the user named weights.
        reference: what REAL is; None: the population where a task takes its statistics, else a sample.
        assume_protocol: whether statistics of unknown origin are taken as made under this protocol.

    Raises:
        ConfigError: one that was asked for cannot be computed, or nothing can.
    """
    wanted, notes = [], []
    for task in tasks:
        if task.metric.test and not asked and "test" not in sides:
            continue
        obstacle, statistics = _obstacle(task, sides, protocol, assume_protocol)
        if obstacle is None and not asked and task.protocol != protocol:
            obstacle = not_at_hand(task.protocol.extractor, given)
        if obstacle is None:
            mode = reference or ("population" if "real" in statistics else "sample")
            wanted.append(replace(task, statistics=statistics, reference=mode))
        elif asked:
            raise ConfigError(f"{task.metric.name} cannot be computed here: {obstacle}.")
        else:
            notes.append(f"{task.metric.name} is left out: {obstacle}")
    if wanted and "test" in sides and not any(task.metric.test for task in wanted):
        why = [note for note in notes if any(note.startswith(f"{t.metric.name} is") for t in tasks if t.metric.test)]
        advice = ". ".join(why) or f"leave {option('test')} out, or ask for authpct or ct"
        raise ConfigError(f"no metric of this run takes held-out real images, {option('test')}: {advice}.")
    if wanted and all(task.metric.generator for task in wanted):
        raise ConfigError("ppl alone has a command and a function of its own: ganeval ppl GENERATOR, path_length(g).")
    if not wanted:
        raise ConfigError("there is no metric to compute. " + " ".join(f"{note}." for note in notes))
    return wanted, notes


_NO_STATISTICS: frozenset[str] = frozenset()


def _obstacle(task: Task, sides: Sides, protocol: Protocol, assume: bool) -> tuple[str | None, frozenset[str]]:
    """Why these sides do not serve a task, and the sides of which it takes statistics."""
    if (obstacle := _lacking(task, sides)) is not None:
        return obstacle, _NO_STATISTICS
    metric, statistics = task.metric, set()
    taken = {"real": metric.sides == "both", "fake": True, "test": metric.test is not None}
    for name, side in sides.items():
        if side is None or side.statistics is None:
            continue
        why = _unserved(task, side, protocol) if taken[name] else None
        if side.images is None:
            statistics.add(name)
            if why is not None:
                return why, _NO_STATISTICS
        elif side.statistics.protocol is not None and not made_under(side.statistics, task.protocol):
            continue  # the images are of any protocol
        elif taken[name] and not metric.rows and why is None:
            if side.statistics.protocol is None and not assume:
                return _either(task, side), _NO_STATISTICS
            statistics.add(name)
    return None, frozenset(statistics)


def _either(task: Task, side: Opened) -> str:
    """Both ways out where a metric could be of the statistics or of the images of one file."""
    return (
        f"{side.spec} holds {side.parts}, and does not say under which protocol the statistics were made. To take them "
        f"as made under {task.protocol.name}, add --assume-protocol (assume_protocol=True); to compute it from the "
        f"images, give {side.spec}:images"
    )


def _unserved(task: Task, side: Opened, protocol: Protocol) -> str | None:
    """Why the statistics of a side do not serve a task; None where they do."""
    metric, stats = task.metric, side.statistics
    assert stats is not None
    if metric.layer not in ("features", "spatial") or (metric.layer == "spatial" and stats.spatial is None):
        return f"{side.spec} holds statistics of features, not {metric.layer}; give images"
    if not serves(stats, task.protocol, protocol):
        network = task.protocol.extractor
        return f"it needs the network {network}, and the statistics {side.spec} are of another; give images"
    if metric.rows and stats.rows is None:
        return (
            f"the statistics {side.spec} have no features of single images; give images, or build the file with "
            "`ganeval stats build --rows` (build_statistics(..., rows=True))"
        )
    return None


def _lacking(task: Task, sides: Sides) -> str | None:
    """What is missing for a task, whatever the sides hold."""
    metric = task.metric
    if "fake" not in sides:
        return "there are no generated images"
    fake = sides["fake"]
    if metric.generator and not (fake is not None and isinstance(fake.images, GeneratedSource)):
        return "it walks between the latents of a generator, and FAKE is none"
    if metric.sides == "both" and "real" not in sides:
        return "it compares with real images; give REAL"
    if metric.test == "needed" and "test" not in sides:
        return f"it needs held-out real images; give {option('test')}"
    if not task.protocol.has(metric.layer):
        return f"the network {task.protocol.extractor} has no layer for it ({metric.layer})"
    return None


def idle(settings: Settings, tasks: Sequence[Task]) -> list[str]:
    """The settings that were chosen and that no task reads."""
    read = {name for task in tasks for name in task.metric.settings}
    chosen = (f.name for f in fields(Settings) if getattr(settings, f.name) != f.default)
    return [name for name in chosen if name not in read]


def needs_of(side: str, tasks: Sequence[Task], settings: Settings) -> dict[Place, Need]:
    """By network and layer, what has to be kept of this side for these tasks."""
    needs: dict[Place, Need] = {}
    for task in tasks:
        metric = task.metric
        if side != "fake" and metric.sides == "fake" and not metric.beside:
            continue
        if side == "test" and not metric.test:
            continue
        # the error bars of metrics that are made of moments need rows too, where the side is a sample
        rows = metric.rows or side == "fake" or task.reference == "sample" or settings.floor or settings.per_class
        before = needs.get(task.place, Need(False, False))
        needs[task.place] = Need(before.moments or not metric.rows, before.rows or rows)
    return needs


def used(
    name: str, side: Opened | None, tasks: Sequence[Task], settings: Settings
) -> tuple[Opened | None, dict[Place, Need]]:
    """An image set without the part that no task takes, and what has to be kept of the rest, of images before all."""
    if side is None or side.images is None or side.statistics is None:
        return side, needs_of(name, tasks, settings)
    of_images = needs_of(name, [task for task in tasks if name not in task.statistics], settings)
    if not any(name in task.statistics for task in tasks):
        return replace(side, statistics=None), of_images
    if not of_images:
        return replace(side, images=None), needs_of(name, tasks, settings)
    return side, of_images


def shared_out(name: str, side: Opened, tasks: Sequence[Task]) -> str:
    """The note that says which metrics take which part of a set of images and statistics."""
    taken = [task.metric.name for task in tasks if name in task.statistics]
    others = [task.metric.name for task in tasks if name not in task.statistics and _reads(name, task.metric)]
    said = [f"{', '.join(names)} of the {part}" for names, part in ((others, "images"), (taken, "statistics")) if names]
    return f"{name}: {side.spec} holds {side.parts}; {' and '.join(said) or 'no metric reads it'}"


def _reads(name: str, metric: Metric) -> bool:
    return name == "fake" or (metric.test is not None if name == "test" else metric.sides == "both" or metric.beside)
