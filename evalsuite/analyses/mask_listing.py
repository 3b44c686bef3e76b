"""Every case and structure of a segmentation study, one per row: the figures that the means were taken of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalsuite.analyses.mask_figures import Asked
from evalsuite.stats.masks import CaseFigure
from evalsuite.types import Listing

MASKS = "structures"


def mask_listing(
    case_id: Sequence[str],
    status: Sequence[str],
    reason: Sequence[object],
    figures: Sequence[Mapping[Asked, CaseFigure] | None],
    wanted: Sequence[Asked],
) -> Listing:
    """One row per case and structure; a figure that is undefined has an empty cell, and the last column says why, also
    why a case has no usable output."""
    names = list(dict.fromkeys(_column(a) for a in wanted))
    rows = []
    for case, state, said, found in zip(case_id, status, reason, figures, strict=True):
        for structure in dict.fromkeys(a.structure for a in wanted):
            cells = dict.fromkeys(names, "")
            reasons = [str(said)] if isinstance(said, str) and said else []
            for asked in (a for a in wanted if a.structure == structure):
                figure = None if found is None else found.get(asked)
                if figure is None:
                    continue
                if figure.value is not None:
                    cells[_column(asked)] = f"{figure.value:.6g}"
                elif figure.undefined is not None and figure.undefined not in reasons:
                    reasons.append(figure.undefined)
            rows.append((case, structure, state, *cells.values(), "; ".join(reasons)))
    return Listing(name=MASKS, columns=("case_id", "structure", "status", *names, "reason"), rows=tuple(rows))


def _column(asked: Asked) -> str:
    more: list[str] = [asked.definition] if asked.metric in ("hd", "hd95", "assd", "masd", "nsd") else []
    more += [f"{asked.tolerance_mm:g} mm"] if asked.tolerance_mm is not None else []
    return f"{asked.metric} ({', '.join(more)})" if more else asked.metric
