"""Made-up studies for the report's tests: all numbers are synthetic, none describes a real device or a real patient."""

# ruff: noqa: E501 - wide rows of made-up data read better on one line

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import canonical_json
from evalsuite.types import (
    Account,
    CriterionResult,
    Curve,
    Estimate,
    Evidence,
    Finding,
    Verdict,
)

Z = 1.959963984540054


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    protocol: StudyProtocol
    evidence: Evidence
    verdict: Verdict
    record: Mapping[str, Any]

    def arguments(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol, "evidence": self.evidence, "verdict": self.verdict, "record": self.record,
        }  # fmt: skip


def proportion(k: int, n: int, **counts: Any) -> Estimate:
    """A share with a Wilson interval: good enough for a picture, named as what it is."""
    if n == 0:
        return Estimate.not_estimable("no reference-positive cases", n=0, **counts)
    p = k / n
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return Estimate(
        value=p, low=max(centre - half, 0.0), high=min(centre + half, 1.0), method="Wilson", n=n, numerator=k,
        denominator=n, **counts,
    )  # fmt: skip


def plain(value: float, half: float, method: str, n: int, **counts: Any) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, method=method, n=n, **counts)


ENDPOINTS: list[dict[str, Any]] = [
    {"name": "discrimination", "metric": "auroc", "role": "primary",
     "criterion": {"bound": "lower", "op": ">", "value": 0.85}, "rationale": "lowest value of two synthetic precedents"},
    {"name": "sensitivity", "metric": "sensitivity", "at": "screening", "role": "primary",
     "criterion": {"bound": "lower", "op": ">", "value": 0.80}},
    {"name": "specificity", "metric": "specificity", "at": "screening", "role": "primary",
     "criterion": {"bound": "lower", "op": ">", "value": 0.60}},
    {"name": "sensitivity in women", "metric": "sensitivity", "at": "screening", "role": "primary",
     "stratum": {"sex": "female"}, "criterion": {"bound": "lower", "op": ">", "value": 0.75}},
    {"name": "PPV at a declared prevalence of 2 %", "metric": "ppv", "at": "screening", "prevalence": 0.02},
    {"name": "NPV at a declared prevalence of 2 %", "metric": "npv", "at": "screening", "prevalence": 0.02},
    {"name": "sensitivity at the confirmatory threshold, pre-specified for the second reading of referred patients",
     "metric": "sensitivity", "at": "confirmatory"},
    {"name": "specificity at the confirmatory threshold", "metric": "specificity", "at": "confirmatory"},
    {"name": "average precision", "metric": "average_precision"},
    {"name": "Brier score", "metric": "brier", "criterion": {"bound": "upper", "op": "<", "value": 0.15}},
    {"name": "calibration slope", "metric": "calibration_slope", "role": "exploratory"},
    {"name": "expected calibration error", "metric": "ece", "role": "exploratory"},
]  # fmt: skip

STRATA = {
    "sex": {"female": (118, 402), "male": (131, 389), "missing": (3, 9)},
    "age": {"<40": (21, 260), "40-<60": (92, 331), ">=60": (136, 203), "missing": (3, 6)},
    "scanner": {
        "Synthetic Imaging Works": (148, 430),
        "Phantom Optics International Manufacturing GmbH & Co. KG": (96, 334),
        "Testbild": (4, 31),
        "missing": (4, 5),
    },
}
CROSS = {
    (a, b): (max(int(p * q / 252), 0), max(int(x * y / 800), 0))
    for a, (p, x) in STRATA["sex"].items()
    for b, (q, y) in STRATA["age"].items()
}
N_POSITIVE, N_NEGATIVE = 252, 800


