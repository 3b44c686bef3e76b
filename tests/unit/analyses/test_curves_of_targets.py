"""Curves of every class and label: points of scikit-learn, bands around them, and what the report draws of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from evalsuite.types import Curve
from tests.unit.analyses.test_several_classes import (
    CLASSES,
    LABELS,
    MULTICLASS,
    MULTILABEL,
    POINT,
    labelled,
    protocol,
    run,
    study,
)


def curve(results, kind: str, target: str, series: str | None) -> Curve:
    found = [c for c in results.curves if (c.kind, c.target, c.series) == (kind, target, series) and not c.stratum]
    assert len(found) == 1
    return found[0]


def _both():
    truth, p, frame, table = study(CLASSES)
    asked = [{"name": "a", "metric": "accuracy"}]
    yield CLASSES, np.eye(3)[truth] == 1, p, run(protocol(MULTICLASS, asked), frame, table)
    truth, p, frame, table = labelled()
    asked = [{"name": "a", "metric": "macro_auroc"}]
    yield LABELS, truth, p, run(protocol(MULTILABEL, asked, operating_points=POINT), frame, table)


def test_every_class_and_label_has_its_roc_curve_with_a_band() -> None:
    for names, truth, p, results in _both():
        for i, name in enumerate(names):
            line, band = curve(results, "roc", name, "curve"), curve(results, "roc", name, "band")
            assert np.trapezoid(line.y, line.x) == pytest.approx(sk.roc_auc_score(truth[:, i], p[:, i]), abs=1e-12)
            assert band.low is not None
            assert band.high is not None
            assert all(low <= y <= high for low, y, high in zip(band.low, band.y, band.high, strict=True))
            assert "target" in line.to_json()
            assert Curve.from_json(line.to_json()) == line


def test_reliability_of_every_class_has_a_consistency_band() -> None:
    for names, truth, p, results in _both():
        for i, name in enumerate(names):
            line, band = curve(results, "reliability", name, None), curve(results, "reliability", name, "consistency")
            inside = np.clip(np.ceil(p[:, i] * 10 - 1e-12).astype(int) - 1, 0, 9)
            bins = np.unique(inside)
            assert line.y == pytest.approx([truth[inside == b, i].mean() for b in bins])
            assert line.n == tuple(int((inside == b).sum()) for b in bins)
            # Outcomes drawn from the probabilities themselves: the band's width is that of a sum of coins.
            k = int(np.argmax(line.n))
            own = p[inside == bins[k], i]
            spread = np.sqrt((own * (1 - own)).sum()) / len(own)
            assert band.low is not None
            assert band.high is not None
            assert band.high[k] - band.low[k] == pytest.approx(2 * 1.96 * spread, rel=0.25)
            assert band.low[k] <= own.mean() <= band.high[k]


def test_reliability_allows_for_several_cases_of_a_patient() -> None:
    _, _, frame, table = study(CLASSES)
    asked = protocol(MULTICLASS, [{"name": "a", "metric": "accuracy"}])
    alone = curve(run(asked, frame, table), "reliability", "mel", None)
    shared = curve(run(asked, frame, table, patients=20), "reliability", "mel", None)
    assert alone.method == "10 bins of equal width, Wilson intervals"
    assert shared.method == "10 bins of equal width, Wilson intervals on the effective number of cases"
    assert alone.y == shared.y
    assert all(
        wide >= narrow - 1e-12
        for wide, narrow in zip(np.subtract(shared.high, shared.low), np.subtract(alone.high, alone.low), strict=True)
    )


def test_every_class_has_its_curves_in_every_group_that_is_large_enough() -> None:
    truth, p, frame, table = study(CLASSES)
    site = np.array(["a", "b", "tiny"])[np.where(np.arange(len(truth)) < 4, 2, np.arange(len(truth)) % 2)]
    asked = [{"name": "a", "metric": "accuracy"}]
    strata = [{"name": "site", "column": "site"}]
    results = run(protocol(MULTICLASS, asked, strata=strata), frame.assign(site=site), table)
    lines = {(c.target, c.stratum.get("site")): c for c in results.curves if c.kind == "roc" and c.series == "curve"}
    assert {group for _, group in lines} == {None, "a", "b"}
    for i, name in enumerate(CLASSES):
        for group in ("a", "b"):
            inside, line = site == group, lines[name, group]
            expected = sk.roc_auc_score(truth[inside] == i, p[inside, i])
            assert np.trapezoid(line.y, line.x) == pytest.approx(expected, abs=1e-12)
