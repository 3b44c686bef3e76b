"""Degraded images in tasks that measure, answer several questions, mark or outline: changes worked out by hand."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evalsuite.analyses.lesions import with_lesions
from evalsuite.analyses.mask_figures import FIGURES, SECOND, figures_of_masks
from evalsuite.analyses.robustness import robustness_figures
from evalsuite.analyses.segmentation_task import figures_wanted
from evalsuite.analyses.tasks import evaluate_task
from evalsuite.imaging.grid import Grid
from evalsuite.inference.mask_store import masks_digest, write_masks
from evalsuite.inference.masks import StoredMask, encode
from evalsuite.inference.perturbed_names import NOT_OFFERED, mask_name, shown_as
from evalsuite.inference.predictions import make_predictions
from evalsuite.protocol.robustness import conditions_of, robustness_problems
from evalsuite.protocol.schema import StudyProtocol

N = 20
IDS = tuple(f"c{i}" for i in range(N))
BASE = {
    "schema": "evalsuite/protocol/1", "id": "t", "version": "1.0.0", "title": "t", "kind": "standalone",
    "intended_use": {"indications": "none"}, "unit": {"case": "case_id", "cluster": "patient_id"},
    "confidence": {"bootstrap": {"replicates": 100, "interval": "percentile"}}, "seed": 1,
}  # fmt: skip
BLOCK = {"modality": "xray", "perturbations": ["dose"], "severities": [2, 4], "groups": []}


class References:
    """Reference files of a set, in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, cell: str) -> bytes | None:
        return self.files.get(cell)


