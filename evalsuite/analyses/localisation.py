"""Maps beside lesions: how often a map's peak lies in the lesion and how far both overlap, beside chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalsuite.analyses.common import Cell, Results, cells_of
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.lesion_boxes import BoxTables, Lies, is_table
from evalsuite.analyses.population import Bools, Floats
from evalsuite.analyses.resampling import Resampling
from evalsuite.errors import ImageError, InputError, Problem
from evalsuite.imaging.mask_file import decode_mask
from evalsuite.protocol.localisation import Localisation
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats._resampled import resampled
from evalsuite.stats.case_means import mean_of
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.saliency import Pointing, hit_rate, mean_overlaps, pointing
from evalsuite.testset.reference_files import ReferenceFiles
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Estimate, Finding

ANALYSIS = "interpretability"
_MOST_PROBLEMS = 20

#: The maps of a case by their names, each on the grid of the image as stored; ImageError where they cannot be read.
ReadMaps = Callable[[str], Mapping[str, NDArray[np.generic]]]


def salient_from(map_: NDArray[np.generic], asked: Localisation) -> float:
    """The smallest value of a map that counts as salient; infinite where nothing does.

    Of the brightest share, ties count as salient, but never the smallest value of the map: where most of a map is one
    background, that background is not salient.
    """
    values = np.asarray(map_, dtype=np.float64)
    if asked.salient == "value":
        return asked.threshold
    largest = float(values.max())
    if asked.salient == "of_maximum":
        return asked.threshold * largest if largest > 0.0 else np.inf
    many = max(1, round(asked.threshold * values.size))
    least = float(np.partition(values.ravel(), values.size - many)[values.size - many])
    above = values[values > values.min()]
    return max(least, float(above.min())) if above.size else np.inf


def localisation_figures(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    files: ReferenceFiles,
    read_maps: ReadMaps,
    lies: Lies,
) -> Results:
    """Findings per map and stratum of `analyses.interpretability.localisation`; nothing without it.

    `endpoint` of a finding is the map's name. `localisation_hit_rate` is the share of maps whose largest value lies in
    the lesion, `localisation_iou` the mean overlap of all maps, `localisation_iou_true_positive` of those that touch
    their lesion, `localisation_chance` the mean share of the image that the lesion covers. Cases with an empty cell,
    an empty mask, no box or no map are left out and counted in a note. `lies` says how images lie that boxes are on.

    Raises
    ------
    InputError
        If masks, boxes or maps cannot be read, or a map has another size than its mask; all of them at once.
    """
    block = protocol.analyses.interpretability
    if block is None or block.localisation is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    asked = block.localisation
    found = _pointed(protocol, asked, case_id, frame, files, read_maps, lies)
    strata = [s for s in protocol.strata if s.cross is None and (block.groups is None or s.name in block.groups)]
    rows = np.array(sorted({i for by in found.values() for i in by}), dtype=np.int64)
    cells = [Cell(stratum=c.stratum, mask=c.mask[rows]) for c in cells_of(assign_strata(frame, strata), len(case_id))]
    patient = np.unique(np.array([patient_id[i] for i in rows], dtype=str), return_inverse=True)[1]
    findings: list[Finding] = []
    for label, by in found.items():
        each = [by.get(int(i)) for i in rows]
        findings += _Figures(protocol, label, each, patient, cells).findings()
    note = f"Maps beside lesions: {len(rows)} of {len(case_id)} cases have a lesion and a map."
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=(note,))


def _pointed(
    protocol: StudyProtocol,
    asked: Localisation,
    case_id: Sequence[str],
    frame: pd.DataFrame,
    files: ReferenceFiles,
    read_maps: ReadMaps,
    lies: Lies,
) -> dict[str, dict[int, Pointing]]:
    """Each map's place on its lesion, by map and row."""
    problems: list[Problem] = []
    found: dict[str, dict[int, Pointing]] = {}
    boxes = BoxTables(protocol, files, lies, asked.coordinates)
    for i, (case, cell) in enumerate(zip(case_id, map(str, frame[asked.reference]), strict=True)):
        if not cell.strip():
            continue
        try:
            maps = read_maps(case)
            mask = _lesion(cell, case, files, boxes) if maps else None
        except ImageError as error:
            problems.append(Problem(error.message, f"case {case}"))
            continue
        if mask is None or not mask.any():
            continue
        for label, map_ in maps.items():
            if map_.shape != mask.shape:
                sizes = " and ".join(" × ".join(map(str, shape)) for shape in (map_.shape, mask.shape))
                problems.append(Problem(f"map {label} and lesion have sizes {sizes}", f"case {case}"))
            elif not np.isfinite(np.asarray(map_, dtype=np.float64)).all():
                problems.append(Problem(f"map {label} holds values that are not finite", f"case {case}"))
            else:
                place = pointing(map_, mask, threshold=salient_from(map_, asked))
                found.setdefault(label, {})[i] = place
    problems = boxes.problems + problems
    if problems:
        raise InputError(
            f"{len(problems)} maps, masks or boxes of lesions cannot be used.",
            problems=problems[:_MOST_PROBLEMS],
            hint="A map lies on the grid of its image as stored, and so does the mask of the lesion; each box holds "
            "the centre of a pixel.",
        )
    return found


