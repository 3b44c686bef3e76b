"""The coverage study itself: what it counts agrees with exact sums, its truths with other implementations."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from benchmarks.coverage import further, pages, store, summary
from benchmarks.coverage.calibrated_further import calibration_truths
from benchmarks.coverage.campaign import BY_NAME, FAMILIES, remaining
from benchmarks.coverage.designs import patients, risk_population, risks
from benchmarks.coverage.resampled import values
from benchmarks.coverage.study import Answer, Cell, Tally, run_piece
from benchmarks.coverage.summary import Row, instead, judged, setting, unasked, where
from evalsuite.protocol.checks import intervals_for
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint
from evalsuite.stats.calibration_error import brier_decomposition, smooth_ece_value
from evalsuite.stats.linearity import linearity
from evalsuite.stats.proportions import proportion


def _exact(n: int, p: float, method: str) -> float:
    """Coverage by the binomial sum, with SciPy's intervals."""
    held = 0.0
    for x in range(n + 1):
        ends = stats.binomtest(x, n).proportion_ci(0.95, method=method)
        held += stats.binom.pmf(x, n, p) * (ends.low <= p <= ends.high)
    return held


@pytest.mark.parametrize(
    ("method", "scipy_method"),
    [("Clopper-Pearson", "exact"), ("Wilson", "wilson"), ("Wilson with continuity correction", "wilsoncc")],
)
def test_simulated_coverage_agrees_with_the_binomial_sum(method: str, scipy_method: str) -> None:
    cell = Cell(family="proportion", n=30, setting=(("p", 0.1),), studies=100_000, piece=100_000)
    tally = run_piece(BY_NAME["proportion"], cell, 0)["proportion", method]
    exact = _exact(30, 0.1, scipy_method)
    assert tally.studies == 100_000
    assert abs(tally.coverage - exact) < 4.0 * math.sqrt(exact * (1.0 - exact) / 100_000)


def test_studies_without_positives_are_counted_apart_from_the_coverage() -> None:
    cell = Cell(
        family="sensitivity", n=30, prevalence=0.02, setting=(("sensitivity", 0.9),), studies=50_000, piece=50_000
    )
    tally = run_piece(BY_NAME["sensitivity"], cell, 0)["sensitivity", "Clopper-Pearson"]
    assert tally.none / tally.studies == pytest.approx(0.98**30, abs=0.01)
    assert tally.made + tally.none == 50_000


def test_a_miss_is_counted_on_its_side() -> None:
    # Jeffreys at 0/30 starts above 0: with a true 0.00001 nearly every interval lies above the truth.
    cell = Cell(family="proportion", n=30, setting=(("p", 0.00001),), studies=1_000, piece=1_000)
    tally = run_piece(BY_NAME["proportion"], cell, 0)["proportion", "Jeffreys"]
    assert tally.truth_below > 990
    assert tally.truth_above == 0


def test_a_piece_is_the_same_every_time_and_another_piece_is_not() -> None:
    cell = Cell(family="auroc", n=30, prevalence=0.5, setting=(("AUROC", 0.8),), studies=60, piece=30)
    family = BY_NAME["auroc"]
    assert run_piece(family, cell, 0) == run_piece(family, cell, 0)
    assert run_piece(family, cell, 0) != run_piece(family, cell, 1)


@pytest.mark.parametrize("name", [family.name for family in FAMILIES if family.stage < 2])
def test_every_family_of_closed_forms_gives_intervals(name: str) -> None:
    cell = BY_NAME[name].cells[-1]
    tallies = run_piece(BY_NAME[name], replace(cell, studies=3, piece=3), 0)
    assert tallies
    assert all(t.studies == 3 and math.isfinite(t.truth) for t in tallies.values())


def test_verdicts() -> None:
    assert Tally(truth=0.0, held=9_500, truth_below=500).verdict == "ok"
    assert Tally(truth=0.0, held=9_300, truth_below=700).verdict == "ok"  # 93.0, within three standard errors of 93.5
    assert Tally(truth=0.0, held=9_250, truth_below=750).verdict == "unsuitable"
    assert Tally(truth=0.0, held=9_700, truth_below=300).verdict == "conservative"
    assert Tally(truth=0.0, held=100, none=9_900).verdict == "too few intervals"


