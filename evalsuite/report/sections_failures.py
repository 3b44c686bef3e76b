"""Failure analysis: the worst wrong cases first, what nearly went wrong, doubtful references, and groups with more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evalsuite.report.format import (
    format_count,
    format_interval,
    format_level_name,
    format_p,
    format_percent,
    format_stratum,
    not_estimable,
)
from evalsuite.report.material import Material, anchor, places, tested
from evalsuite.report.sections_sources import p_words
from evalsuite.report.text import clean, given, short_digest
from evalsuite.report.view import Block, Cell, Column, Heading, Prose, Row, Table
from evalsuite.types import Finding, Listing, TestOutcome

ANALYSIS = "failures"
LISTING = "failures"
#: Rows printed of each kind; every one is in the attached listing.
MOST_CASES, MOST_GROUPS = 12, 14
_SHARE = "prevalence"  # the name of any proportion prints a share in per cent
#: What each kind is called, and what it is.
KINDS = {
    "false negative": ("False negatives", "positive cases called negative"),
    "false positive": ("False positives", "negative cases called positive"),
    "wrong answer": ("Wrong answers", "cases given another answer than the reference's"),
    "no output": ("Cases without output", "cases the device gave no usable output for"),
    "nearly wrong": ("Nearly wrong", "cases decided rightly, within the declared band of the other decision"),
}


def failures(material: Material) -> tuple[list[Block], list[Block]]:
    """Everything about wrong cases but their pictures: the cases, then doubtful references and groups; nothing where
    the protocol does not ask."""
    listing = next((x for x in material.exhibits.listings if x.name == LISTING), None)
    counted = any(True for _ in material.findings(analysis=ANALYSIS))
    if material.protocol.analyses.failures is None or (listing is None and not counted):
        return [], []  # not asked for, or withheld in this copy of the report
    told = [f for _, f in material.findings(analysis=ANALYSIS) if not f.stratum]
    blocks: list[Block] = [Prose(paragraphs=tuple(_summary(material)), of=places(material, told))]
    blocks += reviewed(material)
    if listing is not None:
        blocks += _worst(material, listing)
    doubtful = [] if listing is None else [*_doubtful(material, listing)]
    return blocks, [*doubtful, *_groups(material)]


def kind_title(kind: str) -> str:
    """ "False negatives" for the listing's "false negative"; None of ours: the word itself."""
    return KINDS[kind][0] if kind in KINDS else clean(kind, longest=60)


def in_kinds(listing: Listing) -> dict[str, list[Mapping[str, str]]]:
    """The listing's rows by kind, in its order."""
    made: dict[str, list[Mapping[str, str]]] = {}
    for cells in listing.rows:
        row = dict(zip(listing.columns, cells, strict=True))
        made.setdefault(row["kind"], []).append(row)
    return made


# --- in words -------------------------------------------------------------------------------------------------------


def _summary(m: Material) -> Iterator[str]:
    """How many were wrong, which groups have more, and what may not be concluded."""
    said = []
    for _, f in m.findings(analysis=ANALYSIS):
        if f.stratum or f.estimate.value is None:
            continue
        share = f"{format_count(f.estimate.numerator)} of {format_count(f.estimate.denominator)}"
        said.append(f"{kind_title(f.endpoint).lower()}: {share} ({format_percent(f.estimate.value)}\u00a0%)")
    if said:
        at = next((f.operating_point for _, f in m.findings(analysis=ANALYSIS)), None)
        where = f" at the operating point “{clean(at, longest=60)}”" if at else ""
        text = "; ".join(said)
        yield f"{text[0].upper()}{text[1:]}{where}. Cases without an established reference are left out."
    yield from _hazards(m)
    yield groups_in_words(_tests(m))


