"""What moves a metric though the generator is not the cause: between the image sets, and in how images were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import chdtrc

from ganeval.engine.accumulator import SetFeatures
from ganeval.errors import number_of
from ganeval.images.summary import MIXED, TURNED, differing_values, lossy_share, turned_share


def set_warnings(sets: Mapping[str, SetFeatures]) -> list[str]:
    """A sentence for each: images in both sets, copies within a set, compression of one side alone.

    Args:
        sets: ``real``, ``fake``, ``test``, ``heldout``, of those that there are.
    """
    said = []
    for one, other, meaning in (
        ("real", "fake", "the generator copies, or the sets are mixed up"),
        ("real", "test", "they were not held out"),
        ("test", "fake", "the sets are mixed up"),
        ("real", "heldout", "they were not held out"),
        ("heldout", "fake", "the sets are mixed up"),
    ):
        if one in sets and other in sets:
            shared = np.intersect1d(sets[one].image_digests, sets[other].image_digests).size
            if shared:
                images = number_of(shared, "image is", "images are")
                said.append(f"{images} in both {one} and {other}, pixel by pixel: {meaning}")
    for name, side in sets.items():
        distinct = np.unique(side.image_digests).size
        if repeated := len(side.image_digests) - distinct:
            copies = "is an exact copy" if repeated == 1 else "are exact copies"
            said.append(
                f"{repeated} of {len(side.image_digests)} {name} images {copies} of another one ({distinct} distinct)"
            )
    pairs = [(sets["real"], name, sets[name]) for name in ("fake", "test") if "real" in sets and name in sets]
    for real, name, side in pairs:
        formats = [formats_of(one.provenance) for one in (real, side)]
        before, after = map(lossy_share, formats)
        if before is not None and after is not None and abs(before - after) > MIXED:
            said.append(
                f"file formats differ: real {_counts(formats[0])}, {name} {_counts(formats[1])}. Traces of lossy "
                "compression alone move a distance: save both sets losslessly, or both the same way"
            )
    for real, name, side in pairs:
        turned = [turned_share(one.provenance.get("notes") or {}, one.n) for one in (real, side)]  # type: ignore[arg-type]
        if abs(turned[0] - turned[1]) > MIXED:
            said.append(TURNED.format("real", turned[0], name, turned[1]))
        said += differing_values(real.pixels, side.pixels, ("real", name), (real.n or 0, side.n or 0))
    return said


def formats_of(provenance: Mapping[str, Any]) -> dict[str, int]:
    """Encoded images by format; of a statistics file, those that it was made of. Empty where none is known."""
    meta = provenance.get("meta") or {}
    found = provenance.get("formats") or (meta.get("source") or {}).get("formats") or {}
    return {str(name): int(count) for name, count in found.items()}


def _counts(formats: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in sorted(formats.items(), key=lambda pair: -pair[1]))


# --- generators ---------------------------------------------------------------------------------------------------

_BY_CHANCE = 1e-3  # differences of class frequencies of this probability are not reported


def generator_notes(provenance: Mapping[str, Mapping[str, object]]) -> list[str]:
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
