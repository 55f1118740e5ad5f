"""What a reader of a result should know of the generator behind it, from its provenance."""

from __future__ import annotations

from collections.abc import Mapping


def notes_on(provenance: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Sentences on the generators among the image sets.

    Args:
        provenance: by image set (``real``, ``fake``, ``test``), what describes it.
    """
    return [f"{name}: {note}" for name, one in provenance.items() for note in _on_modes(one)]


def _on_modes(one: Mapping[str, object]) -> list[str]:
    notes = []
    if switched := one.get("set_to_evaluation"):
        assert isinstance(switched, list)
        names = ", ".join(map(str, switched))
        notes.append(
            f"{names} {'was' if len(switched) == 1 else 'were'} in training mode; its images are made in evaluation "
            "mode, and the mode is restored (--keep-mode or keep_mode=True keeps training mode)"
        )
    if one.get("keep_mode"):
        notes.append("the generator ran in the mode that it was in (keep_mode)")
    if isinstance(source := one.get("source"), dict):  # of a translation
        notes += _on_modes(source)
    return notes
