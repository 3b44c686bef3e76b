"""How the report says by which key something was signed, and by which clock a time is."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.report.format import format_utc
from evalsuite.report.material import Material
from evalsuite.report.text import clean
from evalsuite.report.view import Item


def signature_item(name: str, keyid: object, *, unsigned: str) -> Item:
    """`signed with Ed25519 key <id>`, or what being unsigned means here."""
    if isinstance(keyid, str) and keyid:
        return Item(name=name, value=f"signed with Ed25519 key {clean(keyid)}")
    return Item(name=name, value=f"unsigned: {unsigned}", tone="warning")


def lock_signature(m: Material) -> Item:
    keyid = m.recorded("testset.signed_by")
    if keyid is None and m.recorded("testset.signed", False):
        return Item(name="Signature", value="signed")
    return signature_item("Signature", keyid, unsigned="the lock shows change, not who made it")


def freeze_items(frozen: Mapping[str, object]) -> list[Item]:
    """Who signed the freeze, and whether anybody but this computer's clock says when it was."""
    stamped = frozen.get("timestamp_utc")
    time = (
        f"RFC 3161 timestamp of an authority, {format_utc(stamped)}; evalsuite verify checks it"
        if isinstance(stamped, str)
        else "the local clock's; no timestamp authority was configured"
    )
    return [
        signature_item("Freeze signature", frozen.get("key"), unsigned="it shows change, not who made it"),
        Item(name="Time of freezing", value=time),
    ]


def run_items(m: Material) -> list[Item]:
    """Who signed the ledger's head and the seal of the run."""
    return [
        signature_item(
            "Signed head",
            m.recorded("ledger.signed_by"),
            unsigned="entries cut off its end show only against the head above",
        ),
        signature_item("Seal of the run", m.recorded("signing.keyid"), unsigned="it shows change, not who made it"),
    ]


def times_sentence(m: Material) -> str:
    """By which clock the ledger's times are."""
    if isinstance(m.recorded("protocol.frozen.timestamp_utc"), str):
        return "Times are those of the local clock; the time of freezing is also attested by a timestamp authority."
    return "Times are those of the local clock; no timestamp authority attests them."
