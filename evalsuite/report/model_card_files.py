"""A model card as files: the CHAI Applied Model Card in XML for programs, Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from xml.sax.saxutils import escape

from evalsuite.report.model_card import OPEN, KeyMetric, Measured, ModelCard
from evalsuite.types import Finding

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
#: A string of PDF/A is no longer than this (ISO 19005-2, 6.1.13); the card is one, in the document's information.
LONGEST = 32_000
_BLOCKS = ("BasicInfo", "ReleaseInfo", "ModelSummary", "UsesAndDirections", "Warnings", "TrustIngredients")


def chai_xml(card: ModelCard) -> bytes:
    """The card as XML (ASCII), after the schema of the Coalition for Health AI, draft v0.2.

    A field that nobody filled says so: the schema has no way to leave it out. Figures that would make it longer than
    a PDF's document information may be are left out from the end, and the interpretation stays.

    References
    ----------
    https://github.com/coalition-for-health-ai/mc-schema, v0.2/schema.xsd (checked 2026-11).
    """
    for most in (64, 12, 4, 1):
        data = "\n".join(_xml(card, most)).encode("ascii", "xmlcharrefreplace") + b"\n"
        if len(data) <= LONGEST:
            break
    return data


def _xml(card: ModelCard, most: int) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<AppliedModelCard xmlns="{NAMESPACE}">'
    for block in _BLOCKS:
        yield from _block(card, block)
    yield "<KeyMetrics>"
    for metric in card.metrics:
        yield from _metric(card, metric, most)
    yield "</KeyMetrics>"
    yield from _block(card, "Resources")
    yield "<Bibliography></Bibliography>"
    yield "</AppliedModelCard>"


def _block(card: ModelCard, name: str) -> Iterator[str]:
    mine = [f for f in card.fields if f.path.startswith(f"{name}/") and not (f.optional and f.text is None)]
    yield f"<{name}>"
    for inner, group in groupby(mine, key=lambda f: f.path.split("/")[1] if f.path.count("/") == 2 else ""):
        yield from [f"<{inner}>"] if inner else []
        yield from (_element(f.path.split("/")[-1], f.text or OPEN) for f in group)
        yield from [f"</{inner}>"] if inner else []
    yield from ["<Keywords/>"] if name == "ModelSummary" else []
    yield f"</{name}>"


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _metric(card: ModelCard, metric: KeyMetric, most: int) -> Iterator[str]:
    yield f"<{metric.path}>"
    yield _element("MetricGoal", metric.goal)
    yield "<Results>"
    for one in metric.results[:most] or (Measured(label="Nothing was measured", words="none"),):
        label, value = _element("Label", one.label), _element("ValueJson", _value(one))
        yield f"<MetricResult>{label}{value}</MetricResult>"
    yield "</Results>"
    yield _element("Interpretation", metric.interpretation)
    yield _element("TestType", card.test_type)
    yield _element("TestingDataDescription", card.test_data)
    yield _element("ValidationProcessAndJustification", card.validation)
    yield f"</{metric.path}>"


def _value(one: Measured) -> str:
    """The figure as the schema's examples write it: with its interval, as a single number, or as a text."""
    f: Finding | None = one.finding
    plain: dict[str, object] = {"kind": "text", "value": one.words}
    if one.count is not None:
        plain = {"kind": "single", "value": one.count}
    elif f is not None and f.estimate.value is not None:
        e = f.estimate
        plain = {"kind": "single", "value": e.value}
        if e.low is not None and e.high is not None:
            level = round(100 * e.level, 6)
            plain = {"kind": "estimate_ci", "estimate": e.value, "lower": e.low, "upper": e.high, "level": level}
    return json.dumps(plain, allow_nan=False)


def markdown(card: ModelCard) -> str:
    """The card for people, as Markdown; its texts stay texts."""
    lines = [f"# Model card: {_plain(card.name)}", ""]
    if card.warning:
        lines += [f"**{_plain(card.warning)}**", ""]
    open_items = card.open_items
    if open_items:
        lines += ["Open items, which only the manufacturer can state:", ""]
        lines += [f"- {_plain(item)}" for item in open_items] + [""]
    for block, group in groupby(card.fields, key=lambda f: f.path.split("/")[0]):
        shown = [f for f in group if f.text is not None]
        if shown:
            lines += [f"## {_HEADINGS[block]}", ""]
            lines += [f"- **{_plain(f.title)}:** {_plain(f.text or OPEN)}" for f in shown] + [""]
    for metric in card.metrics:
        lines += [f"## {metric.title}", "", f"Asked: {_plain(metric.goal)}", ""]
        if metric.results:
            lines += ["| figure | result |", "|---|---|"]
            lines += [f"| {_plain(r.label)} | {_plain(r.words)} |" for r in metric.results] + [""]
        lines += [_plain(metric.interpretation), ""]
    lines += ["## Test", "", f"{_plain(card.test_type)}. {_plain(card.test_data)}", "", _plain(card.validation), ""]
    return "\n".join(lines)


_HEADINGS = {
    "BasicInfo": "Device",
    "ReleaseInfo": "Release",
    "ModelSummary": "Summary",
    "UsesAndDirections": "Use",
    "Warnings": "Warnings",
    "TrustIngredients": "How it was made",
    "Resources": "Resources",
}


def _plain(text: str) -> str:
    """`text` with every character that Markdown, or HTML inside it, would take for markup escaped."""
    escaped = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!&~$" else c for c in text)
    return escaped.replace("://", "\\://").replace("www.", "www\\.")  # some readers make links of bare addresses
