"""Maps of a sample of cases: stored, gone on with, the same in the sandbox, and in the tables of a run."""

from __future__ import annotations

import copy
import json
import threading
import time
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from attribution_nets import Linear, Runtime, packaged
from PIL import Image as Picture

from evalsuite.attribution.job import cost
from evalsuite.errors import ContractError, Interrupted, ModelRunError, SandboxUnavailable
from evalsuite.inference.attributed import _at_a_time, _here, _sizes, attribute_sample, require_attributable
from evalsuite.inference.attribution_store import read_index, read_map, read_values, write_attributions
from evalsuite.inference.settings import InferenceSettings
from evalsuite.inference.wanted import stopped
from evalsuite.models.base import PackagedModel
from evalsuite.models.open import open_model
from evalsuite.protocol.interpretability import Interpretability
from evalsuite.testset.types import Case, LockedTestSet

SETTINGS = InferenceSettings(device="cpu", batch_size=8, threads=1, decoders=1, repeat=False)
ASKED = Interpretability.model_validate(
    {
        "cases": 6,
        "methods": [{"method": "grad_cam"}, {"method": "occlusion", "window": 4}],
        "measures": ["randomisation", "reproducibility", "deletion"],
        "noise_samples": 2,
        "fractions": 3,
    }
)
SOURCE = """
import torch
def build():
    torch.manual_seed(0)
    pooled = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)]
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), *pooled)
"""
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "tiny",
    "entry_point": "network:build",
    "inputs": [{"name": "image", "shape": [3, 12, 12], "colour": "RGB", "value_range": [-1, 1]}],
    "outputs": [{"name": "y", "meaning": "logits", "activation": "softmax", "classes": ["benign", "malignant"]}],
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "tiny"
    folder.mkdir()
    (folder / "network.py").write_text(SOURCE)
    (folder / "evalsuite-model.yaml").write_text(json.dumps(CONTRACT))
    return folder