@pytest.mark.parametrize(("noise", "off"), [(0.0, False), (0.0, True), (1.0, False)])
def test_true_values_agree_with_a_large_sample(noise: float, off: bool) -> None:
    d = risks(np.random.default_rng(5), np.arange(400_000), 0.1, off=off, noise=noise)
    population = risk_population(0.1, off, noise)
    truth = values(population)
    p = d.probability if noise == 0.0 else 1.0 / (1.0 + np.exp(-d.second))
    call = d.second >= population.cut
    assert truth["auroc"] == pytest.approx(sk.roc_auc_score(d.reference, d.second), abs=0.004)
    assert truth["average_precision"] == pytest.approx(sk.average_precision_score(d.reference, d.second), abs=0.008)
    assert truth["brier"] == pytest.approx(sk.brier_score_loss(d.reference, p), abs=0.001)
    assert truth["log_loss"] == pytest.approx(sk.log_loss(d.reference, p), abs=0.004)
    assert truth["mcc"] == pytest.approx(sk.matthews_corrcoef(d.reference, call), abs=0.008)
    assert truth["kappa"] == pytest.approx(sk.cohen_kappa_score(d.reference, call), abs=0.008)
    assert truth["f1"] == pytest.approx(sk.f1_score(d.reference, call), abs=0.008)
    assert population.prevalence == pytest.approx(0.1, abs=1e-6)


def test_probabilities_that_are_right_have_perfect_calibration() -> None:
    population = risk_population(0.1)
    assert population.recalibration() == pytest.approx((0.0, 0.0, 1.0), abs=1e-8)
    assert population.ece() == pytest.approx(0.0, abs=1e-12)
    _, intercept, slope = risk_population(0.1, True).recalibration()
    assert (intercept, slope) == pytest.approx((0.5, 0.7), abs=1e-8)


def test_patients_have_one_to_so_many_cases() -> None:
    sizes = np.bincount(patients(np.random.default_rng(1), 2_000, 4))
    assert set(sizes.tolist()) == {1, 2, 3, 4}
    assert sizes.size == 2_000


def test_an_interrupted_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    none = tmp_path / "no counts are kept"
    before = remaining(tmp_path, ["raters"], None, none)
    cell = before[0].cell
    tallies = run_piece(BY_NAME["raters"], replace(cell, studies=5, piece=5), 0)
    store.append(tmp_path, cell, 0, tallies)
    store.append(tmp_path, cell, 1, tallies)
    after = remaining(tmp_path, ["raters"], None, none)
    assert len(after) == len(before) - 2
    assert {piece.cell for piece in remaining(tmp_path, [f"{cell.key}"], None, none)} == {cell}
    assert store.results(tmp_path, [cell], none)[cell.key].tallies == {key: t + t for key, t in tallies.items()}
    with pytest.raises(SystemExit, match="unknown family"):
        remaining(tmp_path, ["rates"], None, none)


def test_a_piece_that_two_campaigns_simulated_counts_once(tmp_path: Path) -> None:
    cell = BY_NAME["raters"].cells[0]
    tallies = run_piece(BY_NAME["raters"], replace(cell, studies=5, piece=5), 0)
    for _ in range(2):
        store.append(tmp_path, cell, 0, tallies)
    assert store.results(tmp_path, [cell], tmp_path / "none")[cell.key].tallies == tallies


def test_counts_that_are_kept_are_finished_work(tmp_path: Path) -> None:
    cell = BY_NAME["raters"].cells[0]
    tallies = run_piece(BY_NAME["raters"], replace(cell, studies=5, piece=5), 0)
    kept = tmp_path / "tallies.jsonl"
    for piece in (0, 1, 3):
        store.append(tmp_path, cell, piece, tallies)
    counted = store.results(tmp_path, [cell], kept)
    store.keep(kept, counted.values())
    assert json.loads(kept.read_text(encoding="utf-8"))["pieces"] == [[0, 1], [3, 3]]
    elsewhere = tmp_path / "fresh checkout"
    assert store.results(elsewhere, [cell], kept) == counted
    assert store.finished(elsewhere, kept) == {(cell.key, piece, cell.piece) for piece in (0, 1, 3)}
    # Pieces that are kept and lie in the cache as well count once; another one is added.
    store.append(tmp_path, cell, 2, tallies)
    assert store.results(tmp_path, [cell], kept)[cell.key].pieces == {0, 1, 2, 3}
    every = store.results(tmp_path, [cell], kept)[cell.key].tallies
    assert all(every[key].studies == 4 * tally.studies for key, tally in tallies.items())


