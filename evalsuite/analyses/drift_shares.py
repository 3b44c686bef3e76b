"""The shares of cases that an audit can watch: which cases count, and which of them are right."""

from __future__ import annotations

import numpy as np

from evalsuite.analyses.population import Bools

SHARES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


def share_of(metric: str, positive: Bools, call: Bools) -> tuple[Bools, Bools]:
    """Which cases count as right, and among which cases, for a share of cases. KeyError for any other metric."""
    return {
        "sensitivity": (call, positive),
        "specificity": (~call, ~positive),
        "ppv": (positive, call),
        "npv": (~positive, ~call),
        "accuracy": (call == positive, np.ones(len(call), dtype=bool)),
    }[metric]
