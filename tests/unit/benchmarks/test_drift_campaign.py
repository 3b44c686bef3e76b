"""The campaign of driftless years and of delays, small: what is done is kept, and the page says what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import drift_campaign as campaign


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, kinds = tmp_path / "tally.jsonl", (campaign.LIMIT,)
    first = campaign.tally(place, 2, 1, kinds)
    assert set(first) == {(campaign.LIMIT, 0), (campaign.LIMIT, 1)}

    def again(_: object) -> None:
        raise AssertionError("done before")

    monkeypatch.setattr(campaign, "_one", again)
    assert campaign.tally(place, 2, 1, kinds) == first
    page = campaign.written({**first, (campaign.LIMIT, 0): "month 3: Performance: sensitivity"}, 2)
    assert "| 2 | 1 | 50.0% |" in page
    assert "1 × Performance: sensitivity" in page


def test_a_loss_is_found_after_stable_months_as_after_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "SIZES", (200,))
    monkeypatch.setattr(campaign, "LOSSES", (0.40,))
    histories = [campaign.delays(number) for number in range(3)]
    found = {stable: [h[f"200 {stable} 0.40"] or 99 for h in histories] for stable in campaign.STABLE}
    assert all(max(delays) <= 4 for delays in found.values())
    table = campaign.delay_table(histories)
    assert table[-1].startswith("| 0.40 | 200 |")
    assert len(table[-1].split("|")) == 2 + 2 + len(campaign.STABLE)
