"""Check recorded hashes against files on this machine, offline: a check for a commit hook."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

import ganeval
from ganeval.download import sha256_of
from ganeval.engine.public_statistics import PublicStatistics, public_statistics
from ganeval.errors import WeightsError, number_of
from ganeval.parsing.documents import Sha256, read_json

_AGAIN = "Fetch or install it again."
_HASH = re.compile(r"[0-9a-f]{64}")


class _Recorded(msgspec.Struct):
    """The part of a model card that is used here."""

    sha256: Sha256 | None = None


def check_manifest() -> list[str]:
    """Check the manifest of public statistics, the fetched statistics, and the weights that ship.

    Returns:
        One sentence per part.

    Raises:
        InputError: the manifest cannot be read.
        WeightsError: a hash is malformed, or a file does not have its recorded hash.
    """
    entries = public_statistics()
    fetched = [entry for entry in entries.values() if _statistics(entry)]
    shipped = [card for part in ("features", "generators") for card in _cards(Path(ganeval.__file__).parent / part)]
    return [
        f"manifest: {len(entries)} public statistics, {len(fetched)} of them fetched, hashes match",
        f"weights that ship: {number_of(len(shipped), 'file')}, hashes match",
    ]


def _statistics(entry: PublicStatistics) -> bool:
    """Whether it was fetched and could be verified."""
    if entry.sha256 is not None and _HASH.fullmatch(entry.sha256) is None:
        raise WeightsError(f"the manifest's hash of {entry.name} is {entry.sha256!r}, expected 64 hexadecimal digits.")
    expected = entry.known_hash
    if expected is None or not entry.path.exists():
        return False
    _require(entry.path, expected)
    return True


def _cards(folder: Path) -> list[Path]:
    """Check the weights whose card records their hash, and return them."""
    checked = []
    for path in sorted(folder.rglob("*.safetensors")):
        card = path.with_suffix(".json")
        if not card.exists():
            continue
        recorded = read_json(card, _Recorded, what="model card", advice=_AGAIN, error=WeightsError).sha256
        if recorded is not None:
            _require(path, recorded)
            checked.append(path)
    return checked


def _require(path: Path, sha256: str) -> None:
    if (digest := sha256_of(path)) != sha256:
        raise WeightsError(
            f"{path} does not have its recorded hash: SHA-256 {digest[:16]}..., expected {sha256[:16]}.... " + _AGAIN
        )
