"""The model without a suspected region: what it sees, why a case is left out, and that a run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import FakeModel, make_testset
from PIL import Image as Picture

from evalsuite.errors import ContractError, InputError
from evalsuite.imaging import read_files
from evalsuite.imaging.image import Spec
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.inference.shortcut_images import changed_image, predict_shortcuts, require_changeable
from evalsuite.models.contract import Contract, InputSpec, OutputSpec
from evalsuite.models.folder_model import FolderModel
from evalsuite.protocol.shortcuts import ALREADY_THERE, NO_REGION, NOT_CHANGED, Shortcut

SETTINGS = InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1, decoders=2, repeat=False)
CONTRACT = Contract(
    task="binary",
    inputs=(InputSpec(shape=(1, 32, 32), colour="L"),),
    outputs=(OutputSpec(classes=("malignant",), activation="none"),),
)
BAND = {"box": {"top": 0.0, "left": 0.0, "bottom": 0.25, "right": 0.5}}


def asked(name: str = "band", **more: object) -> Shortcut:
    given = {"region": BAND, "change": "remove", "margins": {"score": 0.05}, "cases": 100, **more}
    return Shortcut.model_validate({"name": name, **given})


def images(folder: Path, n: int = 10):
    """Grey images; every other one has a white band in its top left corner, and a mask that marks it."""
    base = make_testset(n)
    cases = []
    for i, case in enumerate(base.cases):
        grey = np.full((32, 32), 60 + 2 * i, dtype=np.uint8)
        mask = np.zeros_like(grey)
        mask[:8, :16] = 255
        found = {"image": (folder / f"{i}.png",)}
        if i % 2 == 0:
            grey[mask > 0] = 255
            Picture.fromarray(mask).save(folder / f"m{i}.png")
            found["band"] = (folder / f"m{i}.png",)
        Picture.fromarray(grey).save(folder / f"{i}.png")
        cases.append(replace(case, images=found))
    return replace(base, cases=tuple(cases))


def run(tmp_path: Path, *shortcuts: Shortcut, model=None, seed: int = 3):
    testset = images(tmp_path)
    model = model or FakeModel(contract=CONTRACT)
    clean = predict(model, testset, settings=SETTINGS, work=tmp_path / "work")
    return clean, predict_shortcuts(
        model, testset, shortcuts, clean, settings=SETTINGS, work=tmp_path / "work" / "shortcuts", seed=seed
    )


def rows(predictions, condition: str):
    table = predictions.table
    return table[table["condition"] == condition].set_index("case_id")


def test_answers_are_those_of_the_filled_image_and_its_control(tmp_path):
    s = asked(region={"mask": "band"})
    clean, found = run(tmp_path, s)
    before = clean.table.set_index("case_id")["p_malignant"]
    changed, control = rows(found, s.condition), rows(found, s.control)
    assert len(changed) == len(control) == 10
    for i, case in enumerate(before.index):
        if i % 2:
            assert changed.loc[case, "reason"] == control.loc[case, "reason"] == NO_REGION
            continue
        grey = 60 + 2 * i
        assert changed.loc[case, "p_malignant"] == pytest.approx(grey / 255, abs=1e-3)
        # Another place of the same size is grey already, so that filling it changes little.
        assert control.loc[case, "p_malignant"] == pytest.approx(before[case], abs=0.03)
        assert before[case] > grey / 255 + 0.05
    assert found.record["shortcuts"]["n_cases"] == {"band": 10}
    assert set(found.table["condition"].dropna()) == {s.condition, s.control}


def test_an_interrupted_run_goes_on_and_margins_decide_no_image(tmp_path):
    first = FakeModel(contract=CONTRACT)
    _, found = run(tmp_path, asked(), model=first)
    again = FakeModel(contract=CONTRACT)
    _, resumed = run(tmp_path, asked(margins={"score": 0.2}), model=again)
    assert resumed.digest == found.digest
    assert len(again.batches) < len(first.batches)  # probes only
    _, other = run(tmp_path, asked(fill="median"))
    assert other.digest != found.digest


def test_a_region_that_nowhere_is_leaves_every_case_out_without_an_error(tmp_path):
    s = asked("text", region={"text": True})
    _, found = run(tmp_path, s)
    assert set(rows(found, s.condition)["reason"]) == {NO_REGION}


def test_what_is_put_in_is_there_and_the_control_is_as_bright(tmp_path):
    s = asked(change="insert", insert={"text": "AB"})
    case = images(tmp_path).cases[1]
    image = read_files(case.images["image"], spec=Spec(), name="x")
    made, control = (changed_image(image, s, control=c, seed=1, case=case).array for c in (False, True))
    assert made.dtype == image.array.dtype
    assert (made[:, :8, :16] == round(0.97 * 255)).any()
    assert np.array_equal(made[:, 8:], image.array[:, 8:])
    assert (control != image.array).sum() == (made != image.array).sum() > 0
    assert np.array_equal(control[:, :8, :16], image.array[:, :8, :16])


def test_text_that_is_there_already_is_not_put_in_twice(tmp_path):
    s = asked(region=BAND, change="insert", insert={"text": "AB"}, unless="text")
    grey = np.full((200, 300), 60, dtype=np.uint8)
    import cv2

    cv2.putText(grey, "PORTABLE", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2)
    Picture.fromarray(grey).save(tmp_path / "t.png")
    case = make_testset(1).cases[0]
    image = read_files((tmp_path / "t.png",), spec=Spec(), name="x")
    with pytest.raises(InputError) as left_out:
        changed_image(image, s, control=False, seed=1, case=case)
    assert left_out.value.code == ALREADY_THERE in NOT_CHANGED
    gone = changed_image(image, asked(region={"text": True}), control=False, seed=1, case=case)
    assert gone.array.max() == 60


def test_packages_that_read_files_themselves_are_refused_before_anything_runs():
    import pandas as pd

    class Recorded:
        format = "recorded"

        def __init__(self, names: list[str]) -> None:
            self.table = pd.DataFrame({"case_id": ["c"] * len(names), "condition": names})

    s = asked()
    require_changeable([s], Recorded([s.condition, s.control]))
    require_changeable([], Recorded([]))
    with pytest.raises(InputError, match="shortcut/band/control"):
        require_changeable([s], Recorded([s.condition]))
    program = object.__new__(FolderModel)
    object.__setattr__(program, "format", "command")
    object.__setattr__(program, "name", "program")
    with pytest.raises(ContractError, match="itself"):
        require_changeable([s], program)
