"""What each metric is: its direction, what it needs, and whom to cite. Each is declared once, here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganeval.errors import ConfigError, did_you_mean
from ganeval.parsing.arguments import option
from ganeval.parsing.plugins import Registry
from ganeval.protocol import SCORES, WAVELETS

if TYPE_CHECKING:
    from ganeval.results import MetricResult

SHARE = (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: the key in results, rules and options.
        title: the name in words.
        acronym: how the value is labelled under the network that the metric's paper used.
        higher_is_better: direction.
        minimum: fewest images of each side for which the value is defined.
        measure: ``module:function`` that computes it from ``MetricInputs``; imported when it is needed. Metrics with
            the same function come out of one call.
        layer: of the network: ``features`` (the layer that the protocol names), ``logits`` or ``spatial``.
        sides: ``both``, or ``fake`` for a metric of the fakes alone.
        with_real: a metric of the fakes alone that also reports the value of the reals, where there are reals.
        rows: whether it needs the features themselves, not only their moments.
        generator: whether it is of the generator of the fakes itself, and not of features; the engine of
            ``ganeval.engine.path_length`` then computes it, and ``measure`` turns what that finds into a result.
        pairs: whether it is of pairs of images, see ``ganeval.engine.paired`` and ``output_diversity``; ``measure`` is
            then a function of two batches, or of the values of pairs.
        captions: whether it is of images and their captions, see ``ganeval.engine.clip_score``; ``measure`` is then a
            function of cosines.
        test: ``required`` or ``optional``, where it takes held-out real images (``--test``); REAL is then the training
            set, and ``ganeval eval`` computes it only where there are some.
        relative: whether its value can be given relative to that of held-out real images (``--relative-to``).
        command: the command that computes it, where that is not its name.
        in_eval: whether ``ganeval eval`` computes it unasked.
        range: of the values, to which an interval is cut. Without ends for a metric that is corrected for its bias: the
            corrected value of a distance may lie below 0, and its interval then says how far that is chance.
        settings: the fields of ``ganeval.metrics.settings.Settings`` that it reads; options of its command.
        protocol: the protocol that is part of the metric's definition; None: the run's.
        caveat: what every run that has it must say.
        citation: BibTeX.
    """

    name: str
    title: str
    acronym: str
    higher_is_better: bool
    minimum: int
    citation: str
    measure: str
    layer: str = "features"
    sides: str = "both"
    with_real: bool = False
    rows: bool = True
    generator: bool = False
    pairs: bool = False
    captions: bool = False
    test: str | None = None
    relative: bool = False
    command: str | None = None
    in_eval: bool = True
    range: tuple[float, float] = (-math.inf, math.inf)
    settings: tuple[str, ...] = ()
    protocol: str | None = None
    caveat: str | None = None

    @property
    def of_sets(self) -> bool:
        """Whether ``evaluate`` measures it, on sets of images; pairs and captions have calls of their own."""
        return not (self.pairs or self.captions)


_CITATIONS = (Path(__file__).parent / "citations.bib").read_text(encoding="utf-8").strip().split("\n\n")


def bibtex(*keys: str) -> str:
    """The entries of ``citations.bib`` with these keys, in this order."""
    by_key = {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in _CITATIONS}
    return "\n\n".join(by_key[key] for key in keys)


def _of_pairs(
    name: str, acronym: str, title: str, range: tuple[float, float], citation: str, *, rises: bool = True
) -> Metric:
    return Metric(
        name=name,
        title=title,
        acronym=acronym,
        higher_is_better=rises,
        minimum=1,
        measure=f"ganeval.metrics.pairs:{name.replace('-', '_')}",
        rows=False,
        pairs=True,
        in_eval=False,
        command="paired",
        range=range,
        citation=bibtex(citation),
    )


_METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric(
            name="fid",
            title="Frechet distance between Gaussians fitted to features of real and of generated images",
            acronym="FID",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.fid:measure",
            rows=False,
            relative=True,
            settings=("trace", "floor", "per_class"),
            citation=bibtex("heusel2017gans"),
        ),
        Metric(
            name="sfid",
            title="Frechet distance on features that keep their place in the image (7 channels of 17 x 17)",
            acronym="sFID",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.fid:measure_spatial",
            layer="spatial",
            rows=False,
            relative=True,
            settings=("trace",),
            citation=bibtex("nash2021generating"),
        ),
        Metric(
            name="fid-inf",
            title="Frechet distance extrapolated to infinitely many fakes, by a line in one over their number",
            acronym="FID-inf",
            higher_is_better=False,
            minimum=30,
            measure="ganeval.metrics.fid_infinity:measure",
            rows=False,
            in_eval=False,
            settings=("trace",),
            citation=bibtex("chong2020effectively"),
        ),
        Metric(
            name="intra-fid",
            title="Mean of the Frechet distances within the classes of a conditional generator",
            acronym="Intra-FID",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.intra_fid:measure",
            in_eval=False,
            settings=("trace",),
            citation=bibtex("miyato2018cgans"),
        ),
        Metric(
            name="fjd",
            title="Frechet distance of images together with their classes",
            acronym="FJD",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.joint:measure",
            in_eval=False,
            settings=("trace",),
            citation=bibtex("devries2019evaluation"),
        ),
        Metric(
            name="mifid",
            title="Frechet distance, over the distance of the reals from their nearest fakes where these are copies",
            acronym="MiFID",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.mifid:measure",
            in_eval=False,
            settings=("trace", "mifid_threshold"),
            citation=bibtex("bai2021training"),
        ),
        Metric(
            name="kid",
            title="Kernel distance: squared maximum mean discrepancy over all pairs of features",
            acronym="KID",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.kernel:measure",
            settings=("kid_kernel", "kid_subsets", "per_class"),
            citation=bibtex("binkowski2018demystifying"),
        ),
        Metric(
            name="is",
            title="Inception Score: certainty and variety of the classes that a classifier sees in the fakes",
            acronym="IS",
            higher_is_better=True,
            minimum=2,
            measure="ganeval.metrics.inception_score:measure",
            layer="logits",
            sides="fake",
            settings=("splits",),
            citation=bibtex("salimans2016improved"),
        ),
        Metric(
            name="precision",
            title="Share of fakes inside the k-th-neighbour balls of the reals",
            acronym="precision",
            higher_is_better=True,
            minimum=4,
            measure="ganeval.metrics.precision_recall:measure",
            command="pr",
            range=SHARE,
            settings=("neighbours", "strict", "radius", "rarity"),
            citation=bibtex("kynkaanniemi2019improved", "khayatkhoei2023emergent", "han2023rarity"),
        ),
        Metric(
            name="recall",
            title="Share of reals inside the k-th-neighbour balls of the fakes",
            acronym="recall",
            higher_is_better=True,
            minimum=4,
            measure="ganeval.metrics.precision_recall:measure",
            command="pr",
            range=SHARE,
            settings=("neighbours", "strict", "radius"),
            citation=bibtex("kynkaanniemi2019improved", "khayatkhoei2023emergent"),
        ),
        Metric(
            name="density",
            title="How many balls of reals hold a fake, over k: 1 on average for equal laws",
            acronym="density",
            higher_is_better=True,
            minimum=6,
            measure="ganeval.metrics.precision_recall:measure",
            command="pr",
            range=(0.0, math.inf),
            settings=("neighbours", "strict", "radius"),
            citation=bibtex("naeem2020reliable", "salvy2025enhanced"),
        ),
        Metric(
            name="coverage",
            title="Share of reals whose k-th-neighbour ball holds a fake",
            acronym="coverage",
            higher_is_better=True,
            minimum=6,
            measure="ganeval.metrics.precision_recall:measure",
            command="pr",
            range=SHARE,
            settings=("neighbours", "strict", "radius"),
            citation=bibtex("naeem2020reliable", "salvy2025enhanced"),
        ),
        Metric(
            name="ind",
            title="Indistinguishability game: the advantage of an adversary who tells fakes from reals",
            acronym="IND",
            higher_is_better=False,
            minimum=8,
            measure="ganeval.metrics.two_sample:measure",
            range=(-1.0, 1.0),
            citation=bibtex("lopezpaz2017revisiting"),
        ),
        Metric(
            name="mind",
            title="Sliced Wasserstein distance over random projections of the features",
            acronym="MIND",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.sliced:measure",
            settings=("directions",),
            citation=bibtex("berthet2026mind"),
        ),
        Metric(
            name="vendi",
            title="Vendi score: the effective number of different images among the fakes",
            acronym="Vendi",
            higher_is_better=True,
            minimum=2,
            measure="ganeval.metrics.diversity:measure",
            sides="fake",
            with_real=True,
            settings=("vendi_order",),
            citation=bibtex("friedman2023vendi", "pasarkar2024cousins"),
        ),
        Metric(
            name="rke",
            title="Renyi kernel entropy: the effective number of modes among the fakes",
            acronym="RKE",
            higher_is_better=True,
            minimum=2,
            measure="ganeval.metrics.diversity:measure",
            sides="fake",
            with_real=True,
            citation=bibtex("jalali2023information"),
        ),
        Metric(
            name="ken",
            title="Kernel-based entropic novelty: modes that the fakes have and the reals have not",
            acronym="KEN",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.ken:measure",
            in_eval=False,
            settings=("ken_eta",),
            citation=bibtex("zhang2024novelty"),
        ),
        Metric(
            name="cmmd",
            title="Distance of CLIP embeddings under a Gaussian kernel, times 1000",
            acronym="CMMD",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.cmmd:measure",
            settings=("cmmd_sigma",),
            protocol="cmmd",
            caveat="CMMD compares mean embeddings (details.mean_term_share): it hardly sees a loss of variety",
            citation=bibtex("jayasumana2024rethinking"),
        ),
        Metric(
            name="fwd",
            title="Frechet wavelet distance: the mean over frequency bands, at the images' own size, without a network",
            acronym="FWD",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.fwd:measure",
            settings=("wavelet_level",),
            protocol=WAVELETS,
            citation=bibtex("veeramacheneni2025fwd"),
        ),
        Metric(
            name="ppl",
            title="Perceptual path length: how far the image moves on a small step between two latents",
            acronym="PPL",
            higher_is_better=False,
            minimum=2,
            measure="ganeval.metrics.path_length:measure",
            sides="fake",
            rows=False,
            generator=True,
            in_eval=False,
            range=(0.0, math.inf),
            settings=(
                "pairs",
                "space",
                "sampling",
                "epsilon",
                "crop",
                "resize",
                "trim",
                "unit",
                "distance",
            ),
            citation=bibtex("karras2019style", "zhang2018unreasonable"),
        ),
        Metric(
            name="authpct",
            title="Percentage of fakes that are farther from their nearest training image than its own neighbour is",
            acronym="AuthPct",
            higher_is_better=True,
            minimum=2,
            measure="ganeval.metrics.memorisation:measure_authenticity",
            test="optional",
            range=(0.0, 100.0),
            citation=bibtex("alaa2022faithful"),
        ),
        Metric(
            name="ct",
            title="C_T: whether fakes lie nearer to the training set than held-out images do (below 0: copying)",
            acronym="C_T",
            higher_is_better=True,
            minimum=21,
            measure="ganeval.metrics.memorisation:measure_copying",
            test="required",
            citation=bibtex("meehan2020nonparametric"),
        ),
        Metric(
            name="clip-score",
            title="CLIPScore: how well images match their captions, by the cosine of both embeddings under CLIP",
            acronym="CLIPScore",
            higher_is_better=True,
            minimum=1,
            measure="ganeval.metrics.clip_score:measure",
            sides="fake",
            rows=False,
            captions=True,
            in_eval=False,
            citation=bibtex("hessel2021clipscore"),
        ),
        Metric(
            name="diversity",
            title="Mean perceptual distance between the outputs of a model for one input",
            acronym="diversity",
            higher_is_better=True,
            minimum=2,
            measure="ganeval.metrics.output_diversity:result",
            sides="fake",
            rows=False,
            pairs=True,
            in_eval=False,
            range=(0.0, math.inf),
            citation=bibtex("zhu2017multimodal", "zhang2018unreasonable"),
        ),
        _of_pairs("ssim", "SSIM", "Structural similarity of pairs: 1 for equal images", (-1.0, 1.0), "wang2004image"),
        _of_pairs("psnr", "PSNR", "Peak signal-to-noise ratio of pairs, in dB", (-math.inf, math.inf), "hore2010image"),
        _of_pairs("l1", "L1", "Mean absolute difference of pairs, 0 to 1", SHARE, "hore2010image", rises=False),
        _of_pairs("l2", "L2", "Root mean squared difference of pairs, 0 to 1", SHARE, "hore2010image", rises=False),
        _of_pairs("ms-ssim", "MS-SSIM", "Structural similarity of pairs at five scales", SHARE, "wang2003multiscale"),
        _of_pairs(
            *("lpips", "LPIPS", "Learned perceptual distance of pairs", (0.0, math.inf), "zhang2018unreasonable"),
            rises=False,
        ),
        _of_pairs("clip-i", "CLIP-I", "Cosine of the CLIP image features of pairs", (-1.0, 1.0), "ruiz2023dreambooth"),
        _of_pairs("dino-i", "DINO-I", "Cosine of the DINOv2 features of pairs", (-1.0, 1.0), "ruiz2023dreambooth"),
    )
}
METRICS: Registry[Metric] = Registry("metrics", _METRICS, Metric, lambda metric: register(metric))


