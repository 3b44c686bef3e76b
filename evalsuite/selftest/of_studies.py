"""Known answers of resampling, groups, drift, uncertainty, queues, weights and sizes of studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from evalsuite.record.digest import sha256_bytes
from evalsuite.selftest.of_cases import Figures, Inputs, by, estimate
from evalsuite.stats import (
    behrens_fisher,
    bootstrap_interval,
    clustered,
    conformal,
    control_charts,
    distribution_shift,
    equalising,
    excess,
    faithfulness,
    generalisation,
    group_figures,
    group_gaps,
    linearity,
    mmd,
    multiplicity,
    paired_ratio,
    planning,
    queueing,
    roc_compare,
    saliency,
    selective,
    standardised,
    tipping_point,
    truth_panel,
    unlabelled,
    weighted_auroc,
    weighting,
)
from evalsuite.stats.differences import PairedCounts, nam_test
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate


def _interval(i: Inputs) -> Figures:
    """Limits from evenly spread replicates: what is read is then the percentile itself."""
    replicates = (np.arange(i["replicates"]) + 0.5) / i["replicates"]
    jackknife = np.array(i["jackknife"], dtype=np.float64)
    found = bootstrap_interval.bootstrap_interval(replicates, i["point"], method=i["method"], jackknife=jackknife)
    return {"low": found.low, "high": found.high, "acceleration": bootstrap_interval.acceleration(jackknife)}


def _stream(i: Inputs) -> Figures:
    counts = PatientDraw(np.arange(i["patients"]), i["replicates"], i["seed"]).counts(0, i["replicates"])
    return {
        "patients drawn": float(counts.sum(axis=1).min()),
        "digest": sha256_bytes(np.ascontiguousarray(counts, dtype="<i4").tobytes()),
    }


def _auroc_pair(i: Inputs) -> Figures:
    found = roc_compare.paired_auroc_difference(i["reference"], i["first"], i["second"])
    return {**estimate(found.estimate), "standard_error": found.standard_error, "p_value": found.test.p_value}


def _clustered(i: Inputs) -> Figures:
    """Clusters of (successes, cases): the ratio estimate with the variance between clusters."""
    success = np.concatenate([np.arange(n) < x for x, n in i["clusters"]])
    cluster = np.repeat(np.arange(len(i["clusters"])), [n for _, n in i["clusters"]])
    found = clustered.cluster_variance(success, cluster)
    return {"value": found.value, "variance": found.variance}


def _gap(i: Inputs) -> Figures:
    (x1, n1), (x2, n2) = i["groups"]
    groups = [group_figures.share_figure(np.arange(n) < x, np.arange(n)) for x, n in ((x1, n1), (x2, n2))]
    return estimate(group_gaps.gap(groups[0], groups[1]))


def _standardised(i: Inputs) -> Figures:
    """Two groups of (cases, successes) per cell: crude shares, and their difference at a common mix."""
    made = []
    for cells in i["groups"]:
        success = np.concatenate([np.arange(n) < x for n, x in cells])
        made.append((success, np.repeat(np.arange(len(cells)), [n for n, _ in cells])))
    (y1, c1), (y2, c2) = made
    standard, _ = standardised.standard_of(np.concatenate([c1, c2]), c1, c2, len(i["groups"][0]))
    one, other = (standardised.standardised_share(y, c, np.arange(y.size), standard) for y, c in made)
    gap = group_gaps.gap(one, other)
    return {"first": float(y1.mean()), "second": float(y2.mean()), "standardised": one.value, "gap": gap.value}


def _sites(i: Inputs) -> Figures:
    """Given effects and variances of sites on the log scale."""
    given = Estimate(value=0.5, interval_undefined="given as an effect", method="-", n=1)
    effects = zip(i["effect"], i["variance"], strict=True)
    sites = [
        generalisation.SiteEffect(site=f"{k:02d}", estimate=given, effect=y, variance=v)
        for k, (y, v) in enumerate(effects)
    ]
    found = generalisation.site_heterogeneity(sites, scale="log", tau2="reml", interval="hartung-knapp")
    return {**estimate(found.average), "tau": found.tau.value, "i2": found.i2.value, "q": found.test.statistic}


def _run_length(i: Inputs) -> Figures:
    sides = i["sides"]
    return {"value": control_charts.cusum_run_length(i["reference"], i["limit"], sides=sides)}


def _cusum(i: Inputs) -> Figures:
    chart = control_charts.cusum(i["standardised"], reference=i["reference"], limit=i["limit"])
    return {"highest": float(chart.upper.max()), "alarm": chart.alarm}


def _shares(i: Inputs) -> Figures:
    first, second = np.array(i["baseline"]), np.array(i["window"])
    return {
        "total_variation": distribution_shift.total_variation(first, second),
        "jensen_shannon": distribution_shift.jensen_shannon(first, second),
        "population_stability": distribution_shift.population_stability(first, second),
    }


def _discrepancy(i: Inputs) -> Figures:
    found = mmd.mmd_test(i["baseline"], i["window"], bandwidth=i["bandwidth"], permutations=9, seed=0)
    return {"value": found.mmd2}


def _label_shift(i: Inputs) -> Figures:
    shares = unlabelled.label_shift(i["confusion"], i["called"]).shares or ()
    return {f"class {k}": share for k, share in enumerate(shares)}


def _expected(i: Inputs) -> Figures:
    return unlabelled.expected_performance(i["probability"], np.array(i["called_positive"], dtype=np.bool_))


def _selective(i: Inputs) -> Figures:
    found = selective.selective(i["error"], i["confidence"], i["coverages"])
    return {"aurc": found.aurc, "excess": found.excess} | {f"risk {k}": r for k, r in enumerate(found.risk)}


def _band(i: Inputs) -> Figures:
    found = conformal.coverage_band(i["n_calibration"], i["n_test"], i["alpha"])
    return {"a": found.a, "b": found.b, "expected": found.expected}


def _conformal(i: Inputs) -> Figures:
    return {"value": conformal.conformal_threshold(i["scores"], i["alpha"])}


def _waits(i: Inputs) -> Figures:
    found = queueing.triage_waits(
        queueing.ReadingRoom(**i["room"]), i["sensitivity"], i["specificity"], discipline=i["discipline"]
    )
    return {name: float(getattr(found, name)) for name in ("before_with_condition", "with_condition")}


def _tipping(i: Inputs) -> Figures:
    goal = tipping_point.Goal(bound="lower", op=">", value=i["goal"])
    found = tipping_point.proportion_tipping_point(i["metric"], goal, **i["counts"])
    return {
        "wrong": None if found.tipping is None else found.tipping.wrong,
        "all right": found.all_right.estimate.low,
        "all wrong": found.all_wrong.estimate.low,
    }


def _panel(i: Inputs) -> Figures:
    call = np.array(i["call"], dtype=np.bool_)
    found = truth_panel.truth_panel(i["readings"], truth_panel.sensitivity_to(call), replicates=20)
    return {f"reader {k}": v for k, v in enumerate(found.each_reader)} | {"sd": found.sd_panel}


def _fisher(i: Inputs) -> Figures:
    event, members = np.array(i["event"]), np.array([i["member"]], dtype=np.bool_)
    found = excess.excess_tests(event, members, np.arange(event.size))
    return {"p_value": float(found.p_value[0])}


def _threshold(i: Inputs) -> Figures:
    rule = equalising.for_sensitivity(i["score"], i["positive"], i["goal"])
    return {"value": None if rule is None else rule.threshold}


def _graph(i: Inputs) -> Figures:
    adjusted = multiplicity.graphical(i["p"], i["weights"], i["transitions"])
    return {str(k): float(p) for k, p in enumerate(adjusted)}


def _paired(i: Inputs) -> PairedCounts:
    both, first, second, neither = i["counts"]
    return PairedCounts(both=both, first_only=first, second_only=second, neither=neither)


def _nam(i: Inputs) -> Figures:
    found = nam_test(_paired(i), null=i["null"])
    return {"statistic": found.statistic, "p_value": found.p_value}


def _pointing(i: Inputs) -> Figures:
    found = saliency.pointing(np.array(i["map"]), np.array(i["mask"], dtype=np.bool_), threshold=i["threshold"])
    return {"hit": found.hit, "overlap": found.overlap, "chance": found.chance}


def _faithfulness(i: Inputs) -> Figures:
    value, unexplained = faithfulness.infidelity(i["predicted"], i["observed"])
    return {
        "infidelity": value,
        "unexplained": unexplained,
        "deletion": faithfulness.area(i["curve"]),
        "rank_correlation": faithfulness.rank_correlation(i["map"], i["other"]),
        "ssim_with_itself": faithfulness.ssim(i["map"], i["map"]),
    }


def _behrens_fisher(i: Inputs) -> Figures:
    parts = {"known": i["known"], "estimated": i["estimated"], "df": i["df"]}
    return {
        "p_value": behrens_fisher.two_sided_p(i["distance"], **parts),
        "half_width": behrens_fisher.half_width(**parts, level=i["level"]),
    }


def _planned(function: Callable[..., Any]) -> Callable[[Inputs], Figures]:
    return lambda i: {"value": function(**i)}


OF_STUDIES: Mapping[str, Callable[[Inputs], Figures]] = {
    "bootstrap_interval": _interval,
    "resampling_stream": _stream,
    "auroc_pair": _auroc_pair,
    "clustered": _clustered,
    "gap": _gap,
    "standardised": _standardised,
    "sites": _sites,
    "cusum_run_length": _run_length,
    "cusum": _cusum,
    "shift": _shares,
    "mmd": _discrepancy,
    "label_shift": _label_shift,
    "expected_performance": _expected,
    "selective": _selective,
    "coverage_band": _band,
    "conformal_threshold": _conformal,
    "queue": _waits,
    "tipping_point": _tipping,
    "truth_panel": _panel,
    "fisher": _fisher,
    "equal_sensitivity": _threshold,
    "graphical": _graph,
    "nam": _nam,
    "paired_ratio": lambda i: estimate(paired_ratio.paired_ratio(_paired(i))),
    "pointing": _pointing,
    "faithfulness": _faithfulness,
    "behrens_fisher": _behrens_fisher,
    "linearity": lambda i: {"value": linearity.linearity(**i).largest.value},
    "exact_power": _planned(planning.proportion_power),
    "cases_for_proportion": _planned(planning.cases_for_proportion),
    "cases_for_half_width": _planned(planning.cases_for_half_width),
    "weighted_proportion": by(weighting.weighted_proportion),
    "weighted_mean": by(weighting.weighted_mean),
    "mean_at_prevalence": by(weighting.mean_at_prevalence),
    "weighted_auroc": by(weighted_auroc.weighted_auroc),
}
