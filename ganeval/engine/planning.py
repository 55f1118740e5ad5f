"""What is computed in one run: which metric on which network, and what has to be kept of each image set for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from ganeval.engine.accumulator import FeatureKey, Requirement
from ganeval.engine.config import EvaluationConfig, NetworkOptions, Settings
from ganeval.engine.inputs import ImageSet, OpenedSets, opened_images, preparation_of_run
from ganeval.engine.packets import obstacle_to_packets
from ganeval.engine.statistics_set import made_under, other_rows, serves
from ganeval.errors import ConfigError
from ganeval.features.custom import CustomNetwork
from ganeval.features.networks import why_unavailable
from ganeval.features.perceptual import PerceptualDistance
from ganeval.features.registry import get_distance, get_network
from ganeval.features.types import NetworkSource
from ganeval.features.weights import by_network
from ganeval.images.generated import GeneratedSource
from ganeval.images.types import ImageSource
from ganeval.metrics.registry import METRICS, Metric, named_metrics
from ganeval.parsing.arguments import DISTANCE, PROTOCOL, option
from ganeval.protocol import CUSTOM, WAVELETS, Protocol, get_protocol, routed

SIDES = ("real", "fake")
TABLE = ("fid", "sfid", "precision", "recall")  # of the metrics that papers print, those that compare with reals


@dataclass(frozen=True, slots=True)
class MetricTask:
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
    def key(self) -> FeatureKey:
        return self.protocol, self.metric.layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run computes.

    Attributes:
        protocol: the run's.
        tasks: the metrics that these image sets and networks serve, in order.
        left_out: a note on each metric that was not asked for by name and cannot be computed here.
        asked: whether the metrics were asked for by name.
        sets: the image sets without the parts that no task takes.
        both: those that hold images and statistics, as they were opened.
        requirements: by image set, what has to be kept of it.
        weights: what is loaded in place of published weights, by network.
        distance: the perceptual distance of path length; None where no task needs one.
        user_networks: names of networks that are code of the user.
    """

    protocol: Protocol
    tasks: tuple[MetricTask, ...]
    left_out: tuple[str, ...]
    asked: bool
    sets: OpenedSets
    both: Mapping[str, ImageSet]
    requirements: Mapping[str, Mapping[FeatureKey, Requirement]]
    weights: Mapping[str, NetworkSource]
    distance: str | PerceptualDistance | None
    user_networks: frozenset[str]

    @property
    def on_features(self) -> list[MetricTask]:
        """The tasks that take features; the others are of the generator itself."""
        return [task for task in self.tasks if not task.metric.generator]

    @property
    def protocols(self) -> list[Protocol]:
        """The networks that features come from."""
        return list(dict.fromkeys(task.protocol for task in self.on_features))


def chosen_metrics(config: EvaluationConfig) -> list[Metric] | None:
    """The metrics that were asked for by name; None: all that apply."""
    chosen = None if config.metrics is None else named_metrics(config.metrics)
    if others := [metric for metric in chosen or () if not metric.of_sets]:
        what, command, call = "images and captions", "clip-score IMAGES --captions FILE", "clip_score"
        if others[0].pairs:
            what, command, call = "pairs of images", "paired REAL FAKE", "paired"
        if others[0].name == "diversity":
            what, command, call = "outputs of one input", "diversity OUTPUTS --group-by REGEX", "diversity"
        raise ConfigError(
            f"{others[0].name} is of {what}, not of two sets. Measure it with `ganeval {command}` (ganeval.{call})."
        )
    return chosen


def minimum_of(metrics: Sequence[Metric] | None) -> int:
    """Fewest images of a set from which all of these can be computed."""
    return max((metric.minimum for metric in metrics or ()), default=2)


