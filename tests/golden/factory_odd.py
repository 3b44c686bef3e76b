"""Made-up studies that try to break a report: hostile text, one class only, nothing recorded, far too many groups."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from factory import Study, study

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import canonical_json
from evalsuite.types import Account, CriterionResult, Estimate, Evidence, Finding

#: Text as an attacker, or a careless export, would put it into any field.
HOSTILE = (
    '<script>alert(1)</script><img src="file:///etc/passwd" onerror="x"> </td></table></style><b> & {{ 7*7 }} '
    "{% raw %} @import url(http://example.invalid/x.css); } body { display: none } "
    "\u202egnisrever\u202c \u0000\u0007\u001b[31m \u200b\ufeff \U0001f600 漢字 العربية \ue000 "
)
LONG = "x" * 10_000


def rehashed(s: Study, evidence: Evidence, **changes: Any) -> Study:
    """The study on changed evidence, with the verdict's digest following."""
    digest = hashlib.sha256(canonical_json(evidence.to_json())).hexdigest()
    return replace(s, evidence=evidence, verdict=replace(s.verdict, evidence_digest=digest, **changes))


def hostile() -> Study:
    """Every text of the study carries markup, control characters, changes of direction, or ten thousand letters."""
    s = study(outcome="not_met", frozen=False)
    plain = s.protocol.model_dump(mode="json", by_alias=True)
    plain["title"] = (HOSTILE + "title")[:300]
    plain["version"] = HOSTILE[:120]
    plain["intended_use"] = dict.fromkeys(plain["intended_use"], HOSTILE + LONG)
    plain["sources"] = [HOSTILE, LONG]
    names = {e["name"]: f"{i} {HOSTILE}"[:120] for i, e in enumerate(plain["endpoints"])}
    for e in plain["endpoints"]:
        e["name"] = names[e["name"]]
        e["rationale"] = LONG
    plain["operating_points"][0]["source"] = LONG
    p = StudyProtocol.model_validate(plain)

    def bad(stratum: Mapping[str, str]) -> dict[str, str]:
        return {f"{HOSTILE}{k}": f"{HOSTILE}{v}" if "P" not in v else f"{LONG}{v}" for k, v in stratum.items()}

    evidence = replace(
        s.evidence,
        model={**s.evidence.model, "name": HOSTILE, "format": LONG},
        testset={**s.evidence.testset, "set_id": HOSTILE, "version": LONG},
        software={HOSTILE: LONG},
        findings=tuple(
            replace(
                f, endpoint=names.get(f.endpoint, HOSTILE + f.endpoint), stratum=bad(f.stratum),
                estimate=replace(f.estimate, method=HOSTILE + LONG)
                if f.estimate.value is not None
                else replace(f.estimate, undefined=HOSTILE + LONG),
            )
            for f in s.evidence.findings
        ),
        accounting=tuple(replace(a, stratum=bad(a.stratum)) for a in s.evidence.accounting),
        notes=(HOSTILE, LONG),
    )  # fmt: skip
    record: dict[str, Any] = {**s.record, "run": {**s.record["run"], "command": HOSTILE + LONG, "actor": HOSTILE}}
    record["model"] = {
        **s.record["model"],
        "notes": [HOSTILE, LONG],
        "contract": {HOSTILE: LONG, "a": {"b": [HOSTILE]}},
    }
    criteria = tuple(
        replace(c, endpoint=names[c.endpoint], reason=HOSTILE + LONG, stratum=bad(c.stratum))
        for c in s.verdict.criteria
    )
    s = replace(s, protocol=p, record=record)
    return rehashed(
        s,
        evidence,
        criteria=criteria,
        reason=HOSTILE + LONG,
        not_evidence_because=(HOSTILE + LONG,),
        flags=(HOSTILE, LONG),
    )


def one_class() -> Study:
    """Only positive cases: no specificity, no AUROC, no ROC curve; the verdict cannot be met."""
    s = study(outcome="inconclusive")

    def without_negatives(f: Finding) -> Finding:
        e = f.estimate
        if f.metric in ("sensitivity", "brier", "prevalence") and e.value is not None:
            return replace(f, estimate=replace(e, n_negative=0))
        reason = "no reference-negative cases"
        return replace(f, estimate=Estimate.not_estimable(reason, n=e.n, n_positive=e.n_positive, n_negative=0))

    evidence = replace(
        s.evidence,
        findings=tuple(without_negatives(f) for f in s.evidence.findings),
        curves=tuple(c for c in s.evidence.curves if c.series == "positive"),
        accounting=tuple(a for a in s.evidence.accounting if a.reference != "negative"),
    )
    criteria: list[CriterionResult] = []
    for c in s.verdict.criteria:
        if c.metric in ("auroc", "specificity"):
            gone = Estimate.not_estimable("no reference-negative cases", n=252, n_positive=252, n_negative=0)
            c = replace(c, estimate=gone, outcome="inconclusive", reason="not estimable: no reference-negative cases")
        criteria.append(c)
    return rehashed(s, evidence, criteria=tuple(criteria), reason="2 of 4 primary criteria are inconclusive")


def bare() -> Study:
    """The emptiest record there can be, and evidence without curves, accounting or strata."""
    s = study(frozen=False, complete=False)
    evidence = replace(
        s.evidence,
        findings=tuple(f for f in s.evidence.findings if not f.stratum and f.analysis != "missing_data"),
        curves=(),
        accounting=(),
        notes=(),
        software={},
        testset={},
        model={},
        predictions={},
        protocol={},
    )
    return rehashed(replace(s, record={}), evidence)


def crowded() -> Study:
    """A stratum with 300 levels, and a criterion judged in each of them."""
    s = study(outcome="not_met")
    primary = next(f for f in s.evidence.findings if f.endpoint == "sensitivity" and not f.stratum)
    levels = [f"site {i:03d} of a very large consortium" for i in range(300)]
    more = tuple(replace(primary, stratum={"site": level}) for level in levels)
    accounts = tuple(
        Account(status="ok", reference=r, stratum={"site": level}, n=5 + i % 7, n_patients=5)
        for i, level in enumerate(levels)
        for r in ("positive", "negative")
    )
    judged = next(c for c in s.verdict.criteria if c.endpoint == "sensitivity")
    criteria = (*s.verdict.criteria, *(replace(judged, stratum={"site": level}) for level in levels))
    evidence = replace(
        s.evidence, findings=(*s.evidence.findings, *more), accounting=(*s.evidence.accounting, *accounts)
    )
    return rehashed(s, evidence, criteria=criteria)


def overfull() -> Study:
    """Everything at once on the summary page: many long criteria, flags, reasons."""
    s = hostile()
    verdict = replace(
        s.verdict, criteria=s.verdict.criteria * 4, flags=(HOSTILE,) * 9, not_evidence_because=("W" * 400,) * 5
    )
    few = tuple(f for f in s.evidence.findings if not f.stratum)
    return rehashed(replace(s, verdict=verdict), replace(s.evidence, findings=few))


ODD = {"hostile": hostile, "one_class": one_class, "bare": bare, "crowded": crowded, "overfull": overfull}
