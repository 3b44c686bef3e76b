"""Reader studies: a second derivation of each figure, designs in which not everyone reads everything, and edges."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import f as fisher
from scipy.stats import norm
from scipy.stats import t as student

from evalsuite.stats import behrens_fisher
from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.reader_figures import Readings, reader_figures, readings


def roe_metz(
    rng: np.random.Generator, *, readers: int = 4, cases: int = 24, gain: float = 0.0, levels: int = 0
) -> Readings:
    """Ratings of two treatments by Roe and Metz' model (Academic Radiology 4:298-303, 1997), structure HH."""
    truth = np.arange(cases) % 2 == 0
    var = {"r": 0.011, "tr": 0.011, "c": 0.3, "tc": 0.3, "rc": 0.2, "e": 0.2}
    x = np.zeros((2, readers, cases)) + np.where(truth, 1.5, 0.0)
    for label in (True, False):
        x += np.where(truth == label, 1.0, 0.0) * (
            rng.normal(0, math.sqrt(var["r"]), (1, readers, 1)) + rng.normal(0, math.sqrt(var["tr"]), (2, readers, 1))
        )
    x += rng.normal(0, math.sqrt(var["c"]), (1, 1, cases)) + rng.normal(0, math.sqrt(var["tc"]), (2, 1, cases))
    x += rng.normal(0, math.sqrt(var["rc"]), (1, readers, cases)) + rng.normal(0, math.sqrt(var["e"]), x.shape)
    x[0] += np.where(truth, gain, 0.0)
    return readings(truth, np.round(x * levels) if levels else x)


def test_dbm_of_pseudovalues_gives_the_same_f() -> None:
    """Dorfman, Berbaum and Metz' analysis of variance of jackknife pseudovalues with Hillis' degrees of freedom.

    Hillis, Berbaum & Metz, Academic Radiology 15:647-661 (2008): identical to Obuchowski-Rockette with the jackknife.
    """
    study = roe_metz(np.random.default_rng(3), gain=0.4)
    t, r, c = study.rating.shape
    figures = reader_figures(study)
    pseudo = np.empty((t, r, c))
    for k in range(c):
        kept = np.arange(c) != k
        less = reader_figures(readings(study.reference[kept], study.rating[:, :, kept])).value
        pseudo[:, :, k] = c * figures.value - (c - 1) * less
    grand = pseudo.mean()
    m_t, m_r, m_c = pseudo.mean((1, 2)), pseudo.mean((0, 2)), pseudo.mean((0, 1))
    m_tr, m_tc, m_rc = pseudo.mean(2), pseudo.mean(1), pseudo.mean(0)
    ms_t = r * c * ((m_t - grand) ** 2).sum() / (t - 1)
    ms_tr = c * ((m_tr - m_t[:, None] - m_r[None] + grand) ** 2).sum() / ((t - 1) * (r - 1))
    ms_tc = r * ((m_tc - m_t[:, None] - m_c[None] + grand) ** 2).sum() / ((t - 1) * (c - 1))
    rest = (pseudo - m_tr[:, :, None] - m_tc[:, None, :] - m_rc[None]) + (
        m_t[:, None, None] + m_r[None, :, None] + m_c[None, None] - grand
    )
    ms_trc = (rest**2).sum() / ((t - 1) * (r - 1) * (c - 1))
    below = ms_tr + max(ms_tc - ms_trc, 0.0)
    df = below**2 / (ms_tr**2 / ((t - 1) * (r - 1)))
    test = orh.equality_of_treatments(figures)
    assert test.statistic == pytest.approx(ms_t / below, rel=1e-9)
    assert test.p_value == pytest.approx(fisher.sf(ms_t / below, t - 1, df), rel=1e-9)


def _success(study: Readings, t: int, r: int, i: int, j: int) -> float:
    x, y = study.rating[t, r, i], study.rating[t, r, j]
    return math.nan if math.isnan(x) or math.isnan(y) else float(x > y) + 0.5 * float(x == y)