def _hazards(m: Material) -> Iterator[str]:
    """Which claims or hazards the protocol ties to each kind of failure, by the endpoints that count it."""
    counted = {"sensitivity": "false negative", "specificity": "false positive", "accuracy": "wrong answer"}
    said: dict[str, list[str]] = {}
    named = {e.name: counted[e.metric] for e in m.protocol.endpoints if e.metric in counted}
    for key, value in m.protocol.clauses.items():
        for kind in dict.fromkeys(named[n] for n in _endpoints_of(key, value, named)):
            words = clean(value if key in named and isinstance(value, str) else key, longest=80)
            said.setdefault(kind, []).append(words)
    for kind, claims in said.items():
        yield f"{kind_title(kind)} bear on: {'; '.join(dict.fromkeys(claims))} (the protocol's clauses)."


def _endpoints_of(key: str, value: object, named: Mapping[str, str]) -> Iterator[str]:
    """Endpoints that an entry of `clauses` speaks of, written either way round."""
    if key in named:
        yield key
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, str) and name in named and name != key:
            yield name


def groups_in_words(tests: Sequence[TestOutcome]) -> str:
    """One sentence on the groups searched: which have more failures after adjustment, or that none was shown to."""
    if not tests:
        return (
            "No group could be compared with the others for more failures: no stratum was named, one group holds all "
            "cases, or nothing was wrong."
        )
    more = [t for t in tests if t.p_adjusted is not None and t.p_adjusted <= 0.05]
    caution = (
        "Groups were searched after the fact; what is found here is a lead to follow, not a result, and what is not "
        "found is not shown to be absent."
    )
    if not more:
        return (
            f"None of {format_count(len(tests))} comparisons of a group with all others shows more failures at a false "
            f"discovery rate of 5\u00a0%. {caution}"
        )
    names = [f"{kind_title(t.endpoint or '').lower()} among {format_stratum(t.stratum)}" for t in more]
    shown = "; ".join(names[:6]) + (f"; and {len(names) - 6} more" if len(names) > 6 else "")
    return (
        f"More frequent than among all others, at a false discovery rate of 5\u00a0% over {format_count(len(tests))} "
        f"comparisons: {shown}. {caution}"
    )


# --- what a reviewer said ---------------------------------------------------------------------------------------------


def reviewed(m: Material) -> Iterator[Block]:
    """How often a reviewer put wrong cases into each category; nothing in a report without a reviewer's file."""
    counts = m.recorded("review.counts")
    asked = m.protocol.analyses.failures
    if not isinstance(counts, Mapping) or asked is None:
        return
    kinds = [k for k in KINDS if k in counts]
    names = [*(c for c in asked.categories if any(c in counts[k] for k in kinds)), ""]
    yield Heading(text="Causes, as a reviewer sees them", id="failure-causes")
    yield Table(
        label="",
        caption="Wrong cases by the reviewer's category",
        columns=(
            Column(title="Category", width=34),
            *(Column(title=kind_title(k), align="right") for k in kinds),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=clean(name, longest=60) if name else "not put into one"),
                    *(Cell(text=format_count(counts[k].get(name, 0)), kind="number") for k in kinds),
                )
            )
            for name in names
        ),
        notes=(
            f"By {given(m.recorded('review.by'), 'an unnamed reviewer')}, from a file with SHA-256 "
            f"{short_digest(m.recorded('review.sha256'))}; comments are in the attached listing. One person's "
            "judgement of single cases: no figure of this report depends on it.",
        ),
        compact=True,
        source="record.json#/review/counts",
    )


# --- cases ----------------------------------------------------------------------------------------------------------


