"""What an intake check is given, and the shape of what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalsuite.imaging.headers import Header
from evalsuite.imaging.likeness import Likeness

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.protocol.schema import StudyProtocol
    from evalsuite.testset.columns import Roles

Outcome = Literal["ok", "warning", "problem", "not_checked"]
DecodeCheck = Literal["auto", "none", "sample", "all"]
DECODE_CHECKS: tuple[DecodeCheck, ...] = ("auto", "none", "sample", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeOptions:
    """What the caller decides. `strict` makes undecodable images and shared development data stop the lock."""

    decode: DecodeCheck = "auto"
    strict: bool = False
    development: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen in one file. `decoded` is "" where nobody tried, "ok", or the code of an `ImageError`.

    `header` is None where the file is not DICOM or cannot be read (`header_broken`). `pixel_digest` identifies the
    decoded values, whatever the compression and the header.
    """

    is_dicom: bool = False
    header: Header | None = None
    header_broken: bool = False
    decoded: str = ""
    pixel_digest: str = ""
    likeness: Likeness | None = None
    text_lines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One row of the intake report. Names cases, tags and columns, never a value of a header or a cell.

    `groups` are cases that belong together (the copies of one image); `cases` are all cases concerned.
    """

    check: str
    title: str
    outcome: Outcome
    summary: str
    counts: Mapping[str, int] = field(default_factory=dict)
    cases: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    why: str = ""
    action: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "title": self.title,
            "outcome": self.outcome,
            "summary": self.summary,
            "counts": dict(self.counts),
            "cases": list(self.cases),
            "groups": [list(g) for g in self.groups],
            "why": self.why,
            "action": self.action,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A test set on its way in: its table, its files with their digests, and what was seen in them.

    `images` holds per case the files of all its image columns; `series` the files of every folder that stands for a
    series; `looks` one entry per file that was looked at. `today` is the day of locking: the checks read no clock. With
    `encrypted` the reference standard is closed to whoever reads the report, sums included.
    """

    frame: pd.DataFrame
    roles: Roles
    case_ids: Sequence[str]
    patients: Sequence[str]
    images: Sequence[tuple[str, ...]]
    series: Mapping[str, tuple[str, ...]]
    digests: Mapping[str, str]
    looks: Mapping[str, Look]
    protocol: StudyProtocol | None
    development: Path | None
    decode: DecodeCheck
    today: date
    encrypted: bool = False

    def cases_of(self, files: Sequence[str]) -> tuple[str, ...]:
        """Cases any of whose images is among `files`, in the order of the table."""
        wanted = set(files)
        return tuple(c for c, names in zip(self.case_ids, self.images, strict=True) if not wanted.isdisjoint(names))

    @property
    def image_files(self) -> list[str]:
        """All files of all image columns, each once, in the order of the table."""
        return list(dict.fromkeys(name for names in self.images for name in names))

    @property
    def n_decoded(self) -> int:
        """How many image files somebody tried to decode."""
        return sum(1 for name in self.image_files if name in self.looks and self.looks[name].decoded)


def plural(count: int, noun: str, many: str = "") -> str:
    """ "1 case", "2 cases", "1,200 cases"."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def coverage(intake: Intake) -> str:
    """ " (on 200 of 5,000 images, evenly spread)" where not every image was decoded, else ""."""
    n, total = intake.n_decoded, len(intake.image_files)
    return f" (looked at {n:,} of {total:,} images, evenly spread)" if n < total else ""


def undecoded(intake: Intake, check: str, title: str, why: str) -> CheckResult | None:
    """The row of a check on pixels where there are none to look at; None where there are."""
    if not intake.image_files:
        said, action = "the set has no images", ""
    elif intake.n_decoded == 0:
        said, action = "no image was decoded", "Lock with --decode-check all."
    else:
        return None
    return CheckResult(check=check, title=title, outcome="not_checked", summary=said, why=why, action=action)
