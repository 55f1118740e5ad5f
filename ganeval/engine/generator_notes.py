"""What a reader of a result should know of the generator behind it, from its provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_BY_CHANCE = 1e-3  # differences of class frequencies of this probability are not told


def notes_on(provenance: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Sentences on the generators among the image sets.

    Args:
        provenance: by image set (``real``, ``fake``, ``test``), what describes it.
    """
    return [f"{name}: {note}" for name, one in provenance.items() for note in (*_on_modes(one), *_on_labels(one))]


def frequency_note(fake: Mapping[str, Any], real_labels: Sequence[str] | None) -> list[str]:
    """A note where a generator's labels are uniform and the real images' classes are not, by a chi-square test.

    Args:
        fake: what describes the fakes.
        real_labels: one a real image, where they are known.
    """
    from scipy.special import chdtrc

    classes = fake.get("num_classes")
    if not classes or not real_labels or fake.get("label_distribution") not in ("uniform", "balanced"):
        return []
    counts = [*Counter(real_labels).values()]
    if classes < 2 or len(counts) > classes:
        return []
    counts += [0] * (classes - len(counts))
    expected = len(real_labels) / classes
    statistic = sum((count - expected) ** 2 for count in counts) / expected
    if chdtrc(classes - 1, statistic) >= _BY_CHANCE:
        return []
    shares = f"{100 * min(counts) / len(real_labels):.3g} % to {100 * max(counts) / len(real_labels):.3g} %"
    return [
        f"fake: the generator's labels are {fake['label_distribution']} over {classes} classes, and REAL's classes are "
        f"not equally frequent ({shares}): distances include that difference. label_distribution='like-real' "
        "(--label-distribution like-real) takes REAL's frequencies"
    ]


def _on_labels(one: Mapping[str, Any]) -> list[str]:
    kind = one.get("label_distribution")
    if kind == "given":
        return [f"the labels of its images were given (SHA-256 {str(one.get('labels_sha256'))[:8]})"]
    if kind == "like-real":
        shares = [f"{i}: {100 * share:.3g} %" for i, share in enumerate(one.get("class_frequencies", ()))]
        more = ", ..." if len(shares) > 8 else ""
        return [f"labels are drawn with REAL's class frequencies ({', '.join(shares[:8])}{more})"]
    return ["labels are balanced: every class equally often"] if kind == "balanced" else []


def _on_modes(one: Mapping[str, object]) -> list[str]:
    notes = []
    if switched := one.get("set_to_evaluation"):
        assert isinstance(switched, list)
        names = ", ".join(map(str, switched))
        notes.append(
            f"{names} {'was' if len(switched) == 1 else 'were'} in training mode; its images are made in evaluation "
            "mode, and the mode is restored (--keep-mode or keep_mode=True keeps training mode)"
        )
    if elsewhere := one.get("training_elsewhere"):
        assert isinstance(elsewhere, list)
        notes.append(
            f"{', '.join(map(str, elsewhere))} ran in training mode in a thread that was at work before: if it makes "
            "these images, they are not those of evaluation mode. Give the module itself, or call its eval()"
        )
    if one.get("keep_mode"):
        notes.append("the generator ran in the mode that it was in (keep_mode)")
    if isinstance(source := one.get("source"), dict):  # of a translation
        notes += _on_modes(source)
    return notes