@pytest.fixture(scope="module")
def testset(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    cases = []
    for i in range(10):
        path = folder / f"{i}.png"
        Picture.fromarray(rng.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(path)
        cases.append(
            Case(
                case_id=f"a/b {i}", patient_id=f"p{i // 2}", study_id="", site="", acquired_at="", sample_weight=None,
                images={"image": (path,)},
            )
        )  # fmt: skip
    return LockedTestSet(
        path=Path("set"), lock={}, root="r" * 64, digest="d" * 64, set_id="s", version="1", cases=tuple(cases),
        has_images=True,
    )  # fmt: skip


def made(model, testset, work, asked=ASKED, score="p_malignant", **options):
    return attribute_sample(model, testset, asked, score=score, settings=SETTINGS, work=work, seed=5, **options)


def test_whole_patients_are_drawn_and_every_map_and_value_lies_in_the_run(package, testset, tmp_path):
    told = []
    found = made(open_model(package), testset, tmp_path / "work", on_pass=lambda d, t: told.append((d, t)))
    write_attributions(found, tmp_path / "arrays")
    index, values = read_index(tmp_path / "arrays"), read_values(tmp_path / "arrays")
    assert set(index["method"]) == {"grad_cam", "occlusion", "baseline_image", "baseline_edges", "baseline_centre"}
    chosen = set(index["case_id"])
    assert len(chosen) == 6
    patients = [c.patient_id for c in testset.cases if c.case_id in chosen]
    assert all(patients.count(p) == 2 for p in patients)
    for row in index.itertuples():
        m = read_map(tmp_path / "arrays" / "attribution" / row.file)
        assert m.shape == (12, 12)
        assert row.target == "log odds of malignant (output y)"
        assert (row.sign, row.normalisation) == ("positive", "none")
        assert m.min() >= 0
    per_case = cost(ASKED, (12, 12))
    assert found.record["planned_passes"] == 6 * sum(per_case.values()) == told[0][1]
    assert told[0] == (0, told[0][1])
    assert told[-1] == (told[0][1], told[0][1])
    assert found.record["passes"] == {k: 6 * v for k, v in per_case.items()}
    cam, occlusion = found.record["methods"]
    assert cam == {"name": "grad_cam", "method": "grad_cam", "layer": "0", "sign": "positive", "normalisation": "none"}
    assert (occlusion["window"], occlusion["stride"], occlusion["baseline"]) == ("4 × 4", "2 × 2", "zero")
    known = values.set_index(["case_id", "method", "measure", "variant"])["value"]
    measures = {(m, v) for _, _, m, v in known.index}
    assert {
        ("randomisation", "ssim"),
        ("reproducibility", "spearman"),
        ("random_pair", "ssim"),
        ("deletion", "auc"),
    } <= measures
    rows = known.xs("target", level="measure")
    assert len(rows) == 6
    assert np.isfinite(rows).all()


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(package, testset, tmp_path, monkeypatch):
    monkeypatch.setattr("evalsuite.inference.attributed._IMAGES_AT_A_TIME", 2)
    work = tmp_path / "a"
    with pytest.raises(Interrupted):
        made(open_model(package), testset, work, should_stop=lambda: len(list(work.glob("*.json"))) == 2)
    again = made(open_model(package), testset, tmp_path / "a")
    fresh = made(open_model(package), testset, tmp_path / "b")
    assert (again.record["resumed_parts"], fresh.record["resumed_parts"]) == (2, 0)
    for found, place in ((again, "x"), (fresh, "y")):
        write_attributions(found, tmp_path / place)
    files = {p.relative_to(tmp_path / "x"): p.read_bytes() for p in (tmp_path / "x").rglob("*") if p.is_file()}
    assert files == {p.relative_to(tmp_path / "y"): p.read_bytes() for p in (tmp_path / "y").rglob("*") if p.is_file()}
    part = next((tmp_path / "a").glob("*.json"))
    part.write_text("{")  # a damaged part is made again
    assert made(open_model(package), testset, tmp_path / "a").record["resumed_parts"] == 2


def test_what_is_shown_often_is_stored_in_small_parts():
    def asking(**method):
        return Interpretability.model_validate({"methods": [method], "measures": []})

    assert _at_a_time(asking(method="grad_cam"), (224, 224)) == 16
    steps = asking(method="integrated_gradients", steps=200)
    assert _at_a_time(steps, (224, 224)) == 4  # 1 unchanged and 200 on the way to each
    assert _at_a_time(asking(method="integrated_gradients", steps=1000), (224, 224)) == 1
    assert _at_a_time(asking(method="grad_cam"), (64, 64, 64)) == 1


def test_on_a_processor_batches_and_parts_are_smaller_unless_a_batch_is_asked_for():
    model = SimpleNamespace(contract=SimpleNamespace(is_volume=False))
    batch, passes = _sizes(model, InferenceSettings(), on_cpu=True)
    assert (batch, _sizes(model, InferenceSettings(batch_size=32), on_cpu=True)[0]) == (16, 32)
    accelerated = _sizes(model, InferenceSettings(), on_cpu=False)
    assert accelerated[0] == 64
    assert passes < accelerated[1]
    model.per_call = 5
    assert _sizes(model, InferenceSettings(), on_cpu=True) == (5, accelerated[1])


class Counting(PackagedModel):
    """A package that counts its batches."""

    shown: ClassVar[list[int]] = []

    def raw(self, inputs):
        self.shown.append(len(inputs[0]))
        return super().raw(inputs)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_takes_long_and_is_stopped_before_its_next_batch(package, testset, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(Counting, "shown", [])
    one = open_model(package)
    counting = Counting(**{f.name: getattr(one, f.name) for f in fields(one)})
    monkeypatch.setattr(Counting, "another", lambda self: self, raising=False)
    with pytest.raises(Interrupted, match="stopped"):
        attribute_sample(
            counting, testset, ASKED, score="p_malignant", settings=replace(SETTINGS, workers=workers),
            work=tmp_path, seed=5, should_stop=lambda: len(Counting.shown) >= 3,
        )  # fmt: skip
    assert len(Counting.shown) == 3
    assert not list(tmp_path.glob("*.json"))


def test_when_one_worker_fails_the_others_stop_too(package, testset, tmp_path, monkeypatch):
    monkeypatch.setattr("evalsuite.inference.attributed._IMAGES_AT_A_TIME", 3)
    fails, waits = threading.Lock(), threading.Event()

    class Patient(Several):
        def attribute_stored(self, inputs, job, *, n_passes, should_stop):
            if fails.acquire(blocking=False):  # whoever comes first, whichever part it has
                assert waits.wait(60)
                raise ModelRunError("it failed")
            waits.set()
            for _ in range(6000):
                if should_stop():
                    raise stopped()
                time.sleep(0.01)
            raise AssertionError("it was not told to stop")

    one = open_model(package)
    several = Patient(**{f.name: getattr(one, f.name) for f in fields(one)})
    with pytest.raises(ModelRunError, match="it failed"):
        attribute_sample(
            several, testset, ASKED, score="p_malignant", settings=replace(SETTINGS, workers=2), work=tmp_path, seed=5
        )


def test_maps_made_in_the_sandbox_are_those_of_this_process(package, testset, tmp_path):
    from evalsuite.sandbox.launcher import require_bubblewrap
    from evalsuite.sandbox.open import open_model as open_closed

    try:
        require_bubblewrap()
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    here = made(open_model(package), testset, tmp_path / "here")
    closed = open_closed(package)
    try:
        there = made(closed, testset, tmp_path / "there")
        with pytest.raises(ContractError, match="no layer nowhere"):
            made(
                closed, testset, tmp_path / "wrong",
                Interpretability.model_validate({"methods": [{"method": "grad_cam", "layer": "nowhere"}]}),
            )  # fmt: skip
    finally:
        closed.close()
    assert_same(there, here)


class Several(PackagedModel):
    """A package of which there may be several, as in the sandbox; each says what it was asked for."""

    asked: ClassVar[list[int]] = []

    def another(self) -> Several:
        return replace(self, network=copy.deepcopy(self.network))

    def attribute_stored(self, inputs, job, *, n_passes, should_stop):
        self.asked.append(id(self))
        return _here(self, inputs, job)


def test_two_workers_share_the_parts_and_make_the_maps_of_one(package, testset, tmp_path, monkeypatch):
    monkeypatch.setattr(Several, "asked", [])
    monkeypatch.setattr("evalsuite.inference.attributed._IMAGES_AT_A_TIME", 1)
    one = open_model(package)
    several = Several(**{f.name: getattr(one, f.name) for f in fields(one)})
    here = made(one, testset, tmp_path / "here")
    there = attribute_sample(
        several, testset, ASKED, score="p_malignant", settings=replace(SETTINGS, workers=2), work=tmp_path / "there",
        seed=5,
    )  # fmt: skip
    assert there.record["workers"] == 2
    assert len(Several.asked) == 6
    assert len(set(Several.asked)) == 2  # whoever was idle longest has the next part
    assert_same(there, here)


def assert_same(there, here) -> None:
    assert there.record["passes"] == here.record["passes"]
    for label, files in here.maps.items():
        for case, path in files.items():
            np.testing.assert_array_equal(read_map(there.maps[label][case]), read_map(path))
    assert there.values == here.values


def test_a_format_without_derivatives_gets_the_methods_that_do_without(testset, tmp_path):
    linear = Linear()
    with torch.no_grad():
        linear.w = torch.nn.Parameter(torch.rand(1, 1, 12, 12))
    model = packaged(Runtime(call=lambda x: linear(x[:, :1]).detach()), shape=(3, 12, 12))
    found = made(model, testset, tmp_path, score="y")
    assert [m.label for m in found.asked.methods] == ["occlusion"]
    assert "derivatives" in found.record["refused"]["grad_cam"]
    assert "shuffled" in found.record["refused"]["randomisation"]
    assert {v[2] for v in found.values} == {"target", "reproducibility", "random_pair", "deletion"}
    only = ASKED.model_copy(update={"methods": ASKED.methods[:1]})
    with pytest.raises(ContractError, match="none of the methods") as caught:
        require_attributable(only, model, score="y")
    assert "occlusion" in caught.value.hint


@pytest.mark.parametrize(
    ("target", "score", "what"),
    [
        ({}, "p_malignant / 2", "no sum"),
        ({"output": "z"}, "p_malignant", "gives y"),
        ({"classes": ["melanoma"]}, "p_malignant", "no class melanoma"),
    ],
)
def test_a_target_that_is_none_of_the_outputs_is_refused_before_anything_runs(package, target, score, what):
    asked = Interpretability.model_validate({"methods": [{"method": "grad_cam"}], "target": target})
    with pytest.raises(ContractError, match=what):
        require_attributable(asked, open_model(package), score=score)


def test_recorded_predictions_have_no_maps_and_nothing_is_asked_where_no_method_is():
    recorded = SimpleNamespace(format="recorded", name="old")
    require_attributable(Interpretability(), recorded, score="p")
    with pytest.raises(ContractError, match="recorded predictions are answers alone"):
        require_attributable(ASKED, recorded, score="p")


def test_figures_are_means_with_intervals_beside_trivial_maps_and_by_stratum():
    from evalsuite.analyses.interpretability import interpretability_figures
    from tests.unit.analyses.test_beside_performance import SENSITIVITY, goal, protocol

    n = 40
    asked = {"methods": [{"method": "grad_cam"}], "measures": ["deletion", "randomisation"]}
    study = protocol(
        goal(SENSITIVITY, 0.7),
        analyses={"interpretability": asked},
        strata=[{"name": "site", "column": "site"}],
        confidence={"bootstrap": {"replicates": 200}},
    )
    ids = tuple(f"c{i}" for i in range(n))
    frame = pd.DataFrame({"truth": ["1", "0"] * (n // 2), "site": ["a"] * 25 + ["b"] * 15})
    rows = []
    for i in range(20):  # the sample: the first twenty cases, all of site a
        rows += [
            (f"c{i}", "grad_cam", "deletion", "auc", 0.2 + 0.01 * (i % 3)),
            (f"c{i}", "baseline_edges", "deletion", "auc", 0.3),
            (f"c{i}", "random", "deletion", "auc", 0.5 if i else None),
            (f"c{i}", "grad_cam", "deletion", "at 0.1", 0.9),
            (f"c{i}", "grad_cam", "randomisation", "ssim", 0.4),
            (f"c{i}", "grad_cam", "random_pair", "ssim", 0.5),
        ]
    values = pd.DataFrame(rows, columns=["case_id", "method", "measure", "variant", "value"])
    cases = {"case_id": ids, "patient_id": ids, "frame": frame}
    found = interpretability_figures(study, **cases, values=values)
    by = {(f.endpoint, f.metric, f.reference_group, f.stratum.get("site")): f.estimate for f in found.findings}
    own = by["grad_cam", "deletion_auc", None, None]
    assert own.value == pytest.approx(0.2 + 0.01 * np.mean([i % 3 for i in range(20)]))
    assert own.low < own.value < own.high
    assert by["grad_cam", "deletion_auc", "baseline_edges", None].value == pytest.approx(own.value - 0.3)
    assert by["grad_cam", "deletion_auc", "random", None].n == 19
    assert by["grad_cam", "randomisation_ssim", "another patient's map", None].value == pytest.approx(-0.1)
    assert by["grad_cam", "deletion_auc", None, "a"].n == 20
    none = by["grad_cam", "deletion_auc", None, "b"]
    assert none.value is None
    assert none.n == 0
    assert not any("at_0" in k[1] for k in by)
    assert {f.role for f in found.findings} == {"secondary"}
    assert "given none" in interpretability_figures(study, **cases, values=None).notes[0]
