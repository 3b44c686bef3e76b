"""Components of simulated readers against R: Hillis' mapping (2018) with mvtnorm's bivariate normal distribution.

Provenance: `generators/reader_model.R`, whose versions stand in the first line of `data/reader_model.csv`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from evalsuite.stats.reader_calibration import components_of, model_of
from evalsuite.stats.reader_simulation import Structure

TABLE = Path(__file__).parent / "data" / "reader_model.csv"
ROWS = list(csv.DictReader(line for line in TABLE.read_text().splitlines() if not line.startswith("#")))


@pytest.mark.parametrize("row", ROWS, ids=[f"{r['n0']} and {r['n1']}" for r in ROWS])
def test_components_of_a_model_are_those_of_r_and_lead_back_to_it(row: dict[str, str]) -> None:
    r = {k: float(v) for k, v in row.items()}
    structure = Structure(
        separation=r["delta2"], reader=r["var_r"], treatment_reader=r["var_tr"], case=r["var_c"],
        treatment_case=r["var_tc"], reader_case=r["var_rc"], error=r["var_error"], positive_scale=1.0 / r["b"],
    )  # fmt: skip
    gain = r["delta1"] - r["delta2"]
    found, readers = components_of(structure, n_positive=r["n1"], n_negative=r["n0"], gain=gain)
    assert found.treatment_reader is not None
    for name in ("error", "cov1", "cov2", "cov3", "treatment_reader"):
        assert getattr(found, name) == pytest.approx(r[name], rel=1e-8), name
    assert readers == pytest.approx(r["reader"], rel=1e-8)
    two = structure.auroc()
    model = model_of(
        found, reader=readers, control=two, gain=structure.auroc(gain) - two, n_positive=r["n1"], n_negative=r["n0"]
    )
    again, _ = components_of(model.structure, n_positive=r["n1"], n_negative=r["n0"], gain=model.gain)
    for name in ("error", "cov1", "cov2", "cov3", "treatment_reader"):
        assert getattr(again, name) == pytest.approx(r[name], rel=1e-5), name
