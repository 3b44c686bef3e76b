"""A freeze with a timestamp of an authority: asked for once, kept with freeze and run, checked by `verify`."""

from __future__ import annotations

import json

import pytest

from tests.tsa import make_authority, running_tsa


def states(outcome):
    return {c["name"]: c for c in outcome.json()["checks"]}


def test_a_timestamped_freeze_proves_when(locked, cli, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    s = locked
    freeze = ("freeze", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.frozen, "--json")
    ledger = (s.testset / "ledger.jsonl").read_bytes()
    with running_tsa(s.folder / "tsa") as tsa:
        failed = cli(*freeze, "--tsa", tsa.url.replace("/tsa", "/fails"))
        assert failed.code == 2
        assert "leave --tsa out" in failed.json()["error"]["hint"]
        assert not (s.frozen / "freeze.json").exists()
        assert (s.testset / "ledger.jsonl").read_bytes() == ledger
        done = cli(*freeze, "--tsa", tsa.url, "--tsa-cert", tsa.certificate)
        assert done.code == 0, done.out
    stated = done.json()["timestamp_utc"]
    assert cli("predict", s.frozen, "--testset", s.testset, "--model", s.predictions, "--out", s.run).code == 0
    record = json.loads((s.run / "record.json").read_text())
    assert record["protocol"]["frozen"]["timestamp_utc"] == stated
    for path in (s.frozen, s.run):
        found = cli("verify", path, "--tsa-cert", tsa.certificate, "--json")
        assert found.code == 0, found.out
        assert states(found)["timestamp"]["status"] == "holds"
        assert stated in states(found)["timestamp"]["detail"]
        assert "was not checked" in states(cli("verify", path, "--json"))["timestamp"]["detail"]
    other = make_authority(s.folder / "other", "Another TSA")
    assert cli("verify", s.frozen, "--tsa-cert", other).code == 3


@pytest.mark.parametrize("harm", ["removed", "of another freeze"])
def test_a_timestamp_that_is_gone_or_of_something_else_breaks_the_freeze(locked, cli, monkeypatch, harm):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    s = locked
    freeze = ("freeze", s.protocol, "--testset", s.testset, "--model", s.predictions)
    other = s.folder / "other"
    with running_tsa(s.folder / "tsa") as tsa:
        assert cli(*freeze, "--out", s.frozen, "--tsa", tsa.url).code == 0
        assert cli(*freeze, "--out", other, "--tsa", tsa.url).code == 0
    if harm == "removed":
        (s.frozen / "freeze.tsr").unlink()
    else:
        (s.frozen / "freeze.tsr").write_bytes((other / "freeze.tsr").read_bytes())
    assert cli("verify", s.frozen).code == 3
    run = ("run", s.frozen, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    assert cli(*run).code == 3
