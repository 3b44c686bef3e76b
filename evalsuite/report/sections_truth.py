"""R08 and R09: how the reference standard was made, and what kept the test set apart from development."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.report.format import format_count
from evalsuite.report.material import Material
from evalsuite.report.sections_cases import reference_words
from evalsuite.report.sections_reuse import history_table, reuse_table, use_words
from evalsuite.report.text import clean, sentence
from evalsuite.report.view import Block, Facts, Item, Section

_NOT_VERIFIABLE = "Not verifiable: the test set was locked without a manifest of the development data (--development)"


def reference_standard(material: Material) -> Section:
    """What the case table says of it; how it was made is a person's to say."""
    m = material
    items = [Item(name="Values", value=sentence(reference_words(m)))]
    if m.protocol.task.reference_is == "comparator":
        text = (
            "A comparator, no reference standard: agreement (PPA, NPA) is estimated, not sensitivity and specificity."
        )
        items.append(Item(name="Standing", value=text, tone="warning"))
    if m.evidence.accounting:
        unsettled = {k: m.count(status=f"reference_{k}") for k in ("equivocal", "missing")}
        words = ", ".join(f"{format_count(n)} {k}" for k, n in unsettled.items())
        items.append(Item(name="Not established", value=f"{words}, of {format_count(m.count())} cases (section 16)"))
    items.append(Item(name="Opened", value=_opened(m)))
    if m.recorded("testset.encrypted", False):
        items.append(Item(name="Kept", value="Encrypted (AES-256-GCM) until the predictions were sealed."))
    return Section(
        id="reference-standard", number="", title="Reference standard", code="R08", blocks=(Facts(items=tuple(items)),)
    )


def _opened(m: Material) -> str:
    """When it was opened, after what, as the ledger has it."""
    if m.recorded("view") is not None:
        return "The ledger is not part of this view of the report."
    if m.recorded("ledger.head") is None:
        return "No ledger is recorded: when it was opened cannot be said."
    return "After the predictions were sealed: the ledger admits the steps in no other order (section 29)."


def independence(material: Material) -> Section:
    """Comparison with development data, uses of the cases, and results on fresh and used cases."""
    m = material
    items = [_leakage(m)]
    words = use_words(m)
    if words is not None:
        items.append(Item(name="Uses", value=sentence(words)))
    blocks: list[Block] = [Facts(items=tuple(items))]
    blocks += [t for t in (history_table(m), reuse_table(m)) if t is not None]
    return Section(id="independence", number="", title="Independence and reuse", code="R09", blocks=tuple(blocks))


def _leakage(m: Material) -> Item:
    if m.recorded("view") is not None and m.recorded("testset.intake") is None:
        return Item(name="Development data", value="Not part of this view of the report.")
    rows = m.recorded("testset.intake.rows", [])
    found = next((r for r in rows if isinstance(r, Mapping) and r.get("check") == "development"), None)
    if found is None or found.get("outcome") == "not_checked":
        return Item(name="Development data", value=f"{_NOT_VERIFIABLE}.", tone="warning")
    text = sentence(clean(found.get("summary"), longest=600))
    return Item(name="Development data", value=text, tone="neutral" if found.get("outcome") == "ok" else "warning")
