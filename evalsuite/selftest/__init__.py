"""Known answers: published figures that this installation must reproduce before its numbers are relied on."""

from __future__ import annotations

from evalsuite.selftest.run import SelfTest, selftest

__all__ = ["SelfTest", "selftest"]