def protocol(*, placeholder: bool = False, complete: bool = True) -> StudyProtocol:
    endpoints = [dict(e) for e in ENDPOINTS]
    if placeholder:
        endpoints[1]["criterion"] = {**endpoints[1]["criterion"], "placeholder": True}
    use = {
        "indications": "Aid to the assessment of synthetic lesions in phantom images by trained users.",
        "population": "Phantoms of adults aged 18 years and over.",
        "users": "Qualified physicists",
        "setting": "Test bench",
        "autonomy": "CADx",
        "inputs": "One PNG image, 224 × 224 pixels or larger, RGB",
        "outputs": "Probability of the target condition, 0 to 1",
        "contraindications": "Any clinical use: the device of this example does not exist.",
    }
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "synthetic-lesion-standalone",
            "version": "1.2.0",
            "title": "Standalone performance of a synthetic lesion classifier on phantom images",
            "kind": "standalone",
            "intended_use": use if complete else {"indications": use["indications"]},
            "task": {"kind": "binary", "reference": "lesion", "positive": 1, "score": "p_lesion"},
            "unit": {"case": "case_id", "cluster": "patient_id"},
            "operating_points": [
                {"name": "screening", "threshold": 0.35, "source": "fixed on the tuning set, 2025-11-04, 412 cases"},
                {
                    "name": "confirmatory",
                    "threshold": 0.72,
                    "source": "" if not complete else "fixed on the tuning set",
                },
            ],
            "endpoints": endpoints,
            "strata": [
                {"name": "sex", "column": "sex"},
                {"name": "age", "column": "age", "bins": [40, 60]},
                {"name": "scanner", "column": "dicom:Manufacturer"},
                {"name": "sex and age", "cross": ["sex", "age"]},
            ],
            "sources": ["Goals follow two made-up precedents, documented in the synthetic study file"],
            "seed": 20260101,
        }
    )


def _estimate(endpoint: Mapping[str, Any], pos: int, neg: int, *, shift: float, whole: bool) -> Estimate:
    metric = endpoint["metric"]
    counts = {"n_positive": pos, "n_negative": neg, "n_patients": max(1, int(0.86 * (pos + neg)))}
    n = pos + neg
    if n == 0:
        return Estimate.not_estimable("no cases", n=0, **counts)
    needs_both = metric in ("auroc", "average_precision", "ppv", "npv", "calibration_slope")
    for kind, count, wanted in (
        ("positive", pos, metric == "sensitivity" or needs_both),
        ("negative", neg, metric == "specificity" or needs_both),
    ):
        if wanted and count < 10 and not whole:
            reason = (
                f"no reference-{kind} cases"
                if count == 0
                else f"not assessable: {count} reference-{kind} cases, fewer than 10"
            )
            return Estimate.not_estimable(reason, n=n, **counts)
    if metric == "sensitivity":
        rate = (0.91 if endpoint["at"] == "screening" else 0.74) + shift
        return proportion(min(round(rate * pos), pos), pos, **counts)
    if metric == "specificity":
        rate = (0.68 if endpoint["at"] == "screening" else 0.90) + shift
        return proportion(min(round(rate * neg), neg), neg, **counts)
    if metric == "accuracy":
        return proportion(round((0.74 + shift) * n), n, **counts)
    if metric == "prevalence":
        return proportion(pos, n, **counts)
    if metric in ("ppv", "npv"):
        value = 0.055 + shift / 10 if metric == "ppv" else 0.9972 + min(shift / 100, 0.001)
        return plain(value, 0.02 if metric == "ppv" else 0.0016, "logit (Mercaldo)", n, **counts)
    base = {"auroc": 0.912, "average_precision": 0.81, "brier": 0.092, "calibration_slope": 0.93, "ece": 0.031,
            "lr_positive": 2.84, "lr_negative": 0.13, "calibration_intercept": -0.12}[metric]  # fmt: skip
    half = {"auroc": 0.31, "average_precision": 0.6, "brier": 0.17, "calibration_slope": 2.1, "ece": 0.2,
            "lr_positive": 5.0, "lr_negative": 0.9, "calibration_intercept": 3.0}[metric] / math.sqrt(n)  # fmt: skip
    method = "DeLong" if metric == "auroc" else "patient bootstrap, BCa, B=2000"
    value = base + shift
    if metric == "auroc":
        value = min(value, 0.995 - half)
    return plain(value, half, method, n, design_effect=1.18 if metric == "auroc" else None, **counts)


