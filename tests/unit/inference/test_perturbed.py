"""The model on degraded images: the image is made worse where the file would be, and every answer keeps its case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import FakeModel, make_testset
from PIL import Image as Picture

from evalsuite.errors import ContractError, InputError
from evalsuite.inference.engine import predict
from evalsuite.inference.perturbed import predict_perturbed, require_perturbable, sampled
from evalsuite.inference.predictions import read_predictions, write_predictions
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.contract import Contract, InputSpec, OutputSpec
from evalsuite.models.folder_model import FolderModel
from evalsuite.protocol.robustness import Robustness, conditions_of

SETTINGS = InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1, decoders=2, repeat=False)
CONTRACT = Contract(
    task="binary",
    inputs=(InputSpec(shape=(1, 16, 16), colour="L"),),
    outputs=(OutputSpec(classes=("malignant",), activation="none"),),
)
ASKED = Robustness(modality="xray", perturbations=["gain", "dose"], severities=[1, 5], cases=10)


def images(folder: Path, n: int = 12):
    """A test set of 16 × 16 images, case i with grey values around 20 (i + 1); two cases per patient."""
    rng = np.random.default_rng(0)
    base = make_testset(n)
    cases = []
    for i, case in enumerate(base.cases):
        path = folder / f"{i}.png"
        Picture.fromarray((20 * (i + 1) % 200 + rng.integers(0, 20, (16, 16))).astype(np.uint8)).save(path)
        cases.append(replace(case, images={"image": (path,)}))
    return replace(base, cases=tuple(cases))


def run(tmp_path: Path, asked: Robustness = ASKED, *, seed: int = 3, model=None, work: str = "work", **options):
    testset = images(tmp_path)
    model = model or FakeModel(contract=CONTRACT)
    clean = predict(model, testset, settings=SETTINGS, work=tmp_path / work)
    return clean, predict_perturbed(
        model, testset, asked, clean, settings=SETTINGS, work=tmp_path / work / "worse", seed=seed, **options
    )


def answers(predictions, condition: str | None) -> dict[str, float]:
    table = predictions.table
    rows = table[table["condition"].isna() if condition is None else table["condition"] == condition]
    return dict(zip(rows["case_id"], rows["p_malignant"], strict=True))


def test_every_case_of_the_sample_has_an_answer_in_every_condition(tmp_path):
    clean, found = run(tmp_path)
    before = answers(found, None)
    assert before == answers(clean, None)
    chosen = {c.case_id for c in sampled(images(tmp_path).cases, ASKED, 3)}
    assert len(chosen) == 10
    names = [c.name for c in conditions_of(ASKED)]
    assert names == ["identity", "gain/1", "gain/5", "dose/1", "dose/5"]
    for name in (*names, "batch"):
        assert set(answers(found, name)) == chosen
    assert len(found.table) == 12 + 10 * 6
    assert found.record["robustness"]["conditions"] == names
    assert found.digest != clean.digest


def test_answers_are_those_of_the_worse_image(tmp_path):
    _, found = run(tmp_path)
    before = answers(found, None)
    assert answers(found, "identity") == {c: before[c] for c in answers(found, "identity")}
    for name, left in (("gain/1", 0.95), ("gain/5", 0.6)):
        for case, value in answers(found, name).items():
            assert value == pytest.approx(left * before[case], abs=0.5 / 255)
    noisy = answers(found, "dose/5")
    assert all(value != before[case] for case, value in noisy.items())
    assert answers(found, "batch").items() == {c: before[c] for c in noisy}.items()


def test_an_interrupted_run_goes_on_and_another_seed_is_another_run(tmp_path):
    first = FakeModel(contract=CONTRACT)
    _, found = run(tmp_path, model=first)
    again = FakeModel(contract=CONTRACT)
    _, resumed = run(tmp_path, model=again)
    assert resumed.digest == found.digest
    assert len(again.batches) < len(first.batches)  # probes only
    _, other = run(tmp_path, seed=4)
    assert other.digest != found.digest
    assert answers(other, "gain/5") == pytest.approx(
        {c: answers(found, "gain/5").get(c, v) for c, v in answers(other, "gain/5").items()}
    )


def test_the_cache_of_decoded_images_never_gives_one_condition_for_another(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "location.json").write_text('{"schema": "evalsuite/location/1", "root": "."}')
    files = [{"path": f"{i}.png", "size": 1, "sha256": f"{i:064x}"} for i in range(12)]
    testset = replace(images(tmp_path), path=tmp_path, lock={"copied": False, "files": files})
    model = FakeModel(contract=CONTRACT)
    clean = predict(model, testset, settings=SETTINGS, work=tmp_path / "w")
    found = [
        predict_perturbed(
            model, testset, ASKED, clean, settings=replace(SETTINGS, cache=cache), work=tmp_path / f"w{k}", seed=3
        )
        for k, cache in enumerate((None, tmp_path / "cache", tmp_path / "cache"))
    ]
    assert list((tmp_path / "cache").rglob("*.decoded"))  # the unchanged images of the batch check
    assert len({f.digest for f in found}) == 1
    assert answers(found[2], "gain/5") != answers(found[2], "gain/1")


def test_what_cannot_be_degraded_fails_by_itself(tmp_path):
    asked = Robustness(modality="dermoscopy", perturbations=["cast", "blur"], severities=[3], cases=4)
    _, found = run(tmp_path, asked)
    table = found.table
    assert set(table.loc[table["condition"] == "cast/3", "status"]) == {"failed"}
    assert set(table.loc[table["condition"] == "cast/3", "reason"]) == {"degrade"}
    assert set(table.loc[table["condition"] == "blur/3", "status"]) == {"ok"}


def test_the_file_keeps_it_all(tmp_path):
    _, found = run(tmp_path)
    write_predictions(found, tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet").digest == found.digest


def test_the_sample_is_of_whole_patients_and_does_not_depend_on_the_order(tmp_path):
    cases = make_testset(40).cases
    few = Robustness(modality="ct", cases=7)
    chosen = sampled(cases, few, 1)
    assert len(chosen) == 6
    assert {c.case_id for c in sampled(cases[::-1], few, 1)} == {c.case_id for c in chosen}
    assert {c.case_id for c in sampled(cases, few, 2)} != {c.case_id for c in chosen}
    assert len(sampled(cases, Robustness(modality="ct", cases=1), 1)) == 1
    assert sampled(cases, Robustness(modality="ct", cases=100), 1) == cases


def test_packages_that_read_files_themselves_are_refused_before_anything_runs():
    class Recorded:
        format = "recorded"
        name = "r"

        def __init__(self, names: list[str | None]) -> None:
            import pandas as pd

            self.table = pd.DataFrame({"case_id": ["c"] * len(names), "condition": names})

    require_perturbable(ASKED, Recorded([None, *(c.name for c in conditions_of(ASKED))]))
    with pytest.raises(InputError, match="dose/5"):
        require_perturbable(ASKED, Recorded([None, "identity", "gain/1", "gain/5", "dose/1"]))
    program = object.__new__(FolderModel)
    object.__setattr__(program, "format", "command")
    object.__setattr__(program, "name", "program")
    with pytest.raises(ContractError, match="itself"):
        require_perturbable(ASKED, program)


PRECISE = Robustness.model_validate(
    {
        "cases": 6,
        "precision": {
            "cases": 4, "repeats": 1, "batch_sizes": [1], "threads": [1], "precisions": ["bfloat16"],
            "devices": ["cuda:0", "cuda:3"],
        },
    }
)  # fmt: skip


def test_the_same_images_are_run_otherwise_and_what_is_not_offered_says_so(tmp_path, monkeypatch):
    """The second device is a stand-in: a model whose answers there are off by a hundredth."""
    from evalsuite.inference import device as devices

    class There(FakeModel):
        def to(self, device):
            return replace(self, device=device, answer=(lambda x: x + 0.01) if device == "cpu:0" else None)

        def with_numerics(self, numerics, *, threads):
            assert numerics.precision == "bfloat16"
            raise InputError("no such number format")

    only = {"cpu": "cpu", "auto": "cpu", "cuda:0": "cpu:0"}

    def choose(wanted: str) -> str:
        if wanted not in only:
            raise InputError(f"no {wanted}")
        return only[wanted]

    monkeypatch.setattr(devices, "choose_device", choose)
    monkeypatch.setattr(devices, "choose_devices", lambda wanted: [choose(wanted)])
    monkeypatch.setattr(devices, "batches_on", lambda model: "cpu")
    model = There(contract=CONTRACT)
    _, found = run(tmp_path, PRECISE, model=model)
    before = answers(found, None)
    for same in ("own", "repeat/1", "batch_size=1", "threads=1"):
        assert answers(found, same) == {c: before[c] for c in answers(found, same)}
        assert len(answers(found, same)) == 4
    assert {c: v - before[c] for c, v in answers(found, "device=cuda:0").items()} == pytest.approx(
        dict.fromkeys(answers(found, "device=cuda:0"), 0.01)
    )
    table = found.table.set_index(["condition", "case_id"])
    for name, why in (("device=cuda:3", "no cuda:3"), ("precision=bfloat16", "no such number format")):
        assert set(table.loc[name, "status"]) == {"failed"}
        assert set(table.loc[name, "reason"]) == {f"not offered here: {why}"}
    assert found.record["robustness"]["precision"]["device=cuda:0"]["device"] == "cpu:0"


def test_images_of_one_case_are_not_moved_each_by_itself():
    two = Contract(
        inputs=(InputSpec(name="a", shape=(1, 16, 16)), InputSpec(name="b", shape=(1, 16, 16))),
        outputs=(OutputSpec(classes=("malignant",)),),
    )
    with pytest.raises(ContractError, match="flip_horizontal would move each by itself"):
        require_perturbable(Robustness(symmetric=["flip_horizontal"]), FakeModel(contract=two))
    require_perturbable(ASKED, FakeModel(contract=two))