def _worst(m: Material, listing: Listing) -> Iterator[Block]:
    groups = tuple(c for c in listing.columns if c.startswith("group: "))
    for kind, rows in in_kinds(listing).items():
        title, what = KINDS.get(kind, (kind, kind))
        shown = rows[:MOST_CASES]
        count = f"{format_count(len(shown))} of {format_count(len(rows))}" if len(rows) > len(shown) else "all"
        order = {"nearly wrong": "nearest first", "no output": "in the set's order"}.get(kind, "worst first")
        # Reference and call say something only where the kind does not say them already.
        said = () if kind in ("false negative", "false positive") else ("Reference", "Outcome")
        remarks = [tuple(_remarks(row)) for row in shown]
        yield Table(
            label="",
            caption=f"{title}: {what} ({count}, {order})",
            columns=(
                Column(title="Case", width=17),
                *(Column(title=t, width=12) for t in said),
                Column(title="Score", align="right", width=8),
                Column(title="Beyond", align="right", width=8),
                Column(title="Groups"),
                *((Column(title="Remarks", width=19),) if any(remarks) else ()),
            ),
            rows=tuple(
                _case(row, groups, bool(said), text if any(remarks) else None)
                for row, text in zip(shown, remarks, strict=True)
            ),
            notes=(_BEYOND[m.protocol.task.kind == "binary"], m.set_note),
            compact=True,
            source=f"{listing.name}.csv",
        )


_BEYOND = {
    True: "Beyond: how far the score lies on the wrong side of the threshold (minus: on the right side).",
    False: "Beyond: by how much the answer's output exceeds that of the reference's (minus: of the next answer).",
}


def _case(row: Mapping[str, str], groups: Sequence[str], decided: bool, remarks: Sequence[str] | None) -> Row:
    said = "; ".join(f"{clean(g.removeprefix('group: '), longest=30)} {format_level_name(row[g])}" for g in groups)
    outcome = (Cell(text=clean(row["reference"], longest=30)), Cell(text=_outcome(row)))
    return Row(
        cells=(
            Cell(text=clean(row["case_id"], longest=40)),
            *(outcome if decided else ()),
            Cell(text=_short(row["score"]), kind="number"),
            Cell(text=_short(row["beyond"]), kind="number"),
            Cell(text=said or "not disclosed", kind="text" if said else "muted"),
            *(() if remarks is None else (Cell(text="; ".join(remarks)),)),
        )
    )


def _outcome(row: Mapping[str, str]) -> str:
    return clean(row["called"], longest=30) if row["called"] else clean(row["output_status"], longest=30)


def _short(number: str) -> str:
    return f"{float(number):.3f}".replace("-", "−") if number else "–"


def _remarks(row: Mapping[str, str]) -> Iterator[str]:
    if row.get("category"):
        yield clean(row["category"], longest=60)
    if row["reason"]:
        yield clean(row["reason"], longest=80)
    if row["reference_error"]:
        yield "confidently wrong"
    if row.get("other_reference"):
        yield "same image, other reference"
    elif row.get("same_image_as"):
        yield "same image as another case"
    if row["nearly"] and row["kind"] != "nearly wrong":
        yield "within the band"


def _doubtful(m: Material, listing: Listing) -> Iterator[Block]:
    """Cases whose reference may be the error: confidently wrong, or the same image with another answer."""
    asked = m.protocol.analyses.failures
    rows = [dict(zip(listing.columns, r, strict=True)) for r in listing.rows]
    found = [r for r in rows if r["reference_error"] or r.get("other_reference")]
    if asked is None or (asked.confident is None and not found):
        return
    yield Heading(text="Candidates for an error of the reference", id="reference-errors")
    rule = (
        f"the device is wrong and leaves less than {asked.confident:g} of probability for the reference's answer"
        if asked.confident is not None
        else ""
    )
    twice = "the same image file stands in the set with another reference"
    if not found:
        yield Prose(paragraphs=(f"No case meets the rule: {'; or '.join(x for x in (rule, twice) if x)}.",))
        return
    text = (
        f"Candidates by rule: {'; or '.join(x for x in (rule, twice) if x)}. A confident error of the device looks the "
        "same: only a person who looks at the case can tell. No reference was changed, and every figure of this report "
        "counts these cases as they stand."
    )
    yield Prose(paragraphs=(text,))
    yield Table(
        label="",
        caption=f"Candidates for an error of the reference ({format_count(len(found))})",
        columns=(
            Column(title="Case", width=20),
            Column(title="Reference", width=14),
            Column(title="Its status", width=16),
            Column(title="Called", width=14),
            Column(title="Score", align="right", width=9),
            Column(title="Same image as"),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=clean(r["case_id"], longest=40)),
                    Cell(text=clean(r["reference"], longest=30)),
                    Cell(text=clean(r["reference_status"], longest=30) or "not stated"),
                    Cell(text=clean(r["called"], longest=30)),
                    Cell(text=_short(r["score"]), kind="number"),
                    Cell(
                        text=clean(r.get("same_image_as", ""), longest=60) or "–",
                        sub="with another reference" if r.get("other_reference") else "",
                    ),
                )
            )
            for r in found[:MOST_CASES]
        ),
        notes=(
            *((f"The first {MOST_CASES}; all are in the attached listing.",) if len(found) > MOST_CASES else ()),
            m.set_note,
        ),
        compact=True,
        source=f"{listing.name}.csv",
    )