def _findings(*, missing: bool) -> list[Finding]:
    rng = np.random.default_rng(7)
    made: list[Finding] = []
    standard: list[dict[str, Any]] = [
        {"name": f"{m} at {p}", "metric": m, "at": p, "role": "descriptive"}
        for p in ("screening", "confirmatory")
        for m in ("ppv", "npv", "accuracy", "lr_positive", "lr_negative")
        if m in ("accuracy", "lr_positive", "lr_negative")
    ] + [
        {"name": "calibration_intercept", "metric": "calibration_intercept", "role": "descriptive"},
        {"name": "prevalence", "metric": "prevalence", "role": "descriptive"},
    ]
    cells: list[tuple[dict[str, str], int, int]] = [({}, N_POSITIVE, N_NEGATIVE)]
    for name, levels in STRATA.items():
        cells += [({name: level}, p, q) for level, (p, q) in levels.items()]
    cells += [({"sex": a, "age": b}, p, q) for (a, b), (p, q) in CROSS.items()]
    for endpoint in [*ENDPOINTS, *standard]:
        for stratum, pos, neg in cells:
            shift = 0.0 if not stratum else float(rng.normal(0, 0.02))
            if stratum.get("scanner", "").startswith("Phantom"):
                shift -= 0.07
            estimate = _estimate(endpoint, pos, neg, shift=shift, whole=not stratum)
            made.append(_finding(endpoint, stratum, estimate))
    if missing:
        for condition, delta in (
            ("missing_outputs=worst_case", 0.0),
            ("missing_outputs=best_case", 0.018),
            ("missing_outputs=exclude", 0.009),
            ("missing_outputs=as_negative", 0.002),
            ("missing_outputs=as_positive", 0.011),
            ("missing_reference=worst_case", 0.0),
            ("missing_reference=best_case", 0.007),
            ("missing_reference=exclude", 0.004),
        ):
            for endpoint in ENDPOINTS[:4]:
                estimate = _estimate(endpoint, N_POSITIVE, N_NEGATIVE, shift=delta, whole=True)
                made.append(_finding(endpoint, {}, estimate, condition=condition))
    return made


def _finding(
    endpoint: Mapping[str, Any], stratum: dict[str, str], estimate: Estimate, condition: str | None = None
) -> Finding:
    calibration = endpoint["metric"] in ("brier", "calibration_slope", "calibration_intercept", "ece")
    return Finding(
        analysis="missing_data" if condition else "calibration" if calibration else "performance",
        endpoint=endpoint["name"],
        metric=endpoint["metric"],
        role=endpoint.get("role", "secondary"),
        target="lesion",
        operating_point=endpoint.get("at"),
        stratum=stratum,
        condition=condition,
        prespecified=endpoint.get("role") != "descriptive",
        estimate=estimate,
    )