def register(metric: Metric) -> None:
    """Register a metric in this process: ``evaluate``, ``Evaluator``, the command line, gate and report then accept it.

    Its ``measure`` names a function of ``ganeval.metrics.types.MetricInputs``, and is imported when it is needed.

    Raises:
        ConfigError: the name, or the command of that name, is taken.
    """
    if metric.name in {name for m in METRICS.data.values() for name in (m.name, m.command)}:
        raise ConfigError(f"metric {metric.name!r} is already registered. Choose another name.")
    METRICS[metric.name] = metric


def higher_is_better(result: MetricResult) -> bool | None:
    """The direction of a result's metric; of scores, and of a metric that is not known here, what the result says."""
    if result.protocol.extractor == SCORES or result.name not in METRICS:
        return result.higher_is_better
    return METRICS[result.name].higher_is_better


def get_metric(name: str) -> Metric:
    """The registry entry.

    Raises:
        ConfigError: no such metric; the message lists what there is.
    """
    if name not in METRICS:
        hint = did_you_mean(name, METRICS, shown="{}")
        raise ConfigError(f"Unknown metric {name!r}.{hint} Available: {', '.join(METRICS)}.")
    return METRICS[name]


FAMILIES: Mapping[str, str] = {
    "pr": "Precision, recall, density and coverage of FAKE against REAL",
    "paired": "SSIM, PSNR, L1, L2, MS-SSIM, LPIPS, CLIP-I and DINO-I of pairs of images",
}


def metric_commands() -> list[str]:
    """The commands of all metrics, in order; the metrics of a family have one command."""
    return list(dict.fromkeys(metric.command or metric.name for metric in METRICS.values()))


def family(name: str) -> list[Metric]:
    """The metrics of a command: one, or those of a family such as ``pr``.

    Raises:
        ConfigError: no such metric.
    """
    return [metric for metric in METRICS.values() if metric.command == name] or [get_metric(name)]


def summary_of(command: str) -> str:
    """What the command of a metric or of a family computes."""
    return FAMILIES.get(command) or family(command)[0].title


def named_metrics(names: Iterable[str]) -> list[Metric]:
    """The registry entries of names, once each; the name of a family, such as ``pr``, stands for all of it.

    Raises:
        ConfigError: no such metric, or no name at all.
    """
    found: list[Metric] = []
    for name in filter(None, names):
        found += family(name)
    if not found:
        raise ConfigError(f"{option('metrics')} expected at least one metric. Available: {', '.join(METRICS)}.")
    return list({metric.name: metric for metric in found}.values())
