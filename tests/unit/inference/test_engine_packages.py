"""The engine with real packages and real image files, end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from inference_fakes import make_testset

from evalsuite.analyses.drift import drift_analysis
from evalsuite.analyses.drift_periods import Period
from evalsuite.errors import ContractError, ModelRunError
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import open_model
from evalsuite.protocol.drift import Calendar, Drift
from evalsuite.protocol.load import load_protocol
from evalsuite.testset.types import Case, LockedTestSet

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # how the tests make a package

SETTINGS = InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1, decoders=2)
CONTRACT = """\
schema: evalsuite/model/1
name: small
task: multiclass
inputs:
  - {{name: x, shape: [{channels}, 16, 16], colour: {colour}}}
outputs:
  - {{name: y, activation: {activation}, classes: [mel, nv, bcc]}}
"""


class Small(torch.nn.Module):
    """A convolution, its mean, three logits; `probabilities` applies softmax inside the package."""

    def __init__(self, channels: int, probabilities: bool) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, 3, 3)
        self.probabilities = probabilities

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x).mean(dim=(2, 3)) * 10
        return torch.softmax(y, dim=1) if self.probabilities else y


def package(folder: Path, *, channels=3, colour="RGB", activation="softmax", probabilities=False):
    torch.manual_seed(0)
    network = Small(channels, probabilities).eval()
    with torch.no_grad():
        torch.jit.trace(network, torch.zeros(2, channels, 16, 16)).save(str(folder / "small.ts"))
    (folder / "small.yaml").write_text(CONTRACT.format(channels=channels, colour=colour, activation=activation))
    return network, open_model(folder / "small.ts", contract=folder / "small.yaml")


def images(folder: Path, n: int = 13) -> LockedTestSet:
    rng = np.random.default_rng(1)
    cases = []
    for i in range(n):
        path = folder / f"{i}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        cases.append(
            Case(
                case_id=f"c{i:03d}", patient_id=f"p{i}", study_id="", site="", acquired_at="", sample_weight=None,
                images={"picture": (path,)},
            )
        )  # fmt: skip
    lock = make_testset(0)
    return LockedTestSet(
        path=folder, lock={}, root=lock.root, digest=lock.digest, set_id="s", version="1", cases=tuple(cases),
        has_images=True,
    )  # fmt: skip


def test_a_torchscript_package_on_png_files_gives_what_the_network_gives(tmp_path):
    testset = images(tmp_path)
    network, model = package(tmp_path)
    found = predict(model, testset, settings=SETTINGS, work=tmp_path / "work")
    assert found.outputs == ("p_mel", "p_nv", "p_bcc")
    pixels = np.stack([cv2.imread(str(c.images["picture"][0]))[..., ::-1].transpose(2, 0, 1) for c in testset.cases])
    with torch.no_grad():
        expected = torch.softmax(network(torch.from_numpy(pixels.copy()) / 255), dim=1).numpy()
    np.testing.assert_allclose(found.table[list(found.outputs)].to_numpy(), expected, atol=1e-6)
    assert found.record["inference"]["rerun"]["bitwise_equal"] is True
    assert found.model["digest"] == model.digest


def test_a_damaged_file_is_one_failed_case(tmp_path):
    testset = images(tmp_path)
    whole = testset.cases[5].images["picture"][0].read_bytes()
    _, model = package(tmp_path)
    before = predict(model, testset, settings=SETTINGS, work=tmp_path / "a").table
    testset.cases[5].images["picture"][0].write_bytes(whole[: len(whole) // 2])
    after = predict(model, testset, settings=SETTINGS, work=tmp_path / "b").table
    assert after["status"].tolist() == ["ok"] * 5 + ["failed"] + ["ok"] * 7
    others = [i for i in range(13) if i != 5]
    np.testing.assert_allclose(after.loc[others, "p_mel"], before.loc[others, "p_mel"], atol=1e-6)


def test_a_contract_that_asks_for_softmax_twice_is_refused(tmp_path):
    _, model = package(tmp_path, probabilities=True)
    with pytest.raises(ModelRunError, match=r"asks for softmax .* already gives probabilities"):
        predict(model, images(tmp_path), settings=SETTINGS, work=tmp_path / "work")
    _, honest = package(tmp_path, probabilities=True, activation="none")
    assert len(predict(honest, images(tmp_path), settings=SETTINGS, work=tmp_path / "work").table) == 13


def test_logits_declared_as_probabilities_are_refused(tmp_path):
    _, model = package(tmp_path, activation="none")
    with pytest.raises(ModelRunError, match=r"does not keep its contract: .* probabilities") as caught:
        predict(model, images(tmp_path), settings=SETTINGS, work=tmp_path / "work")
    assert caught.value.failure == "contract"


def test_colour_images_for_a_grey_model_are_refused_and_both_sides_named(tmp_path):
    _, model = package(tmp_path, channels=1, colour="L")
    with pytest.raises(ContractError, match=r"the image has 3 channels, the model's contract takes 1 \(L\)"):
        predict(model, images(tmp_path), settings=SETTINGS, work=tmp_path / "work")


def test_a_package_that_takes_other_channels_than_its_contract_says_is_an_error_before_the_first_case(tmp_path):
    _, _ = package(tmp_path, channels=1, colour="L")
    (tmp_path / "small.yaml").write_text(CONTRACT.format(channels=3, colour="RGB", activation="softmax"))
    model = open_model(tmp_path / "small.ts", contract=tmp_path / "small.yaml")
    done = []
    with pytest.raises(Exception, match="small failed on a batch") as caught:
        predict(model, images(tmp_path), settings=SETTINGS, work=tmp_path / "work", on_case=lambda *n: done.append(n))
    assert caught.value.exit_code == 4
    assert not done


TWO_INPUTS = """\
schema: evalsuite/model/1
name: two views
task: binary
inputs:
  - {name: mlo, shape: [1, 16, 16], colour: L, convert_colour: luma}
  - {name: cc, shape: [3, 16, 16], colour: RGB}
