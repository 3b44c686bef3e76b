"""Reader studies against MRMCaov, RJafroc and iMRMC: every figure of ../shared/golden to its stated tolerance.

`vandyke_mrmc` (Van Dyke's study of aortic dissection: 2 treatments, 5 readers, 114 cases) and `imrmc_example` (FDA's
simulated example) were analysed by their authors' programs; their sidecars say which and how. Not claimed are the
sample sizes and powers of RJafroc, which plan a study.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.reader_figures import ReaderFigures, Readings, reader_figures, readings

TOLERANCE = 1e-6  # both sidecars state it
Z = 1.959963984540054


def _table(rows: list[dict[str, str]], keys: tuple[str, str, str, str], truth: dict[str, float]) -> Readings:
    treatment, reader, case, rating = keys
    names = [sorted({r[k] for r in rows}) for k in (treatment, reader)]
    cases = list(truth)
    array = np.full((len(names[0]), len(names[1]), len(cases)), np.nan)
    for r in rows:
        array[names[0].index(r[treatment]), names[1].index(r[reader]), cases.index(r[case])] = float(r[rating])
    return readings(np.array([truth[c] for c in cases]), array)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def van_dyke(shared_golden: Path) -> Readings:
    rows = _rows(shared_golden / "vandyke_mrmc.csv")
    return _table(rows, ("treatment", "reader", "case", "rating"), {r["case"]: float(r["truth"]) for r in rows})


@pytest.fixture(scope="module")
def example(shared_golden: Path) -> Readings:
    rows = _rows(shared_golden / "imrmc_example.csv")
    truth = {r["caseID"]: float(r["score"]) for r in rows if r["readerID"] == "truth"}
    read = [r for r in rows if r["readerID"] != "truth"]
    return _table(read, ("modalityID", "readerID", "caseID", "score"), truth)


def _expected(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.expected.json").read_text(encoding="utf-8"))


def _contrast(found: orh.Comparison, **names: str) -> dict[str, float]:
    estimate = found.estimate
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert found.standard_error is not None
    ours = {
        "Estimate": estimate.value, "StdErr": found.standard_error, "low": estimate.low, "high": estimate.high,
    }  # fmt: skip
    if found.df is not None:
        ours |= {"df": found.df, "DF": found.df}
    if found.test.p_value is not None and found.test.statistic is not None:
        ours |= dict.fromkeys(("p-value", "PrGTt", "PrGTz"), found.test.p_value)
        ours |= dict.fromkeys(("t", "z"), found.test.statistic)
    return ours


def _compare(ours: dict[str, float], theirs: dict[str, Any]) -> Iterator[str]:
    """Each number of a published row that names one of ours; labels aside, a number without ours is told too."""
    flat: dict[str, Any] = dict(theirs)
    for interval in ("CI",):
        if interval in flat:
            flat["low"], flat["high"] = flat.pop(interval)
    flat = {{"CILower": "low", "CIUpper": "high"}.get(k, k): v for k, v in flat.items()}
    for name, value in flat.items():
        if isinstance(value, str):
            continue
        if name not in ours:
            yield f"{name} has no figure of ours"
        elif abs(ours[name] - value) > TOLERANCE * max(1.0, abs(value)):
            yield f"{name}: {ours[name]} is not {value}"


def _parts(figures: ReaderFigures) -> list[float | None]:
    p = orh.variance_parts(figures)
    return [p.reader, p.treatment_reader, p.error, p.cov1, p.cov2, p.cov3]


@pytest.mark.parametrize(
    ("block", "covariance"), [("jackknife", "jackknife"), ("DeLong", "delong"), ("unbiased", "unbiased")]
)
def test_obuchowski_rockette_is_mrmcaovs(van_dyke, shared_golden, block, covariance):
    theirs = _expected(shared_golden, "vandyke_mrmc")["MRMCaov"][block]
    figures = reader_figures(van_dyke, covariance=covariance)
    assert _parts(figures) == pytest.approx([r["Estimate"] for r in theirs["vcov_comps"]], abs=TOLERANCE)
    p = orh.variance_parts(figures)
    test = orh.equality_of_treatments(figures)
    row = theirs["test_equality"][0]
    assert (p.ms_treatment, p.ms_treatment_reader) == pytest.approx((row["MS(T)"], row["MS(T:R)"]), abs=TOLERANCE)
    assert (test.statistic, test.p_value) == pytest.approx((row["F"], row["p-value"]), abs=TOLERANCE)
    assert not list(_compare(_contrast(orh.difference(figures, van_dyke, 0, 1)), theirs["test_diffs"][0]))
    for t, mean in enumerate(theirs["test_means"]):
        one = ReaderFigures(
            value=figures.value[[t]], covariance=figures.covariance[[t]][:, :, [t]], figure="auroc", method=""
        )
        single = orh.variance_parts(one)
        ours = _contrast(orh.reader_average(figures, van_dyke, t))
        assert not list(_compare({**ours, "MS(R)": single.ms_reader, "Cov2": single.cov2}, mean))


def test_fixed_readers_and_fixed_cases_are_mrmcaovs(van_dyke, shared_golden):
    theirs = _expected(shared_golden, "vandyke_mrmc")["MRMCaov"]
    figures = reader_figures(van_dyke)
    fixed = theirs["fixed_readers"]
    test = orh.equality_of_treatments(figures, generalise="cases")
    assert (test.statistic, test.p_value) == pytest.approx(
        (fixed["test_equality"][0]["X2"], fixed["test_equality"][0]["p-value"]), abs=TOLERANCE
    )
    ours = _contrast(orh.difference(figures, van_dyke, 0, 1, generalise="cases"))
    assert not list(_compare(ours, fixed["test_diffs"][0]))
    for found, row in zip(orh.reader_differences(figures, van_dyke, 0, 1), fixed["reader_test_diffs"], strict=True):
        assert not list(_compare(_contrast(found), row))
    for t, row in enumerate(fixed["test_means"]):
        found = _contrast(orh.reader_average(figures, van_dyke, t, generalise="cases"))
        own = {**row, **{k: found[k] for k in ()}}
        own.pop("Var(Error)")
        own.pop("Cov2")
        assert not list(_compare(found, own))
    for row in fixed["reader_means"]:
        t, r = int(row["treatment"]) - 1, int(row["reader"]) - 1
        error = float(np.sqrt(figures.covariance[t, r, t, r]))
        assert figures.value[t, r] == pytest.approx(row["empirical_auc"], abs=TOLERANCE)
        assert error == pytest.approx(row["StdErr"], abs=TOLERANCE)
    cases = theirs["fixed_cases"]
    test = orh.equality_of_treatments(figures, generalise="readers")
    assert (test.statistic, test.p_value) == pytest.approx(
        (cases["test_equality"][0]["F"], cases["test_equality"][0]["p-value"]), abs=TOLERANCE
    )
    ours = _contrast(orh.difference(figures, van_dyke, 0, 1, generalise="readers"))
    assert not list(_compare(ours, cases["test_diffs"][0]))
    for t, row in enumerate(cases["test_means"]):
        row.pop("MS(R)")
        assert not list(_compare(_contrast(orh.reader_average(figures, van_dyke, t, generalise="readers")), row))


@pytest.mark.parametrize(("block", "figure"), [("binary_sens", "sensitivity"), ("binary_spec", "specificity")])
def test_calls_at_a_threshold_are_mrmcaovs(van_dyke, shared_golden, block, figure):
    """Van Dyke's ratings of 3 and more are calls; MRMCaov was given the same."""
    theirs = _expected(shared_golden, "vandyke_mrmc")["MRMCaov"][block]
    calls = readings(van_dyke.reference, (van_dyke.rating >= 3).astype(float))
    figures = reader_figures(calls, figure=figure, covariance="unbiased")
    assert _parts(figures) == pytest.approx([r["Estimate"] for r in theirs["vcov_comps"]], abs=TOLERANCE)
    assert not list(_compare(_contrast(orh.difference(figures, calls, 0, 1)), theirs["test_diffs"][0]))
    for t, row in enumerate(theirs["test_means"]):
        row.pop("MS(R)")
        row.pop("Cov2")
        assert not list(_compare(_contrast(orh.reader_average(figures, calls, t)), row))


