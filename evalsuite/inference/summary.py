"""What is said about a finished stage: the table of answers, failures by reason, rate and latency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import ContractError
from evalsuite.inference.predictions import DEVICE, to_frame

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.inference.store import Shard
    from evalsuite.testset.types import Case


#: Reasons that are not a failure: the model itself said so of the case.
STATUS_REASONS = {"rejected": "rejected by the model", "indeterminate": "indeterminate by the model"}
_STATUS = {reason: status for status, reason in STATUS_REASONS.items()}


def answers_table(cases: Sequence[Case], joined: Shard) -> pd.DataFrame:
    """One row per case in the order of the lock, as `Predictions.table` has it."""
    return to_frame(
        {
            "case_id": [case.case_id for case in cases],
            "rater": [DEVICE] * len(cases),
            "condition": [None] * len(cases),
            "status": ["ok" if r is None else _STATUS.get(r, "failed") for r in joined.reasons],
            "reason": list(joined.reasons),
        },
        joined.outputs,
    )


def failures(reasons: Sequence[str | None]) -> dict[str, Any]:
    """How many cases failed, and for which reasons."""
    counts = Counter(reason for reason in reasons if reason is not None)
    return {"n_failed": counts.total(), "failed_by_reason": dict(sorted(counts.items()))}


def rate_and_latency(seconds: Sequence[np.ndarray], wall_s: float) -> dict[str, Any]:
    """Rate over the cases computed in this call (None where all were stored already), and a case's latency:

    the time to read and decode it, plus the time its batch took in the model. `seconds` has one array per batch.
    """
    if not seconds:
        return {"n_computed": 0, "cases_per_s": None, "latency_ms": None}
    latency = np.concatenate(seconds) * 1e3
    p50, p95, p99 = np.percentile(latency, [50, 95, 99])
    return {
        "n_computed": len(latency),
        "cases_per_s": len(latency) / wall_s,
        "latency_ms": {"p50": float(p50), "p95": float(p95), "p99": float(p99)},
    }


def require_outputs(required: Sequence[str] | None, outputs: Sequence[str]) -> None:
    """ContractError naming what the protocol's score needs and the model does not give."""
    missing = [name for name in required or () if name not in outputs]
    if missing:
        raise ContractError(
            f"the protocol's score needs {', '.join(missing)}; the model gives {', '.join(outputs)}",
            hint="Name the model's outputs in task.score, or correct the classes in the model's contract.",
        )
