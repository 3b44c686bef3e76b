"""Intake: what is checked when a test set is taken in, and what was found, all at once."""

from evalsuite.testset.intake.report import INTAKE_SCHEMA, IntakeReport, examine_intake
from evalsuite.testset.intake.types import CheckResult, DecodeCheck, Intake, IntakeOptions, Look

__all__ = [
    "INTAKE_SCHEMA",
    "CheckResult",
    "DecodeCheck",
    "Intake",
    "IntakeOptions",
    "IntakeReport",
    "Look",
    "examine_intake",
]
