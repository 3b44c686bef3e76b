"""Intervals of how well a score ranks: AUROC and differences of two AUROCs, closed forms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.coverage.designs import binormal, patients
from benchmarks.coverage.study import Answer, Cell, Family, grid
from evalsuite.stats.roc import auroc
from evalsuite.stats.roc_compare import paired_auroc_difference, unpaired_auroc_difference

PAGE = "roc"
SIZES = (30, 100, 400, 2000)


def _auroc(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    truth = cell.get("AUROC")
    clustered = cell.cases > 1
    methods = (
        {"logit-delong": "Obuchowski, logit", "newcombe": "Newcombe, effective n"}
        if clustered
        else {"delong": "DeLong", "logit-delong": "logit-DeLong", "newcombe": "Newcombe"}
    )
    quantity = "AUROC, several cases per patient" if clustered else "AUROC"
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        y, s, _ = binormal(rng, patient, cell.prevalence, truth)
        for method, title in methods.items():
            yield Answer(quantity, title, truth, auroc(y, s, method=method, cluster=patient))  # type: ignore[arg-type]


def _difference(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    a, b = cell.get("AUROC"), cell.get("second")
    clustered = cell.cases > 1
    name = "Obuchowski" if clustered else "DeLong"
    more = ", several cases per patient" if clustered else ""
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        y, first, second = binormal(rng, patient, cell.prevalence, a, b)
        e = paired_auroc_difference(y, first, second, cluster=patient).estimate
        yield Answer(f"difference of AUROCs, paired{more}", name, a - b, e)
        # Half of the patients each, as two sites.
        here = patient < cell.n // 2
        e = unpaired_auroc_difference(
            (y[here], first[here]), (y[~here], second[~here]), clusters=(patient[here], patient[~here])
        ).estimate
        yield Answer(f"difference of AUROCs, independent groups{more}", name, a - b, e)


FAMILIES = (
    Family(
        name="auroc",
        page=PAGE,
        simulate=_auroc,
        cells=grid(
            "auroc",
            n=SIZES,
            prevalence=(0.02, 0.1, 0.5),
            settings=tuple((("AUROC", a),) for a in (0.7, 0.9, 0.98)),
            piece=5_000,
        ),
    ),
    Family(
        name="auroc clustered",
        page=PAGE,
        simulate=_auroc,
        cells=grid(
            "auroc clustered",
            n=SIZES,
            prevalence=(0.1, 0.5),
            cases=(4, 8),
            settings=tuple((("AUROC", a),) for a in (0.7, 0.9)),
            keep=lambda c: c.n < 2000 or (c.cases == 8 and c.prevalence == 0.1),
        ),
        stage=1,
        first=2,
    ),
    Family(
        name="auroc difference",
        page=PAGE,
        simulate=_difference,
        cells=grid(
            "auroc difference",
            n=SIZES,
            prevalence=(0.02, 0.1, 0.5),
            settings=((("AUROC", 0.8), ("second", 0.8)), (("AUROC", 0.95), ("second", 0.9))),
        )
        + grid(
            "auroc difference",
            n=(30, 100, 400),
            prevalence=(0.1, 0.5),
            cases=(4,),
            settings=((("AUROC", 0.95), ("second", 0.9)),),
        ),
        stage=1,
        first=2,
    ),
)