def _curves() -> tuple[Curve, ...]:
    x = np.linspace(0, 1, 201)
    y = np.clip(1 - (1 - x) ** 4.2, 0, 1) ** 0.42
    grid = np.linspace(0, 1, 101)
    middle = np.interp(grid, x, y)
    half = 0.09 * np.sqrt(np.clip(middle * (1 - middle), 0, None)) + 0.004
    low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    recall = np.linspace(0, 1, 120)
    precision = np.clip(0.99 - 0.22 * recall**2 - 0.55 * recall**14, 0, 1)
    centres = (np.arange(20) + 0.5) / 20
    positive = np.round(N_POSITIVE * _beta(centres, 4.2, 1.6)).astype(int)
    negative = np.round(N_NEGATIVE * _beta(centres, 1.3, 4.0)).astype(int)
    mean = np.array([0.04, 0.14, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.94])
    observed = np.array([0.03, 0.12, 0.19, 0.33, 0.49, 0.52, 0.70, 0.78, 0.81, 0.95])
    counts = (301, 188, 122, 86, 71, 62, 58, 54, 52, 41)
    width = np.array([1.96 * math.sqrt(p * (1 - p) / n) + 0.01 for p, n in zip(observed, counts, strict=True)])

    def t(a: np.ndarray) -> tuple[float, ...]:
        return tuple(round(float(v), 6) for v in a)

    return (
        Curve(analysis="performance", metric="auroc", kind="roc", series="curve", x=t(x), y=t(y), n=1052, method="empirical"),
        Curve(analysis="performance", metric="auroc", kind="roc", series="band", x=t(grid), y=t(middle), low=t(low), high=t(high),
              n=1052, method="pointwise patient bootstrap of the sensitivity at each false-positive rate"),
        Curve(analysis="performance", metric="average_precision", kind="pr", x=t(recall), y=t(precision), n=1052),
        Curve(analysis="performance", metric="score", kind="histogram", series="positive", x=t(centres), y=t(positive),
              n=int(positive.sum()), method="20 bins of equal width"),
        Curve(analysis="performance", metric="score", kind="histogram", series="negative", x=t(centres), y=t(negative),
              n=int(negative.sum()), method="20 bins of equal width"),
        Curve(analysis="calibration", metric="ece", kind="reliability", x=t(mean), y=t(observed),
              low=t(np.clip(observed - width, 0, 1)), high=t(np.clip(observed + width, 0, 1)), n=counts,
              method="10 bins of equal width, Wilson intervals"),
    )  # fmt: skip


def _beta(x: np.ndarray, a: float, b: float) -> np.ndarray:
    density = x ** (a - 1) * (1 - x) ** (b - 1)
    return density / density.sum()


def _accounting(*, missing: bool) -> tuple[Account, ...]:
    rows: list[Account] = []

    def add(stratum: dict[str, str], pos: int, neg: int) -> None:
        lost = (
            {("failed", "positive"): 2, ("failed", "negative"): 5, ("rejected", "negative"): 4,
             ("reference_equivocal", "equivocal"): 3, ("reference_missing", "missing"): 2}
            if missing and (not stratum or stratum.get("scanner", "").startswith("Phantom"))
            else {}
        )  # fmt: skip
        for status, reference, k in (("ok", "positive", pos), ("ok", "negative", neg)):
            k -= sum(v for (s, r), v in lost.items() if r == reference)
            rows.append(Account(status=status, reference=reference, stratum=stratum, n=k, n_patients=int(0.9 * k)))
        for (status, reference), k in lost.items():
            rows.append(Account(status=status, reference=reference, stratum=stratum, n=k, n_patients=k))

    add({}, N_POSITIVE, N_NEGATIVE)
    for name, levels in STRATA.items():
        for level, (p, q) in levels.items():
            add({name: level}, p, q)
    for (a, b), (p, q) in CROSS.items():
        add({"sex": a, "age": b}, p, q)
    return tuple(rows)


def _verdict(p: StudyProtocol, evidence: Evidence, *, outcome: str, not_evidence: tuple[str, ...]) -> Verdict:
    results = []
    for endpoint in p.endpoints:
        if endpoint.criterion is None:
            continue
        finding = next(
            f for f in evidence.findings
            if f.endpoint == endpoint.name and dict(f.stratum) == endpoint.stratum and f.condition is None
        )  # fmt: skip
        e, c = finding.estimate, endpoint.criterion
        bound = {"lower": e.low, "upper": e.high}.get(c.bound)
        good = bound is not None and (bound > c.value if c.op == ">" else bound < c.value)
        judged = "met" if good else "inconclusive"
        if outcome == "not_met" and endpoint.name == "specificity":
            judged = "not_met"
        if c.placeholder:
            judged = "inconclusive"
        name = {"lower": "lower bound", "upper": "upper bound"}[c.bound]
        shown = "none" if bound is None else f"{bound:.4f}"
        results.append(
            CriterionResult(
                endpoint=endpoint.name, metric=endpoint.metric, role=endpoint.role, operating_point=endpoint.at,
                stratum=endpoint.stratum, criterion=c.model_dump(), estimate=e, outcome=judged,
                reason="the goal is a placeholder that still has to be justified" if c.placeholder
                else f"{name} {shown} {'clears' if judged == 'met' else 'does not clear'} the goal {c.value:g}",
            )
        )  # fmt: skip
    overall = outcome if not not_evidence else "inconclusive" if outcome == "met" else outcome
    reasons = {
        "met": "All 4 primary criteria are met",
        "not_met": "1 of 4 primary criteria is not met: specificity",
        "inconclusive": "1 of 4 primary criteria is inconclusive: sensitivity in women",
    }
    return Verdict(
        overall=overall,
        decision_rule=p.decision_rule,
        criteria=tuple(results),
        reason=reasons[outcome] + ("; the run does not count as evidence" if not_evidence else ""),
        evidence=not not_evidence,
        not_evidence_because=not_evidence,
        flags=("The criterion of endpoint 'Brier score' is secondary and does not decide the verdict",),
        evidence_digest=hashlib.sha256(canonical_json(evidence.to_json())).hexdigest(),
    )


