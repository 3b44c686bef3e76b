"""R30: which version of evalsuite made this report, what it was tested with, and what that does not say."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.report.format import format_count
from evalsuite.report.material import Material
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Facts, Item, Prose, Section

_STATISTICS = ("numpy", "scipy", "numba", "pandas", "pyarrow")


def tool(material: Material) -> Section:
    """Version, self-test and statistical packages; validation in the user's organisation is a person's to state."""
    m = material
    packages = m.recorded("software.packages", {})
    known = packages if isinstance(packages, Mapping) else {}
    versions = {**{k: known[k] for k in _STATISTICS if k in known}, **dict(m.evidence.software)}
    versions.pop("evalsuite", None)
    items = [
        Item(name="evalsuite", value=m.text("software.evalsuite")),
        Item(
            name="Intended use",
            value="Evaluates a fixed version of a device on a locked test set by a protocol stated beforehand. It "
            "takes no part in the care of patients.",
        ),
        Item(name="Statistics", value=", ".join(f"{clean(k)} {clean(v)}" for k, v in sorted(versions.items()))),
        *_selftest(m),
    ]
    text = (
        "The self-test computes figures of published examples with the statistics this report uses, and compares them "
        "with the published values; evalsuite selftest repeats it. Requirements, tests, known anomalies and scripts "
        "for the qualification of an installation are in docs/validation of the software. Validation for the intended "
        "use in an organisation is that organisation's to do and to record."
    )
    blocks: list[Block] = [Facts(items=tuple(items)), Prose(paragraphs=(text,))]
    return Section(id="tool", number="", title="Validation of the tool", code="R30", blocks=tuple(blocks))


def _selftest(m: Material) -> list[Item]:
    found = m.recorded("selftest")
    if not isinstance(found, Mapping) and m.recorded("view") is not None:
        return [Item(name="Self-test", value="Not part of this view of the report.")]
    if not isinstance(found, Mapping):
        return [Item(name="Self-test", value="Not recorded with this run.", tone="warning")]
    n, failed = int(found.get("n", 0)), list(found.get("failed", ()))
    if failed:
        words = f"{format_count(len(failed))} of {format_count(n)} known answers NOT reproduced: "
        value = words + ", ".join(clean(name, longest=80) for name in failed[:10])
    else:
        value = f"{format_count(n)} of {format_count(n)} known answers reproduced"
    return [
        Item(name="Self-test", value=value, tone="not_met" if failed else "neutral"),
        Item(name="Self-test id", value=clean(found.get("id"), longest=80), mono=True),
    ]
