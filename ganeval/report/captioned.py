"""The images of a run that match their captions worst and best."""

from __future__ import annotations

import numpy as np

from ganeval.metrics.clip_score import NAME
from ganeval.report.grids import FEW, Grid, of_fakes, show
from ganeval.report.reopen import Look
from ganeval.result_files import Record

_SCORES = f"{NAME}_score_fake"
_SHOWN = 80  # characters of a caption


def is_captioned(record: Record) -> bool:
    """Whether the run is one of images and captions, with a score of each."""
    n = len(record.arrays.get("fake_image_digests", ()))
    return list(record.evaluation.results) == [NAME] and len(record.arrays.get(_SCORES, ())) == n > 0


def by_score(record: Record, look: Look) -> list[Grid]:
    """The images with the lowest scores and those with the highest, each with its caption."""
    scores, label = np.asarray(record.arrays[_SCORES], np.float64), record.evaluation[NAME].label
    order = np.argsort(scores, kind="stable")
    captions = record.arrays.get("fake_captions", np.empty(0))
    known = len(captions) == len(scores)
    grids = []
    for word, places in (("worst", order[:FEW]), ("best", order[::-1][:FEW])):
        words = [f"{scores[i]:.4g}{f', {str(captions[i])[:_SHOWN]}' if known else ''}" for i in places.tolist()]
        text = f"By {label}; the {word} match first."
        choice = of_fakes(f"Images that match their captions {word}", text, record.arrays, places, words)
        grids.append(show(choice, look, record.arrays))
    return grids
