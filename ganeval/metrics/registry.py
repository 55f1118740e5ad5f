"""What each metric is: its direction, what it needs, and whom to cite. These facts stand here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from ganeval.errors import ConfigError


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
        beside: a metric of the fakes alone that also tells the reals' own value, where there are reals.
        rows: whether it needs the features themselves, not only their moments.
        test: whether it needs held-out real images besides (``--test``).
        command: the command that computes it, where that is not its name.
        in_eval: whether ``ganeval eval`` computes it unasked.
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
    beside: bool = False
    rows: bool = True
    test: bool = False
    command: str | None = None
    in_eval: bool = True


METRICS: Mapping[str, Metric] = {
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
            citation="""\
@inproceedings{heusel2017gans,
  title     = {{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium},
  author    = {Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {30},
  year      = {2017}
}""",
        ),
    )
}


def get_metric(name: str) -> Metric:
    """The registry entry.

    Raises:
        ConfigError: no such metric; the message lists what there is.
    """
    if name not in METRICS:
        close = get_close_matches(name, METRICS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"There is no metric {name!r}; there are {', '.join(METRICS)}.{hint}")
    return METRICS[name]
