"""Simulated reader studies to plan by: the model behind them, each study's interval, and the power they find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from evalsuite.stats import _reader_kernels as kernels
from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_power as power
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.obuchowski_rockette import VarianceParts
from evalsuite.stats.reader_calibration import ReaderModel, components_of, model_of
from evalsuite.stats.reader_figures import reader_figures, readings
from evalsuite.stats.reader_simulation import ROE_METZ, simulate_readings


def _parts(error: float, share: tuple[float, float, float], own: float) -> VarianceParts:
    cov1, cov2, cov3 = (error * s for s in share)
    return VarianceParts(
        ms_treatment=None, ms_reader=None, error=error, cov1=cov1, cov2=cov2, cov3=cov3, n_treatments=2,
        ms_treatment_reader=own + error - cov1 - (cov2 - cov3),
    )  # fmt: skip


#: Components of three published studies, as MRMCaov's documentation of OR_to_RMH gives them: cases without and with
#: the condition, both AUROCs, correlations 1 to 3, variances of readers and of treatment × reader, error variance.
STUDIES = {
    "Van Dyke": (69, 45, 0.89793704, 0.94083736, (0.432, 0.429, 0.298), 0.00154, 0.0002, 0.00080229),
    "Kundel": (66, 29, 0.8038793103, 0.8413662487, (0.5076952, 0.4035663, 0.4035663), 7.340122e-4, 0.0, 2.148844e-3),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
def test_a_model_of_a_published_study_has_its_components(name: str) -> None:
    n0, n1, one, two, share, reader, own, error = STUDIES[name]
    model = model_of(
        _parts(error, share, own), reader=reader, control=one, gain=two - one, n_positive=n1, n_negative=n0
    )
    assert model.case_worth == 1.0
    found, readers = components_of(model.structure, n_positive=n1, n_negative=n0, gain=model.gain)
    assert found.error == pytest.approx(error, rel=1e-6)
    assert (found.cov1, found.cov2, found.cov3) == pytest.approx([error * s for s in share], rel=0.01)
    assert found.cov1 == pytest.approx(error * share[0], rel=1e-6)
    assert readers == pytest.approx(reader, rel=1e-6)
    assert found.treatment_reader == pytest.approx(own, abs=1e-5)


def test_a_variance_that_no_model_has_counts_cases_for_more_or_less() -> None:
    structure = ROE_METZ["HL 1.5"]
    found, readers = components_of(structure, n_positive=50, n_negative=50)
    assert found.treatment_reader is not None
    half = _parts(
        found.error * 0.5, (found.cov1 / found.error, found.cov2 / found.error, found.cov3 / found.error),
        found.treatment_reader,
    )  # fmt: skip
    model = model_of(half, reader=readers, control=structure.auroc(), gain=0.0, n_positive=50, n_negative=50)
    assert model.case_worth == pytest.approx(2.0, rel=1e-6)
    assert model.cases(100) == 200
    assert "stand for one" in model.notes[0]


def test_shares_of_calls_have_the_binomial_variance() -> None:
    """Of positive cases alone; without readers' own variance p (1 - p) / n, and its covariances as declared."""
    error = 0.8 * 0.2 / 40
    model = model_of(
        _parts(error, (0.6, 0.5, 0.4), 0.0), reader=0.0, control=0.8, gain=0.0, n_positive=40, n_negative=90,
        of="positives",
    )  # fmt: skip
    assert model.case_worth == 1.0
    found, _ = components_of(model.structure, n_positive=40, n_negative=90, of="positives")
    assert (found.error, found.cov1, found.cov2, found.cov3) == pytest.approx(
        [error, 0.6 * error, 0.5 * error, 0.4 * error], rel=1e-6
    )
    assert float(ndtr(model.structure.separation)) == pytest.approx(0.8, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"control": 0.97, "gain": 0.04}, "between 0 and 1"), ({"control": 0.9, "reader": 0.2}, "vary more")],
)
def test_what_no_readers_can_be_is_refused(changes: dict[str, float], said: str) -> None:
    asked = {"reader": 0.001, "control": 0.8, "gain": 0.05, **changes}
    with pytest.raises(ValueError, match=said):
        model_of(_parts(0.002, (0.4, 0.4, 0.3), 0.001), n_positive=50, n_negative=50, **asked)


@pytest.mark.parametrize("readers", [3, 5])
@pytest.mark.parametrize("method", ["obuchowski_rockette", "u_statistics"])
@pytest.mark.parametrize("generalise", ["readers_and_cases", "cases", "readers"])
def test_each_simulated_study_is_judged_as_a_run_judges_it(readers: int, method: str, generalise: str) -> None:
    """The half-width from the compiled sums is that of the same ratings analysed as a study."""
    if method == "u_statistics" and generalise != "readers_and_cases":
        return
    structure = ROE_METZ["HL 1.5"]
    model = ReaderModel(structure=structure, of="auroc", gain=0.4, case_worth=1.0)
    judged = power.Judged(method=method, generalise=generalise)  # type: ignore[arg-type]
    draw = power._ustatistics if method == "u_statistics" else power._obuchowski_rockette
    for seed in range(3):
        value, last = np.empty((1, 2, readers)), np.empty((2, readers, 34))
        half = draw(model, np.random.Generator(np.random.PCG64(seed)), value, 14, 20, judged)
        again = np.random.Generator(np.random.PCG64(seed))
        kernels.simulate_areas(
            again, 14, np.array(model.variances), power._means(model), 1.0, np.empty((1, 2, readers)),
            np.empty((1, 4)), np.empty((1, 4)), last,
        )  # fmt: skip
        study = readings(np.arange(34) < 14, last)
        if method == "u_statistics":
            found = ustat.auroc_difference(study, 0, 1)[0]
        else:
            found = orh.difference(reader_figures(study), study, 0, 1, generalise=generalise).estimate  # type: ignore[arg-type]
        assert float(value[0, 0].mean() - value[0, 1].mean()) == pytest.approx(found.value, abs=1e-12)
        if found.high is None:
            assert math.isnan(half[0])
        else:
            assert half[0] == pytest.approx(found.high - found.value, rel=2e-4 if readers == 3 else 1e-9)


