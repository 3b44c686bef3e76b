"""The page on which a report is signed: who signs in which order, what a signature means, and where its box stands."""

from __future__ import annotations

from dataclasses import dataclass

from evalsuite.report.material import Material
from evalsuite.report.view import Approvals, Prose, Section, SignatureBox


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """One who signs: the role in the ledger, its title, and what the signature means unless somebody says otherwise."""

    role: str
    title: str
    meaning: str


#: In the order in which they sign.
APPROVERS = (
    Approver(role="author", title="Author", meaning="Authorship: I answer for the content of this report."),
    Approver(role="reviewer", title="Reviewer", meaning="Review: I have checked this report against its evidence."),
    Approver(role="qa", title="QA approver", meaning="Approval: I release this report under the quality system."),
)
#: Of a box, in millimetres; `signature-box` of the style sheet has the same.
BOX_MM = (112.0, 25.0)


def box_id(role: str) -> str:
    """The name of a role's box in the document, and of its signature field in the PDF."""
    return f"signature-{role}"


def approvals(m: Material) -> tuple[Section, ...]:
    """The section with a box for each signature; none in a view that is not the whole report."""
    if m.recorded("view") is not None or m.recorded("review") is not None:
        return ()
    boxes = tuple(SignatureBox(id=box_id(a.role), title=a.title, meaning=a.meaning) for a in APPROVERS)
    said = (
        "Signed in this order, each by a person of their own. Electronic signatures are in report.signed.pdf beside "
        "this file, which is this report with nothing but signatures added (evalsuite sign). The test set's ledger "
        "names every one, and evalsuite verify checks them."
    )
    blocks = (Prose(paragraphs=(said,)), Approvals(boxes=boxes))
    return (Section(id="approvals", number="", title="Approvals and signatures", code="R32", blocks=blocks),)
