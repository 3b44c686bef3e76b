"""The test set: its case table, its lock, its groups of cases, and its sealed reference standard."""

from evalsuite.testset.intake import IntakeOptions
from evalsuite.testset.lock import lock_testset
from evalsuite.testset.open import open_reference, open_testset, read_intake
from evalsuite.testset.selection import Draw
from evalsuite.testset.strata import StratumLabels, assign_strata
from evalsuite.testset.table import read_table
from evalsuite.testset.types import Case, LockedTestSet
from evalsuite.testset.verify import verify_testset

__all__ = [
    "Case",
    "Draw",
    "IntakeOptions",
    "LockedTestSet",
    "StratumLabels",
    "assign_strata",
    "lock_testset",
    "open_reference",
    "open_testset",
    "read_intake",
    "read_table",
    "verify_testset",
]