def _by_enumeration(study: Readings, a: int, b: int) -> dict[str, float]:
    """The unbiased parts pair by pair of readings, as Gallas and Brown (2008) define them: slow and plain."""
    positive, negative = np.flatnonzero(study.reference), np.flatnonzero(~study.reference)
    readers = range(study.n_readers)
    every = list(itertools.product(readers, positive, negative))
    one, two = ({k: s for k in every if not math.isnan(s := _success(study, t, *k))} for t in (a, b))
    size = [{r: sum(k[0] == r for k in d) for r in readers} for d in (one, two)]
    shares = list(itertools.product((1, 0), repeat=3))
    product, count, weight = (dict.fromkeys(shares, 0.0) for _ in range(3))
    for (r, i, j), x in one.items():
        for (q, k, m), y in two.items():
            s = (int(r == q), int(i == k), int(j == m))
            product[s] += x * y
            count[s] += 1
            weight[s] += 1 / (size[0][r] * size[1][q] * study.n_readers**2)
    mean = {s: product[s] / count[s] if count[s] else 0.0 for s in shares}
    return {"variance": sum(weight[s] * (mean[s] - mean[0, 0, 0]) for s in shares)}


@pytest.mark.parametrize("design", ["crossed", "split-plot", "partial"])
def test_u_statistics_of_any_design_are_those_of_enumeration(design: str) -> None:
    study = roe_metz(np.random.default_rng(8), readers=4, cases=12, levels=1)
    rating = study.rating.copy()
    if design == "split-plot":  # two groups of readers with cases of their own
        rating[:, :2, 6:] = np.nan
        rating[:, 2:, :6] = np.nan
    elif design == "partial":
        rating[0, 0, 3] = rating[1, 2, [4, 5]] = np.nan
    study = readings(study.reference, rating)
    assert study.crossed == (design == "crossed")
    for a, b in ((0, 0), (1, 1), (0, 1)):
        assert ustat.components(study, a, b).variance == pytest.approx(
            _by_enumeration(study, a, b)["variance"], abs=1e-12
        )


def test_one_reader_alone_is_delongs_paired_test() -> None:
    """With a single reader, fixed readers' analysis on DeLong's covariance is DeLong's paired comparison."""
    from evalsuite.stats.roc_compare import paired_auroc_difference

    study = roe_metz(np.random.default_rng(1), readers=1, cases=40)
    figures = reader_figures(study, covariance="delong")
    found = orh.difference(figures, study, 0, 1, generalise="cases")
    theirs = paired_auroc_difference(study.reference, study.rating[0, 0], study.rating[1, 0])
    assert found.estimate.value == pytest.approx(theirs.estimate.value)
    assert found.test.p_value == pytest.approx(theirs.test.p_value)
    assert found.standard_error == pytest.approx(theirs.standard_error)


def test_one_reader_cannot_speak_for_others() -> None:
    study = roe_metz(np.random.default_rng(1), readers=1)
    found = orh.difference(reader_figures(study), study, 0, 1)
    assert found.estimate.low is None
    assert "one reader" in str(found.estimate.interval_undefined)
    assert found.test.p_value is None


def test_readers_who_never_err_leave_no_variance() -> None:
    truth = np.array([1, 1, 1, 0, 0, 0])
    study = readings(truth, np.broadcast_to(truth.astype(float), (2, 3, 6)))
    found = orh.difference(reader_figures(study), study, 0, 1)
    assert (found.estimate.value, found.estimate.low) == (0.0, None)
    assert found.estimate.interval_undefined
    estimate, test = ustat.auroc_difference(study, 0, 1)
    assert (estimate.value, estimate.low, test.p_value) == (0.0, None, None)


def test_covariances_agree_with_each_other() -> None:
    """Jackknife, DeLong, unbiased and bootstrap estimate the same matrix: on 400 cases within a fifth of its size."""
    study = roe_metz(np.random.default_rng(6), readers=2, cases=400)
    matrices = {
        k: reader_figures(study, covariance=k, replicates=2000, seed=1).covariance.reshape(4, 4)
        for k in ("jackknife", "delong", "unbiased", "bootstrap")
    }
    size = float(np.abs(matrices["delong"]).max())
    for name, matrix in matrices.items():
        # Of 2,000 resamples a variance has a relative standard error of 1 in √1000: five of them.
        assert np.abs(matrix - matrices["delong"]).max() < (0.16 if name == "bootstrap" else 0.01) * size, name
        assert np.linalg.eigvalsh(matrix).min() > -1e-12