def test_calls_are_judged_as_a_run_judges_them() -> None:
    model = ReaderModel(structure=ROE_METZ["HL 1.5"], of="positives", gain=0.4, case_worth=1.0)
    value, last = np.empty((1, 2, 4)), np.empty((2, 4, 25))
    half = power._obuchowski_rockette(
        model, np.random.Generator(np.random.PCG64(5)), value, 25, 30, power.Judged(level=0.9)
    )
    kernels.simulate_shares(
        np.random.Generator(np.random.PCG64(5)), np.array(model.variances), power._means(model),
        np.empty((1, 2, 4)), np.empty((1, 4)), last,
    )  # fmt: skip
    calls = np.concatenate([last > 0.0, np.zeros((2, 4, 30), dtype=bool)], axis=2).astype(float)
    study = readings(np.arange(55) < 25, calls)
    found = orh.difference(reader_figures(study, figure="sensitivity"), study, 0, 1, level=0.9).estimate
    assert half[0] == pytest.approx(found.high - found.value, rel=1e-9)


def test_power_is_that_of_studies_drawn_and_analysed_one_by_one() -> None:
    """A model made of components alone; 300 studies of the structure they come from: within 4 standard errors."""
    structure, gain = ROE_METZ["HH 2.5"], 0.9
    parts, readers = components_of(structure, n_positive=30, n_negative=30, gain=gain)
    one, two = structure.auroc(gain), structure.auroc()
    model = model_of(parts, reader=readers, control=two, gain=one - two, n_positive=30, n_negative=30)
    found = power.simulated_power(
        model, readers=5, n_positive=30, n_negative=30, goal=0.0, judged=power.Judged(), seed=3, studies=4000
    )
    rng, hits = np.random.default_rng(8), 0
    for _ in range(300):
        study = simulate_readings(rng, structure, readers=5, n_positive=30, n_negative=30, gain=gain)
        low = orh.difference(reader_figures(study), study, 0, 1).estimate.low
        hits += low is not None and low > 0.0
    assert 0.1 < found.power < 0.9
    assert abs(hits / 300 - found.power) < 4 * math.sqrt(found.power * (1 - found.power) / 300)
    assert found.standard_error == pytest.approx(math.sqrt(found.power * (1 - found.power) / 4000))


@pytest.mark.parametrize(("method", "readers"), [("obuchowski_rockette", 3), ("u_statistics", 3)])
def test_few_readers_err_no_more_than_stated(method: str, readers: int) -> None:
    """3,000 studies without a difference of a structure where Hillis' t errs in 6 to 7 %: 5 % and 4 standard errors."""
    model = ReaderModel(structure=ROE_METZ["LL 1.5"], of="auroc", gain=0.0, case_worth=1.0)
    asked = {"readers": readers, "n_positive": 25, "n_negative": 25, "goal": 0.0, "seed": 11, "studies": 3000}
    found = power.simulated_power(model, judged=power.Judged(method=method), **asked)  # type: ignore[arg-type]
    assert found.two_sided < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 3000)
    hillis = power.simulated_power(model, judged=power.Judged(distribution="hillis"), **asked)  # type: ignore[arg-type]
    assert found.two_sided < hillis.two_sided


def test_the_search_ends_at_cases_that_were_simulated() -> None:
    tried: list[int] = []

    def at(n: int) -> power.SimulatedPower:
        tried.append(n)
        return power.SimulatedPower(power=float(ndtr(math.sqrt(n) / 5 - 1.96)), two_sided=0, studies=4000, undefined=0)

    found = power.cases_by_simulation(at, start=60, power=0.8, most=20_000)
    assert found is not None
    assert found.cases in tried
    assert found.cases == pytest.approx(196, abs=3)  # (5 · (1.96 + 0.8416))²
    assert found.found.power >= 0.8
    assert len(tried) < 12
    assert power.cases_by_simulation(at, start=10, power=0.8, most=100) is None


def test_what_cannot_be_simulated_is_refused() -> None:
    model = ReaderModel(structure=ROE_METZ["HH 1.5"], of="positives", gain=0.0, case_worth=1.0)
    asked = {"n_positive": 10, "n_negative": 10, "goal": 0.0, "seed": 1, "studies": 2}
    with pytest.raises(ValueError, match="at least two"):
        power.simulated_power(model, readers=1, judged=power.Judged(), **asked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of the AUROC"):
        power.simulated_power(model, readers=3, judged=power.Judged(method="u_statistics"), **asked)  # type: ignore[arg-type]
