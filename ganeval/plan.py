"""What is computed in one run, on which network each of it, and what has to be kept of each side for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

from ganeval.errors import ConfigError
from ganeval.features.extractor import not_at_hand
from ganeval.images.generated import GeneratedSource
from ganeval.images.source import ImageSource
from ganeval.metrics.inputs import Settings
from ganeval.metrics.registry import METRICS, Metric
from ganeval.protocol import Protocol, routed
from ganeval.sides import serves
from ganeval.statistics.reference import Statistics
from ganeval.tally import Need, Place

Sides = Mapping[str, ImageSource | Statistics | None]  # None: images that come later


@dataclass(frozen=True, slots=True)
class Task:
    """A metric, and the protocol of its features; the weights of that are not known yet."""

    metric: Metric
    protocol: Protocol

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
    tasks: Sequence[Task], sides: Sides, protocol: Protocol, *, asked: bool, given: Collection[str] = ()
) -> tuple[list[Task], list[str]]:
    """The tasks that these sides and networks serve, and a note on each that was not asked for by name.

    Args:
        protocol: the run's.
        asked: whether the metrics were asked for by name.
        given: networks for which the user named weights.

    Raises:
        ConfigError: one that was asked for cannot be computed, or nothing can.
    """
    wanted, notes = [], []
    for task in tasks:
        if task.metric.test and not asked and "test" not in sides:
            continue
        obstacle = _obstacle(task, sides, protocol)
        if obstacle is None and not asked and task.protocol != protocol:
            obstacle = not_at_hand(task.protocol.extractor, given)
        if obstacle is None:
            wanted.append(task)
        elif asked:
            raise ConfigError(f"{task.metric.name} cannot be computed here: {obstacle}.")
        else:
            notes.append(f"{task.metric.name} is left out: {obstacle}")
    if wanted and "test" in sides and not any(task.metric.test for task in wanted):
        why = [note for note in notes if any(note.startswith(f"{t.metric.name} is") for t in tasks if t.metric.test)]
        advice = ". ".join(why) or "leave --test out, or ask for authpct or ct"
        raise ConfigError(f"no metric of this run takes held-out real images (--test): {advice}.")
    if wanted and all(task.metric.generator for task in wanted):
        raise ConfigError("ppl alone has a command and a function of its own: ganeval ppl GENERATOR, path_length(g).")
    if not wanted:
        raise ConfigError("there is no metric to compute. " + " ".join(f"{note}." for note in notes))
    return wanted, notes


def _obstacle(task: Task, sides: Sides, protocol: Protocol) -> str | None:
    metric = task.metric
    if "fake" not in sides:
        return "there are no generated images"
    if metric.generator and not isinstance(sides["fake"], GeneratedSource):
        return "it walks between the latents of a generator, and FAKE is none"
    if metric.sides == "both" and "real" not in sides:
        return "it compares with real images; give REAL"
    if metric.test == "needed" and "test" not in sides:
        return "it needs held-out real images; give --test"
    if not task.protocol.has(metric.layer):
        return f"the network {task.protocol.extractor} has no layer for it ({metric.layer})"
    taken = {"real": metric.sides == "both", "fake": True, "test": metric.test is not None}
    for name, side in sides.items():
        if not taken[name] or not isinstance(side, Statistics):
            continue
        if metric.layer != "features":
            return f"{side.spec} holds statistics of features, not {metric.layer}; give images"
        if not serves(side, task.protocol, protocol):
            return f"it needs the network {task.protocol.extractor}, and {side.spec} holds no images; give images"
        if metric.rows and side.rows is None:
            return (
                f"{side.spec} holds no features of single images; give images, or build the file with "
                "`ganeval stats build --rows`"
            )
    return None


def idle(settings: Settings, tasks: Sequence[Task]) -> list[str]:
    """The settings that were chosen and that no task reads."""
    read = {name for task in tasks for name in task.metric.settings}
    chosen = (f.name for f in fields(Settings) if getattr(settings, f.name) != f.default)
    return [name for name in chosen if name not in read]


def needs_of(side: str, tasks: Sequence[Task], settings: Settings, mode: str) -> dict[Place, Need]:
    """By network and layer, what has to be kept of this side."""
    needs: dict[Place, Need] = {}
    for task in tasks:
        metric = task.metric
        if side != "fake" and metric.sides == "fake" and not metric.beside:
            continue
        if side == "test" and not metric.test:
            continue
        # the error bars of metrics that are made of moments need rows too, where the side is a sample
        rows = metric.rows or side == "fake" or mode == "sample" or settings.floor or settings.per_class
        before = needs.get(task.place, Need(False, False))
        needs[task.place] = Need(before.moments or not metric.rows, before.rows or rows)
    return needs
