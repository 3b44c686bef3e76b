"""Images that cannot be decoded, are cut off, or use a compression nobody here can read."""

from __future__ import annotations

from collections import Counter

from evalsuite.imaging.dicom_pixels import SUPPORTED
from evalsuite.testset.intake.look import FORMAT_UNREAD
from evalsuite.testset.intake.types import CheckResult, Intake, coverage, plural, undecoded

CHECK = "decode"
_WORDS = {
    "truncated": "cut off",
    "unreadable": "not a readable image",
    "empty": "empty or without pixels",
    "channels": "with channels that are not supported",
    "photometric": "with colours that are not supported",
    "multiframe": "with several frames",
    "not_image": "DICOM objects that are no image",
}
_WHY = "A case whose image cannot be read has no output and counts against the device."


def decodable(intake: Intake) -> CheckResult:
    """Whether every image that was looked at decodes, frame by frame."""
    title = "Images that cannot be decoded"
    if (absent := undecoded(intake, CHECK, title, _WHY)) is not None:
        return absent
    status = {n: intake.looks[n].decoded for n in intake.image_files if n in intake.looks and intake.looks[n].decoded}
    bad = [n for n, s in status.items() if s not in ("ok", FORMAT_UNREAD, "transfer_syntax")]
    other = sum(1 for s in status.values() if s == FORMAT_UNREAD)
    kinds = Counter(status[n] for n in bad)
    said = f"none of {plural(len(status) - other, 'image')}{coverage(intake)}"
    if bad:
        listed = ", ".join(f"{n:,} {_WORDS.get(k, k)}" for k, n in sorted(kinds.items()))
        said = f"{plural(len(bad), 'image')}: {listed}{coverage(intake)}"
    if other:
        said += f"; {plural(other, 'file')} of formats that are only hashed (NumPy, NRRD and the like)"
    return CheckResult(
        check=CHECK,
        title=title,
        outcome="problem" if bad else ("ok" if other < len(status) else "not_checked"),
        summary=said,
        counts={"files": len(bad), "looked_at": len(status) - other, **dict(sorted(kinds.items()))},
        cases=intake.cases_of(bad),
        why=_WHY,
        action="Fetch the files again from their source." if bad else "",
    )


def transfer_syntaxes(intake: Intake) -> CheckResult:
    """DICOM files whose transfer syntax this suite does not decode, or nobody has registered."""
    title, why = (
        "Unknown transfer syntaxes",
        "Pixels in an unknown encoding cannot be read by the model's reader either.",
    )
    headers = {n: k.header for n in intake.image_files if (k := intake.looks.get(n)) and k.header is not None}
    if not headers:
        return CheckResult(
            check="transfer_syntax", title=title, outcome="not_checked", summary="no DICOM file", why=why
        )
    unknown = [n for n, h in headers.items() if h.transfer_syntax not in SUPPORTED]
    used = len({h.transfer_syntax for h in headers.values()})
    said = f"none; {plural(used, 'transfer syntax', 'transfer syntaxes')} in {plural(len(headers), 'file')}"
    return CheckResult(
        check="transfer_syntax",
        title=title,
        outcome="problem" if unknown else "ok",
        summary=f"{plural(len(unknown), 'file')} of {len(headers):,}" if unknown else said,
        counts={"files": len(unknown), "dicom_files": len(headers), "transfer_syntaxes": used},
        cases=intake.cases_of(unknown),
        why=why,
        action="Convert these files to a standard transfer syntax without loss, and lock those." if unknown else "",
    )
