"""A small share of the slow campaigns (`make tamper`, `make interrupted`, `make race`), tried on every change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import interrupted, race, tamper
from tests.campaigns.study import SmallStudy, carry_out, make_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """A study that was locked, frozen, run and signed."""
    return carry_out(make_study(tmp_path_factory.mktemp("tamper") / "study"), signed=True)


def test_whatever_is_done_to_set_or_run_is_noticed(finished: SmallStudy) -> None:
    missed = [m for outcome in tamper.try_deeds(finished) for m in outcome.missed]
    assert not missed


def test_flipped_bits_and_cuts_are_noticed(finished: SmallStudy) -> None:
    for groups, test_set in (
        (tamper.run_groups(finished.run, spread=60), False),
        (tamper.signed_groups(finished.run, flips=25), False),
        (tamper.set_groups(finished.testset), True),
    ):
        share = {what: changes[:: max(1, len(changes) // 25)] for what, changes in groups.items()}
        for outcome in tamper.campaign(
            finished.testset if test_set else finished.run, share, jobs=1, test_set=test_set
        ):
            assert outcome.tried > 0
            assert not outcome.missed


def test_the_campaign_itself_can_fail(finished: SmallStudy) -> None:
    unsealed = [("flip", "testset/location.json", 8)]
    assert tamper._try(finished.folder, unsealed, lambda folder: False) == ["flip of testset/location.json at 8"]


def test_a_killed_command_given_again_ends_in_the_same_evidence(tmp_path: Path) -> None:
    trials = interrupted.campaign(tmp_path, kills=2, jobs=1, seed=4)
    assert [t.faults for t in trials] == [()] * 2
    assert any(t.killed for t in trials)


def test_of_two_operators_on_the_last_use_one_gets_it(tmp_path: Path) -> None:
    found = race.campaign(tmp_path / "races", rounds=2, url=f"sqlite:///{tmp_path}/team.sqlite")
    assert [r.faults for r in found] == [()] * 2