def make_plan(sets: OpenedSets, config: EvaluationConfig) -> Plan:
    """Each metric on its network, where these image sets serve it.

    Raises:
        ConfigError: a metric that was asked for by name cannot be computed, or nothing can.
    """
    chosen = chosen_metrics(config)
    protocol, own = resolved(config)
    opened = opened_images(sets)
    steps = preparation_of_run(sets, config)
    protocol = under_policy(protocol, opened, steps)
    tasks = [
        replace(task, protocol=under_policy(task.protocol, opened, steps))
        for task in tasks_of(chosen, protocol, config.settings)
    ]
    distance = distance_of(tasks, protocol, config.settings)
    trunk = [distance_network(distance)] if isinstance(distance, str) else []
    networks = list(dict.fromkeys([*networks_of(tasks, protocol), *trunk]))
    if config.weights and not networks:
        raise ConfigError(f"{option('weights')} has no effect: the distance is loaded already. Leave it out.")
    named = by_network(config.weights, networks)
    weights: dict[str, NetworkSource] = {**named, **own}
    wanted, left_out = applicable(
        tasks,
        sets,
        protocol,
        asked=chosen is not None,
        given=weights,
        reference=config.reference,
        assume_protocol=config.assume_protocol,
    )
    on_features = [task for task in wanted if not task.metric.generator]
    _require_floor(sets, on_features, config.settings)
    used_parts = {name: used(name, one, on_features, config.settings) for name, one in sets.items()}
    return Plan(
        protocol=protocol,
        tasks=tuple(wanted),
        left_out=tuple(left_out),
        asked=chosen is not None,
        sets={name: one for name, (one, _) in used_parts.items()},
        both={name: one for name, one in sets.items() if one and one.images and one.statistics},
        requirements={name: required for name, (_, required) in used_parts.items()},
        weights=weights,
        distance=distance if len(on_features) < len(wanted) else None,
        user_networks=frozenset(own),
    )


def resolved(config: NetworkOptions) -> tuple[Protocol, dict[str, NetworkSource]]:
    """The protocol of a run in its precision, and the user's own network, if it is on one, by name."""
    protocol, own = config.protocol, dict[str, NetworkSource]()
    if isinstance(protocol, CustomNetwork):
        own = {CUSTOM: protocol.given()}
        protocol = protocol.protocol()
    elif not isinstance(protocol, Protocol):
        protocol = get_protocol(PROTOCOL("protocol", protocol))
    return (protocol if config.precision is None else replace(protocol, precision=config.precision)), own


def under_policy(protocol: Protocol, sources: Sequence[ImageSource], steps: str) -> Protocol:
    """The protocol with the decode policy of these images, where they have one by another name, and their steps."""
    policies = [source.decode_policy for source in sources if source.decode_policy is not None]
    return replace(protocol, decode=policies[0] if policies else protocol.decode, prepare=steps)


def tasks_of(
    metrics: Sequence[Metric] | None, protocol: Protocol, settings: Settings | None = None
) -> list[MetricTask]:
    """Each metric (None: all that ``eval`` computes unasked) on its network in a run under ``protocol``."""
    candidates = metrics if metrics is not None else [m for m in METRICS.values() if m.in_eval]
    level = (settings or Settings()).wavelet_level
    return [MetricTask(m, routed(protocol, m.name, m.protocol, level=level)) for m in candidates]


def networks_of(tasks: Sequence[MetricTask], protocol: Protocol) -> list[str]:
    """The networks that the tasks could need, the run's own first."""
    on_features = [task for task in tasks if not task.metric.generator and task.protocol.name != WAVELETS]
    ordered = sorted(on_features, key=lambda task: task.protocol != protocol)
    return list(dict.fromkeys(task.protocol.extractor for task in ordered))


def distance_of(tasks: Sequence[MetricTask], protocol: Protocol, settings: Settings) -> str | PerceptualDistance | None:
    """The perceptual distance of path length, where a task is of the generator itself."""
    if not any(task.metric.generator for task in tasks):
        return None
    if settings.distance is None:
        return get_network(protocol.extractor).distance
    if isinstance(settings.distance, PerceptualDistance):
        return settings.distance
    return DISTANCE("distance", settings.distance)  # type: ignore[no-any-return]


def distance_network(distance: str) -> str:
    """The network whose weights a perceptual distance has."""
    return get_distance(distance).network


def _require_floor(sets: OpenedSets, tasks: Sequence[MetricTask], settings: Settings) -> None:
    real = sets.get("real")
    if not settings.floor or real is None or real.statistics is None or real.statistics.rows is not None:
        return
    if any("floor" in task.metric.settings and "real" in task.statistics for task in tasks):
        raise ConfigError(
            f"{option('floor', True)} needs real images, or statistics with rows: it measures between their halves."
        )


