"""One evaluation from its options to its result: every station of the engine, once, in order."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ganeval.engine.accumulator import SetFeatures
from ganeval.engine.config import EvaluationConfig
from ganeval.engine.evaluation import Measured, evaluation_of, with_both
from ganeval.engine.feature_rows import described, open_feature_sets, takes_features
from ganeval.engine.inputs import (
    ImageSets,
    groupings_of,
    open_image_sets,
    require_effect,
)
from ganeval.engine.loop import measure_images
from ganeval.engine.networks import load_networks
from ganeval.engine.path_length import digest_of_paths, measure_generator
from ganeval.engine.planning import Plan, chosen_metrics, make_plan, minimum_of, requirements_of
from ganeval.engine.runtime import Runtime
from ganeval.engine.statistics_set import other_rows, serves, statistics_features
from ganeval.images.generated import GeneratedSource
from ganeval.results import Evaluation, MetricResult
from ganeval.statistics.reference import Statistics

PAIRS = 10_000  # of latents, where path length is the only metric; the paper took 100 000, StyleGAN2 50 000


class Session:
    """Image sets that are opened and checked, networks that are loaded: all that can fail early has not.

    Args:
        given: by image set, what the user named; ``inputs.LATER`` for images that come from a training loop.

    Attributes:
        of_features: whether the image sets are feature rows instead of images.
        groupings: which images belong together, by image set.
        plan: which metric on which network, and what has to be kept of each image set.
        networks: loaded, and held against the statistics.
    """

    def __init__(self, given: ImageSets, config: EvaluationConfig, runtime: Runtime) -> None:
        require_effect(given.values(), config)
        chosen = chosen_metrics(config)
        drawn = chosen is None or not all(metric.generator for metric in chosen)
        if not drawn:  # a generator makes as many images as there are pairs of latents
            config = replace(config, num_samples=config.settings.pairs or config.num_samples or PAIRS)
        self.config, self.runtime, self.minimum = config, runtime, minimum_of(chosen)
        self.of_features = takes_features(config)
        if self.of_features:
            sets, protocol = open_feature_sets(given, config, self.minimum)
            self.config = replace(config, protocol=protocol, reference=config.reference or "sample")
        else:
            sets = open_image_sets(given, self.config, runtime.device, self.minimum, drawn=drawn)
        self.plan: Plan = make_plan(sets, self.config)
        self.groupings = groupings_of(config, sets)
        self.networks = load_networks(self.plan, self.config, runtime, assume_protocol=self.config.assume_protocol)

    def measure(self, name: str) -> SetFeatures:
        """The one pass over an image set that was opened."""
        one, requirements, both = self.plan.sets[name], self.plan.requirements[name], self.plan.both.get(name)
        assert one is not None
        features = None
        if one.images is not None and self.plan.on_features:
            features = measure_images(
                name,
                one.images,
                self.networks.extractors,
                requirements,
                self.config,
                self.runtime,
                minimum=self.minimum,
                grouping=self.groupings.get(name),
            )
        elif one.images is not None:  # metrics of the generator itself draw what they need
            features = SetFeatures({}, one.images.length, None, np.empty(0, np.uint64), one.images.describe())
        if one.statistics is not None:
            found = self._measure_statistics(name, one.statistics)
            if features is None:
                features = described(found, one) if self.of_features else found
            else:
                features = replace(features, statistics=found.layers)
                self.networks.statistics_warnings.extend(found.warnings)
        assert features is not None
        return features if both is None else replace(features, provenance=with_both(features.provenance, both))

    def _measure_statistics(self, name: str, stats: Statistics) -> SetFeatures:
        taking = [task for task in self.plan.on_features if name in task.statistics]
        rows = any(required.rows for required in requirements_of(name, taking, self.config.settings).values())
        served = [asked for asked in self.networks.bound if serves(stats, asked, self.plan.protocol)]
        others = [
            asked for asked in self.networks.bound if asked not in served and other_rows(stats, asked) is not None
        ]
        return statistics_features(
            stats,
            served,
            others,
            self.runtime,
            rows=rows,
            sample=any(not task.metric.rows for task in taking),
            memory=self.config.feature_memory,
        )

    def finish(self, features: Mapping[str, SetFeatures], started: float) -> Evaluation:
        """Every metric, from all image sets."""
        for grouping in self.groupings.values():
            if not any("groups" in one.provenance for one in features.values()):
                grouping.reject({})
        of_generator: dict[str, MetricResult] = {}
        if self.networks.distance is not None:
            fake = self.plan.sets["fake"]
            assert fake is not None
            assert isinstance(fake.images, GeneratedSource)
            pairs = self.config.settings.pairs or fake.images.length
            result = measure_generator(
                fake.images, self.networks.distance, self.config, self.runtime.group, pairs=pairs
            )
            of_generator["ppl"] = result
            if not self.plan.on_features:
                digest = digest_of_paths(result)
                provenance = {**fake.images.describe(), "n": pairs, "digest": digest}
                known = replace(features["fake"], n=pairs, digest=digest, provenance=provenance)
                features = {**features, "fake": known}
        return evaluation_of(
            Measured(self.plan, self.config, self.networks, self.runtime, features, of_generator, started)
        )


def run_evaluation(given: ImageSets, config: EvaluationConfig, runtime: Runtime) -> Evaluation:
    """Open, plan, load, one pass over each set, every metric."""
    started = time.perf_counter()
    session = Session(given, config, runtime)
    features = {name: session.measure(name) for name in session.plan.sets}
    session.networks.drop()
    return session.finish(features, started)
