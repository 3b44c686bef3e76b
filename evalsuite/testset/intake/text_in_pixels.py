"""Text burned into the pixels: what the header admits, and what looks like printed letters."""

from __future__ import annotations

from evalsuite.testset.intake.types import CheckResult, Intake, coverage, plural

_TITLE = "Text burned into the image"
_WHY = "Burned-in text may name the patient, and lets a model read a label instead of the anatomy."


def burned_in_text(intake: Intake) -> CheckResult:
    """Images whose header says so (BurnedInAnnotation), and images with rows of letter-like strokes."""
    names = [n for n in intake.image_files if n in intake.looks]
    stated = [n for n in names if (h := intake.looks[n].header) and h.burned_in == "YES"]
    looked = [n for n in names if intake.looks[n].decoded == "ok"]
    seen = [n for n in looked if intake.looks[n].text_lines]
    if not looked and not stated:
        said = "the set has no images" if not intake.image_files else "no image was decoded"
        return CheckResult(check="burned_in", title=_TITLE, outcome="not_checked", summary=said, why=_WHY)
    both = list(dict.fromkeys([*stated, *seen]))
    said = f"none in {plural(len(looked), 'image')}{coverage(intake)}"
    if both:
        said = (
            f"{plural(len(both), 'image')}: {len(stated):,} by the header's own statement, {len(seen):,} with "
            f"letter-like strokes{coverage(intake)}"
        )
    return CheckResult(
        check="burned_in",
        title=_TITLE,
        outcome="warning" if both else "ok",
        summary=said,
        counts={"files": len(both), "stated": len(stated), "seen": len(seen), "looked_at": len(looked)},
        cases=intake.cases_of(both),
        why=_WHY,
        action="Look at these images; mask the text at its source where it identifies somebody." if both else "",
    )