outputs:
  - {name: y, activation: sigmoid, classes: [cancer]}
"""


class TwoViews(torch.nn.Module):
    """Difference of the two views' means."""

    def forward(self, mlo: torch.Tensor, cc: torch.Tensor) -> torch.Tensor:
        return mlo.mean(dim=(1, 2, 3)).unsqueeze(1) - 2 * cc.mean(dim=(1, 2, 3)).unsqueeze(1)


def test_two_views_reach_the_inputs_of_their_names_and_a_missing_view_is_a_failed_case(tmp_path):
    one = images(tmp_path)
    paths = [case.images["picture"][0] for case in one.cases]
    pairs = [(paths[i], paths[(i + 1) % 13]) for i in range(13)]
    views = [{"cc": (cc,), "mlo": (mlo,)} for cc, mlo in pairs]
    views[4] = {"cc": (paths[4],)}
    views[7] = {"cc": (paths[7], paths[8]), "mlo": (paths[8],)}
    cases = tuple(replace(case, images=view) for case, view in zip(one.cases, views, strict=True))
    with torch.no_grad():
        example = (torch.zeros(2, 1, 16, 16), torch.zeros(2, 3, 16, 16))
        torch.jit.trace(TwoViews(), example).save(str(tmp_path / "two.ts"))
    (tmp_path / "two.yaml").write_text(TWO_INPUTS)
    model = open_model(tmp_path / "two.ts", contract=tmp_path / "two.yaml")
    table = predict(model, replace(one, cases=cases), settings=SETTINGS, work=tmp_path / "work").table
    assert table.loc[4, ["status", "reason"]].tolist() == ["failed", "no image"]
    assert table.loc[7, ["status", "reason"]].tolist() == ["failed", "several files"]
    cc, mlo = (cv2.imread(str(p))[..., ::-1].astype(np.float64) / 255 for p in pairs[0])
    expected = 1 / (1 + np.exp(-((mlo @ [0.299, 0.587, 0.114]).mean() - 2 * cc.mean())))
    assert abs(table.loc[0, "p_cancer"] - expected) < 1e-4  # grey values are whole numbers


class Described(torch.nn.Module):
    """A probability, and four numbers that describe the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.sigmoid(x.mean(dim=(1, 2, 3)))[:, None], self.conv(x).mean(dim=(2, 3))


def test_the_embedding_of_a_package_is_compared_in_an_audit(tmp_path):
    torch.manual_seed(0)
    torch.jit.trace(Described().eval(), torch.zeros(2, 3, 16, 16)).save(str(tmp_path / "d.ts"))
    contract = CONTRACT.format(channels=3, colour="RGB", activation="none").replace("[mel, nv, bcc]", "[sick]")
    contract = contract.replace("multiclass", "binary") + "  - {name: emb, meaning: embedding, size: 4}\n"
    (tmp_path / "d.yaml").write_text(contract)
    model = open_model(tmp_path / "d.ts", contract=tmp_path / "d.yaml")
    shipped = load_protocol("drift_audit")
    drift = Drift(calendar=Calendar(audits=1, false_alarm=0.2), outputs=False, embeddings=["emb_*"])
    protocol = shipped.model_copy(
        update={
            "task": shipped.task.model_copy(update={"score": "p_sick"}),
            "analyses": shipped.analyses.model_copy(update={"drift": drift}),
            "strata": [],
        }
    )

    def period(name: str, seed: int, brightness: float) -> Period:
        (tmp_path / name).mkdir()
        testset = images(tmp_path / name, n=24)
        rng = np.random.default_rng(seed)
        for case in testset.cases:
            pixels = rng.integers(0, 256, (16, 16, 3)) * brightness
            cv2.imwrite(str(case.images["picture"][0]), pixels.astype(np.uint8))
        found = predict(model, testset, settings=SETTINGS, work=tmp_path / name / "work")
        assert found.outputs == ("p_sick", "emb_0", "emb_1", "emb_2", "emb_3")
        ids = [f"{name}-{c.case_id}" for c in testset.cases]
        return Period(
            case_id=tuple(ids),
            patient_id=tuple(ids),
            frame=pd.DataFrame({"malignant": [str(i % 2) for i in range(24)]}),
            predictions=found.table.assign(case_id=ids),
        )

    baseline = period("base", 1, 1.0)
    for name, brightness, status in (("same", 1.0, "normal"), ("darker", 0.8, "action")):
        window = period(name, 2, brightness)
        made = drift_analysis(protocol, baseline=baseline, window=window, labelled=window)
        said = {f.endpoint: f.condition for f in made.findings if f.metric.startswith("indicator_")}
        assert said["Input: embedding"] == status
