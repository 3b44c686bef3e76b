"""Being asked to stop: the first time politely, the second time at once, and by a terminal that goes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from evalsuite.cli.signals import stop_requested


@pytest.fixture(autouse=True)
def a_terminal_counts() -> Iterator[None]:
    """As in a shell: whoever runs these tests under `nohup` has SIGHUP ignored in them too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def command(work: Callable[[Callable[[], bool]], None]) -> None:
    """A verb that does `work`, which is given what to ask, and ends as interrupted where it was asked to stop."""
    with stop_requested() as should_stop:
        work(should_stop)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_to_stop_and_what_stood_before_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    said = []

    def work(should_stop: Callable[[], bool]) -> None:
        said.append(should_stop())
        signal.raise_signal(number)
        said.append(should_stop())

    with pytest.raises(KeyboardInterrupt):
        command(work)
    assert said == [False, True]
    assert signal.getsignal(number) is before


def test_the_second_signal_does_not_wait() -> None:
    reached = []

    def work(_: Callable[[], bool]) -> None:
        signal.raise_signal(signal.SIGTERM)
        reached.append("after the first")
        signal.raise_signal(signal.SIGINT)
        reached.append("after the second")

    with pytest.raises(KeyboardInterrupt):
        command(work)
    assert reached == ["after the first"]


def test_under_nohup_a_closed_terminal_is_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requested() as should_stop:
            signal.raise_signal(signal.SIGHUP)
            assert not should_stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_written_after_the_terminal_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    said = []

    def work(_: Callable[[], bool]) -> None:
        os.close(ours)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(theirs, b"nobody reads this")
        signal.raise_signal(signal.SIGHUP)
        print("nor this", file=terminal, flush=True)
        said.append("went on")

    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setattr("sys.stderr", terminal)
        with pytest.raises(KeyboardInterrupt):
            command(work)
    assert said == ["went on"]
