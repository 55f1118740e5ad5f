"""The calls of the Python interface: options become a checked configuration, and a session runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganeval.distributed import joined
from ganeval.engine.clip_score import run_clip_score
from ganeval.engine.clip_score_config import ClipScoreConfig
from ganeval.engine.config import EvaluationConfig, StatisticsConfig, configure, documented
from ganeval.engine.output_diversity import run_diversity
from ganeval.engine.paired import run_paired
from ganeval.engine.paired_config import DiversityConfig, PairedConfig
from ganeval.engine.runtime import started
from ganeval.engine.scores import run_scores
from ganeval.engine.scores_config import ScoresConfig
from ganeval.engine.session import run_evaluation
from ganeval.engine.statistics_run import run_statistics
from ganeval.errors import warn
from ganeval.images.grammar import spec_or_object
from ganeval.images.user_models import keep_random_states
from ganeval.parsing.arguments import options_of, require_known
from ganeval.results import Evaluation, MetricResult
from ganeval.statistics.reference import Statistics

if TYPE_CHECKING:
    from typing import Unpack

    from ganeval.engine.signatures import EvaluationOptions, StatisticsOptions


@documented(EvaluationConfig)
@keep_random_states()
def evaluate(real: object, fake: object, **options: Unpack[EvaluationOptions]) -> Evaluation:
    """Measure how far generated images are from real ones: one pass over each set, for any number of metrics.

    Every image is decoded once and goes once through each network. The protocol says which networks those are; a
    metric may have a network of its definition. The weights of a metric that is named are fetched; a metric that is
    not named takes part if its weights are found on this machine.

    Args:
        real: the reference: anything that ``open_images`` takes, a statistics file, ``stats:NAME``, or a Statistics;
            None if all metrics are of the fakes alone.
        fake: the generated images: the same forms, or a generator.

    Returns:
        Evaluation: results by name, and where they came from.

    Raises:
        InputError: images or statistics that cannot be used.
        NotEnoughSamplesError: fewer images than a metric needs.
        WeightsError: the network's weights are missing or damaged.
        IncomparableError: statistics of another protocol.
        ConfigError: an unknown option, a value that it cannot have, or options that contradict each other.
        RankError: another rank failed, or did not come.

    Warns:
        GanEvalWarning: each of the result's ``warnings``, on the first rank.
    """
    config = configure(EvaluationConfig, options)
    named = {"real": real, "fake": fake, "test": config.test, "heldout": config.relative_to}
    given = {name: spec_or_object(one) for name, one in named.items() if one is not None}
    with started(config, "evaluate", sync=config.sync) as runtime:
        evaluation, first = run_evaluation(given, config, runtime), runtime.group.rank == 0
    if first:
        warn(evaluation.warnings)
    return evaluation


def fid(real: object, fake: object, **options: Any) -> MetricResult:
    """Frechet Inception distance, with its error bar; on another network than Inception its label says so.

    ``ganeval.fid("real/", "fake/")`` is ``evaluate(real, fake, metrics=("fid",), ...)["fid"]``: see ``evaluate`` for
    the options and errors.
    """
    return evaluate(real, fake, **{**options, "metrics": ("fid",)})["fid"]


def path_length(generator: object, **options: Any) -> MetricResult:
    """Perceptual path length of a generator, with its error bar: how smooth it is in its latents.

    ``ganeval.path_length(g)`` is ``evaluate(None, g, metrics=("ppl",), ...)["ppl"]``, over 10 000 ``pairs`` of latents
    by default: see ``evaluate`` for the options and errors.

    Args:
        generator: a callable (N, ...) -> floats (N, 3 or 1, H, W), or a spec such as ``gen:dcgan-cifar10``. For
            ``space="w"`` it has two callables besides: ``mapping(z)``, or ``mapping(z, labels)`` where there are
            classes, to w (N, ...), and ``synthesis(w)`` to images. Its range of values, its latent size and
            ``sample_latents`` are found as ``open_images`` finds them.

    Raises:
        InputError: the generator fails, or rounds its images.
    """
    return evaluate(None, generator, **{**options, "metrics": ("ppl",)})["ppl"]


@documented(PairedConfig)
@keep_random_states()
def paired(real: object, fake: object, **options: Any) -> Evaluation:
    """Mean similarity and distance of pairs of images, with error bars: by pixels, by LPIPS, by CLIP-I and DINO-I.

    Args:
        real: the targets: anything that ``open_images`` takes, except a stream.
        fake: the images that are compared with them, in the same forms.

    Returns:
        Evaluation: results by name; the error is that of the mean over the pairs.

    Raises:
        InputError: images without a partner, pairs of unequal sizes, or images that cannot be used.
        WeightsError: the weights of LPIPS are missing or damaged.
        ConfigError: an unknown option, or a value that it cannot have.

    Warns:
        GanEvalWarning: each of the result's ``warnings``.
    """
    require_known(options, options_of(PairedConfig))
    config = PairedConfig(**options)
    with joined(sync=config.sync, device=config.device) as group, group.together("paired"):
        group.agree("paired")
        evaluation = run_paired(spec_or_object(real), spec_or_object(fake), config, group)
    if group.rank == 0:
        warn(evaluation.warnings)
    return evaluation


@documented(DiversityConfig)
@keep_random_states()
def diversity(outputs: object, **options: Any) -> Evaluation:
    """Mean perceptual distance between several outputs of one input, with its error bar.

    Args:
        outputs: anything that ``open_images`` takes, except a stream; ``group_by`` names the input of each.

    Returns:
        Evaluation: the result ``diversity``; the error is that of the mean over inputs.

    Raises:
        InputError: images that cannot be used, without an input, or of unequal sizes within one.
        NotEnoughSamplesError: an input with one output.
        WeightsError: the weights of LPIPS are missing or damaged.
        ConfigError: an unknown option, or a value that it cannot have.

    Warns:
        GanEvalWarning: each of the result's ``warnings``.
    """
    require_known(options, options_of(DiversityConfig))
    config = DiversityConfig(**options)
    with joined(sync=config.sync, device=config.device) as group, group.together("diversity"):
        group.agree("diversity")
        evaluation = run_diversity(spec_or_object(outputs), config, group)
    if group.rank == 0:
        warn(evaluation.warnings)
    return evaluation


@documented(ClipScoreConfig)
@keep_random_states()
def clip_score(images: object, **options: Any) -> Evaluation:
    """Mean CLIPScore of images and their captions, with its error bar: how well each image matches its text.

    Args:
        images: anything that ``open_images`` takes, except a stream.

    Returns:
        Evaluation: the result ``clip-score``; its label and settings name the scaling.

    Raises:
        InputError: images without a caption, or images or captions that cannot be used.
        WeightsError: the weights of CLIP are missing, damaged, or without a text side.
        ConfigError: an unknown option, a value that it cannot have, or a library that is not installed.

    Warns:
        GanEvalWarning: each of the result's ``warnings``.
    """
    require_known(options, options_of(ClipScoreConfig))
    evaluation = run_clip_score(spec_or_object(images), ClipScoreConfig(**options))
    warn(evaluation.warnings)
    return evaluation


@documented(ScoresConfig)
def scores(file: str | Path, **options: Any) -> Evaluation:
    """Mean or proportion of numbers per image that another program made, each with its error bar.

    Args:
        file: one row per image: a ``.csv`` file with a heading, a ``.jsonl`` file with one object per line, or a
            ``.parquet`` file (needs pyarrow).

    Returns:
        Evaluation: one result per column, under the protocol ``scores``. A column of zeros and ones is a proportion
        and has Wilson's interval, any other column has the t interval of its mean.

    Raises:
        InputError: the file cannot be used: a missing column, text or NaN among numbers, an id twice.
        ConfigError: an unknown option, or a value that it cannot have.
    """
    require_known(options, options_of(ScoresConfig))
    return run_scores(Path(file), ScoresConfig(**options))


@documented(StatisticsConfig)
@keep_random_states()
def build_statistics(images: object, **options: Unpack[StatisticsOptions]) -> Statistics:
    """Reference statistics of a set of images, with their protocol: what ``save_statistics`` writes.

    Args:
        images: anything that ``open_images`` takes.

    Raises:
        GanEvalError: as ``evaluate``.
    """
    config = configure(StatisticsConfig, options)
    with started(config, "build_statistics") as runtime:
        statistics, first = run_statistics(images, config, runtime), runtime.group.rank == 0
    if first:
        warn(statistics.warnings)
    return statistics