def test_obuchowski_rockette_is_rjafrocs(van_dyke, shared_golden):
    theirs = _expected(shared_golden, "vandyke_mrmc")["RJafroc_OR"]
    figures = reader_figures(van_dyke)
    for t, row in enumerate(theirs["FOMs"]["foms"]):
        assert [row[f"rdr{r}"] for r in range(5)] == pytest.approx(figures.value[t], abs=TOLERANCE)
    assert [r["Estimates"] for r in theirs["ANOVA"]["VarCom"]][:2] == pytest.approx(_parts(figures)[:2], abs=TOLERANCE)
    for row, r in zip(theirs["ANOVA"]["IndividualRdr"], range(5), strict=True):
        own = figures.covariance[:, r, :, r]
        assert row["varEachRdr"] == pytest.approx(float(np.trace(own)) / 2, abs=TOLERANCE)
        assert row["cov1EachRdr"] == pytest.approx(float(own[0, 1]), abs=TOLERANCE)
    for block, generalise in (("RRRC", "readers_and_cases"), ("FRRC", "cases"), ("RRFC", "readers")):
        ours = _contrast(orh.difference(figures, van_dyke, 0, 1, generalise=generalise))
        assert not list(_compare(ours, theirs[block]["ciDiffTrt"][0])), block
        for t, row in enumerate(theirs[block]["ciAvgRdrEachTrt"]):
            row.pop("Cov2", None)
            if generalise == "cases":
                row.pop("DF")  # RJafroc prints the cases less one and uses the normal distribution
            found = _contrast(orh.reader_average(figures, van_dyke, t, generalise=generalise))
            assert not list(_compare(found, row)), block


