"""Every text of a protocol, a record and a listing may be hostile: it is printed as text, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from factory import Study, protocol, study
from factory_odd import hostile, rehashed
from pydantic import ValidationError

from evalsuite.errors import ProtocolError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.report import build_dossier
from evalsuite.report.render import render_html
from evalsuite.types import Exhibits, Listing, Picture
from tests.inert import HOSTILE, LONG, faults_of

ALL = " ".join(HOSTILE)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inside in value.items():
            if isinstance(inside, str):
                yield key
            yield from _keys(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _keys(inside)


def _replaced(value: Any, key: str, text: str) -> Any:
    if isinstance(value, dict):
        return {k: text if k == key and isinstance(v, str) else _replaced(v, key, text) for k, v in value.items()}
    return [_replaced(v, key, text) for v in value] if isinstance(value, list) else value


PLAIN = protocol().model_dump(mode="json", by_alias=True)
KEYS = sorted(set(_keys(PLAIN)))


def _page(s: Study, **more: Any) -> str:
    return render_html(build_dossier(s.protocol, s.evidence, s.verdict, s.record, **more), medium="screen")


def _accepted(text: str) -> tuple[StudyProtocol, list[str]]:
    """A protocol with `text` under every key that may have it, and those keys; the others are refused by the schema."""
    plain, taken = PLAIN, []
    for key in KEYS:
        changed = _replaced(plain, key, text)
        try:
            StudyProtocol.model_validate(changed)
        except (ValidationError, ProtocolError):
            continue
        plain, taken = changed, [*taken, key]
    return StudyProtocol.model_validate(plain), taken


@pytest.mark.parametrize("text", [ALL, ALL[:110], LONG], ids=["all", "short", "long"])
def test_texts_of_the_protocol_stay_texts(text: str) -> None:
    p, taken = _accepted(text)
    assert {"indications", "rationale", "source", "users", "autonomy"} <= set(taken), (
        "free text is printed, not refused"
    )
    assert "id" not in taken
    assert faults_of(_page(replace(study(few=True), protocol=p))) == []


def test_texts_of_evidence_and_record_stay_texts() -> None:
    assert faults_of(_page(hostile())) == []


def test_texts_of_single_cases_stay_texts() -> None:
    pictures = tuple(
        Picture(case_id=text, group=text, title=text, note=text, image=None, width=8, height=8, aspect=1.0, drawn=())
        for text in HOSTILE
    )
    listing = Listing(
        name="structures", columns=("case_id", "structure", "dice"), rows=tuple((t, t, "0.5") for t in (*HOSTILE, LONG))
    )
    html = _page(
        rehashed(study(few=True), study(few=True).evidence), exhibits=Exhibits(listings=(listing,), pictures=pictures)
    )
    assert faults_of(html) == []
    assert "‹U+202E›gnisrever" in html


def test_what_is_looked_for_is_found() -> None:
    page = "<style></style><script></script><p>{}</p>"
    assert faults_of(page.format("fine")) == []
    for text in HOSTILE[:2] + HOSTILE[4:5] + HOSTILE[6:7] + HOSTILE[11:12]:
        assert faults_of(page.format(text)), text
