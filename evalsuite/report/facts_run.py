"""How a run shows a fact that a checklist asks for: one rule for each, read from the evidence, protocol and record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evalsuite.protocol.study_load import is_stated
from evalsuite.report.material import Material
from evalsuite.types import Finding

_ATTRIBUTES = {
    "sex": ("sex", "gender", "patientsex"),
    "age": ("age", "patientage"),
    "race": ("race", "ethnicgroup", "skin_type", "fitzpatrick"),
    "site": ("site", "centre", "center", "hospital", "institution"),
    "equipment": ("manufacturer", "scanner", "camera", "vendor", "modelname", "equipment", "device"),
    "disease": ("severity", "stage", "grade", "size", "lesion", "subtype", "dx", "type"),
}
_CURVES = ("roc", "froc", "histogram", "bland_altman", "scatter", "pr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a fact about a run is found: True, False, or the reason why it cannot apply."""

    words: str
    section: str
    holds: Callable[[Material], bool | str]


def _study(m: Material) -> Mapping[str, Any]:
    found = m.recorded("study.stated", {})
    return found if isinstance(found, Mapping) else {}


def _has(m: Material, *analyses: str) -> bool:
    return any(f.analysis in analyses and f.estimate.value is not None for f in m.evidence.findings)


def _main(m: Material) -> list[Finding]:
    return [f for _, f in m.findings(overall=True)]


def _metric(m: Material, *names: str) -> bool:
    found = {f.metric for f in _main(m) if f.estimate.value is not None}
    return all(name in found for name in names)


def _any_metric(m: Material, *starts: str) -> bool:
    return any(f.estimate.value is not None and f.metric.startswith(starts) for f in _main(m))


def _curve(m: Material, *kinds: str) -> bool:
    return any(c.kind in kinds for c in m.evidence.curves)


def _primary(m: Material) -> list[Finding]:
    names = {e.name for e in m.protocol.endpoints if e.role == "primary"}
    names |= {c.name for c in m.protocol.comparisons if c.role == "primary"}
    found = [*m.findings(overall=True), *m.findings(overall=True, analysis="comparison")]
    return [f for _, f in found if f.endpoint in names and f.condition is None]


def _strata(m: Material) -> set[str]:
    return {key for a in m.evidence.accounting for key in a.stratum}


def _by(attribute: str) -> Callable[[Material], bool]:
    words = _ATTRIBUTES[attribute]

    def holds(m: Material) -> bool:
        counted = _strata(m)
        for spec in m.protocol.strata:
            if spec.name not in counted:
                continue
            names = [n.lower().removeprefix("dicom:").replace(" ", "_") for n in (spec.name, spec.column or "")]
            if any(w == n or n.startswith(f"{w}_") or n.endswith(f"_{w}") for w in words for n in names):
                return True
        return False

    return holds


def _task(*kinds: str) -> Callable[[Material], str | None]:
    def wrong(m: Material) -> str | None:
        return None if m.protocol.task.kind in kinds else f"the task is {m.protocol.task.kind}"

    return wrong


def _for(task: Callable[[Material], str | None], holds: Callable[[Material], bool]) -> Callable[[Material], bool | str]:
    return lambda m: task(m) or holds(m)


def _interval(m: Material) -> bool:
    found = [f.estimate for f in _primary(m) if f.estimate.value is not None]
    return bool(found) and all(e.low is not None and e.high is not None for e in found)


def _bounds(m: Material) -> bool:
    goals = [e.criterion for e in m.protocol.endpoints if e.role == "primary" and e.criterion is not None]
    return all(c.bound != "point" for c in goals)


def _criteria(m: Material) -> bool:
    goals = [e.criterion for e in m.protocol.endpoints if e.role == "primary" and e.criterion is not None]
    goals += [c.criterion for c in m.protocol.comparisons if c.role == "primary" and c.criterion is not None]
    hypotheses = any(c.hypothesis for c in m.protocol.comparisons if c.role == "primary")
    return bool(goals or hypotheses) and not any(c.placeholder for c in goals)


