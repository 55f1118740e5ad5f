"""Write ganeval/engine/signatures.py: the options of the public calls as typed dictionaries, for editors.

    python scripts/write_signatures.py

Run it after an option was added or changed in its declaration; a test compares the file with the declarations.
"""

from __future__ import annotations

from pathlib import Path

from ganeval.engine.config import NOT_IN_EVALUATOR, EvaluationConfig, StatisticsConfig, all_options

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
    parts = [_HEAD]
    evaluation, statistics = all_options(EvaluationConfig), all_options(StatisticsConfig)
    evaluator = {name: one for name, one in evaluation.items() if name not in NOT_IN_EVALUATOR}
    for name, options in (
        ("EvaluationOptions", evaluation),
        ("EvaluatorOptions", evaluator),
        ("StatisticsOptions", statistics),
    ):
        lines = [f"    {one.name}: {one.annotation}" for one in options.values()]
        parts.append(f"\n\nclass {name}(TypedDict, total=False):\n" + "\n".join(lines) + "\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