def study(
    *, outcome: str = "met", frozen: bool = True, complete: bool = True, missing: bool = True, few: bool = False
) -> Study:
    """A study with 12 endpoints, three strata and a cross. `complete` False leaves intended-use fields empty; `few`
    keeps the whole set and one stratum only, for tests that look at the file rather than at what it says.
    """
    p = protocol(placeholder=not complete, complete=complete)
    root, model = sha("synthetic root"), sha("synthetic model")
    evidence = Evidence(
        protocol={"id": p.id, "version": p.version, "digest": sha("synthetic protocol")},
        testset={
            "set_id": "phantom-lesions-2026",
            "version": "3",
            "root": root,
            "digest": sha("lock"),
            "n_cases": 1057,
        },
        model={
            "name": "phantom-lesion-net",
            "format": "MONAI bundle",
            "digest": model,
            "contract_digest": sha("contract"),
        },
        predictions={"digest": sha("synthetic predictions"), "n": 1057},
        software={"evalsuite": "0.1.0", "numpy": "2.4.0", "scipy": "1.17.0"},
        findings=tuple(f for f in _findings(missing=missing) if not few or set(f.stratum) <= {"sex"}),
        curves=_curves(),
        accounting=_accounting(missing=missing),
        notes=("Stratum 'scanner' has 4 positive cases with an empty cell, kept as the group 'missing'",),
    )
    because = () if frozen else ("the protocol is not frozen", "only the first 1,057 cases were run (--limit)")
    verdict = _verdict(p, evidence, outcome=outcome, not_evidence=because)
    return Study(protocol=p, evidence=evidence, verdict=verdict, record=_record(p, evidence, frozen=frozen))


_FOUND: dict[str, Any] = {"counts": {}, "cases": [], "groups": [], "why": "", "action": ""}
_INTAKE: dict[str, Any] = {
    "schema": "evalsuite/intake/1",
    "n_images": 1057,
    "n_decoded": 200,
    "rows": [
        {**_FOUND, "check": "decode", "title": "Images that cannot be decoded", "outcome": "ok", "summary": "none of 200"},
        {**_FOUND, "check": "near", "title": "Images that are nearly the same", "outcome": "warning",
         "summary": "1 pair of different patients", "cases": ["c-0007", "c-0311"],
         "why": "A copy counts a patient twice.", "action": "look at both, and retire one"},
        {**_FOUND, "check": "identifiers", "title": "Direct identifiers in headers", "outcome": "problem",
         "summary": "PatientName in 2 files", "cases": ["c-0021", "c-0022"],
         "why": "Whoever may open the files learns who the patients are.", "action": "have the files de-identified"},
        {**_FOUND, "check": "development", "title": "Patients shared with development", "outcome": "not_checked",
         "summary": "not verifiable: no development manifest was given"},
    ],
}  # fmt: skip
_LINEAGE: dict[str, Any] = {
    "supersedes": {"version": "2", "root": sha("version 2")},
    "counts": {"kept": 1040, "added": 17, "removed": 0, "relabelled": 4},
}


