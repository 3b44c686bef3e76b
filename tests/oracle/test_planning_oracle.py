"""Sizes of studies against R: exact binomial power by its quantiles, epiR's and pROC's sample sizes.

Provenance: `generators/planning.R`, whose versions stand in the first line of `data/planning.csv`.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from scipy.special import ndtri
from scipy.stats import norm

from evalsuite.stats import planning

TABLE = Path(__file__).parent / "data" / "planning.csv"
ROWS = list(csv.DictReader(line for line in TABLE.read_text().splitlines() if not line.startswith("#")))


def _of(*names: str) -> list[dict[str, str]]:
    return [row for row in ROWS if row["name"] in names]


def test_exact_power_is_that_of_r() -> None:
    rows = _of("power_lower", "power_upper")
    assert len(rows) == 19
    for row in rows:
        ours = planning.proportion_power(
            int(row["n"]), float(row["p"]), float(row["goal"]), bound=row["name"].removeprefix("power_")  # type: ignore[arg-type]
        )  # fmt: skip
        assert ours == pytest.approx(float(row["value"]), abs=1e-9), row


def test_cases_are_past_the_last_dip_that_r_finds() -> None:
    for row in _of("cases_lower"):
        assert planning.cases_for_proportion(float(row["p"]), float(row["goal"])) == int(float(row["value"]))


def test_cases_for_a_half_width_are_those_of_epir() -> None:
    for row in _of("cases_half_width"):
        ours = planning.cases_for_half_width(float(row["p"]), float(row["goal"]))
        assert ours == math.ceil(float(row["value"])), row


def test_power_of_an_area_against_one_half_is_that_of_proc() -> None:
    """pROC takes the null's variance at ½ and Obuchowski's at the area; our parts, put together as it does."""
    for row in _of("power_area"):
        m, n, area = int(row["n"]), int(row["goal"]), float(row["p"])
        null = math.sqrt(0.0792 * (1 + m / n)) * ndtri(1.0 - float(row["extra"]) / 2.0)
        spread = math.sqrt(m * planning.obuchowski_variance(area, m, n))
        power = norm.cdf(((area - 0.5) * math.sqrt(m) - null) / spread)
        assert power == pytest.approx(float(row["value"]), abs=1e-6), row
