"""Taking a test set in: every file is read once, hashed, looked at, and the whole is put through the intake checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import CaseTableError, Problem
from evalsuite.imaging.header_processes import HeaderTask
from evalsuite.testset.attributes import Attributes, attribute_names, collect
from evalsuite.testset.columns import Roles, Wanted
from evalsuite.testset.intake import Intake, IntakeOptions, IntakeReport, examine_intake
from evalsuite.testset.intake.types import DecodeCheck
from evalsuite.testset.open import patients_of
from evalsuite.testset.reading import OnProgress, read_files, sizes_of

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.protocol.schema import StudyProtocol

_ALL_UP_TO = 1_000_000_000  # bytes of images that `auto` decodes wholly
_SAMPLE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the files of a set came to. `series_order` holds, per series folder, positions in its sorted file names."""

    files: list[dict[str, Any]]
    attributes: Attributes
    report: IntakeReport
    series_order: dict[str, list[int]]
    digests_by_case: Mapping[str, tuple[str, ...]]


def take_in(
    frame: pd.DataFrame,
    roles: Roles,
    wanted: Wanted,
    members: Mapping[str, tuple[str, ...]],
    *,
    folder: Path,
    table: Path,
    protocol: StudyProtocol | None,
    options: IntakeOptions,
    today: date,
    target: Path | None,
    encrypted: bool = False,
    on_progress: OnProgress | None,
) -> Taken:
    """Read, hash and check all files that a checked table names.

    Parameters
    ----------
    members
        Which files each path cell stands for.
    target
        Where the files are copied to, or None.
    encrypted
        Whether the reference standard will be: then the report tells no sums of it either.

    Raises
    ------
    CaseTableError
        If files cannot be read, or columns are named like attributes that are read.
    InputError
        If the development manifest cannot be used.
    """
    case_ids = frame[roles.case].tolist()
    cells = list(zip(*(frame[c].tolist() for c in sorted(roles.images)), strict=True)) or [()] * len(case_ids)
    images = [tuple(name for cell in row if cell for name in members[cell]) for row in cells]
    # the column `image` before the others: its header is the case's
    ranked = sorted(roles.images, key=lambda c: (c != "image", c))
    ranked_cells = list(zip(*(frame[c].tolist() for c in ranked), strict=True)) or [()] * len(case_ids)
    first = [[members[cell][0] for cell in row if cell] for row in ranked_cells]
    sizes = sizes_of(sorted({name for files in members.values() for name in files}), folder, table)
    image_files = list(dict.fromkeys(name for names in images for name in names))
    decode = to_decode(options.decode, image_files, sizes)
    read = read_files(
        sizes,
        folder,
        table,
        images=frozenset(image_files),
        decode=decode,
        headers=_header_task(frame, roles, wanted, first, today),
        target=target,
        on_progress=on_progress,
    )
    attributes = collect(first, read.looks, wanted.attributes)
    _require_no_clash(frame, attributes, table)
    digests = {entry["path"]: entry["sha256"] for entry in read.entries}
    series = {cell: members[cell] for row in cells for cell in row if cell and members[cell] != (cell,)}
    checked = frame.assign(**{name: list(texts) for name, texts in attributes.columns.items()})
    report = examine_intake(
        Intake(
            frame=checked,
            roles=roles,
            case_ids=case_ids,
            patients=patients_of(case_ids, frame[roles.patient].tolist() if roles.patient else [""] * len(case_ids)),
            images=images,
            series=series,
            digests=digests,
            looks=read.looks,
            protocol=protocol,
            development=options.development,
            decode=options.decode,
            today=today,
            encrypted=encrypted,
        )
    )
    return Taken(
        files=read.entries,
        attributes=attributes,
        report=report,
        series_order=_orders(series, report),
        digests_by_case={c: tuple(digests[n] for n in names) for c, names in zip(case_ids, images, strict=True)},
    )


def to_decode(how: DecodeCheck, images: Sequence[str], sizes: Mapping[str, int]) -> frozenset[str]:
    """Which images are decoded: all, none, or 200 evenly spread; `auto` is all up to 1 GB, else the sample."""
    if how == "none":
        return frozenset()
    if how == "all" or (how == "auto" and sum(sizes[n] for n in images) <= _ALL_UP_TO) or len(images) <= _SAMPLE:
        return frozenset(images)
    return frozenset(images[i * len(images) // _SAMPLE] for i in range(_SAMPLE))


def _header_task(
    frame: pd.DataFrame, roles: Roles, wanted: Wanted, first: Sequence[Sequence[str]], today: date
) -> HeaderTask:
    """What is read of DICOM headers; identifiers of the table are pseudonyms."""
    named = [c for c in (roles.case, roles.patient, "study_id") if c in frame.columns]
    return HeaderTask(
        today=today,
        pseudonyms=frozenset(cell for c in named for cell in frame[c].tolist()),
        keywords=attribute_names(wanted.attributes),
        with_attributes=frozenset(name for case in first for name in case),
    )


def _require_no_clash(frame: pd.DataFrame, attributes: Attributes, table: Path) -> None:
    clash = [c for c in attributes.columns if c in frame.columns]
    if clash:
        raise CaseTableError(
            f"{table} has columns named like attributes that are read from its DICOM files",
            problems=[Problem(what=f"column {c!r}") for c in clash],
            hint="Rename the columns.",
        )


def _orders(series: Mapping[str, tuple[str, ...]], report: IntakeReport) -> dict[str, list[int]]:
    """Per folder the order of its slices, where it is not that of the names; files that are no slices come last."""
    orders = {}
    for folder, facts in report.series.items():
        names = series[folder]
        position = {name: i for i, name in enumerate(names)}
        order = [position[name] for name in facts.order]
        order += [i for i in range(len(names)) if i not in set(order)]
        if order != sorted(order):
            orders[folder] = order
    return orders
