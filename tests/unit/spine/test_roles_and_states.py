"""The order of a run's steps, the reuse policy, and who may do what."""

from __future__ import annotations

import pytest

from evalsuite.errors import InputError, IntegrityError, LedgerError
from evalsuite.protocol.schema import ReusePolicy, Roles
from evalsuite.record.ledger import Draft, Entry, LedgerHead, next_entry
from evalsuite.spine.reuse import Policy, excess, policy_of, refuse_excess, use_of
from evalsuite.spine.roles import role_of, violations
from evalsuite.spine.states import require_sealed, require_step, state_of

RUN = {"run": "r", "cases": "1-10"}


def chain(*said: tuple[str, str, str, dict[str, str]]) -> list[Entry]:
    head, found = LedgerHead(count=0, digest="0" * 64), []
    for action, actor, role, objects in said:
        draft = Draft(action=action, actor=actor, role=role, utc="t", reason="", objects=objects)
        found.append(next_entry(head, draft))
        head = LedgerHead(count=found[-1].seq, digest=found[-1].digest)
    return found


def steps(*actions: str) -> list[Entry]:
    return chain(*[(a, "olga", "operator", RUN | {"predictions": "d"}) for a in actions])


WHOLE = ["run_started", "predictions_sealed", "unblinded", "analysed", "reported", "signed"]


@pytest.mark.parametrize("n", range(1, len(WHOLE)))
def test_only_the_next_step_is_allowed(n):
    before = steps(*WHOLE[:n])
    require_step(before, "r", WHOLE[n])
    for later in WHOLE[n + 1 :]:
        with pytest.raises(InputError):
            require_step(before, "r", later)


def test_a_signed_or_ended_run_takes_nothing_more():
    with pytest.raises(InputError, match="is signed"):
        require_step(steps(*WHOLE), "r", "unblinded")
    for end in ("void", "superseded"):
        with pytest.raises(InputError, match=end):
            require_step(steps("run_started", end), "r", "run_resumed")


def test_a_run_the_ledger_does_not_know_is_a_broken_ledger():
    with pytest.raises(LedgerError, match="does not know"):
        state_of(steps("run_started"), "another")


def test_scoring_other_predictions_than_were_sealed_is_refused():
    require_sealed(steps("run_started", "predictions_sealed"), "r", "d")
    with pytest.raises(IntegrityError, match="not those that were sealed"):
        require_sealed(steps("run_started", "predictions_sealed"), "r", "e")


def test_the_limit_counts_the_cases_of_the_run_only():
    policy = Policy(max_uses_per_case=1, on_excess="refuse")
    found = chain(("run_started", "olga", "operator", {"run": "a", "cases": "1-4"}))
    fresh = use_of(found, cases="5-10", n_cases=10, policy=policy)
    assert (excess(fresh), fresh.left, fresh.used_before) == (None, 0, "")
    refuse_excess(fresh)
    mixed = use_of(found, cases="1-10", n_cases=10, policy=policy)
    assert mixed.used_before == "1-4"
    assert mixed.exhausted == 4
    with pytest.raises(InputError, match="4 of 10 cases of this run had been used once or more"):
        refuse_excess(mixed)
    used = use_of(found, cases="1-4", n_cases=10, policy=policy)
    assert excess(used) == "every case of this run had been used once before it; the limit is 1 per case"
    refuse_excess(use_of(found, cases="1-4", n_cases=10, policy=Policy(max_uses_per_case=1, on_excess="warn")))


def test_the_custodians_policy_binds_where_the_set_was_locked_for_a_protocol():
    lock = {"protocol": {"id": "p"}, "reuse_policy": {"max_uses_per_case": 2, "on_excess": "refuse"}}
    asked = ReusePolicy(max_uses_per_case=5, on_excess="warn")
    assert policy_of(asked, lock) == Policy(max_uses_per_case=2, on_excess="refuse")
    assert policy_of(asked, lock | {"protocol": None}) == Policy(max_uses_per_case=5, on_excess="warn")


def test_one_person_in_every_role_but_qa_breaks_no_rule():
    found = chain(
        ("locked", "ada", "custodian", {}),
        ("frozen", "ada", "author", {}),
        ("run_started", "ada", "operator", RUN),
        ("unblinded", "ada", "statistician", RUN),
    )
    assert violations(None, found) == []
    signed = [*found, *chain(("signed", "ada", "qa", RUN))]
    assert violations(None, signed) == ["ada is author and approves as QA what they wrote"]


def test_names_and_roles_are_held_to_what_the_protocol_declares():
    declared = Roles(custodian=["carl"], developer=["dave"], operator=["olga"])
    good = chain(("locked", "carl", "custodian", {}), ("run_started", "olga", "operator", RUN))
    assert violations(declared, good) == []
    bad = chain(
        ("locked", "dave", "custodian", {}),
        ("run_started", "mallory", "operator", RUN),
        ("unblinded", "olga", "author", RUN),
    )
    assert violations(declared, bad) == [
        "dave is developer and keeps the test set",
        "dave acted as custodian and is not named for that role (ledger entry 1)",
        "mallory acted as operator and is not named for that role (ledger entry 2)",
        "olga entered “unblinded” as author (ledger entry 3); that is for: operator, statistician",
    ]


def test_a_role_is_one_of_six():
    assert role_of(" QA ") == "qa"
    with pytest.raises(InputError, match="No role 'boss'"):
        role_of("boss")
