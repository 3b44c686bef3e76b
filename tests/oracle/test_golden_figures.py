"""Every figure of ../shared/golden for two-class statistics, leaf by leaf, to the tolerance its sidecar states.

Each function of `FILES` gives our figure for every number of one sidecar; a number without one fails the test. Not
claimed are sample sizes and powers, which plan a study and estimate nothing of it. Where a printed figure is itself
rounded by an early stop, the test computes it a second time the way its program did.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalsuite.stats import calibration, contingency, differences, multiplicity, predictive
from evalsuite.stats._binary_inputs import binary_sample
from evalsuite.stats._logistic import fit_logistic
from evalsuite.stats._rank import delong_covariance, placements
from evalsuite.stats.bootstrap import PatientDraw, binary_replicates, estimates
from evalsuite.stats.calibration_error import smooth_error_value
from evalsuite.stats.clustered import cluster_variance, clustered_proportion
from evalsuite.stats.decision_curve import decision_curve
from evalsuite.stats.proportions import proportion, proportion_interval
from evalsuite.stats.roc import auroc, auroc_variance, replicate_sensitivity, roc_curve
from evalsuite.stats.roc_compare import paired_auroc_difference
from evalsuite.stats.roc_operating import partial_auroc_value, sensitivity_at_specificity
from evalsuite.types import Estimate

Z = 1.959963984540054
#: Path in the sidecar → our figure and the tolerance its sidecar states.
Ours = dict[str, tuple[float, float]]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return
    if isinstance(value, (int, float)):
        yield path, float(value)
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield from _leaves(inner, f"{path}/{key}" if path else str(key))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _ends(e: Estimate) -> tuple[float, float]:
    assert e.low is not None
    assert e.high is not None
    return e.low, e.high


def _asah(folder: Path, want: dict[str, Any]) -> Ours:
    rows = _rows(folder / "asah.csv")
    y = np.array([r["outcome"] == "Poor" for r in rows])
    ours: Ours = {}
    scores = {name: np.array([float(r[name]) for r in rows]) for name in ("s100b", "ndka")}
    for name, s in scores.items():
        spread = auroc_variance(y, s)
        assert spread is not None
        assert spread.naive is not None
        figures = {"auc": spread.auroc, "var_delong": spread.naive, "se": math.sqrt(spread.naive)}
        for level in (95, 90):
            for i, end in enumerate(_ends(auroc(y, s, level=level / 100))):
                figures[f"ci{level}/{i}"] = end
        for key in ("sp_90_100", "sp_80_100", "se_90_100"):
            focus, low = ("specificity" if key.startswith("sp") else "sensitivity"), int(key.split("_")[1]) / 100
            for suffix, corrected in (("", False), ("_corrected", True)):
                value = partial_auroc_value(y, s, focus=focus, range=(low, 1.0), corrected=corrected)
                ours[f"partial_auc/{name}/{key}{suffix}"] = value, 1e-6
        ours |= {f"auc/{name}/{key}": (value, 1e-6) for key, value in figures.items()}
        # The best Youden point of the curve; pROC puts the threshold halfway to the next lower score.
        curve = roc_curve(y, s)
        best = int(np.argmax(curve.tpr - curve.fpr))
        cut = float(curve.threshold[best])
        middle = (cut + float(s[s < cut].max())) / 2.0
        call = s >= middle
        tp, fp = int((call & y).sum()), int((call & ~y).sum())
        fn, tn = int(y.sum()) - tp, int((~y).sum()) - fp
        at = {
            "threshold": middle,
            "tp": tp,
            "fp": fp,
            "tn": tn,
            "fn": fn,
            "sensitivity": proportion(tp, tp + fn).value,
            "specificity": proportion(tn, tn + fp).value,
            "ppv": proportion(tp, tp + fp).value,
            "npv": proportion(tn, tn + fn).value,
            # pROC prints sensitivity + specificity.
            "youden": 1.0 + (contingency.youden(tp, fn, fp, tn).value or 0.0),
        }
        ours |= {f"youden/{name}/{key}": (float(value or 0.0), 1e-6) for key, value in at.items()}
    d = paired_auroc_difference(y, scores["s100b"], scores["ndka"])
    ours["delong_paired/s100b_vs_ndka/statistic"] = d.test.statistic or 0.0, 1e-6
    ours["delong_paired/s100b_vs_ndka/p"] = d.test.p_value or 0.0, 1e-6
    for i, end in enumerate(_ends(d.estimate)):
        ours[f"delong_paired/s100b_vs_ndka/conf_int/{i}"] = end, 1e-6
    covariance = delong_covariance(placements(y, scores["s100b"]), placements(y, scores["ndka"]))
    assert covariance is not None
    ours["delong_cov/s100b_ndka"] = covariance, 1e-6
    boot = want["sens_at_spec_boot_s100b"]
    for i, at_spec in enumerate(boot["spec"]):
        # As many replicates as there: the steps of 1/41 leave percentiles of fewer a whole step apart.
        e = sensitivity_at_specificity(y, scores["s100b"], at_spec, replicates=10_000, seed=5, stratified=True)
        low, high = _ends(e)
        ours[f"sens_at_spec_boot_s100b/spec/{i}"] = at_spec, 0.0
        ours[f"sens_at_spec_boot_s100b/ci_lo/{i}"] = low, 0.02
        ours[f"sens_at_spec_boot_s100b/ci_hi/{i}"] = high, 0.02
        ours[f"sens_at_spec_boot_s100b/point_interpolated/{i}"] = e.value or 0.0, 1e-6
    draw = PatientDraw(np.arange(y.size), 10_000, 5, stratify=y)
    read = replicate_sensitivity(binary_sample(y, scores["s100b"]), draw, 1.0 - np.array(boot["spec"]))
    ours |= {f"sens_at_spec_boot_s100b/median/{i}": (float(v), 0.02) for i, v in enumerate(np.median(read, axis=0))}
    table = binary_replicates(
        PatientDraw(np.arange(y.size), 10_000, 7, stratify=y), reference=y, score=scores["s100b"], metrics=["auroc"]
    )
    low, high = _ends(estimates(table, method="percentile")[0][0])
    for i, value in enumerate((low, float(np.median(table.values)), high)):
        ours[f"auc_boot_percentile_s100b/{i}"] = value, 0.02
    return ours


def _proportions(folder: Path, want: dict[str, Any]) -> Ours:
    ours: Ours = {}
    for i, row in enumerate(want["proportions"]):
        x, n = row["x"], row["n"]
        ours[f"proportions/{i}/x"], ours[f"proportions/{i}/n"] = (x, 0.0), (n, 0.0)
        ours[f"proportions/{i}/one_sided_lower975_cp"] = _ends(proportion(x, n))[0], 1e-6
        for key in (
            "clopper_pearson",
            "wilson",
            "wilson_cc",
            "hmisc_exact",
            "hmisc_wilson",
            "agresti_coull",
            "jeffreys",
        ):
            method = {"hmisc_exact": "clopper_pearson", "hmisc_wilson": "wilson"}.get(key, key).replace("_", "-")
            for j, end in enumerate(_ends(proportion(x, n, method=method))):  # type: ignore[arg-type]
                # An Agresti-Coull limit below 0 is printed as it falls out; ours is clipped.
                printed = row[key][j]
                ours[f"proportions/{i}/{key}/{j}"] = (printed if end == 0.0 and printed < 0.0 else end), 1e-6
    q = {"tp": 26, "fn": 15, "fp": 14, "tn": 58}
    ratios = {s: predictive.likelihood_ratio(s, **q) for s in ("positive", "negative")}  # type: ignore[arg-type]
    table: dict[str, Estimate] = {
        "ap": proportion(40, 113),
        "p.rin": proportion(40, 113),
        "tp": proportion(41, 113),
        "se": proportion(26, 41),
        "sp": proportion(58, 72),
        "diag.ac": proportion(84, 113),
        "pv.pos": proportion(26, 40),
        "pv.neg": proportion(58, 73),
        "p.rout": proportion(73, 113),
        "p.tpdn": proportion(14, 72),
        "p.tndp": proportion(15, 41),
        "p.dntp": proportion(14, 40),
        "p.dptn": proportion(15, 73),
        "lr.pos": ratios["positive"],
        "lr.neg": ratios["negative"],
        "diag.or": contingency.diagnostic_odds_ratio(**q),
        "nndx": contingency.number_needed_to_diagnose(**q, method="rectangle"),
        "youden": contingency.youden(**q, method="rectangle"),
    }
    for i, row in enumerate(want["epi_tests_asah_s100b_0205"]):
        e = table[row["statistic"]]
        for key, value in zip(("est", "lower", "upper"), (e.value, *_ends(e)), strict=True):
            ours[f"epi_tests_asah_s100b_0205/{i}/{key}"] = value or 0.0, 1e-6
    for i, end in enumerate(_ends(differences.difference(56, 70, 48, 80, method="miettinen-nurminen"))):
        ours[f"miettinen_nurminen_56_70_48_80/{i}"] = end, 1e-6
    pairs = differences.PairedCounts(both=36, first_only=12, second_only=2, neither=0)
    for i, end in enumerate(_ends(differences.paired_difference(pairs))):
        ours[f"tango/b12_c2_n50/{i}"] = end, 1e-6
    for i, p in enumerate(want["multiplicity"]["p"]):
        ours[f"multiplicity/p/{i}"] = p, 0.0
    for method in ("holm", "hochberg", "hommel", "BH", "BY", "bonferroni"):
        for i, p in enumerate(multiplicity.adjust_p(want["multiplicity"]["p"], method.lower())):  # type: ignore[arg-type]
            ours[f"multiplicity/{method}/{i}"] = float(p), 1e-6
    for sign, key in (("positive", "lr_pos"), ("negative", "lr_neg")):
        ours[f"simel_lr/{key}"] = ratios[sign].value or 0.0, 1e-6
        for i, end in enumerate(_ends(ratios[sign])):
            ours[f"simel_lr/{key}_ci/{i}"] = end, 1e-6
    at = "mercaldo_logit_prev0.05"
    ours[f"{at}/sens"], ours[f"{at}/spec"] = (26 / 41, 1e-6), (58 / 72, 1e-6)
    for kind in ("ppv", "npv"):
        e = predictive.predictive_value(
            kind,  # type: ignore[arg-type]
            true_positive=26,
            n_positive=41,
            true_negative=58,
            n_negative=72,
            prevalence=0.05,
        )
        ours[f"{at}/{kind}"] = e.value or 0.0, 1e-6
        for i, end in enumerate(_ends(e)):
            ours[f"{at}/{kind}_ci/{i}"] = end, 1e-6
    return ours


def _bacteria(folder: Path, want: dict[str, Any]) -> Ours:
    rows = _rows(folder / "bacteria_clustered.csv")
    y, s = np.array([r["y01"] == "1" for r in rows]), np.array([float(r["score"]) for r in rows])
    patient = np.array([r["ID"] for r in rows])
    spread = auroc_variance(y, s, cluster=patient)
    assert spread is not None
    assert spread.robust is not None
    assert spread.naive is not None
    se = math.sqrt(spread.robust)
    e = auroc(y, s, cluster=patient)
    figures: dict[str, float] = {
        "auc": spread.auroc,
        "var": spread.robust,
        "se": se,
        "var_delong_naive": spread.naive,
        # Printed on the area's own scale; ours is formed on the logit scale from the same variance (checked below).
        "ci/0": spread.auroc - Z * se,
        "ci/1": spread.auroc + Z * se,
        "M": e.n_positive or 0,
        "N": e.n_negative or 0,
        "I": e.n_patients or 0,
        "I10": np.unique(patient[y]).size,
        "I01": np.unique(patient[~y]).size,
    }
    ours: Ours = {f"bacteria_obuchowski/{key}": (float(value), 1e-6) for key, value in figures.items()}
    odds = spread.auroc * (1.0 - spread.auroc)
    for end, sign in zip(_ends(e), (-1, 1), strict=True):
        logit = math.log(spread.auroc / (1 - spread.auroc)) + sign * Z * se / odds
        assert end == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-9)
    ours["bacteria_pROC_delong_var"] = spread.naive, 1e-6
    seen, share = cluster_variance(y, patient), clustered_proportion(y, patient)
    at = "bacteria_rao_scott_prevalence"
    effective = seen.n / float(seen.design_effect or 1.0)
    half = Z * math.sqrt(seen.variance)
    survey: dict[str, float] = {
        "p": seen.value,
        "n": share.n,
        "clusters": share.n_patients or 0,
        "var_ratio": seen.variance,
        "se": math.sqrt(seen.variance),
        "deff": share.design_effect or 0.0,
        "n_eff": effective,
        "wald/0": seen.value - half,
        "wald/1": seen.value + half,
    }
    for key, n, method in (
        ("wilson_neff", effective, "wilson"),
        ("naive_wilson", float(seen.n), "wilson"),
        ("cp_neff", effective, "clopper-pearson"),
    ):
        ends = proportion_interval(seen.value * n, n, method=method)  # type: ignore[arg-type]
        survey |= {f"{key}/{i}": end for i, end in enumerate(ends)}
    ours |= {f"{at}/{key}": (float(value), 1e-6) for key, value in survey.items()}
    # Both sides are Monte Carlo; with 40,000 replicates ours adds less than the error of their 20,000.
    table = binary_replicates(PatientDraw(patient, 40_000, 1), reference=y, score=s, metrics=["auroc"])
    ours["bacteria_cluster_boot/R"] = want["bacteria_cluster_boot"]["R"], 0.0
    ours["bacteria_cluster_boot/se"] = float(table.values.std(ddof=1)), 0.003
    for method in ("percentile", "basic", "bca"):
        for i, end in enumerate(_ends(estimates(table, method=method)[0][0])):  # type: ignore[arg-type]
            ours[f"bacteria_cluster_boot/{method}/{i}"] = end, 0.003
    return ours


def _r_glm_error(y: np.ndarray, x: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Standard errors as R's glm prints them: it stops on the deviance and keeps the weights of the iterate before."""
    mu = (y + 0.5) / 2.0
    eta, deviance = np.log(mu / (1 - mu)), math.inf
    for _ in range(25):
        mu = 1 / (1 + np.exp(-eta))
        w = mu * (1 - mu)
        information = (x.T * w) @ x
        b = np.linalg.solve(information, x.T @ (w * (eta - offset) + (y - mu)))
        eta = x @ b + offset
        new = -2.0 * float((-np.logaddexp(0.0, np.where(y > 0.5, -eta, eta))).sum())
        if abs(new - deviance) / (abs(new) + 0.1) < 1e-8:
            break
        deviance = new
    return np.sqrt(np.diag(np.linalg.inv(information)))


