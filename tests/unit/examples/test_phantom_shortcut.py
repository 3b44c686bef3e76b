"""The demonstration's marker is convicted by behaviour; a classifier trained without markers is acquitted."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from evalsuite.analyses.shortcuts import shortcut_figures
from evalsuite.analyses.tasks import evaluate_task
from evalsuite.imaging.image import Image
from evalsuite.inference.shortcut_images import changed_image
from evalsuite.protocol.load import load_protocol
from evalsuite.testset.types import Case

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "chest_phantom"
PATIENTS = 30


@pytest.fixture(scope="module", autouse=True)
def _path() -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def protocol():
    return load_protocol(FOLDER / "protocol.yaml")


@pytest.fixture(scope="module")
def shown(protocol, _path):
    """Every study with the marker: its image as it is, with the marker taken out, and with another place treated so."""
    from phantom.patients import PROFILES, studies
    from phantom.render import render

    marked = replace(PROFILES["test"], marker_with_nodule=1.0, marker_without=1.0)
    asked = protocol.analyses.interpretability.shortcuts[0]
    rows = []
    for study in studies(PATIENTS, seed=77, profile=marked):
        image = Image(array=render(study).shown[None], full_range=(0.0, 4095.0), kind="dicom")
        case = Case(
            case_id=study.case_id, patient_id=study.patient_id, study_id="", site="", acquired_at="",
            sample_weight=None, images={},
        )  # fmt: skip
        changed, control = (changed_image(image, asked, control=c, seed=1, case=case) for c in (False, True))
        rows.append((study, image.array, changed.array, control.array))
    return rows


def scores(model: str, arrays: list[np.ndarray]) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the format itself
        network = torch.jit.load(str(FOLDER / "models" / model / "model.ts"))
    with torch.inference_mode():
        found = network(torch.from_numpy(np.stack(arrays).astype(np.float32) / 4095.0))
    return [float(v) for v in found[:, 0]]


def verdict(model: str, protocol, shown):
    asked = protocol.analyses.interpretability.shortcuts[0]
    ids = [s.case_id for s, *_ in shown]

    def table(name: str | None, k: int) -> pd.DataFrame:
        base = {"case_id": ids, "rater": "device", "condition": name, "status": "ok", "reason": None}
        return pd.DataFrame({**base, "p_nodule": scores(model, [row[k] for row in shown])})

    results = shortcut_figures(
        protocol.model_copy(update={"strata": []}),
        case_id=tuple(ids),
        patient_id=tuple(s.patient_id for s, *_ in shown),
        frame=pd.DataFrame({"nodule": ["1" if s.body.nodules else "0" for s, *_ in shown]}),
        predictions=table(None, 1),
        conditions=pd.concat([table(asked.condition, 2), table(asked.control, 3)]),
        evaluate=evaluate_task,
    )
    found = {(f.endpoint, f.metric, f.condition, f.reference_group): f.estimate for f in results.findings}
    return (
        found["all margins", "shortcut_verdict", asked.condition, None],
        found["answers", "score_change", asked.condition, "unchanged images"],
    )


def test_the_demonstrations_classifier_is_convicted(protocol, shown):
    said, change = verdict("torchscript", protocol, shown)
    assert said.value == 1.0
    assert change.high < -0.1


def test_a_classifier_trained_without_markers_is_acquitted(protocol, shown):
    said, change = verdict("clean", protocol, shown)
    assert abs(change.value) < 0.03
    assert said.value == 0.0
