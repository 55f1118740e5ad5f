"""ganeval: how good is this image generator, is it better than the last one, and how sure are we?

The public names are loaded when they are first used: ``import ganeval`` itself imports neither torch nor scipy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_NAMES = {
    "evaluate": "ganeval.api",
    "Evaluator": "ganeval.evaluator",
    "fid": "ganeval.api",
    "path_length": "ganeval.api",
    "paired": "ganeval.api",
    "clip_score": "ganeval.api",
    "diversity": "ganeval.api",
    "scores": "ganeval.api",
    "open_images": "ganeval.generators.load:open_source",  # takes gen: too
    "build_statistics": "ganeval.api",
    "load_statistics": "ganeval.statistics.reference",
    "Evaluation": "ganeval.results",
    "Interval": "ganeval.results",
    "MetricResult": "ganeval.results",
    "Protocol": "ganeval.protocol",
    "CustomNetwork": "ganeval.features.custom",
    "get_protocol": "ganeval.protocol",
    "GanEvalError": "ganeval.errors",
    "GanEvalWarning": "ganeval.errors",
}

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module 'ganeval' has no attribute {name!r}")
    module, _, attribute = _NAMES[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from ganeval.api import build_statistics as build_statistics
    from ganeval.api import clip_score as clip_score
    from ganeval.api import diversity as diversity
    from ganeval.api import evaluate as evaluate
    from ganeval.api import fid as fid
    from ganeval.api import paired as paired
    from ganeval.api import path_length as path_length
    from ganeval.api import scores as scores
    from ganeval.errors import GanEvalError as GanEvalError
    from ganeval.errors import GanEvalWarning as GanEvalWarning
    from ganeval.evaluator import Evaluator as Evaluator
    from ganeval.features.custom import CustomNetwork as CustomNetwork
    from ganeval.generators.load import open_source as open_images  # noqa: F401
    from ganeval.protocol import Protocol as Protocol
    from ganeval.protocol import get_protocol as get_protocol
    from ganeval.results import Evaluation as Evaluation
    from ganeval.results import Interval as Interval
    from ganeval.results import MetricResult as MetricResult
    from ganeval.statistics.reference import load_statistics as load_statistics