def test_the_bootstrap_covariance_is_that_of_resampling_patients() -> None:
    """Of sensitivities it is known in closed form, the plug-in covariance of calls over n; the same seed gives the
    same matrix, another seed another, and every figure has one."""
    study = roe_metz(np.random.default_rng(3), readers=2, cases=60)
    calls = readings(study.reference, (study.rating > 0.5).astype(float))
    for figure, kind in (("sensitivity", True), ("specificity", False)):
        of_class = calls.rating[:, :, calls.reference == kind].reshape(4, -1)
        exact = np.cov(of_class, bias=True) / of_class.shape[1]
        made = reader_figures(calls, figure=figure, covariance="bootstrap", replicates=4000, seed=5)  # type: ignore[arg-type]
        assert np.abs(made.covariance.reshape(4, 4) - exact).max() < 0.12 * exact.max()
        assert made.method == "bootstrap, B=4000"
    again = [reader_figures(study, covariance="bootstrap", replicates=200, seed=s).covariance for s in (1, 1, 2)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])
    partial = [
        reader_figures(study, figure="partial_auroc", max_fpr=0.3, covariance=c, replicates=300).covariance
        for c in ("bootstrap", "jackknife")
    ]
    assert np.abs(partial[0] - partial[1]).max() < 0.6 * partial[1].max()
    twice = readings(study.reference, study.rating, cluster=np.arange(60) // 2)
    assert reader_figures(twice, covariance="bootstrap", replicates=100).method == "bootstrap over patients, B=100"


def test_patients_with_several_cases_vary_together() -> None:
    """Every case doubled within its patient: the jackknife over patients gives the variance of the single cases."""
    study = roe_metz(np.random.default_rng(9), readers=3, cases=30)
    twice = readings(
        np.repeat(study.reference, 2), np.repeat(study.rating, 2, axis=2), cluster=np.repeat(np.arange(30), 2)
    )
    one, two = reader_figures(study), reader_figures(twice)
    assert two.value == pytest.approx(one.value)
    assert two.covariance == pytest.approx(one.covariance, rel=1e-9)
    with pytest.raises(ValueError, match="several belong to a patient"):
        reader_figures(twice, covariance="delong")


def test_the_device_alone_is_compared_with_the_mean_reader() -> None:
    """By hand: differences of the readers from the device as a sample of readers, plus the cases' share."""
    study = roe_metz(np.random.default_rng(2), readers=5, cases=60)
    figures = reader_figures(study)
    found = orh.against_standalone(figures, study, 4)
    value, covariance = figures.value[0], figures.covariance[0, :, 0, :]
    psi = value[4] - value[:4]
    pairs = [
        covariance[4, 4] - covariance[4, a] - covariance[4, b] + covariance[a, b]
        for a in range(4) for b in range(4) if a != b
    ]  # fmt: skip
    total = psi.var(ddof=1) + 4 * max(float(np.mean(pairs)), 0.0)
    assert found.estimate.value == pytest.approx(psi.mean())
    assert found.standard_error == pytest.approx(math.sqrt(total / 4))
    assert found.df == pytest.approx(total**2 / (psi.var(ddof=1) ** 2 / 3))
    one = roe_metz(np.random.default_rng(2), readers=1)
    alone = reader_figures(one)
    with pytest.raises(ValueError, match="at least one reader"):
        orh.against_standalone(alone, one, 0)


def test_negative_parts_are_kept_and_said() -> None:
    rng = np.random.default_rng(0)
    notes: set[str] = set()
    for _ in range(40):
        parts = orh.variance_parts(reader_figures(roe_metz(rng, readers=3, cases=16)))
        notes |= set(parts.notes)
    assert any("Cov2 is below Cov3" in n for n in notes)
    assert any("estimated below 0" in n for n in notes)


@pytest.mark.parametrize("method", ["or", "u"])
def test_a_difference_of_nothing_is_found_in_one_study_of_twenty(method: str) -> None:
    """Roe-Metz without a difference, 250 studies of 4 readers and 40 cases: 5 % within 4 standard errors (1.4 each)."""
    rng = np.random.default_rng(12)
    hits = 0
    for _ in range(250):
        study = roe_metz(rng, cases=40)
        if method == "or":
            p = orh.difference(reader_figures(study, covariance="delong"), study, 0, 1).test.p_value
        else:
            p = ustat.auroc_difference(study, 0, 1)[1].p_value
        hits += p is not None and p < 0.05
    assert hits / 250 < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 250)