def png(mask: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG")
    return out.getvalue()


def protocol(task: dict, endpoint: dict, block: dict | None = None, **more: object) -> StudyProtocol:
    asked = {"robustness": {**BLOCK, **(block or {})}}
    return StudyProtocol.model_validate(
        {**BASE, "task": task, "endpoints": [{"role": "primary", **endpoint}], "analyses": asked, **more}
    )


def rows(name: str | None, ids: tuple[str, ...] = IDS, status: str = "ok", reason: str | None = None, **columns):
    keys = {"case_id": list(ids), "rater": "device", "condition": name, "status": status, "reason": reason}
    return pd.DataFrame({**keys, **columns})


def figures(p: StudyProtocol, frame: pd.DataFrame, clean: pd.DataFrame, *conditions: pd.DataFrame):
    return robustness_figures(
        p, case_id=IDS, patient_id=IDS, frame=frame, predictions=clean,
        conditions=pd.concat(conditions, ignore_index=True), evaluate=evaluate_task,
    ).findings  # fmt: skip


def one(findings, endpoint: str, metric: str, condition: str, target: str | None = None):
    (hit,) = [
        f.estimate
        for f in findings
        if (f.endpoint, f.metric, f.condition, f.target) == (endpoint, metric, condition, target) and not f.stratum
    ]
    return hit


# --- measurements ---------------------------------------------------------------------------------------------------


def measuring(**block: object) -> StudyProtocol:
    task = {"kind": "regression", "reference": "truth", "score": "mm"}
    error = {"name": "error", "metric": "mae", "maximum": 50, "criterion": {"bound": "upper", "op": "<", "value": 2}}
    return protocol(task, error, block)


def measured(shift: float, name: str | None):
    return rows(name, mm=[10.0 + i + 0.1 * (i % 3) + (shift if i % 2 else 0.0) for i in range(N)])


def test_measured_values_shift_and_the_criterion_is_lost():
    frame = pd.DataFrame({"truth": [str(10 + i) for i in range(N)]})
    worse = [measured(*x) for x in [(0, "identity"), (1, "dose/2"), (6, "dose/4")]]
    found = figures(measuring(), frame, measured(0, None), *worse)
    assert one(found, "error", "mae", "dose/4").value == pytest.approx(3.095)
    assert one(found, "error", "mae_difference", "dose/4").value == pytest.approx(3.0)
    assert one(found, "answers", "score_change", "dose/2").value == pytest.approx(0.5)
    assert one(found, "answers", "largest_score_change", "identity").value == 0.0
    assert one(found, "error", "criterion_lost_at", "dose").value == 4.0


def test_two_runs_of_the_same_agree_within_limits_and_one_not_offered_says_so():
    p = measuring(modality=None, perturbations=None, precision={"repeats": 1, "precisions": ["bfloat16", "float16"]})
    frame = pd.DataFrame({"truth": [str(10 + i) for i in range(N)]})
    no = rows("precision=float16", status="failed", reason=f"{NOT_OFFERED}no such format", mm=np.nan)
    half = measured(4, "precision=bfloat16")
    # In the run, where they stood in other company, the cases had answers a little off from those by themselves.
    clean = measured(1e-6, None)
    found = figures(p, frame, clean, measured(0, "identity"), measured(0, "own"), measured(0, "repeat/1"), half, no)
    assert one(found, "answers", "same_answer", "repeat/1").value == 1.0
    assert one(found, "answers", "same_answer", "precision=bfloat16").numerator == N / 2
    # Differences 0 and 4 in turn: mean 2, SD (n - 1) 2 * sqrt(20 / 19).
    sd = 2.0 * np.sqrt(20 / 19)
    assert one(found, "answers", "agreement_lower", "precision=bfloat16").value == pytest.approx(2 - 1.959964 * sd)
    assert one(found, "answers", "agreement_upper", "precision=bfloat16").value == pytest.approx(2 + 1.959964 * sd)
    # Relative to the value where that is above 1: 4 of 11.
    assert one(found, "answers", "largest_score_change", "precision=bfloat16").value == pytest.approx(4 / 11.1)
    assert one(found, "answers", "criteria_changed", "precision=bfloat16").value == 1.0
    assert one(found, "answers", "criteria_changed", "repeat/1").value == 0.0
    gone = one(found, "answers", "same_answer", "precision=float16")
    assert gone.undefined == f"{NOT_OFFERED}no such format"


def test_a_crop_of_what_is_measured_is_refused():
    (problem,) = robustness_problems(measuring(perturbations=["crop"]), "?")
    assert "larger by construction" in problem.what
    (problem,) = robustness_problems(measuring(perturbations=["dose"], at="primary"), "?")
    assert "no operating point" in problem.what


# --- labels and grades ----------------------------------------------------------------------------------------------


def test_each_label_has_its_own_changes_and_a_case_one_answer():
    task = {"kind": "multilabel", "reference": ["a", "b"], "score": ["p_a", "p_b"]}
    p = protocol(
        task, {"name": "sens", "metric": "macro_sensitivity", "at": "cut"}, {"severities": [4]},
        operating_points=[{"name": "cut", "threshold": 0.5}],
    )  # fmt: skip
    frame = pd.DataFrame({"a": ["1", "0"] * 10, "b": ["1", "1", "0", "0"] * 5})
    a, b = np.array([0.9, 0.1] * 10), np.array([0.9, 0.9, 0.1, 0.1] * 5)
    worse_a = a.copy()
    worse_a[[0, 2]] = 0.4
    worse_b = b.copy()
    worse_b[[0, 1, 4]] = 0.2
    clean, same = rows(None, p_a=a, p_b=b), rows("identity", p_a=a, p_b=b)
    found = figures(p, frame, clean, same, rows("dose/4", p_a=worse_a, p_b=worse_b))
    assert one(found, "answers", "flip_rate", "dose/4", "a").numerator == 2
    assert one(found, "answers", "flip_rate", "dose/4", "b").numerator == 3
    assert one(found, "answers", "flip_rate", "dose/4").numerator == 4
    assert one(found, "answers", "score_change", "dose/4", "b").value == pytest.approx(-2.1 / N)
    assert one(found, "sens", "macro_sensitivity_difference", "dose/4").value == pytest.approx(-(0.2 + 0.3) / 2)
    assert one(found, "answers", "largest_score_change", "identity").value == 0.0


def test_grades_move_on_their_scale():
    task = {"kind": "ordinal", "reference": "truth", "classes": ["0", "1", "2"], "score": "grade"}
    p = protocol(task, {"name": "kappa", "metric": "quadratic_kappa"}, {"severities": [4]})
    truth = [0, 1, 2, 1] * 5
    worse = [min(2, g + (i < 8)) for i, g in enumerate(truth)]
    frame = pd.DataFrame({"truth": [str(g) for g in truth]})
    clean, same = rows(None, grade=truth), rows("identity", grade=truth)
    found = figures(p, frame, clean, same, rows("dose/4", grade=worse))
    assert one(found, "answers", "flip_rate", "dose/4").numerator == 6
    assert one(found, "answers", "score_change", "dose/4").value == pytest.approx(6 / N)


# --- marks ----------------------------------------------------------------------------------------------------------


def test_lesions_are_lost_and_marks_are_fewer():
    rule = {"rule": "distance", "distance_mm": 5}
    task = {"kind": "detection", "reference": "lesions", "score": "score", "matching": rule}
    p = protocol(
        task, {"name": "found", "metric": "lesion_sensitivity", "at": "cut"}, {"severities": [4]},
        operating_points=[{"name": "cut", "threshold": 0.5}],
    )  # fmt: skip
    table = "case_id,x,y\n" + "".join(f"c{i},10,10\n" for i in range(10))
    files = References({"lesions.csv": table.encode()})
    frame = with_lesions(p, pd.DataFrame({"lesions": ["lesions.csv"] * N}), IDS, files)  # type: ignore[arg-type]

    def marked(name: str | None, lost: int) -> pd.DataFrame:
        cells = [(0.9,) if lost <= i < 10 else () for i in range(N)]
        place = [tuple(10.0 for _ in c) for c in cells]
        columns = {"score": cells, "x": place, "y": place}
        return rows(name, **{k: pd.Series(v, dtype=object) for k, v in columns.items()})

    found = figures(p, frame, marked(None, 0), marked("identity", 0), marked("dose/4", 3))
    assert one(found, "found", "lesion_sensitivity", "dose/4").value == pytest.approx(0.7)
    assert one(found, "found", "lesion_sensitivity_difference", "dose/4").value == pytest.approx(-0.3)
    assert one(found, "answers", "flip_rate", "dose/4").numerator == 3
    assert one(found, "answers", "score_change", "dose/4").value == pytest.approx(-3 / N)
    assert one(found, "answers", "largest_score_change", "identity").value == 0.0


def test_sites_of_a_task_of_marks_are_left_out_in_turn():
    rule = {"rule": "distance", "distance_mm": 5}
    task = {"kind": "detection", "reference": "lesions", "score": "score", "matching": rule}
    p = protocol(
        task, {"name": "found", "metric": "lesion_sensitivity", "at": "cut"},
        operating_points=[{"name": "cut", "threshold": 0.5}], strata=[{"name": "site", "column": "site"}],
    )  # fmt: skip
    over = {"generalisation": {"site": "site", "endpoints": ["found"]}}
    p = StudyProtocol.model_validate({**p.model_dump(by_alias=True, exclude_none=True), "analyses": over})
    table = "case_id,x,y\n" + "".join(f"c{i},10,10\n" for i in range(N))
    frame = pd.DataFrame({"lesions": ["l.csv"] * N, "site": ["a" if i < 8 else "b" for i in range(N)]})
    files = References({"l.csv": table.encode()})
    frame = with_lesions(p, frame, IDS, files)  # type: ignore[arg-type]
    cells = [(0.9,) if i >= 4 else () for i in range(N)]
    columns = {"score": cells, "x": [tuple(10.0 for _ in c) for c in cells]}
    columns["y"] = columns["x"]
    marks = rows(None, **{k: pd.Series(v, dtype=object) for k, v in columns.items()})
    results = evaluate_task(p, case_id=IDS, patient_id=IDS, frame=frame, predictions=marks)
    found = {f.condition: f.estimate for f in results.findings if f.analysis == "generalisation"}
    assert found["others=b"].value == 0.5
    assert found["others=a"].value == 1.0
    assert found["gap=a"].value == pytest.approx(-0.5)
    assert found["gap=a"].high < 0.0


# --- outlines -------------------------------------------------------------------------------------------------------


def test_outlines_of_moved_images_are_brought_back_to_the_reference(tmp_path):
    from evalsuite.analyses.degraded_masks import AGREEMENT, with_degraded_figures

    task = {"kind": "segmentation", "reference": "mask", "score": "seg", "classes": ["lesion"]}
    block = {"perturbations": ["dose", "crop"], "severities": [4], "symmetric": ["flip_horizontal"]}
    p = protocol(task, {"name": "overlap", "metric": "dice"}, block)
    asked = p.analyses.robustness
    assert asked is not None
    truth = np.zeros((40, 50), dtype=np.uint8)
    truth[12:24, 15:31] = 1
    grid = Grid(shape=truth.shape)
    shown = {c.name: c for c in conditions_of(asked)}
    cropped = np.zeros_like(truth)
    # Row r of 40 is shown at (r - 0.09 × 39) / 0.82, column c of 50 at (c - 0.09 × 49) / 0.82.
    cropped[10:25, 13:32] = 1
    drawn = {
        None: truth,
        "identity": truth,
        "flip_horizontal": truth[:, ::-1].copy(),
        "dose/4": np.where(np.arange(50) < 23, truth, 0).astype(np.uint8),
        "crop/4": cropped,
        "batch": truth,
    }

    def stored(case: str, name: str | None, mask: np.ndarray) -> StoredMask:
        if name is None:
            called = case
        else:
            called = shown_as(case, shown[name], p.seed) if name in shown else mask_name(case, name)
        return StoredMask(
            case_id=called, output="seg", channel=None, classes=("background", "lesion"), grid=grid, runs=encode(mask)
        )

    cases = IDS[:3]
    masks = [stored(c, name, m) for c in cases for name, m in drawn.items()]
    digests = write_masks(tmp_path / "masks-00000.parquet", masks)
    frame = pd.DataFrame({"mask": ["a.png"] * 3})
    files = References({"a.png": png(truth)})
    conditions = pd.concat([rows(name, cases) for name in drawn if name is not None], ignore_index=True)
    source = make_predictions(
        rows(None, cases), outputs=(), model={}, record={}, masks=masks_digest(digests),
        mask_files=(tmp_path / "masks-00000.parquet",),
    )  # fmt: skip
    wanted = figures_wanted(p)
    made = with_degraded_figures(p, frame, cases, conditions, source, files, wanted)  # type: ignore[arg-type]
    assert set(made["status"]) == {"ok"}
    own = [dict(figures_of_masks(p, truth, [m], None, wanted)) for m in masks if m.case_id in cases]
    clean = rows(None, cases).assign(**{FIGURES: pd.Series(own, dtype=object), SECOND: None})
    found = robustness_figures(
        p, case_id=cases, patient_id=cases, frame=frame, predictions=clean, conditions=made, evaluate=evaluate_task
    ).findings
    half = 2 * 12 * 8 / (12 * 8 + 12 * 16)
    assert one(found, "overlap", "dice", "dose/4").value == pytest.approx(half)
    assert one(found, "overlap", "dice_difference", "dose/4").value == pytest.approx(half - 1)
    assert one(found, "answers", "mask_agreement", "dose/4", "lesion").value == pytest.approx(half)
    for check in ("identity", "flip_horizontal", "batch"):
        assert one(found, "answers", "lowest_mask_agreement", check, "lesion").value == 1.0
    assert one(found, "overlap", "dice", "crop/4").value > 0.93
    assert made.loc[made["condition"] == "crop/4", AGREEMENT].iloc[0]["lesion"] > 0.93