def test_the_tables_are_those_of_the_counts_that_are_kept(tmp_path: Path) -> None:
    docs = Path(__file__).parents[3] / "docs"
    shutil.copytree(docs / "statistics", tmp_path / "statistics")
    shutil.copy(docs / "statistics.md", tmp_path)
    pages.write(tmp_path / "no cache", tmp_path)
    made = [tmp_path / "statistics.md", *sorted((tmp_path / "statistics").rglob("*.*"))]
    changed = [p.name for p in made if p.read_bytes() != (docs / p.relative_to(tmp_path)).read_bytes()]
    assert changed == []


def test_true_parts_of_calibration_agree_with_a_large_sample() -> None:
    d = risks(np.random.default_rng(6), np.arange(400_000), 0.3, off=True)
    population = risk_population(0.3, True)
    parts = brier_decomposition(d.reference, d.probability)
    truth = calibration_truths(0.3, off=True)
    for part in ("reliability", "resolution", "uncertainty"):
        assert truth[f"{part} of the Brier score"] == pytest.approx(getattr(parts, part), abs=0.002)
    assert truth["smooth ECE"] == pytest.approx(smooth_ece_value(d.reference, d.probability), abs=0.002)
    assert calibration_truths(0.3, off=False)["smooth ECE"] == 0.0
    assert truth["recalibration intercept"] == pytest.approx(population.recalibration()[1])


def test_the_truth_of_another_panel_is_that_of_many_panels() -> None:
    rng = np.random.default_rng(3)
    sensitivity = []
    for _ in range(150):
        disease = rng.random(4_000) < 0.3
        call = disease + 0.7 * rng.normal(size=disease.size) > 0.5
        vote = 2 * further.readings(rng, disease).sum(axis=1) > further.READERS
        sensitivity.append(call[vote].mean())
    error = float(np.std(sensitivity)) / 150**0.5
    assert further.panel_truth(0.3)["sensitivity"] == pytest.approx(np.mean(sensitivity), abs=4.0 * error)


def test_several_intervals_hold_together_where_each_does() -> None:
    made = [proportion(9, 10), proportion(5, 10)]
    assert Tally(truth=0.0).made == 0
    for truths, outcome in (((0.9, 0.5), "held"), ((0.1, 0.5), "truth_below"), ((0.9, 0.99), "truth_above")):
        tally = Tally(truth=0.0)
        tally.add(Answer("all", "m", 0.0, further.together(made, truths)))
        assert getattr(tally, outcome) == 1
    tally.add(Answer("all", "m", 0.0, further.together([*made, proportion(0, 0)], (0.9, 0.5, 0.5))))
    assert tally.none == 1


def test_what_a_bend_adds_to_the_line_is_the_true_deviation() -> None:
    size = np.repeat(further.LEVELS, 4)
    made = linearity(size + further.BEND * size**2, size)
    deviations, slope = further.linearity_truth(bent=True, repeats=4)
    assert [e.value for e in made.deviations] == pytest.approx(deviations, abs=1e-9)
    assert made.slope.value == pytest.approx(slope, abs=1e-9)


def _row(method: str, n: int, prevalence: float, held: int) -> Row:
    cell = Cell(family="auroc", n=n, prevalence=prevalence, setting=(("AUROC", 0.9),))
    return Row(
        page="roc",
        cell=cell,
        quantity="AUROC",
        method=method,
        tally=Tally(truth=0.9, held=held, truth_below=10_000 - held),
    )


def test_the_summary_says_where_a_method_fails_and_what_to_declare() -> None:
    rows = [_row("DeLong", n, p, 9_000 if n * p < 20 else 9_500) for p in (0.1, 0.5) for n in (30, 100, 400)]
    rows += [_row("Newcombe", n, p, 9_500) for p in (0.1, 0.5) for n in (30, 100, 400)]
    delong, newcombe = judged(rows)
    assert where(delong.unsuitable, delong.rows) == "n ≤ 100, prevalence 0.1; n = 30, prevalence 0.5"
    assert instead(delong, [delong, newcombe]) == "`interval: newcombe`"
    assert not newcombe.unsuitable