@pytest.mark.parametrize("name", ["van_dyke", "example"])
@pytest.mark.parametrize(("block", "moments"), [("Ustat", "unbiased"), ("MLEstat", "plug-in")])
def test_u_statistics_are_imrmcs(request, shared_golden, name, block, moments):
    study = request.getfixturevalue(name)
    found = _expected(shared_golden, {"van_dyke": "vandyke_mrmc", "example": "imrmc_example"}[name])
    theirs = found.get("iMRMC_R", found)[block]
    for t in (0, 1):
        parts, row = ustat.components(study, t, t, moments=moments), theirs[t]
        estimate = ustat.average_auroc(study, t, moments=moments)
        ours = [estimate.value, parts.variance, parts.df, estimate.low, estimate.high]
        assert ours == pytest.approx(
            [row[k] for k in ("AUCA", "varAUCA", "dfBDG", "botCIBDG", "topCIBDG")], abs=TOLERANCE
        )
    parts, row = ustat.difference_components(study, 0, 1, moments=moments), theirs[2]
    estimate, test = ustat.auroc_difference(study, 0, 1, moments=moments)
    ours = [estimate.value, parts.variance, parts.df, estimate.low, estimate.high, test.p_value]
    keys = ("AUCAminusAUCB", "varAUCAminusAUCB", "dfBDG", "botCIBDG", "topCIBDG", "pValueBDG")
    assert ours == pytest.approx([row[k] for k in keys], abs=TOLERANCE)
    assert Z * np.sqrt(parts.variance) == pytest.approx(row["AUCAminusAUCB"] - row["botCInormal"], abs=TOLERANCE)


@pytest.mark.parametrize("name", ["van_dyke", "example"])
@pytest.mark.parametrize(("block", "moments"), [("Ustat", "unbiased"), ("MLE", "plug-in")])
def test_components_are_imrmcs(request, shared_golden, name, block, moments):
    study = request.getfixturevalue(name)
    found = _expected(shared_golden, {"van_dyke": "vandyke_mrmc", "example": "imrmc_example"}[name])
    theirs = found.get("iMRMC_R", found)["varDecomp"]["BCK"][block]
    for (a, b), comp, coeff in zip(((0, 0), (1, 1), (0, 1)), theirs["comp"], theirs["coeff"], strict=True):
        parts = ustat.components(study, a, b, moments=moments)
        for letter, value in parts.part.items():
            assert value == pytest.approx(comp[letter] * coeff[letter], abs=TOLERANCE), (letter, a, b)


def test_each_reader_is_imrmcs(example, shared_golden):
    """Areas and unbiased variances of single readers, and of their differences between modalities."""
    covariance = ustat.pair_covariances(example)
    names = {f"reader{i + 1}": i for i in range(5)}
    for row in _expected(shared_golden, "imrmc_example")["perReader"]:
        r, t = names[row["readerID"]], ("testA", "testB").index(row["modalityA"])
        if row["modalityB"] == "NO_MOD":
            assert covariance[t, r, t, r] == pytest.approx(row["varAUCA"], abs=TOLERANCE)
        else:
            variance = covariance[0, r, 0, r] + covariance[1, r, 1, r] - 2 * covariance[0, r, 1, r]
            assert variance == pytest.approx(row["varAUCAminusAUCB"], abs=TOLERANCE)