def _lesion(cell: str, case: str, files: ReferenceFiles, boxes: BoxTables) -> Bools | None:
    """Where the lesion of a case is, from the mask or the table of boxes of its cell; None where there is none."""
    if is_table(cell):
        return boxes.mask(cell, case)
    data = files.read(cell)
    return None if data is None else decode_mask(data, name=cell)[0] > 0


@dataclass(frozen=True, slots=True)
class _Figures:
    """One map's figures in every cell; `each (k,)` says how it lies on the lesion of each case, None without a map."""

    protocol: StudyProtocol
    label: str
    each: Sequence[Pointing | None]
    patient: NDArray[np.intp]
    cells: Sequence[Cell]

    def findings(self) -> Iterator[Finding]:
        hits = np.array([np.nan if p is None or p.hit is None else p.hit for p in self.each])
        overlaps = np.array([np.nan if p is None or p.overlap is None else p.overlap for p in self.each])
        chances = np.array([np.nan if p is None else p.chance for p in self.each])
        there = np.array([p is not None for p in self.each], dtype=bool)
        for cell in self.cells:
            n = int((cell.mask & there).sum())
            least = self.protocol.small_strata.suppress_below
            if not cell.whole and n < least:
                level = two_sided_level(self.protocol.confidence)
                few = Estimate.not_estimable(f"not assessable: {n} cases, fewer than {least}", n=n, level=level)
                yield self._finding("hit_rate", few, cell)
                continue
            yield self._finding("hit_rate", self._hits(hits, cell.mask), cell)
            full, touching = self._overlaps(overlaps, cell.mask)
            yield self._finding("iou", full, cell)
            yield self._finding("iou_true_positive", touching, cell)
            yield self._finding("chance", self._mean(chances, cell.mask), cell)

    def _finding(self, what: str, estimate: Estimate, cell: Cell) -> Finding:
        return Finding(
            analysis=ANALYSIS, endpoint=self.label, metric=f"localisation_{what}", role="secondary", target=None,
            operating_point=None, stratum=dict(cell.stratum), estimate=estimate,
        )  # fmt: skip

    def _hits(self, hits: Floats, mask: Bools) -> Estimate:
        """Clopper-Pearson; where several largest values lie partly inside, the mean of their shares."""
        known = mask & np.isfinite(hits)
        level = two_sided_level(self.protocol.confidence)
        if not known.any():
            return Estimate.not_estimable("no map points anywhere", n=0, level=level)
        if np.isin(hits[known], (0.0, 1.0)).all():
            return hit_rate(hits[known].astype(bool), self.patient[known], level=level)
        return self._mean(hits, mask)

    def _overlaps(self, overlaps: Floats, mask: Bools) -> tuple[Estimate, Estimate]:
        level = two_sided_level(self.protocol.confidence)
        return mean_overlaps(np.where(mask, overlaps, np.nan), self._draw(), level=level)

    def _mean(self, values: Floats, mask: Bools) -> Estimate:
        known = mask & np.isfinite(values)
        material, statistic = mean_of(np.where(known, values, 0.0), (0.0, 1.0))
        level = two_sided_level(self.protocol.confidence)
        made = resampled(self._draw(), material, [statistic], masks=known[None], level=level, method="percentile")
        return made[0][0]

    def _draw(self) -> PatientDraw:
        return Resampling.of(self.protocol, self.patient).draw
