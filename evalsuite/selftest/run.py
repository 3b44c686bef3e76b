"""Compute every known answer, compare, and give the result an identifier that the report prints."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from evalsuite.record.digest import digest_json

SELFTEST_SCHEMA = "evalsuite/selftest/1"
_VECTORS = Path(__file__).with_name("known_answers.json")
#: What computes the figures: another version of any of them is another self-test.
_PACKAGES = ("evalsuite", "numpy", "scipy", "numba", "pydantic")
#: Digits that enter the identifier: processors differ in the last ones.
_DIGITS = 9
#: What is left of a difference that is 0 but for rounding.
_NOTHING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One known answer: what was expected, what was computed, where the figure was published.

    `figures` names each compared figure with (expected, computed, agrees within the tolerance).
    """

    name: str
    statistic: str
    kind: str
    source: str
    tolerance: float
    figures: Mapping[str, tuple[Any, Any, bool]]
    fault: str = ""

    @property
    def holds(self) -> bool:
        return not self.fault and all(agrees for _, _, agrees in self.figures.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "statistic": self.statistic,
            "kind": self.kind,
            "source": self.source,
            "tolerance": self.tolerance,
            "holds": self.holds,
            "figures": {k: {"expected": e, "computed": c, "agrees": a} for k, (e, c, a) in self.figures.items()},
            "fault": self.fault,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The result of all known answers on this installation; `id` binds answers, results and versions."""

    answers: tuple[Answer, ...]
    versions: Mapping[str, str]
    vectors: str
    id: str

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.answers if not a.holds)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SELFTEST_SCHEMA,
            "id": self.id,
            "n": len(self.answers),
            "failed": list(self.failed),
            "versions": dict(self.versions),
            "vectors_sha256": self.vectors,
            "answers": [a.to_json() for a in self.answers],
        }

    def summary(self) -> dict[str, Any]:
        """What the record of a run keeps of it."""
        return {"id": self.id, "n": len(self.answers), "failed": list(self.failed), "versions": dict(self.versions)}


@cache
def selftest() -> SelfTest:
    """Compute every known answer once per process.

    A statistic that raises is a failed answer with the kind of error as its fault, never an exception of the self-test.
    """
    from evalsuite.selftest.statistics import STATISTICS

    vectors = json.loads(_VECTORS.read_text(encoding="utf-8"))["vectors"]
    answers = tuple(_answer(v, STATISTICS[v["statistic"]]) for v in vectors)
    versions = _versions()
    digest = digest_json(vectors)
    results = [[a.name, a.holds, {k: _rounded(c) for k, (_, c, _) in a.figures.items()}] for a in answers]
    identifier = digest_json({"vectors": digest, "results": results, "versions": versions})
    return SelfTest(answers=answers, versions=versions, vectors=digest, id=f"ST-{identifier[:16].upper()}")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _answer(vector: Mapping[str, Any], compute: Any) -> Answer:
    fault, computed = "", {}
    try:
        computed = compute(vector["inputs"])
    except (ArithmeticError, ValueError, TypeError, LookupError, RuntimeError) as error:
        fault = f"{type(error).__name__} while computing"
    figures = {
        name: (expected, computed.get(name), _agrees(expected, computed.get(name), vector["tolerance"]))
        for name, expected in vector["expected"].items()
    }
    return Answer(
        name=vector["name"],
        statistic=vector["statistic"],
        kind=vector["kind"],
        source=vector["source"],
        tolerance=vector["tolerance"],
        figures=figures,
        fault=fault,
    )


def _agrees(expected: Any, computed: Any, tolerance: float) -> bool:
    if isinstance(expected, str):
        return bool(computed == expected)
    return isinstance(computed, int | float) and math.isfinite(computed) and abs(computed - expected) <= tolerance


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if abs(value) < _NOTHING:
        return "0"
    return f"{value:.{_DIGITS}g}" if math.isfinite(value) else "not finite"
