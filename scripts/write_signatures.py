"""Write ganeval/engine/signatures.py: the options of the public calls as typed dictionaries, for editors.

    python scripts/write_signatures.py

Run it after an option was added or changed in its declaration; a test compares the file with the declarations.
"""

from __future__ import annotations

from pathlib import Path

from ganeval.engine.config import NOT_IN_EVALUATOR, EvaluationConfig, NetworkOptions, StatisticsConfig, all_options
from ganeval.parsing.arguments import options_of

TARGET = Path(__file__).resolve().parent.parent / "ganeval" / "engine" / "signatures.py"
_HEAD = '''"""The options of the public calls, for editors and type checkers: written by scripts/write_signatures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from ganeval.engine.config import ProgressFactory
    from ganeval.features.cache import FeatureCache
    from ganeval.features.custom import CustomNetwork
    from ganeval.images.options import LikeReal
    from ganeval.parsing.arguments import Device
    from ganeval.protocol import Protocol as FeatureProtocol
'''


def text() -> str:
    """The module."""
    evaluation, statistics = all_options(EvaluationConfig), all_options(StatisticsConfig)
    shared = options_of(NetworkOptions)
    evaluator = [name for name in evaluation if name not in shared and name not in NOT_IN_EVALUATOR]
    parts = [_HEAD]
    for heading, options, names in (
        ("NetworkOptions(TypedDict, total=False)", evaluation, list(shared)),
        ("EvaluatorOptions(NetworkOptions, total=False)", evaluation, evaluator),
        ("EvaluationOptions(EvaluatorOptions, total=False)", evaluation, list(NOT_IN_EVALUATOR)),
        ("StatisticsOptions(NetworkOptions, total=False)", statistics, [n for n in statistics if n not in shared]),
    ):
        lines = [f"    {name}: {options[name].annotation}" for name in names]
        parts.append(f"\n\nclass {heading}:\n" + "\n".join(lines) + "\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
