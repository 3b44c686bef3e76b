"""Commands that were cut off in the one moment that matters: the same command again ends as if nothing had been."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from evalsuite.record import ledger, seal
from evalsuite.spine import running, running_close
from tests.end_to_end.conftest import Outcome, Study, make_study, protocol_text

Cli = Callable[..., Outcome]


class PowerFailure(BaseException):
    """What nothing in the suite catches."""


def cut_off(*_: object, **__: object) -> None:
    raise PowerFailure


def interrupted(cli: Cli, *arguments: object) -> None:
    with pytest.raises(PowerFailure):
        cli(*arguments)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Study:
    """A study without bootstrapped endpoints, locked."""
    s = make_study(tmp_path_factory.mktemp("cut-short"))
    sensitivity = {"name": "sensitivity", "metric": "sensitivity", "at": "primary", "role": "primary"}
    s.protocol.write_text(
        protocol_text(endpoints=[{**sensitivity, "criterion": {"bound": "lower", "op": ">", "value": 0.5}}], strata=[])
    )
    assert cli("lock", s.cases, "--protocol", s.protocol, "--out", s.testset).code == 0
    return s


def with_model(s: Study) -> tuple[object, ...]:
    return ("--testset", s.testset, "--model", s.predictions)


def test_a_freeze_that_the_ledger_does_not_have_is_written_again(
    begun: Study, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = begun
    out = tmp_path / "frozen"
    freeze = ("freeze", s.protocol, *with_model(s), "--out", out)
    before = len(ledger.read(s.testset / "ledger.jsonl"))
    with monkeypatch.context() as m:
        m.setattr("evalsuite.spine.history.add", cut_off)
        interrupted(cli, *freeze)
    assert (out / "freeze.json").exists()
    shutil.copytree(out, tmp_path / "foreign")
    (out / ".freeze.json.4711.tmp").write_bytes(b"{")
    assert cli(*freeze).code == 0
    assert len(ledger.read(s.testset / "ledger.jsonl")) == before + 1
    again = cli(*freeze)
    assert again.code == 2
    assert "already" in again.err
    # what is not of this protocol and set, or not only ours, stays
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "protocol.yaml").write_bytes(s.protocol.read_bytes() + b"# mine\n")
    for folder in (tmp_path / "foreign", mine):
        kept = {p.name: p.read_bytes() for p in folder.iterdir()}
        assert cli("freeze", s.protocol, *with_model(s), "--out", folder).code == 2
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == kept


@pytest.mark.parametrize(
    ("verb", "module", "name"),
    [("run", running_close, "write_seal"), ("run", running_close, "clear_work"), ("predict", seal, "sign")],
)
def test_a_run_cut_off_at_its_seal_goes_on(
    begun: Study, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, verb: str, module: object, name: str
) -> None:
    key = tmp_path / "key"
    assert cli("keygen", key).code == 0
    command = (verb, begun.protocol, *with_model(begun), "--out", tmp_path / "run", "--key", key)
    used = _runs(begun)
    with monkeypatch.context() as m:
        m.setattr(module, name, cut_off)
        interrupted(cli, *command)
    assert cli(*command).code in (0, 1)
    assert _runs(begun) == used + 1
    assert not (tmp_path / "run" / "work").exists()
    assert cli("verify", tmp_path / "run").code == 0


def _runs(s: Study) -> int:
    return [e.action for e in ledger.read(s.testset / "ledger.jsonl")].count("run_started")


def test_scoring_that_was_cut_off_is_undone_and_done_again(
    begun: Study, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert cli("predict", begun.protocol, *with_model(begun), "--out", out).code == 0
    for scored_before in (False, True):
        with monkeypatch.context() as m:
            m.setattr(running, "seal_report", cut_off)
            interrupted(cli, "score", out)
        assert cli("verify", out).code == 3, scored_before
        done = cli("score", out)
        assert done.code in (0, 1), done.err
        assert cli("verify", out).code == 0
    # what is kept aside is not believed: a run that was changed meanwhile is refused
    with monkeypatch.context() as m:
        m.setattr(running, "seal_report", cut_off)
        interrupted(cli, "score", out)
    aside = out / "work" / "before" / "record.json"
    aside.write_bytes(aside.read_bytes().replace(b'"limit":null', b'"limit":9999'))
    assert cli("score", out).code == 3
