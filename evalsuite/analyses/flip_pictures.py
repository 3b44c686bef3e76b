"""Pictures of the cases (or lesions) that two devices decided differently: those with the largest change first."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.analyses.exhibits import rows_of, shows_images
from evalsuite.analyses.failure_pictures import case_picture
from evalsuite.analyses.flips import BROKEN, FIXED, LISTING
from evalsuite.analyses.lesion_pictures import lesions_shown
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset.reference_files import ReferenceFiles
from evalsuite.testset.types import LockedTestSet
from evalsuite.types import Listing, Picture

#: Pictures of each kind of change and comparison, where the failure analysis does not say how many.
SHOWN = 4
_BESIDE = {BROKEN: "right before", FIXED: "wrong before"}


def group_of(row: Mapping[str, str]) -> str:
    """What a picture is an example of: the kind of change, and in which comparison."""
    return f"{row['change']}: {row['comparison']}"


def flip_pictures(
    protocol: StudyProtocol, listings: tuple[Listing, ...], testset: LockedTestSet, outlines: Mapping[str, str]
) -> tuple[Picture, ...]:
    """`analyses.failures.shown` pictures (4 unless given) of each kind of change; of a lesion the slice through it.

    Nothing where the protocol shows no images, or the set has none; a case whose image cannot be read has no picture.
    Raises LockError where an image shown is not the one that was locked.
    """
    listing = next((x for x in listings if x.name == LISTING), None)
    if listing is None or not testset.has_images or not shows_images(protocol):
        return ()
    asked = protocol.analyses.failures
    most = SHOWN if asked is None else asked.shown
    rows = [r for r in rows_of(listing) if r["change"] in _BESIDE]
    if protocol.task.kind == "detection":
        chosen = [(group_of(r), _lesion_title(r), int(r["lesion"])) for r in rows]
        return lesions_shown(protocol, listings, testset, chosen, most=most)
    files = ReferenceFiles.of(testset)
    by_id = {c.case_id: c for c in testset.cases}
    made: list[Picture] = []
    shown: dict[str, int] = {}
    for row in rows:
        group = group_of(row)
        if shown.get(group, 0) >= most:
            continue
        outline = outlines.get(row["case_id"], "")
        title, note = _title(row), f"reference {row['reference']}"
        picture = case_picture(testset, by_id[row["case_id"]], files, outline, group=group, title=title, note=note)
        if picture is not None:
            made.append(picture)
            shown[group] = shown.get(group, 0) + 1
    return tuple(made)


def _title(row: Mapping[str, str]) -> str:
    """The other device's score, then the candidate's; where there are several classes the classes that they called."""
    if row["called"] in ("positive", "negative") and row["score"] and row["score_before"]:
        return f"score {_short(row['score_before'])} → {_short(row['score'])}"
    return f"{row['called_before']} → {row['called']}"


def _lesion_title(row: Mapping[str, str]) -> str:
    before, now = (_short(row[c]) if row[c] else "no mark" for c in ("score_before", "score"))
    return f"score {before} → {now}"


def _short(cell: str) -> str:
    return f"{float(cell):.3g}"
