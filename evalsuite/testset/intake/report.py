"""The intake report: every check's row, in one fixed order, as the lock binds it and the report prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalsuite.errors import CaseTableError, Problem
from evalsuite.imaging.series import SeriesFacts
from evalsuite.testset.intake import (
    decoding,
    development,
    duplicates,
    headers,
    identifiers,
    near_duplicates,
    patients,
    planned,
    reference_gaps,
    series_folders,
    text_in_pixels,
)
from evalsuite.testset.intake.types import CheckResult, Intake

INTAKE_SCHEMA = "evalsuite/intake/1"
_STOPPING = (decoding.CHECK, development.CHECK)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeReport:
    """All rows, how much was looked at, and the order of the slices of every series folder."""

    rows: tuple[CheckResult, ...]
    decode: str
    n_images: int
    n_decoded: int
    series: Mapping[str, SeriesFacts]

    def count(self, outcome: str) -> int:
        """How many rows have this outcome."""
        return sum(1 for row in self.rows if row.outcome == outcome)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the content of SET/intake.json, whose digest the lock binds."""
        return {
            "schema": INTAKE_SCHEMA,
            "decode_check": self.decode,
            "n_images": self.n_images,
            "n_decoded": self.n_decoded,
            "outcomes": dict(sorted(Counter(row.outcome for row in self.rows).items())),
            "rows": [row.to_json() for row in self.rows],
        }


def examine_intake(intake: Intake) -> IntakeReport:
    """Run every check. None of them stops at what it finds; `require_clean` does, where that is wanted."""
    series = series_folders.read_order(intake)
    rows = (
        duplicates.same_files(intake),
        duplicates.same_pixels(intake),
        near_duplicates.near_duplicates(intake),
        development.shared_with_development(intake),
        patients.several_per_patient(intake),
        planned.counts_against_plan(intake),
        decoding.decodable(intake),
        decoding.transfer_syntaxes(intake),
        series_folders.series_folders(intake, series),
        headers.implausible_headers(intake),
        text_in_pixels.burned_in_text(intake),
        identifiers.identifiers_in_headers(intake),
        identifiers.identifiers_in_names(intake),
        identifiers.private_tags(intake),
        reference_gaps.reference_gaps(intake),
    )
    return IntakeReport(
        rows=rows,
        decode=intake.decode,
        n_images=len(intake.image_files),
        n_decoded=intake.n_decoded,
        series=series,
    )


def require_clean(report: IntakeReport, table: str) -> None:
    """With --strict: refuse images that cannot be decoded and cases shared with development data, all listed.

    Raises
    ------
    CaseTableError
        Naming every row that stops the lock and every case in it.
    """
    stopping = [row for row in report.rows if row.check in _STOPPING and row.outcome == "problem"]
    if stopping:
        problems = [Problem(what=f"{row.title}: {row.summary}", hint=row.action) for row in stopping]
        problems += [Problem(what=row.title, where=f"case {c}") for row in stopping for c in row.cases]
        raise CaseTableError(
            f"{table}: the intake checks found what --strict does not let pass",
            problems=problems,
            hint="Put these right, or lock without --strict: the findings are then part of the lock and the report.",
        )