def _converged_error(y: np.ndarray, x: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Standard errors at the maximum itself, in extended precision."""
    x, offset = x.astype(np.longdouble), offset.astype(np.longdouble)
    b = np.zeros(x.shape[1], dtype=np.longdouble)
    for _ in range(60):
        mu = 1 / (1 + np.exp(-(x @ b + offset)))
        information = (x.T * (mu * (1 - mu))) @ x
        b = b + np.linalg.solve(information.astype(float), (x.T @ (y - mu)).astype(float))
    return np.sqrt(np.diag(np.linalg.inv(information.astype(float))))


def _calcurves(folder: Path, want: dict[str, Any]) -> Ours:
    rows = _rows(folder / "calcurves_testdata.csv")
    y, p = np.array([r["y"] == "1" for r in rows]), np.array([float(r["p"]) for r in rows])
    n, logit = y.size, np.log(p / (1 - p))
    intercept, slope = calibration.calibration_intercept(y, p), calibration.calibration_slope(y, p)
    at_slope = calibration.recalibration_intercept(y, p)
    one, both = np.ones((n, 1)), np.column_stack([np.ones(n), logit])
    printed = _r_glm_error(y, one, logit)[0], _r_glm_error(y, both, np.zeros(n))[1]
    for e, ours_at, theirs in (
        (intercept, _converged_error(y, one, logit)[0], printed[0]),
        (slope, _converged_error(y, both, np.zeros(n))[1], printed[1]),
    ):
        low, high = _ends(e)
        # Ours is the error at the maximum; the printed one is of the iterate before it, up to 1e-5 away.
        assert (high - low) / (2 * Z) == pytest.approx(ours_at, abs=1e-10)
        assert abs(ours_at - theirs) < 2e-5
    parts, z = calibration.brier_decomposition(y, p), calibration.spiegelhalter(y, p)
    fit, null = fit_logistic(y, both, np.zeros(n)), fit_logistic(y, one, np.zeros(n))
    assert fit is not None
    assert null is not None
    # Harrell's val.prob: discrimination D, unreliability U and quality Q are log-likelihoods, hence log losses.
    lr = -2.0 * (n * calibration.log_loss_value(y, p) + null.log_likelihood)
    unreliable = 2.0 * n * (calibration.log_loss_value(y, p) + fit.log_likelihood / n)
    d, u = (lr - 1.0) / n, (unreliable - 2.0) / n
    nagelkerke = (1.0 - math.exp(-lr / n)) / (1.0 - math.exp(2.0 * null.log_likelihood / n))
    # lrm counts concordance of probabilities in bins of width 0.001.
    binned = auroc(y, np.floor(p / 0.001)).value or 0.0
    ends = {
        "cal_intercept_CITL": (intercept.value or 0.0, printed[0]),
        "cal_slope": (slope.value or 0.0, printed[1]),
    }
    hl = {
        "HL_g10_df8": calibration.hosmer_lemeshow(y, p, fitted_on_same_data=True),
        "HL_g10_df10_external": calibration.hosmer_lemeshow(y, p),
    }
    exact: dict[str, float] = {
        "n": n,
        "events": int(y.sum()),
        "auc": auroc(y, p).value or 0.0,
        "val_prob/C (ROC)": binned,
        "val_prob/Dxy": 2.0 * binned - 1.0,
        "val_prob/R2": nagelkerke,
        "val_prob/D": d,
        "val_prob/D:Chi-sq": lr,
        "val_prob/U": u,
        "val_prob/U:Chi-sq": unreliable,
        "val_prob/U:p": math.exp(-unreliable / 2.0),
        "val_prob/Q": d - u,
        "val_prob/Brier": calibration.brier_value(y, p),
        "val_prob/Intercept": at_slope.value or 0.0,
        "val_prob/Slope": slope.value or 0.0,
        **{
            f"val_prob/{k}": smooth_error_value(y, p, v, smoother="lowess")
            for k, v in (("Emax", "emax"), ("E90", "e90"), ("Eavg", "ici"))
        },
        "val_prob/S:z": z.statistic or 0.0,
        "val_prob/S:p": z.p_value or 0.0,
        "spiegelhalter/z": z.statistic or 0.0,
        "spiegelhalter/p": z.p_value or 0.0,
        "cal_intercept_CITL/est": intercept.value or 0.0,
        "cal_intercept_CITL/se": printed[0],
        "cal_slope/intercept": at_slope.value or 0.0,
        "cal_slope/slope": slope.value or 0.0,
        "cal_slope/se_slope": printed[1],
        **{f"{k}/ci95_wald/{i}": v + (2 * i - 1) * Z * se for k, (v, se) in ends.items() for i in (0, 1)},
        "brier": calibration.brier(y, p).value or 0.0,
        "brier_scaled": calibration.scaled_brier_value(y, p),
        "logloss": calibration.log_loss(y, p).value or 0.0,
        "oe_ratio": calibration.observed_expected(y, p).value or 0,
        "ece10_equal_width": calibration.ece_value(y, p),
        "mce10_equal_width": calibration.mce_value(y, p),
        "ece10_equal_mass": calibration.ece_value(y, p, scheme="equal_mass"),
        **{f"murphy10/{k}": getattr(parts, k) for k in ("reliability", "resolution", "uncertainty")},
        "murphy10/within_bin_term": parts.within_bin,
        "murphy10/sum_check": parts.reliability - parts.resolution + parts.uncertainty + parts.within_bin,
        **{f"{k}/stat": test.statistic or 0.0 for k, test in hl.items()},
        **{f"{k}/p": test.p_value or 0.0 for k, test in hl.items()},
        "HL_g10_df8/df": 8,
        "HL_g10_df10_external/df": 10,
    }
    ours: Ours = {key: (float(value), 1e-6) for key, value in exact.items()}
    # The sidecar calls these implementation-defined: R interpolates its loess, ours is the direct surface.
    for key, statistic in (("ICI", "ici"), ("E50", "e50"), ("E90", "e90"), ("Emax", "emax")):
        value = smooth_error_value(y, p, statistic, smoother="loess")  # type: ignore[arg-type]
        ours[f"loess_deg2_span075/{key}"] = value, 8e-3 if key == "Emax" else 3e-3
    return ours


def _dcurves(folder: Path, want: dict[str, Any]) -> Ours:
    rows = _rows(folder / "dcurves_df_binary.csv")
    y = np.array([r["cancer"] == "TRUE" for r in rows])
    n = y.size
    marker = np.array([float(r["marker"]) for r in rows])
    # A marker that is no probability is turned into one by a logistic regression on it.
    design = np.column_stack([np.ones(n), marker])
    fit = fit_logistic(y, design, np.zeros(n))
    assert fit is not None
    probability = {
        "cancerpredmarker": np.array([float(r["cancerpredmarker"]) for r in rows]),
        "marker": 1 / (1 + np.exp(-(design @ fit.coefficients))),
    }
    grid = sorted({r["threshold"] for r in want["binary"]})
    curves = {
        (name, quantity): decision_curve(y, p, grid, quantity=quantity, replicates=2)  # type: ignore[arg-type]
        for name, p in probability.items()
        for quantity in ("net_benefit", "interventions_avoided")
    }
    ours: Ours = {}
    for table in ("binary", "intervention_avoided"):
        for i, row in enumerate(want[table]):
            at, name, t = grid.index(row["threshold"]), row["variable"], row["threshold"]
            odds = t / (1 - t)
            if name in probability:
                call = probability[name] >= t
                benefit, avoided = (curves[name, q].value[at] for q in ("net_benefit", "interventions_avoided"))
            else:
                call = np.full(n, name == "all")
                everyone = curves["marker", "net_benefit"].treat_all[at]
                benefit = everyone if name == "all" else 0.0
                avoided = (benefit - everyone) / odds
            figures = {
                "n": n,
                "threshold": t,
                "pos_rate": y.mean(),
                "harm": 0.0,
                "net_benefit": benefit,
                "tp_rate": (call & y).mean(),
                "fp_rate": (call & ~y).mean(),
            }
            if table == "intervention_avoided":
                figures["net_intervention_avoided"] = avoided
            ours |= {f"{table}/{i}/{key}": (float(value), 1e-9) for key, value in figures.items()}
    return ours


FILES = {
    "asah": _asah,
    "proportions_and_tests": _proportions,
    "bacteria_clustered": _bacteria,
    "calcurves_testdata": _calcurves,
    "dcurves_df_binary": _dcurves,
}
#: Sample sizes and powers, and the variance formula they are made of: planning, not estimates of a study.
PLANNING = ("power_", "n_buderer", "var_obuchowski_s100b")


@pytest.mark.parametrize("name", list(FILES))
def test_every_figure_to_its_stated_tolerance(name: str, shared_golden: Path) -> None:
    want = json.loads((shared_golden / f"{name}.expected.json").read_text(encoding="utf-8"))
    printed = {path: value for path, value in _leaves(want) if not path.startswith(PLANNING)}
    ours = FILES[name](shared_golden, want)
    assert sorted(set(printed) - set(ours)) == [], "figures without a test"
    wrong = {
        path: (ours[path][0], value)
        for path, value in printed.items()
        if abs(ours[path][0] - value) > ours[path][1] + 1e-15
    }
    assert wrong == {}