def test_what_is_no_reader_study_is_refused() -> None:
    truth = np.array([1, 0, 1, 0])
    with pytest.raises(ValueError, match="shape"):
        readings(truth, np.zeros((2, 3)))
    rating = np.zeros((1, 2, 4))
    rating[0, 1, [1, 3]] = np.nan
    with pytest.raises(ValueError, match="reader 1 has no positive or no negative case with treatment 0"):
        readings(truth, rating)
    study = readings(truth, np.full((1, 2, 4), 2.0))
    for figure, covariance, match in (
        ("sensitivity", "jackknife", "needs ratings of 0 and 1"),
        ("sensitivity", "delong", "has no delong covariance"),
        ("partial_auroc", "jackknife", "max_fpr"),
    ):
        with pytest.raises(ValueError, match=match):
            reader_figures(study, figure=figure, covariance=covariance)


def test_partial_area_of_each_reader() -> None:
    from evalsuite.stats.roc_operating import partial_auroc_value

    study = roe_metz(np.random.default_rng(4), readers=2, cases=30)
    figures = reader_figures(study, figure="partial_auroc", max_fpr=0.2)
    for t in range(2):
        for r in range(2):
            assert figures.value[t, r] == partial_auroc_value(study.reference, study.rating[t, r], range=(0.8, 1.0))
    assert orh.difference(figures, study, 0, 1).estimate.low is not None


def _times(rng: np.random.Generator, readers: int = 6, cases: int = 40) -> Readings:
    pace = rng.normal(0, 8, (1, readers, 1)) + rng.normal(0, 3, (2, readers, 1))
    seconds = 40 + pace + rng.normal(0, 9, (2, 1, cases)) + rng.normal(0, 6, (2, readers, cases))
    seconds[0] -= 4
    return readings(np.arange(cases) % 2 == 0, seconds)


