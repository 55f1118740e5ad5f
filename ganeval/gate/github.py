"""The verdict for GitHub: annotations on stdout, and a table in the summary of the step."""

from __future__ import annotations

import os
from pathlib import Path

from ganeval.errors import InputError
from ganeval.gate.checks import PASS
from ganeval.gate.verdict import Verdict
from ganeval.gate.words import markdown
from ganeval.parsing.layout import one_line

SUMMARY = "GITHUB_STEP_SUMMARY"  # the variable that names its file
MOST_BYTES = 1024 * 1024 - 1024  # of the summary of a step; GitHub drops a larger one
_CUT = "\n\n(truncated: the summary of a step is at most 1 MiB)\n"


def commands(verdict: Verdict) -> str:
    """Workflow commands: an ``::error`` for each check that does not pass, a ``::warning`` for each warning."""
    lines = [
        command("error", f"ganeval gate: {check.name}", f"{check.requirement}: {check.reason}")
        for check in verdict.checks
        if check.outcome != PASS and not check.accepted
    ]
    lines += [command("warning", "ganeval gate", warning) for warning in verdict.warnings]
    return "\n".join(lines)


def command(kind: str, title: str, message: str) -> str:
    """``::kind title=...::message`` in one line; no text can end it or start another command.

    >>> command("error", "a: b, c", "50 %\\nworse")
    '::error title=a%3A b%2C c::50 %25%0Aworse'
    """
    title = _data(one_line(title)).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={title}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def write_summary(verdict: Verdict) -> Path | None:
    """Append the table to the file that ``GITHUB_STEP_SUMMARY`` names; None where the variable is not set.

    Raises:
        InputError: the file cannot be written to.
    """
    name = os.environ.get(SUMMARY)
    if not name:
        return None
    path = Path(name)
    table = markdown(verdict) + "\n\n"
    try:
        room = MOST_BYTES - (path.stat().st_size if path.exists() else 0)
        content = table.encode()
        if len(content) > room:
            content = content[: max(0, room - len(_CUT.encode()))].decode(errors="ignore").encode() + _CUT.encode()
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise InputError(f"cannot write the summary {path} (GITHUB_STEP_SUMMARY): {error}.") from error
    return path
