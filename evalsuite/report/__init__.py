"""The report: a view model of evidence and verdict, placed on pages; nothing is computed here."""

from __future__ import annotations

from evalsuite.report.dossier import build_dossier
from evalsuite.report.format import format_estimate
from evalsuite.report.view import Dossier
from evalsuite.report.write import write_report

__all__ = ["Dossier", "build_dossier", "format_estimate", "write_report"]
