"""A deployment's history in a file and in a shared PostgreSQL: chains apart, two audits at once, signed lines."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from evalsuite.errors import InputError
from evalsuite.record.signing import load_signer, write_key_pair
from evalsuite.spine import Who
from evalsuite.spine.audit_history import Audit, append, audits, open_history, standing
from tests.postgres import cluster

WHO = Who(actor="qa", now=lambda: "2026-03-01T10:00:00.000Z")
FIRST = Audit(
    run="r1",
    utc="2026-03-01T10:00:00.000Z",
    protocol="p" * 64,
    protocol_id="audit",
    protocol_version="1",
    window="w" * 64,
    model="m" * 64,
    overall="met",
    next_due="2026-04-01",
    indicators=({"name": "Input: scanner", "status": "normal", "value": 0.1},),
    left={"figures": {}, "detectors": {}, "alarmed": []},
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A history of its own in every test: a file, or a deployment's chain in the shared server."""
    if request.param == "sqlite":
        return str(tmp_path / "history.sqlite")
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def deployment(tmp_path: Path) -> str:
    return f"site of {tmp_path}"


def test_audits_of_two_deployments_do_not_mix(place: str, deployment: str) -> None:
    one, other = open_history(place, deployment), open_history(place, f"{deployment}, another device")
    append(one, FIRST, WHO, after=())
    assert [a.run for a in audits(one)] == ["r1"]
    assert audits(other) == ()
    with pytest.raises(InputError, match="no audit yet"):
        standing(other, now="2026-03-02T00:00:00.000Z")
    found = standing(open_history(place, deployment), now="2026-04-02T00:00:00.000Z")
    assert (found.n_audits, found.overdue, found.in_order) == (1, True, False)


def test_of_two_audits_at_once_one_is_entered_and_the_chain_holds(place: str, deployment: str) -> None:
    append(open_history(place, deployment), FIRST, WHO, after=())

    def audit(run: str) -> str:
        """Each knows the first audit only, and has a connection of its own, as two machines have."""
        try:
            append(open_history(place, deployment), replace(FIRST, run=run), WHO, after=(FIRST,))
        except InputError as refused:
            return refused.message
        return "entered"

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(audit, ["r2", "r3"]))
    assert said[1] == "entered"
    assert "while this one was under way" in said[0]
    known = audits(open_history(place, deployment))
    assert known[0].run == "r1"
    assert len(known) == 2
    again = append(open_history(place, deployment), known[1], WHO, after=(FIRST,))
    assert len(again) == 2, "the same audit twice is one"


def test_a_clock_that_goes_back_adds_nothing(place: str, deployment: str) -> None:
    kept = open_history(place, deployment)
    append(kept, FIRST, WHO, after=())
    late = replace(FIRST, run="r2", utc="2026-02-01T00:00:00.000Z")
    with pytest.raises(InputError, match="clock"):
        append(kept, late, WHO, after=(FIRST,))
    assert len(audits(kept)) == 1


def test_audits_are_signed_by_whoever_has_a_key(place: str, deployment: str, tmp_path: Path) -> None:
    write_key_pair(tmp_path / "key")
    signer = load_signer(tmp_path / "key")
    kept = open_history(place, deployment)
    append(kept, FIRST, replace(WHO, signer=signer), after=())
    (entry,) = kept.entries()
    assert signer.keyid in str(entry.objects)
    append(kept, replace(FIRST, run="r2"), WHO, after=(FIRST,))
    signed = [signer.keyid in str(e.objects) for e in kept.entries()]
    assert signed == [True, False], "whose line it is can be told, line by line"