def _record(p: StudyProtocol, evidence: Evidence, *, frozen: bool) -> dict[str, Any]:
    return {
        "schema": "evalsuite/record/1",
        "run": {"id": "run-2026-01-14-0007", "started_utc": "2026-01-14T09:12:31Z", "finished_utc": "2026-01-14T09:13:58Z",
                "command": "evalsuite run frozen/ --testset sets/phantom-lesions-2026 --model models/phantom-lesion-net --out runs/0007",
                "actor": "A. Example", "role": "statistician", "resumed": 1},
        "software": {"evalsuite": "0.1.0", "python": "3.11.9",
                     "packages": {"numpy": "2.4.0", "scipy": "1.17.0", "pandas": "3.0.0", "torch": "2.13.0", "monai": "1.6.1",
                                  "pydicom": "3.0.2", "weasyprint": "70.0", "pyarrow": "22.0.0", "imagecodecs": "2026.1.1"}},
        "platform": {"os": "Linux 6.12 x86_64", "cpu": "Synthetic CPU 9000", "n_cpu": 16, "gpu": None},
        "inference": {"device": "cpu", "device_name": "Synthetic CPU 9000", "precision": "float32", "backend": "eager",
                      "batch_size": 16, "threads": 4, "decoders": 2, "seed": 0, "n_cases": 1057, "n_failed": 7, "wall_s": 41.27,
                      "cases_per_s": 25.6, "latency_ms": {"p50": 31.2, "p95": 44.8, "p99": 61.0}, "resumed_shards": 2,
                      "workers": 4, "cache": {"hits": 800, "stored": 257, "not_stored": 0, "damaged": 0},
                      "stages": {"read_decode_s": 9.81, "wait_s": 0.62, "copy_s": 0.0, "predict_s": 152.4, "store_s": 0.31},
                      "equivalence": {"precision": "package", "backend": "onnxruntime", "memory_format": "package", "n": 64,
                                      "tolerance": 1e-5, "max_abs_difference": 6.2e-7, "by_output": {"p_lesion": 6.2e-7},
                                      "flips": {"primary": 0}},
                      "sandbox": {"name": "bubblewrap", "version": "0.8.0",
                                  "restricted": ["network: none", "processes: own process namespace", "environment: cleared"]}},
        "model": {"name": "phantom-lesion-net", "format": "MONAI bundle", "digest": evidence.model["digest"],
                  "contract": {"task": "classification", "inputs": [{"name": "image", "shape": [3, 224, 224], "colour": "RGB",
                                                                    "dtype": "float32", "value_range": [0, 1]}],
                               "outputs": [{"name": "pred", "meaning": "probabilities", "activation": "sigmoid",
                                            "classes": ["lesion"]}]},
                  "contract_digest": sha("contract"), "size_bytes": 1834212,
                  "notes": ["TorchScript is deprecated upstream; the package was loaded with weights only"]},
        "testset": {"set_id": "phantom-lesions-2026", "version": "3", "root": evidence.testset["root"], "digest": sha("lock"),
                    "n_cases": 1057, "n_patients": 911, "n_files": 1057, "n_bytes": 412345678, "locked_utc": "2026-01-09T16:40:00Z",
                    "signed": frozen, "signed_by": sha("custodian") if frozen else None, "encrypted": frozen,
                    "copied": False, "intake": _INTAKE, "lineage": _LINEAGE, "retired": 3},
        "protocol": {"id": p.id, "version": p.version, "digest": evidence.protocol["digest"],
                     "frozen": {"digest": sha("frozen"), "utc": "2026-01-12T08:00:00Z", "ledger_seq": 2, "key": sha("author"),
                                "timestamp_utc": "2026-01-12T08:00:01Z"} if frozen else None},
        "signing": {"keyid": sha("operator") if frozen else None},
        "evidence_status": {"evidence": frozen, "reasons": [] if frozen else ["the protocol is not frozen"]},
        "ledger": {"count": 5, "head": sha("ledger head"), "signed_by": sha("operator") if frozen else None},
        "limit": None if frozen else 1057,
    }  # fmt: skip