def test_what_the_summary_tells_to_declare_can_be_declared() -> None:
    for method, told in summary.SETTINGS.items():
        name = told.removeprefix("interval: ")
        metric = "sensitivity_difference" if method in ("Tango", "Newcombe, paired") else "sensitivity"
        allowed = ("tango", "newcombe") if metric.endswith("_difference") else _allowed(metric)
        assert name in allowed, method
    assert {told.removeprefix("interval: ") for told in summary.AUROC.values()} <= set(_allowed("auroc"))
    for quantity, settings in summary.CLOSED.items():
        metric = quantity.lower().replace(" index", "").replace(" ", "_")
        if metric in METRICS:
            assert {told.removeprefix("interval: ") for told in settings.values()} <= set(_allowed(metric)), quantity


def _allowed(metric: str) -> tuple[str, ...]:
    return intervals_for(Endpoint(name="x", metric=metric), METRICS[metric])


def test_the_summary_knows_what_a_protocol_uses_and_how_another_is_declared() -> None:
    assert unasked("difference of F1, paired") == ("bootstrap, basic",)
    assert unasked("difference of average precision, paired") == ("bootstrap, percentile",)
    assert unasked("Youden index") == ("Newcombe hybrid",)
    assert unasked("Youden index, several cases per patient") == ("bootstrap, BCa",)
    assert unasked("MCC, several classes") == ("bootstrap, BCa",)
    assert setting("kappa", "Fleiss-Cohen-Everitt") == "interval: fleiss"
    assert setting("weighted kappa, linear", "Fleiss-Cohen-Everitt") is None
    assert setting("AUROC", "Newcombe") == "interval: newcombe"


def test_pages_are_written_from_what_is_finished(tmp_path: Path) -> None:
    cell = BY_NAME["proportion"].cells[0]
    store.append(tmp_path, cell, 0, run_piece(BY_NAME["proportion"], replace(cell, studies=1_000, piece=1_000), 0))
    docs = tmp_path / "docs"
    (docs / "statistics").mkdir(parents=True)
    page = docs / "statistics.md"
    methods = [docs / "statistics" / f"{name}.md" for name in pages.METHOD_PAGES]
    for path in (page, *methods):
        path.write_text(f"before\n{pages.BEGIN}\nold\n{pages.END}\nafter\n", encoding="utf-8")
    pages.write(tmp_path, docs)
    assert all("## Where not to use a default" in path.read_text(encoding="utf-8") for path in methods)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert r"| Clopper-Pearson \* |" in (docs / "statistics/coverage/proportions.md").read_text(encoding="utf-8")
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(SystemExit, match="no lines"):
        pages.write(tmp_path, docs)


def test_every_page_of_a_method_says_where_its_default_fails() -> None:
    def row(quantity: str, method: str, held: int, page: str, studies: int = 10_000) -> Row:
        cell = Cell(family="x", n=30, prevalence=0.5)
        tally = Tally(truth=0.5, held=held, truth_below=studies - held)
        return Row(page=page, cell=cell, quantity=quantity, method=method, tally=tally)

    everything = judged(
        [
            row("AUROC", "DeLong", 9_000, "roc"),
            row("AUROC", "Newcombe", 9_500, "roc"),
            row("net benefit", "bootstrap, percentile", 190, "bootstrap", 200),
        ]
    )
    assert [pages.method_page(j) for j in everything] == ["roc", "roc", "decision_curve"]
    said = pages._of_method("roc", everything)
    assert "| AUROC | DeLong \\* | everywhere studied | ≤ 15 | 90.0 | 10.0 | 0.0 | `interval: newcombe` |" in said
    assert "No default of this page" in pages._of_method("decision_curve", everything)
    thin = pages._thin(everything)
    assert "Of 2 intervals that a protocol gets unasked, 1 were tried" in thin
    assert "| net benefit | bootstrap, percentile | 200 |" in thin