def _comparison(m: Material) -> bool:
    return _has(m, "comparison")


def _failures(m: Material) -> bool:
    return bool(m.exhibits.listings or m.exhibits.pictures) or _has(m, "failures")


def _operating_points(m: Material) -> bool | str:
    points = m.protocol.operating_points
    return all(p.source for p in points) if points else "the protocol has no operating point"


def _wording(m: Material) -> bool:
    """Agreement is not called sensitivity where there is no reference standard; the loader refuses such protocols."""
    return True


def _recorded(path: str) -> Callable[[Material], bool]:
    return lambda m: m.recorded(path) not in (None, "", [], {})


def _leakage(m: Material) -> bool:
    rows = m.recorded("testset.intake.rows", [])
    return any(r.get("check") == "development" and r.get("outcome") == "ok" for r in rows if isinstance(r, Mapping))


_always: Callable[[Material], bool] = lambda m: True  # noqa: E731 - one of many small rules
_lesions, _measured = _task("detection"), _task("regression")

RULES: Mapping[str, Rule] = {
    name: Rule(words=words, section=section, holds=holds)
    for name, words, section, holds in (
        ("run.title", "title that names task and device", "R00", _always),
        ("run.summary", "summary with verdict and criteria", "R01", _always),
        ("run.identity", "digest of the model that was tested", "R03", _recorded("model.digest")),
        ("run.contract", "inputs and outputs of the model", "R03", _recorded("model.contract")),
        ("run.protocol", "full protocol, attached", "R04", _always),
        ("run.design", "kind of study", "R04", _always),
        ("run.frozen", "protocol frozen before unblinding", "R04", _recorded("protocol.frozen")),
        ("run.sealed", "predictions sealed before the reference was opened", "R29", _recorded("ledger.entries")),
        ("run.endpoints", "endpoints and their metrics", "R04", _always),
        ("run.criteria", "justified acceptance criteria", "R04", _criteria),
        ("run.bounds", "criteria on bounds of intervals", "R12", _bounds),
        ("run.operating_points", "operating points with their source", "R04", _operating_points),
        ("run.lock", "locked test set", "R05", _recorded("testset.root")),
        ("run.reference", "values of the reference standard", "R08", _always),
        ("run.accounting", "accounting of all cases", "R06", lambda m: bool(m.evidence.accounting)),
        ("run.case_mix", "case mix by group", "R07", lambda m: bool(_strata(m))),
        *(
            (f"run.case_mix.{key}", f"case mix by {words}", "R07", _by(key))
            for key, words in (
                ("sex", "sex"),
                ("age", "age"),
                ("race", "race or skin type"),
                ("site", "site"),
                ("equipment", "equipment"),
                ("disease", "severity or type of disease"),
            )
        ),
        ("run.crosses", "case mix by crossed groups", "R14", lambda m: any(s.cross for s in m.protocol.strata)),
        ("run.truth_panel", "effect of the reference panel", "R08", lambda m: _has(m, "truth_panel")),
        ("run.reuse", "count of uses of every case", "R09", _recorded("use.max_uses_per_case")),
        ("run.leakage", "comparison with the development data", "R09", _leakage),
        ("run.planning", "sample size with its assumptions", "R10", lambda m: any(m.findings(analysis="planning"))),
        ("run.methods", "statistical methods as executed", "R11", _always),
        ("run.missing_policy", "handling of missing outputs and references", "R11", _always),
        ("run.clustering", "patient as the unit of clustering", "R11", _recorded("testset.patient_column")),
        ("run.multiplicity", "decision rule and multiplicity", "R11", _always),
        ("run.wording", "no accuracy claimed without a reference standard", "R11", _wording),
        ("run.primary", "estimates of the primary endpoints", "R12", lambda m: bool(_primary(m))),
        ("run.intervals", "intervals of the primary endpoints", "R12", _interval),
        ("run.secondary", "estimates beyond the primary ones", "R13", lambda m: bool(_main(m))),
        (
            "run.two_by_two",
            "table of calls against the reference",
            "R13",
            _for(
                _task("binary", "multiclass", "multilabel", "ordinal"),
                lambda m: _metric(m, "sensitivity", "specificity") or _has(m, "confusion"),
            ),
        ),
        (
            "run.diagnostic_four",
            "sensitivity, specificity, PPV and NPV",
            "R13",
            _for(_task("binary"), lambda m: _metric(m, "sensitivity", "specificity", "ppv", "npv")),
        ),
        ("run.curves", "curves or distributions of the score", "R13", lambda m: _curve(m, *_CURVES)),
        (
            "run.lesions",
            "sensitivity per lesion and false positives",
            "R13",
            _for(_lesions, lambda m: _any_metric(m, "lesion_sensitivity") and _any_metric(m, "false_positives")),
        ),
        (
            "run.fp_normal",
            "false positives in normal and abnormal cases",
            "R13",
            _for(_lesions, lambda m: _any_metric(m, "false_positives_per_normal")),
        ),
        ("run.froc", "FROC curve", "R13", _for(_lesions, lambda m: _curve(m, "froc"))),
        (
            "run.overlap",
            "performance against the overlap that counts as found",
            "R13",
            _for(_lesions, lambda m: _curve(m, "overlap")),
        ),
        (
            "run.agreement",
            "agreement in units of the measurand",
            "R13",
            _for(_measured, lambda m: _any_metric(m, "bias", "loa", "limits", "mae", "rmse")),
        ),
        ("run.triage", "benefit of triage in waiting time", "R13", lambda m: _has(m, "triage")),
        ("run.subgroups", "estimates in groups", "R14", lambda m: any(f.stratum for _, f in m.findings())),
        (
            "run.generalisation",
            "differences between sites",
            "R14",
            lambda m: _has(m, "generalisation") or _by("site")(m),
        ),
        ("run.calibration", "calibration", "R15", lambda m: _has(m, "calibration")),
        ("run.utility", "decision curve", "R15", lambda m: _curve(m, "net_benefit")),
        (
            "run.missing",
            "estimates under every assumption about missing outcomes",
            "R16",
            lambda m: _has(m, "missing_data") or m.count() == m.count(status="ok") > 0,
        ),
        ("run.failures", "single cases that went wrong", "R17", _failures),
        ("run.bias", "differences between groups of patients", "R18", lambda m: _has(m, "bias", "group_differences")),
        ("run.robustness", "performance on degraded or changed inputs", "R19", lambda m: _has(m, "robustness")),
        (
            "run.repeatability",
            "spread of repeated acquisitions",
            "R20",
            lambda m: _has(m, "variance_components", "repeatability"),
        ),
        ("run.rerun", "rerun with its result", "R28", _recorded("rerun")),
        ("run.comparison", "paired comparison with another version", "R22", _comparison),
        ("run.readers", "reader study", "R23", lambda m: m.protocol.readers is not None and _has(m, "readers")),
        ("run.limitations", "limitations the evidence shows", "R25", _always),
        (
            "run.traceability",
            "hazards traced to results",
            "R26",
            lambda m: bool(m.protocol.clauses) or is_stated(_study(m), "risks"),
        ),
        ("run.environment", "hardware and software the run used", "R27", _recorded("platform.os")),
        ("run.packages", "software packages with versions", "R27", _recorded("software.packages")),
        ("run.attachments", "evidence, verdict and protocol attached for programs", "R34", _always),
        ("run.ledger", "ledger of every access", "R29", _recorded("ledger.head")),
        ("run.roles", "named roles and separation of duties", "R29", lambda m: m.protocol.roles is not None),
        ("run.selftest", "self-test of the statistics", "R30", _recorded("selftest.id")),
        ("run.signatures", "signatures", "R32", lambda m: False),
        ("run.cross_reference", "clauses and where they are answered", "R33", _always),
        ("run.listing", "listing of single cases", "R34", lambda m: bool(m.exhibits.listings)),
    )
}