def test_means_over_fixed_cases_are_a_paired_t_test_of_readers() -> None:
    from scipy.stats import ttest_rel

    study = _times(np.random.default_rng(14))
    figures = reader_figures(study, figure="mean", covariance="unbiased")
    found = orh.difference(figures, study, 0, 1, generalise="readers")
    expected = ttest_rel(study.rating[0].mean(axis=1), study.rating[1].mean(axis=1))
    assert found.test.p_value == pytest.approx(float(expected.pvalue), rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_means_of_fixed_readers_vary_as_the_case_means_do() -> None:
    study = _times(np.random.default_rng(15))
    differences = (study.rating[0] - study.rating[1]).mean(axis=0)
    error = differences.std(ddof=1) / math.sqrt(differences.size)
    for covariance in ("unbiased", "jackknife"):
        figures = reader_figures(study, figure="mean", covariance=covariance)
        found = orh.difference(figures, study, 0, 1, generalise="cases")
        assert found.estimate.value == pytest.approx(differences.mean(), rel=1e-12)
        assert found.standard_error == pytest.approx(error, rel=1e-9)


def test_a_mean_is_not_cut_at_one() -> None:
    study = _times(np.random.default_rng(16))
    figures = reader_figures(study, figure="mean")
    estimate = orh.reader_average(figures, study, 1).estimate
    assert estimate.low is not None
    assert estimate.high is not None
    assert 20 < estimate.low < float(study.rating[1].mean()) < estimate.high < 60
    # Half of the readings of one reader are not timed: the others' mean stays, and an interval with it.
    rating = study.rating.copy()
    rating[0, 0, ::3] = np.nan
    partly = readings(study.reference, rating)
    for covariance in ("unbiased", "jackknife"):
        e = orh.difference(reader_figures(partly, figure="mean", covariance=covariance), partly, 0, 1).estimate
        assert e.low is not None
        assert e.value == pytest.approx(float(np.nanmean(rating, axis=2).mean(axis=1) @ [1, -1]), rel=1e-12)


def test_few_readers_keep_the_two_parts_of_the_error_apart() -> None:
    """Three readers: interval and test are of a normal plus a t part (by quadrature); four are Hillis'."""
    rng = np.random.default_rng(3)
    study = roe_metz(rng, readers=3, cases=60)
    figures = reader_figures(study)
    parts = orh.variance_parts(figures)
    assert parts.cov2 is not None
    assert parts.cov3 is not None
    assert parts.ms_treatment_reader is not None
    known, estimated = math.sqrt(2 * max(parts.cov2 - parts.cov3, 0)), math.sqrt(2 / 3 * parts.ms_treatment_reader)
    found = orh.difference(figures, study, 0, 1)
    z = np.linspace(-9, 9, 20001)
    beyond = [student.sf((abs(found.estimate.value) + k * known * z) / estimated, 2) for k in (-1, 1)]
    expected = np.trapezoid(sum(beyond) * norm.pdf(z), z)
    assert found.test.p_value == pytest.approx(expected, abs=1e-9)
    assert "Behrens-Fisher" in found.estimate.method
    hillis = orh.difference(figures, study, 0, 1, distribution="hillis")
    assert hillis.test.p_value < found.test.p_value
    assert found.estimate.low < hillis.estimate.low
    assert hillis.standard_error == found.standard_error
    four = roe_metz(rng, readers=4)
    assert "Behrens-Fisher" not in orh.difference(reader_figures(four), four, 0, 1).estimate.method
    # Of these cases, and of these readers, there is one part only.
    for generalise in ("cases", "readers"):
        both = [
            orh.difference(figures, study, 0, 1, generalise=generalise, distribution=d).estimate.high
            for d in ("hillis", "behrens_fisher")
        ]
        assert both[0] == pytest.approx(both[1], abs=1e-12)


def test_the_sum_of_a_normal_and_a_t_error() -> None:
    """Both ends are the normal and the t distribution; between them by adaptive quadrature; many at once as one."""
    one = {"distance": 2.5, "df": 2}
    assert behrens_fisher.two_sided_p(known=1.0, estimated=0.0, **one) == pytest.approx(2 * norm.sf(2.5), abs=1e-13)
    assert behrens_fisher.two_sided_p(known=0.0, estimated=1.0, **one) == pytest.approx(2 * student.sf(2.5, 2))
    for known, estimated, df in ((1.0, 0.2, 1), (1.0, 1.0, 2), (0.3, 2.0, 7)):
        exact = quad(
            lambda z, k=known, e=estimated, f=df: 2 * norm.pdf(z) * student.sf((4 - k * z) / e, f),
            -12, 12, limit=400, epsabs=1e-13, points=[-4 / known, 4 / known] if known > 0.4 else None,
        )[0]  # fmt: skip
        assert behrens_fisher.two_sided_p(4.0, known=known, estimated=estimated, df=df) == pytest.approx(
            exact, abs=1e-9
        )
        half = behrens_fisher.half_width(known=known, estimated=estimated, df=df, level=0.9)
        assert behrens_fisher.two_sided_p(half, known=known, estimated=estimated, df=df) == pytest.approx(0.1, abs=1e-9)
        many = behrens_fisher.half_widths(known=np.array([known]), estimated=np.array([estimated]), df=df, level=0.9)
        assert many[0] == pytest.approx(half, rel=1e-4)
    with pytest.raises(ValueError, match="one is above 0"):
        behrens_fisher.two_sided_p(1.0, known=0.0, estimated=0.0, df=2)
