"""Hashes on record against files on this machine, without network: what a commit hook can check."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import platformdirs

import ganeval
from ganeval.download import recorded_hash, sha256_of
from ganeval.engine.reference_files import PublicStatistics, public_statistics
from ganeval.errors import WeightsError, number_of
from ganeval.parsing.documents import Sha256, read_json

_AGAIN = "Fetch or install it again."
_HASH = re.compile(r"[0-9a-f]{64}")


class _Recorded(msgspec.Struct):
    """What a card of shipped weights is read for here."""

    sha256: Sha256 | None = None


def check_manifest() -> list[str]:
    """Look at the manifest of public statistics, at what was fetched of it, and at the weights that ship.

    Returns:
        What was checked, in sentences.

    Raises:
        InputError: the manifest cannot be read.
        WeightsError: a hash is no hash, or a file is not the one on record.
    """
    entries = public_statistics()
    folder = platformdirs.user_cache_path("ganeval", appauthor=False) / "reference_stats"
    fetched = [entry for entry in entries.values() if _statistics(entry, folder / f"{entry.name}.npz")]
    shipped = [card for part in ("features", "generators") for card in _cards(Path(ganeval.__file__).parent / part)]
    return [
        f"manifest: {len(entries)} public statistics, {len(fetched)} of them fetched and as recorded",
        f"weights that ship: {number_of(len(shipped), 'file')} as recorded",
    ]


def _statistics(entry: PublicStatistics, path: Path) -> bool:
    """Whether it was fetched and could be verified."""
    if entry.sha256 is not None and _HASH.fullmatch(entry.sha256) is None:
        raise WeightsError(f"the manifest's hash of {entry.name} is not 64 hexadecimal digits: {entry.sha256!r}.")
    expected = entry.sha256 or recorded_hash(path)
    if expected is None or not path.exists():
        return False
    _require(path, expected)
    return True


def _cards(folder: Path) -> list[Path]:
    """Weights whose card records their hash."""
    found = []
    for path in sorted(folder.rglob("*.safetensors")):
        card = path.with_suffix(".json")
        if not card.exists():
            continue
        recorded = read_json(card, _Recorded, what="model card", advice=_AGAIN, error=WeightsError).sha256
        if recorded is not None:
            _require(path, recorded)
            found.append(path)
    return found


def _require(path: Path, sha256: str) -> None:
    if (digest := sha256_of(path)) != sha256:
        raise WeightsError(
            f"{path} is not the file on record: its SHA-256 is {digest[:16]}..., recorded is {sha256[:16]}.... "
            + _AGAIN
        )
