"""Options of ``ganeval scores``: each is declared here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ganeval.errors import ConfigError
from ganeval.parsing.arguments import NAMES, NUMBER, TEXT, convert_fields, declare, option

_COLUMNS = replace(NAMES, expected="names of columns, in a list or separated by commas,")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresConfig:
    """Options of ``scores``."""

    column: Sequence[str] | None = declare(
        None, _COLUMNS.or_none(), "scores", "Measure this column.", default_text="all columns of numbers"
    )
    higher_is_better: Sequence[str] = declare((), _COLUMNS, "scores", "Higher is better in this column.")
    lower_is_better: Sequence[str] = declare((), _COLUMNS, "scores", "Lower is better in this column.")
    group_by: str | None = declare(
        None,
        TEXT.or_none(),
        "scores",
        "Column that says which rows belong together, such as several outputs of one prompt: they count as one in "
        "every error bar.",
    )
    id: str | None = declare(
        None,
        TEXT.or_none(),
        "scores",
        "Column that names each row, such as the file or the prompt: `compare` and `gate` pair two files by it.",
    )
    level: float = declare(0.95, NUMBER.between(0, 1), "scores", "Confidence level of the intervals.")

    def __post_init__(self) -> None:
        convert_fields(self)
        if both := sorted({*self.higher_is_better} & {*self.lower_is_better}):
            raise ConfigError(
                f"column {both[0]!r} is in {option('higher_is_better')} and in {option('lower_is_better')}. Name it in "
                "one of them."
            )
