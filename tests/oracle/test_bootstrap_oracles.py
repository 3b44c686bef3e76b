"""Two-class metrics against scikit-learn, bootstrap intervals against scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from evalsuite.stats.bootstrap import PatientDraw, binary_bootstrap, binary_replicates
from evalsuite.stats.bootstrap_interval import bootstrap_interval
from evalsuite.stats.precision_recall import average_precision_value, precision_recall_curve
from evalsuite.stats.roc import auroc, roc_curve

CASES = {
    "continuous": (300, None),
    "ties": (250, 1),
    "heavy ties": (400, 0),
    "rare": (500, None),
    "small": (24, 1),
}  # fmt: skip


def _data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n, digits = CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    y = rng.random(n) < (0.05 if name == "rare" else 0.35)
    y[:2] = [True, False]
    s = rng.normal(size=n) + y
    if digits is not None:
        s = np.round(s, digits)
    p = np.clip(1 / (1 + np.exp(-s)), 0.01, 0.99)
    return y, s, p, p >= 0.5


SKLEARN = {
    "sensitivity": lambda y, s, p, c: sk.recall_score(y, c),
    "specificity": lambda y, s, p, c: sk.recall_score(~y, ~c),
    "ppv": lambda y, s, p, c: sk.precision_score(y, c),
    "npv": lambda y, s, p, c: sk.precision_score(~y, ~c),
    "accuracy": lambda y, s, p, c: sk.accuracy_score(y, c),
    "balanced_accuracy": lambda y, s, p, c: sk.balanced_accuracy_score(y, c),
    "f1": lambda y, s, p, c: sk.f1_score(y, c),
    "mcc": lambda y, s, p, c: sk.matthews_corrcoef(y, c),
    "kappa": lambda y, s, p, c: sk.cohen_kappa_score(y, c),
    "youden": lambda y, s, p, c: sk.balanced_accuracy_score(y, c, adjusted=True),
    "lr_positive": lambda y, s, p, c: sk.class_likelihood_ratios(y, c)[0],
    "lr_negative": lambda y, s, p, c: sk.class_likelihood_ratios(y, c)[1],
    "auroc": lambda y, s, p, c: sk.roc_auc_score(y, s),
    "average_precision": lambda y, s, p, c: sk.average_precision_score(y, s),
    "brier": lambda y, s, p, c: sk.brier_score_loss(y, p),
    "log_loss": lambda y, s, p, c: sk.log_loss(y, p),
    "prevalence": lambda y, s, p, c: y.mean(),
    "call_rate": lambda y, s, p, c: c.mean(),
    "observed_expected": lambda y, s, p, c: y.sum() / p.sum(),
}


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("metric", list(SKLEARN))
def test_value_matches_sklearn(name: str, metric: str) -> None:
    y, s, p, c = _data(name)
    draw = PatientDraw(np.arange(y.size), 2, 0)
    e = binary_bootstrap(
        draw, reference=y, score=s, call=c, probability=p, metrics=[metric], method="percentile", threads=1
    )[0][0]
    assert e.value == pytest.approx(float(SKLEARN[metric](y, s, p, c)), abs=1e-12)


@pytest.mark.parametrize("name", list(CASES))
def test_curves_match_sklearn(name: str) -> None:
    y, s, _, _ = _data(name)
    mine = roc_curve(y, s)
    fpr, tpr, threshold = sk.roc_curve(y, s, drop_intermediate=False)
    np.testing.assert_allclose(mine.fpr, fpr, atol=1e-14)
    np.testing.assert_allclose(mine.tpr, tpr, atol=1e-14)
    np.testing.assert_array_equal(mine.threshold, threshold)
    precision, recall, cuts = sk.precision_recall_curve(y, s)
    pr = precision_recall_curve(y, s)
    np.testing.assert_allclose(pr.precision[::-1], precision[:-1], atol=1e-14)
    np.testing.assert_allclose(pr.recall[::-1], recall[:-1], atol=1e-14)
    np.testing.assert_array_equal(pr.threshold[::-1], cuts)
    assert average_precision_value(y, s) == pytest.approx(sk.average_precision_score(y, s), abs=1e-12)
    assert auroc(y, s).value == pytest.approx(sk.roc_auc_score(y, s), abs=1e-12)


@pytest.mark.parametrize("metric", ["auroc", "average_precision", "brier", "log_loss", "mcc", "sensitivity", "kappa"])
def test_weighted_replicates_match_sklearn_on_repeated_cases(metric: str) -> None:
    """Each replicate, computed from counts, equals scikit-learn on the cases written out as often as drawn."""
    y, s, p, c = _data("ties")
    patient = np.arange(y.size) // 3
    draw = PatientDraw(patient, 25, 3)
    table = binary_replicates(draw, reference=y, score=s, call=c, probability=p, metrics=[metric])
    for r, count in enumerate(draw.counts(0, 25)):
        drawn = np.repeat(np.arange(y.size), count[patient])
        expected = float(SKLEARN[metric](y[drawn], s[drawn], p[drawn], c[drawn]))
        assert table.values[0, 0, r] == pytest.approx(expected, abs=1e-9)


LEFT_OUT = [
    (m, "ties", k) for m in ("auroc", "average_precision", "mcc", "brier", "lr_positive", "ppv") for k in (1, 40)
]
LEFT_OUT += [
    (m, name, k) for m in ("auroc", "average_precision") for name in ("heavy ties", "continuous") for k in (1, 40)
]


@pytest.mark.parametrize(("metric", "name", "patients"), LEFT_OUT)
def test_jackknife_matches_leaving_each_patient_out(metric: str, name: str, patients: int) -> None:
    y, s, p, c = (a[:120] for a in _data(name))
    patient = np.arange(y.size) if patients == 1 else np.random.default_rng(8).integers(0, patients, y.size)
    table = binary_replicates(PatientDraw(patient, 2, 0), reference=y, score=s, call=c, probability=p, metrics=[metric])
    left_out = table.jackknife[0][0]
    assert left_out is not None
    expected = [float(SKLEARN[metric](y[k], s[k], p[k], c[k])) for k in (patient != i for i in np.unique(patient))]
    np.testing.assert_allclose(left_out, expected, atol=1e-9)


@pytest.mark.parametrize("metric", ["auroc", "average_precision", "sensitivity", "mcc", "brier", "lr_negative"])
@pytest.mark.parametrize("level", [0.90, 0.95])
@pytest.mark.parametrize("method", ["percentile", "basic", "BCa"])
def test_intervals_match_scipy_on_the_same_replicates(metric: str, level: float, method: str) -> None:
    y, s, p, c = (a[:150] for a in _data("continuous"))
    draw = PatientDraw(np.arange(y.size), 499, 5)
    table = binary_replicates(draw, reference=y, score=s, call=c, probability=p, metrics=[metric])
    values, point = table.values[0, 0], float(table.point[0, 0])

    def statistic(i: np.ndarray) -> float:
        return float(SKLEARN[metric](y[i], s[i], p[i], c[i]))

    previous = scipy_stats._resampling.BootstrapResult(
        confidence_interval=None, bootstrap_distribution=values, standard_error=float(values.std(ddof=1))
    )
    theirs = scipy_stats.bootstrap(
        (np.arange(y.size),),
        statistic,
        n_resamples=0,
        vectorized=False,
        confidence_level=level,
        method=method,
        bootstrap_result=previous,
    ).confidence_interval
    mine = bootstrap_interval(
        values, point, method=method.lower(), level=level, jackknife=table.jackknife[0][0]  # type: ignore[arg-type]
    )  # fmt: skip
    assert [mine.low, mine.high] == pytest.approx([theirs.low, theirs.high], abs=1e-9)


def test_bca_of_a_mean_matches_scipys_own_bootstrap() -> None:
    """Independent draws on both sides: Brier score, 10,000 replicates each."""
    y, _, p, _ = _data("continuous")
    e = binary_bootstrap(PatientDraw(np.arange(y.size), 10_000, 1), reference=y, probability=p, metrics=["brier"])[0][0]
    theirs = scipy_stats.bootstrap(
        ((p - y) ** 2,), np.mean, n_resamples=10_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert [e.low, e.high] == pytest.approx([theirs.low, theirs.high], abs=1.5e-3)


def test_average_precision_influence_agrees_with_the_jackknife() -> None:
    from evalsuite.stats import _stratum_plan as plans
    from evalsuite.stats._jackknife import average_precision_influence
    from evalsuite.stats.bootstrap_interval import acceleration

    y, s, _, _ = _data("heavy ties")
    table = binary_replicates(
        PatientDraw(np.arange(y.size) // 2, 2, 0), reference=y, score=s, metrics=["average_precision"]
    )
    exact = table.jackknife[0][0]
    assert exact is not None
    cases = plans.CaseArrays(
        reference=y, patient=np.arange(y.size) // 2, n_patients=y.size // 2, score=s, call=None, probability=None,
        bin_index=None, n_bins=10,
    )  # fmt: skip
    plan = plans.build_plan(cases, np.ones(y.size, dtype=bool), ["average_precision"])
    assert plan.rank is not None
    linear = average_precision_influence(plan.rank, y.size // 2)
    assert np.corrcoef(exact, linear)[0, 1] > 0.999
    assert acceleration(linear) == pytest.approx(acceleration(exact), abs=2e-3)


def test_multinomial_counts_have_the_right_moments() -> None:
    draw = PatientDraw(np.arange(40), 20_000, 9)
    counts = draw.counts(0, 20_000)
    assert (counts.sum(axis=1) == 40).all()
    assert counts.mean() == 1.0
    assert float(counts.var(axis=0).mean()) == pytest.approx(1 - 1 / 40, rel=0.02)
    assert float(np.cov(counts[:, 0], counts[:, 1])[0, 1]) == pytest.approx(-1 / 40, abs=0.02)
    zero = float((counts == 0).mean())
    assert zero == pytest.approx((1 - 1 / 40) ** 40, abs=0.003)


def test_multinomial_counts_have_the_right_probabilities() -> None:
    """All 126 outcomes of five patients, against the multinomial distribution."""
    counts = PatientDraw(np.arange(5), 20_000, 3).counts(0, 20_000)
    code, seen = np.unique(counts @ (6 ** np.arange(5)), return_counts=True)
    rows = code[:, None] // 6 ** np.arange(5) % 6
    expected = scipy_stats.multinomial.pmf(rows, 5, [0.2] * 5) * 20_000
    assert code.size == 126
    assert scipy_stats.chisquare(seen, expected * 20_000 / expected.sum()).pvalue > 0.001


def test_many_patients_have_binomial_margins() -> None:
    counts = PatientDraw(np.arange(20_000), 60, 4).counts(0, 60)
    assert (counts.sum(axis=1) == 20_000).all()
    seen = np.bincount(counts.ravel(), minlength=9)
    expected = scipy_stats.binom.pmf(np.arange(8), 20_000, 1 / 20_000) * counts.size
    assert (
        scipy_stats.chisquare(
            np.append(seen[:7], seen[7:].sum()), np.append(expected[:7], counts.size - expected[:7].sum())
        ).pvalue
        > 0.001
    )


def test_clustered_bootstrap_error_matches_theory() -> None:
    """Cases of a patient identical: the standard error of accuracy is that of the patients, not of the cases."""
    rng = np.random.default_rng(3)
    right = rng.random(400) < 0.7
    y = np.repeat(rng.random(400) < 0.5, 5)
    call = np.where(np.repeat(right, 5), y, ~y)
    table = binary_replicates(
        PatientDraw(np.repeat(np.arange(400), 5), 4000, 1), reference=y, call=call, metrics=["accuracy"]
    )
    share = right.mean()
    assert float(table.values.std()) == pytest.approx(math.sqrt(share * (1 - share) / 400), rel=0.05)
