"""The spine: lock, freeze, predict, evaluate, judge, report, verify, composed from the parts."""

from __future__ import annotations

from evalsuite.spine.auditing import AuditResult, audit
from evalsuite.spine.catalogue import examine, listing, schema_kinds, schema_of
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.inspection import inspect
from evalsuite.spine.prepare import freeze, lock, scaffold
from evalsuite.spine.runner import runner_named
from evalsuite.spine.running import predict_stage, report_stage, run, score_stage
from evalsuite.spine.running_context import RunResult, Who
from evalsuite.spine.scoring import require_supported
from evalsuite.spine.steps import evaluate, predict, write_report
from evalsuite.spine.verification import Verification, verify

__all__ = [
    "AuditResult",
    "RunFolder",
    "RunResult",
    "Verification",
    "Who",
    "audit",
    "evaluate",
    "examine",
    "freeze",
    "inspect",
    "listing",
    "lock",
    "predict",
    "predict_stage",
    "report_stage",
    "require_supported",
    "run",
    "runner_named",
    "scaffold",
    "schema_kinds",
    "schema_of",
    "score_stage",
    "verify",
    "write_report",
]