# --- groups ---------------------------------------------------------------------------------------------------------


def _tests(m: Material) -> list[TestOutcome]:
    kinds = {f.endpoint for _, f in m.findings(analysis=ANALYSIS)}
    return [t for t in m.evidence.tests if t.endpoint in kinds and t.name.endswith(" above all others")]


def _groups(m: Material) -> Iterator[Block]:
    """Shares in each group and among all others, the least likely by chance first."""
    tests = _tests(m)
    if not tests:
        return
    found = {
        (f.endpoint, tuple(f.stratum.items()), f.reference_group): (index, f)
        for index, f in m.findings(analysis=ANALYSIS)
    }
    ranked = sorted(tests, key=lambda t: (2.0 if t.p_adjusted is None else t.p_adjusted, t.p_value or 0.0, t.name))
    rows: list[Row] = []
    shown: list[Finding] = []
    for test in ranked[:MOST_GROUPS]:
        key = tuple(m.ordered(test.stratum).items())
        inside, outside = found[test.endpoint or "", key, None], found[test.endpoint or "", key, "all others"]
        shown += [inside[1], outside[1]]
        rows.append(
            Row(
                cells=(
                    Cell(text=kind_title(test.endpoint or "")),
                    Cell(text=format_stratum(test.stratum)),
                    share_cell(inside),
                    share_cell(outside),
                    Cell(text=format_p(test.p_adjusted), sub=f"alone: {p_words(test)}", of=tested(m, test)),
                )
            )
        )
    methods = "; ".join(dict.fromkeys(clean(t.method, longest=100) for t in tests))
    level = m.interval_title
    yield Heading(text="Groups with more failures", id="failure-groups")
    yield Table(
        label="",
        caption="Where failures gather: each group against all other cases (exploratory)",
        columns=(
            Column(title="Failure", width=17),
            Column(title="Group", width=25),
            Column(title=f"In the group, {level}", width=21),
            Column(title=f"All others, {level}", width=21),
            Column(title="p, adjusted"),
        ),
        rows=tuple(rows),
        notes=(
            f"Of {format_count(len(tests))} comparisons the {format_count(len(rows))} least likely by chance. "
            f"One-sided: more in the group ({methods}); adjusted for their number by Benjamini and Hochberg. "
            "Not pre-specified.",
            m.method_note(f.estimate for f in shown),
            m.set_note,
        ),
        compact=True,
    )


def share_cell(found: tuple[int, Finding]) -> Cell:
    """A share of wrong cases as printed in a table, with its interval below."""
    index, f = found
    e = f.estimate
    if e.value is None:
        return Cell(text=not_estimable(e), kind="muted", anchor=anchor(index))
    counts = f"{format_count(e.numerator)}/{format_count(e.denominator)} · {format_percent(e.value)}\u00a0%"
    return Cell(text=counts, sub=format_interval(_SHARE, e), anchor=anchor(index))
