"""Tasks with several labels per case: how often the whole set of labels is right, and how many labels are wrong.

Per-label figures are those of a binary task; their averages are in `averages` (mean average precision, "mAP", is
`macro_average_precision`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import FloatArray
from evalsuite.stats._binary_metrics import ratio
from evalsuite.stats._resampled import Material, Replicated, Statistic, read, replicated
from evalsuite.stats.averages import METRICS as AVERAGE_METRICS
from evalsuite.stats.averages import Answers, material_of, statistic_of
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, Unit

SET_METRICS = ("subset_accuracy", "hamming_loss")
METRICS = (*SET_METRICS, *AVERAGE_METRICS)

UNSETTLED = "no case has a settled reference for every label"


def multilabel_bootstrap(
    draw: PatientDraw,
    answers: Answers,
    metrics: Sequence[str],
    *,
    masks: npt.ArrayLike | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "bca",
    unit: Unit = "case",
    threads: int | None = None,
) -> list[list[Estimate]]:
    """Figures over all labels with patient-bootstrap intervals, `[stratum][metric]`.

    Parameters
    ----------
    answers
        One column per label. Cells that are not `known` take no part; a case with such a cell has no settled set of
        labels and takes no part in `subset_accuracy`.
    metrics
        `subset_accuracy` (share of cases with every label right), `hamming_loss` (share of labels wrong, pooled over
        cases), and the averages of `averages.METRICS`.

    References
    ----------
    Tsoumakas & Katakis, Int J Data Warehous Min 3:1-13 (2007). Sorower (2010), A literature survey on algorithms for
    multi-label learning.
    """
    table = multilabel_replicates(draw, answers, metrics, masks=masks, with_jackknife=method == "bca", threads=threads)
    return read(table, level=level, method=method, unit=unit)


def multilabel_replicates(
    draw: PatientDraw,
    answers: Answers,
    metrics: Sequence[str],
    *,
    masks: npt.ArrayLike | None = None,
    with_jackknife: bool = True,
    threads: int | None = None,
) -> Replicated:
    """Replicates of these figures, to be read at any level or set against another device's; see
    `multilabel_bootstrap`."""
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric: {', '.join(unknown)}")
    average = [m for m in metrics if m in AVERAGE_METRICS]
    of_sets = [m for m in metrics if m in SET_METRICS]
    base = material_of(answers, average)
    sums: dict[str, FloatArray] = dict(base.sums)
    if of_sets:
        if answers.call is None:
            raise ValueError(f"{', '.join(of_sets)} needs calls")
        wrong = (answers.call != answers.truth) & answers.cells
        whole = answers.cells.all(axis=1, keepdims=True)
        sums["whole"] = np.asarray(whole, dtype=np.float64)
        sums["exact"] = np.asarray(whole & ~wrong.any(axis=1, keepdims=True), dtype=np.float64)
        sums["wrong"] = wrong.astype(np.float64)
    material = Material(sums=sums, ranked=base.ranked, ranks=base.ranks)
    statistics = [_of_sets(m) if m in SET_METRICS else statistic_of(answers, m) for m in metrics]
    return replicated(draw, material, statistics, masks=masks, with_jackknife=with_jackknife, threads=threads)


def _of_sets(metric: str) -> Statistic:
    if metric == "subset_accuracy":
        return Statistic(
            value=lambda p: ratio(p.sums["exact"][:, 0], p.sums["whole"][:, 0]),
            reason=lambda p: UNSETTLED,
            counts=lambda p: (float(p.sums["exact"][0, 0]), float(p.sums["whole"][0, 0])),
        )
    return Statistic(
        value=lambda p: ratio(p.sums["wrong"].sum(axis=1), p.sums["cells"].sum(axis=1)),
        reason=lambda p: "no label has a settled reference",
    )
