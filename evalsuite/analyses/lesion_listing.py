"""Every lesion and every mark of a detection study, one per row: what the figures were counted from."""

from __future__ import annotations

import numpy as np

from evalsuite.analyses.lesion_population import LesionPopulation, Located
from evalsuite.models.marks import BOX, POINT, is_box
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import Listing

LESIONS, MARKS = "lesions", "marks"


def lesion_listings(protocol: StudyProtocol, p: LesionPopulation) -> tuple[Listing, ...]:
    """Two tables: lesions with the mark that found each, and marks with what became of each, in lock order.

    A lesion is `found` by a mark of any score, `missed`, or has `no output` where its case gave none; a mark `found` a
    lesion, is `false`, or `ignored` because it lies on a lesion that another mark was credited with. One column per
    operating point says whether the score reaches it.
    """
    return _lesions(protocol, p), _marks(protocol, p)


def place_names(width: int) -> tuple[str, ...]:
    """Names of the columns of places of so many numbers."""
    return {2: POINT[:2], 3: POINT, 4: tuple(c for c in BOX if not c.startswith("z")), 6: BOX}[width]


def number(value: float) -> str:
    """As a cell: six significant digits, empty where there is none."""
    return f"{value:.6g}" if np.isfinite(value) else ""


def _shown(protocol: StudyProtocol, score: float) -> list[str]:
    reached = []
    for point in protocol.operating_points:
        over = score > point.threshold if point.comparison == ">" else score >= point.threshold
        reached.append("yes" if over else "no")
    return reached


def _points(protocol: StudyProtocol) -> tuple[str, ...]:
    return tuple(f"at {point.name}" for point in protocol.operating_points)


def _lesions(protocol: StudyProtocol, p: LesionPopulation) -> Listing:
    at: Located = p.located
    names = place_names(at.lesion_at.shape[1])
    columns = list(p.groups)
    overlap = bool(np.isfinite(p.overlap).any())
    rows = []
    for i, case in enumerate(p.lesion_case):
        outcome = "no output" if not p.has_output[case] else "found" if at.mark_of[i] >= 0 else "missed"
        score = float(p.lesion_score[i])
        rows.append(
            (
                p.case_id[case],
                *(number(float(v)) for v in at.lesion_at[i]),
                number(float(at.diameter_mm[i])),
                *(p.groups[c][i] for c in columns),
                outcome,
                number(score),
                *([number(float(p.overlap[i]))] if overlap else []),
                *_shown(protocol, score),
            )
        )
    head = ("case_id", *names, "diameter_mm", *(f"group: {c}" for c in columns), "outcome", "score")
    return Listing(
        name=LESIONS, columns=(*head, *(["overlap"] if overlap else []), *_points(protocol)), rows=tuple(rows)
    )


def _marks(protocol: StudyProtocol, p: LesionPopulation) -> Listing:
    at = p.located
    rows = []
    for i, case in enumerate(at.mark_case):
        outcome = "found" if at.hit[i] else "false" if at.false[i] else "ignored"
        score = float(at.mark_score[i])
        rows.append(
            (
                p.case_id[case],
                number(score),
                *(number(float(v)) for v in at.mark_at[i]),
                outcome,
                *_shown(protocol, score),
            )
        )
    return Listing(name=MARKS, columns=("case_id", "score", *at.place, "outcome", *_points(protocol)), rows=tuple(rows))


def centre_of(row: dict[str, str]) -> tuple[float, ...]:
    """The centre (x, y[, z]) in mm of a row of either listing."""
    if is_box(row):
        axes = [a for a in POINT if f"{a}0" in row]
        return tuple((float(row[f"{a}0"]) + float(row[f"{a}1"])) / 2.0 for a in axes)
    return tuple(float(row[a]) for a in POINT if a in row)