def applicable(
    tasks: Sequence[MetricTask],
    sets: OpenedSets,
    protocol: Protocol,
    *,
    asked: bool,
    given: Collection[str] = (),
    reference: str | None = None,
    assume_protocol: bool = False,
) -> tuple[list[MetricTask], list[str]]:
    """The tasks that these image sets and networks serve, and a note on each that was not asked for by name.

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
        if task.metric.test and not asked and "test" not in sets:
            continue
        obstacle, statistics = _obstacle(task, sets, protocol, assume_protocol)
        if obstacle is None and task.protocol.name == WAVELETS:
            sources = {name: None if one is None else one.images for name, one in sets.items() if name in SIDES}
            obstacle = obstacle_to_packets(sources, int(task.protocol.layer), asked=asked)
        elif obstacle is None and not asked and task.protocol != protocol:
            obstacle = why_unavailable(task.protocol.extractor, given)
        if obstacle is None:
            mode = reference or ("population" if "real" in statistics else "sample")
            wanted.append(replace(task, statistics=statistics, reference=mode))
        elif asked:
            raise ConfigError(f"{task.metric.name} cannot be computed here: {obstacle}.")
        else:
            notes.append(f"{task.metric.name} is not computed: {obstacle}")
    if wanted and "test" in sets and not any(task.metric.test for task in wanted):
        why = [note for note in notes if any(note.startswith(f"{t.metric.name} is") for t in tasks if t.metric.test)]
        advice = ". ".join(why) or f"leave {option('test')} out, or ask for authpct or ct"
        raise ConfigError(f"no metric of this run takes held-out real images, {option('test')}: {advice}.")
    if wanted and "heldout" in sets and not any(task.metric.relative for task in wanted):
        names = ", ".join(metric.name for metric in METRICS.values() if metric.relative)
        raise ConfigError(f"{option('relative_to')} has no effect here: it needs one of the metrics {names}.")
    if not wanted:
        raise ConfigError("there is no metric to compute. " + " ".join(f"{note}." for note in notes))
    return wanted, notes


_NO_STATISTICS: frozenset[str] = frozenset()


def _obstacle(
    task: MetricTask, sets: OpenedSets, protocol: Protocol, assume: bool
) -> tuple[str | None, frozenset[str]]:
    """Why these image sets do not serve a task, and those of which it takes statistics."""
    if (obstacle := _lacking(task, sets)) is not None:
        return obstacle, _NO_STATISTICS
    metric, statistics = task.metric, set()
    taken = {"real": metric.sides == "both", "fake": True, "test": metric.test is not None, "heldout": metric.relative}
    for name, one in sets.items():
        if one is None or one.statistics is None:
            continue
        why = _unserved(task, one, protocol) if taken[name] else None
        if one.images is None:
            statistics.add(name)
            if why is not None:
                return why, _NO_STATISTICS
        elif one.statistics.protocol is not None and not made_under(one.statistics, task.protocol):
            continue  # the images are of any protocol
        elif taken[name] and not metric.rows and why is None:
            if one.statistics.protocol is None and not assume:
                return _either(task, one), _NO_STATISTICS
            statistics.add(name)
    return None, frozenset(statistics)


def _either(task: MetricTask, one: ImageSet) -> str:
    """Both ways out where a metric could be of the statistics or of the images of one file."""
    return (
        f"{one.spec} holds {one.parts}, and does not say under which protocol the statistics were made. To take them "
        f"as made under {task.protocol.name}, add --assume-protocol (assume_protocol=True); to compute it from the "
        f"images, give {one.spec}:images"
    )


def _unserved(task: MetricTask, one: ImageSet, protocol: Protocol) -> str | None:
    """Why the statistics of a set do not serve a task; None where they do."""
    metric, stats = task.metric, one.statistics
    assert stats is not None
    if metric.layer not in ("features", "spatial") or (metric.layer == "spatial" and stats.spatial is None):
        return f"{one.spec} holds statistics of features, not {metric.layer}; give images"
    if metric.rows and metric.layer == "features" and other_rows(stats, task.protocol) is not None:
        return None
    if not serves(stats, task.protocol, protocol):
        network = task.protocol.extractor
        return f"it needs the network {network}, and the statistics {one.spec} are of another; give images"
    if metric.rows and stats.rows is None:
        return (
            f"the statistics {one.spec} have no features of single images; give images, or build the file with "
            "`ganeval stats build --rows` (build_statistics(..., rows=True))"
        )
    return None


def _lacking(task: MetricTask, sets: OpenedSets) -> str | None:
    """What is missing for a task, whatever the sets hold."""
    metric = task.metric
    if "fake" not in sets:
        return "there are no generated images"
    fake = sets["fake"]
    if metric.generator and not (fake is not None and isinstance(fake.images, GeneratedSource)):
        return "it takes a generator, and FAKE is not one. Give gen:NAME, gen:FILE, gen:package.module:callable"
    if metric.generator and fake is not None and fake.images is not None and fake.images.prompts() is not None:
        return f"its paths are between latents alone, and this generator takes text. Leave out {option('prompts')}"
    if metric.sides == "both" and "real" not in sets:
        return "it compares with real images; give REAL"
    if metric.test == "required" and "test" not in sets:
        return f"it needs held-out real images; give {option('test')}"
    if not task.protocol.has(metric.layer):
        return f"the network {task.protocol.extractor} has no output {metric.layer!r}, which the metric needs"
    return None


def idle(settings: Settings, tasks: Sequence[MetricTask]) -> list[str]:
    """The settings that were chosen and that no task reads."""
    read = {name for task in tasks for name in task.metric.settings}
    chosen = (f.name for f in fields(Settings) if getattr(settings, f.name) != f.default)
    return [name for name in chosen if name not in read]


def requirements_of(name: str, tasks: Sequence[MetricTask], settings: Settings) -> dict[FeatureKey, Requirement]:
    """By network and layer, what has to be kept of this image set for these tasks."""
    needs: dict[FeatureKey, Requirement] = {}
    for task in tasks:
        metric = task.metric
        if not _reads(name, metric):
            continue
        # the error bars of metrics that are made of moments need rows too, where the name is a sample
        rows = (
            metric.rows
            or name in ("fake", "heldout")
            or task.reference == "sample"
            or settings.floor
            or settings.per_class
        )
        before = needs.get(task.key, Requirement(False, False))
        needs[task.key] = Requirement(before.moments or not metric.rows, before.rows or rows)
    return needs


def requirements_of_table(protocol: Protocol, sources: Sequence[ImageSource]) -> dict[FeatureKey, Requirement]:
    """By network and layer, what a statistics file has to keep for the table that papers print under ``protocol``."""
    tasks = [
        replace(task, protocol=under_policy(task.protocol, sources, protocol.prepare), reference="population")
        for task in tasks_of(named_metrics(TABLE), protocol)
        if task.protocol.has(task.metric.layer)
    ]
    return requirements_of("real", tasks, Settings())


def used(
    name: str, one: ImageSet | None, tasks: Sequence[MetricTask], settings: Settings
) -> tuple[ImageSet | None, dict[FeatureKey, Requirement]]:
    """An image set without the part that no task takes, and what has to be kept of the rest, of images before all."""
    if one is None or one.images is None or one.statistics is None:
        return one, requirements_of(name, tasks, settings)
    of_images = requirements_of(name, [task for task in tasks if name not in task.statistics], settings)
    if not any(name in task.statistics for task in tasks):
        return replace(one, statistics=None), of_images
    if not of_images:
        return replace(one, images=None), requirements_of(name, tasks, settings)
    return one, of_images


def shared_out(name: str, one: ImageSet, tasks: Sequence[MetricTask]) -> str:
    """The note that says which metrics take which part of a set of images and statistics."""
    taken = [task.metric.name for task in tasks if name in task.statistics]
    others = [task.metric.name for task in tasks if name not in task.statistics and _reads(name, task.metric)]
    said = [f"{', '.join(names)} of the {part}" for names, part in ((others, "images"), (taken, "statistics")) if names]
    return f"{name}: {one.spec} holds {one.parts}; {' and '.join(said) or 'no metric reads it'}"


def _reads(name: str, metric: Metric) -> bool:
    """Whether a metric takes the features of an image set."""
    real = metric.sides == "both" or metric.with_real
    return {"real": real, "fake": True, "test": metric.test is not None, "heldout": metric.relative}[name]
