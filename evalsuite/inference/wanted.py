"""A model that is shown images only as long as somebody waits for its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evalsuite.errors import Interrupted


def stopped() -> Interrupted:
    """The error of what was stopped by its user."""
    return Interrupted("stopped", hint="The same command goes on where it stopped.")


def require_wanted(should_stop: Callable[[], bool] | None) -> None:
    """Raise `Interrupted` where `should_stop` says so."""
    if should_stop is not None and should_stop():
        raise stopped()


def wanted(model: Any, should_stop: Callable[[], bool] | None) -> Any:
    """The model, whose `raw` raises `Interrupted` before a batch where `should_stop` says so; None never does."""
    return model if should_stop is None else _Wanted(model=model, should_stop=should_stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What maps need of a packaged model."""

    model: Any
    should_stop: Callable[[], bool]

    @property
    def name(self) -> Any:
        return self.model.name

    @property
    def device(self) -> Any:
        return self.model.device

    @property
    def contract(self) -> Any:
        return self.model.contract

    @property
    def network(self) -> Any:
        return self.model.network

    def raw(self, inputs: list[Any]) -> Any:
        """Show one batch of images."""
        require_wanted(self.should_stop)
        return self.model.raw(inputs)
