"""What must not matter: the same image stored or shown otherwise, and the same images run otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite.protocol.robustness import BATCH, IDENTITY, Robustness, Setting, settings_of
from evalsuite.report.format import format_count, format_interval, format_percent, not_estimable
from evalsuite.report.material import Material, anchor
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Heading, Prose, Row, Section, Table
from evalsuite.types import Finding

ANALYSIS = "robustness"
CLEAN, ANSWERS = "clean images", "answers"
LARGEST, LOWEST = "largest_score_change", "lowest_mask_agreement"
_SHARE = "prevalence"  # the name of any proportion prints a share in per cent
_CHECKS = {
    IDENTITY: "The same images once more, among others",
    BATCH: "In reverse order, in batches of another size",
    "flip_horizontal": "Left and right exchanged",
    "flip_vertical": "Top and bottom exchanged",
    "axes": "Stored with other axes, and their affine",
    "units": "Stored as NIfTI, header in metres",
    "nifti": "Stored as NIfTI, header in millimetres",
    "dicom": "Stored as a DICOM series",
}

Indexed = tuple[int, Finding]
Found = dict[tuple[str, str, str | None, str | None, tuple[tuple[str, str], ...]], Indexed]


def found_of(m: Material) -> Found:
    """The analysis's findings by endpoint, metric, condition, what they are compared with, and group; what is said of
    one label or structure of the answers goes by `of_target`."""
    return {
        (
            of_target(f.target) if f.endpoint == ANSWERS else f.endpoint,
            f.metric,
            f.condition,
            f.reference_group,
            tuple(f.stratum.items()),
        ): (index, f)
        for index, f in m.findings(analysis=ANALYSIS)
    }


def of_target(target: str | None) -> str:
    """The name under which the answers of one label or structure are found; of the whole case without one."""
    return ANSWERS if target is None else f"{ANSWERS}: {target}"


def targets_of(found: Found, metric: str) -> list[str]:
    """Labels or structures of which the answers have this metric, each once."""
    named = (x[1].target for key, x in found.items() if key[1] == metric and key[0] == of_target(x[1].target))
    return [target for target in dict.fromkeys(named) if target is not None]


def share(x: Indexed | None) -> Cell:
    """ "3/60 · 5.0 %" with its interval."""
    if x is None:
        return Cell(text="–", kind="number")
    e = x[1].estimate
    if e.value is None:
        return Cell(text=not_estimable(e), kind="muted", anchor=anchor(x[0]))
    counts = f"{format_count(e.numerator)}/{format_count(e.denominator)} · {format_percent(e.value)}\u00a0%"
    return Cell(text=counts, sub=format_interval(_SHARE, e), kind="number", anchor=anchor(x[0]))


# --- checks ---------------------------------------------------------------------------------------------------------


def checks(m: Material, asked: Robustness, found: Found) -> Iterator[Block]:
    """The table of what must not matter."""
    rows = []
    outlined = bool(targets_of(found, LOWEST))
    for name in (IDENTITY, BATCH, *asked.symmetric, *asked.storage):
        most = _extreme(found, name)
        flips = found.get((ANSWERS, "flip_rate", name, CLEAN, ()))
        if most is None and flips is None:
            continue
        rows.append(
            Row(
                cells=(
                    Cell(text=_CHECKS[name]),
                    _number(most),
                    share(flips),
                    Cell(text=check_words(name, asked, most, flips)),
                )
            )
        )
    if not rows:
        return
    yield Heading(text="What must not matter", id="metamorphic-checks")
    first = "Lowest agreement of a mask (Dice)" if outlined else "Largest change of the score"
    yield Table(
        label="",
        caption="Answers where nothing of substance changed",
        columns=(
            Column(title="Shown", width=34),
            Column(title=first, align="right", width=17),
            Column(title="Calls changed", align="right", width=22),
            Column(title="Outcome"),
        ),
        rows=tuple(rows),
        notes=(
            f"Tolerance: {asked.tolerance:g}, of a score up to 1 in size (relative beyond), or of 1 less the agreement "
            "of two masks; for the number and order of cases and for how an image is stored.",
            m.set_note,
        ),
        compact=True,
    )


def _extreme(found: Found, name: str) -> Indexed | None:
    """The largest change, or the lowest agreement of any structure."""
    single = found.get((ANSWERS, LARGEST, name, CLEAN, ()))
    if single is not None:
        return single
    masks = [found.get((of_target(t), LOWEST, name, CLEAN, ())) for t in targets_of(found, LOWEST)]
    known = [x for x in masks if x is not None]
    return min(known, key=lambda x: -1.0 if x[1].estimate.value is None else x[1].estimate.value, default=None)


def _number(x: Indexed | None) -> Cell:
    if x is None:
        return Cell(text="–", kind="number")
    e = x[1].estimate
    if e.value is None:
        return Cell(text=not_estimable(e), kind="muted", anchor=anchor(x[0]))
    text = f"{e.value:.2g}" if x[1].metric == LARGEST else f"{e.value:.5f}"
    return Cell(text=text, kind="number", anchor=anchor(x[0]))


def check_words(name: str, asked: Robustness, most: Indexed | None, flips: Indexed | None) -> str:
    """Whether a check holds: within the tolerance, or no call changed where there is no score."""
    if most is not None and most[1].estimate.value is None:
        return "could not be tried"
    flipped = flips is not None and bool(flips[1].estimate.value)
    if name in asked.symmetric:
        if flips is None:
            return "see the change of the answer"
        return "declared not to matter, and changes calls" if flipped else "no call changed in this sample"
    within = most is None or _off(most[1]) <= asked.tolerance
    return "holds" if within and not flipped else "does not hold"


def _off(f: Finding) -> float:
    value = f.estimate.value or 0.0
    return value if f.metric == LARGEST else 1.0 - value


# --- precision ------------------------------------------------------------------------------------------------------


def precision(m: Material) -> Section | None:
    """The same images run otherwise; None where the protocol does not ask."""
    asked = m.protocol.analyses.robustness
    found = found_of(m)
    if asked is None or asked.precision is None or not found:
        return None
    rows = tuple(_setting(m, s, found) for s in settings_of(asked))
    outlined = bool(targets_of(found, LOWEST))
    many = len(targets_of(found, "agreement_lower")) > 1
    notes = [
        "Same to the bit: cases with equal answers. Limits of agreement: mean ± 1.96 SD of the differences"
        + (", the widest of all labels." if many else "."),
        "Criteria changed: those whose bound lies on another side of the goal than with the run's own settings, on "
        "these cases. A repeat that is not the same to the bit is a network that draws numbers or adds in another "
        "order each time.",
        m.set_note,
    ]
    shown = [x[1].estimate.n for (_, metric, *_), x in found.items() if metric == "same_answer" and x[1].estimate.n]
    table = Table(
        label="",
        caption="Answers to the same images, run otherwise",
        columns=(
            Column(title="Setting", width=20),
            Column(title="Lowest agreement (Dice)" if outlined else "Largest change", align="right", width=12),
            Column(title="Limits of agreement", align="right", width=22),
            Column(title="Same to the bit", align="right", width=18),
            Column(title="Calls changed", align="right", width=18),
            Column(title="Criteria changed", align="right"),
        ),
        rows=rows,
        notes=tuple(notes),
        compact=True,
    )
    words = (
        f"{format_count(max(shown))} cases at most were run again by themselves: as in the run, and with one setting "
        "changed. Nothing is judged by it: another number format or device is admitted for a run only by the "
        "comparison that precedes it."
        if shown
        else "No setting asked for is offered by this package on this machine."
    )
    return Section(
        id="precision-of-a-run", number="", title="Precision: the same images run otherwise", code="R20",
        blocks=(Prose(paragraphs=(words,)), table),
    )  # fmt: skip


def _setting(m: Material, setting: Setting, found: Found) -> Row:
    name = setting.name
    same = found.get((ANSWERS, "same_answer", name, CLEAN, ()))
    said = Cell(text=_setting_words(setting))
    if same is not None and same[1].estimate.value is None:
        text = clean(str(same[1].estimate.undefined), longest=200)
        return Row(cells=(said, Cell(text=text, kind="muted", span=5, anchor=anchor(same[0]))))
    criteria = found.get((ANSWERS, "criteria_changed", name, CLEAN, ()))
    changed = "–" if criteria is None else f"{criteria[1].estimate.value:g}/{criteria[1].estimate.n}"
    return Row(
        cells=(
            said,
            _number(_extreme(found, name)),
            _limits(found, name, same),
            share(same),
            share(found.get((ANSWERS, "flip_rate", name, CLEAN, ()))),
            Cell(text=changed, kind="number", of=() if criteria is None else (anchor(criteria[0]),)),
        ),
    )


def _limits(found: Found, name: str, same: Indexed | None) -> Cell:
    """The limits of agreement, of several labels the widest."""
    pairs = []
    for target in (None, *targets_of(found, "agreement_lower")):
        two = [found.get((of_target(target), f"agreement_{side}", name, CLEAN, ())) for side in ("lower", "upper")]
        if two[0] is not None and two[1] is not None:
            pairs.append((two[0], two[1]))
    known = [
        (low[1].estimate.value, high[1].estimate.value, (anchor(low[0]), anchor(high[0])))
        for low, high in pairs
        if low[1].estimate.value is not None and high[1].estimate.value is not None
    ]
    if known:
        lowest, highest, of = max(known, key=lambda x: x[1] - x[0])
        return Cell(text=f"{lowest:.2g} to {highest:.2g}".replace("-", "−"), kind="number", of=of)
    if pairs:
        first = pairs[0][0]
        if same is not None and same[1].estimate.value == 1.0:
            return Cell(text="no difference", kind="number", of=tuple(anchor(x[0]) for x in pairs[0]))
        return Cell(text=not_estimable(first[1].estimate), kind="muted", anchor=anchor(first[0]))
    return Cell(text="–", kind="number")


def _setting_words(setting: Setting) -> str:
    words = {
        "precision": "Number format {}",
        "backend": "Computed by {}",
        "batch_size": "Batches of {}",
        "threads": "{} threads",
        "device": "On {}",
    }
    if not setting.change:
        return f"Once more, run {setting.name.partition('/')[2]}"
    ((key, value),) = setting.change.items()
    return "1 thread" if (key, value) == ("threads", 1) else words[key].format(value)
