"""Phrases that must not come back: correct English, and yet nobody writes them about a program."""

from __future__ import annotations

import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PHRASES = {
    r"\bis no [a-z]+ (file|module|folder|archive|checkpoint|metric|image|picture|network)\b": "is not a ...",
    r"\bneeded (is|are)\b": "expected ...",
    r"\b(be|is|are|was|were|not) told\b": "name what happens: detected, reported, passed",
    r"\bwhole or not at all\b": "atomically",
    r"\bat hand\b": "available",
    r"\bin vain\b": "without success",
    r"\bto be had\b": "is not supported, is not available",
    r"\b(lies?|lying|lay) (ready|beside|in|there|under|next)\b": "is, exists",
    r"\bstands? (in|beside|on) (the|its|it|that)\b": "is in",
    r"\bbeside\b": "next to, in addition to",
    r"\blikewise\b": "say it again",
    r"\d+ % sure\b": "... % confidence",
    r"\bif the truth is\b": "at the measured value",
    r"\b(two|the|same) laws?\b": "distribution",
    r"\bsaid of\b": "reported for",
    r"\btoo good to be true\b": "sanity check",
    r"\bthe four of\b": "list them",
    r"\bwas had\b": "existed",
    r"\blayer_cache|layer_caches\b": "name what it is",
}


def strings_and_comments(path: Path) -> str:
    """What a file of Python says in words; the parts of one text follow each other without a gap."""
    parts: list[str] = []
    before = tokenize.ENCODING
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
                continue
            if token.type == tokenize.STRING:
                text = re.sub(r"^\w*(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$", "", token.string)
                parts.append(text if before == tokenize.STRING else f"\n{text}")
            elif token.type == tokenize.COMMENT:
                text = token.string.lstrip("# ")
                parts.append(f" {text}" if before == tokenize.COMMENT else f"\n{text}")
            elif token.type == getattr(tokenize, "FSTRING_MIDDLE", -1):
                parts.append(token.string)
            before = token.type
    return "".join(parts)


@cache
def prose() -> dict[str, str]:
    """The text of each file, on one line."""
    files = [
        *(ROOT / "ganeval").rglob("*.py"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
    texts = {}
    for path in files:
        text = strings_and_comments(path) if path.suffix == ".py" else path.read_text(encoding="utf-8")
        texts[path.relative_to(ROOT).as_posix()] = re.sub(r"\s+", " ", text)
    return texts


@pytest.mark.parametrize("phrase", PHRASES)
def test_phrase_does_not_come_back(phrase: str) -> None:
    found = [
        f"{name}: ...{text[max(0, match.start() - 40) : match.end() + 40]}..."
        for name, text in prose().items()
        for match in re.finditer(phrase, text, re.IGNORECASE)
    ]
    assert found == [], f"better: {PHRASES[phrase]}"


def test_what_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""One."""\n# two\n# three\nraise ValueError(\n    f"four {1} "\n    "five"\n)\n', encoding="utf-8"
    )
    assert strings_and_comments(path).split() == ["One.", "two", "three", "four", "{1}", "five"]
