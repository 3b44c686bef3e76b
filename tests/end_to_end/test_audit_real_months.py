"""Months of real cases through `evalsuite audit`: skin lesions by a real classifier, mammograms by real readers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image as Picture

from evalsuite.imaging import read_image
from evalsuite.imaging.degrade import degrade
from evalsuite.record.canonical import read_json
from tests.derm_formats import CONTRACT

from .conftest import Outcome

#: What another camera does to a picture of the first one: paler, yellower, softer (kinds of evalsuite.imaging.degrade).
OTHER_CAMERA = (("contrast", 0.6), ("cast", 20.0), ("blur", 0.8))
QUALITY = ("mean", "contrast", "sharpness")
Cli = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("no_report")
#: Of a share that is watched: its action limit and its warning limit.
Limits = dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One month: how the command ended, and each indicator's status."""

    outcome: Outcome
    run: Path

    @property
    def statuses(self) -> dict[str, str]:
        return {i["name"]: i["status"] for i in self.outcome.json()["audit"]["indicators"]}

    @property
    def alarms(self) -> set[str]:
        return {name for name, status in self.statuses.items() if status == "action"}

    @property
    def evidence(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.run / "evidence.json")
        return found

    def drift(self, metric: str) -> list[dict[str, Any]]:
        return [f for f in self.evidence["findings"] if f["analysis"] == "drift" and f["metric"] == metric]

    @property
    def first_seen(self) -> dict[str, float]:
        """What has changed, and in which audit that was first seen."""
        return {f["endpoint"]: f["estimate"]["value"] for f in self.drift("change_log")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A device that was validated, and is audited by the command line month after month."""

    cli: Cli
    folder: Path
    package: tuple[object, ...] = ()

    def write(self, name: str, content: dict[str, Any]) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    def validate(self, protocol: Path, cases: Path, outputs: Path | None = None) -> Path:
        testset, frozen, out = (self.folder / name for name in ("validation", "frozen", "validation-run"))
        bound: list[object] = ["--testset", testset, *(self.package or ["--model", outputs])]
        for done in (
            self.cli("lock", cases, "--protocol", protocol, "--out", testset),
            self.cli("freeze", protocol, *bound, "--out", frozen),
            self.cli("run", frozen, *bound, "--out", out, "--json"),
        ):
            assert done.code == 0, done.err
        return out

    def audit(self, protocol: Path, cases: Path, name: str) -> Audited:
        held = ["--baseline", self.folder / "validation-run", "--history", self.folder / "history.sqlite"]
        out = self.folder / name
        done = self.cli("audit", protocol, "--window", cases, *held, *self.package, "--out", out, "--json")
        assert done.code in (0, 1), done.err
        return Audited(outcome=done, run=out)


def protocols(
    deployment: Deployment, common: dict[str, Any], drift: dict[str, Any], limits: Limits
) -> tuple[Path, Path]:
    """The validation's protocol and the audits', with an action and a warning limit of each share that is watched."""
    both = {
        "schema": "evalsuite/protocol/1",
        "version": "1.0.0",
        "intended_use": {},
        "unit": {"case": "case_id", "cluster": "patient_id"},
        "confidence": {"bootstrap": {"replicates": 100, "interval": "percentile"}},
        "inference": {"batch_size": 20},
        "seed": 5,
        **common,
    }
    judged = [
        {"name": name, "metric": name, "at": "primary", "role": "primary", "criterion": _above(action)}
        for name, (action, _) in limits.items()
    ]
    watched = [
        {"endpoint": name, "action": action, "warning": warning, "planned_patients": 200}
        for name, (action, warning) in limits.items()
    ]
    validation = {**both, "id": "validated", "title": "Validation", "kind": "standalone", "endpoints": judged}
    audit = {**both, "id": "audited", "title": "Audit of a month", "kind": "drift_audit"}
    audit["endpoints"] = [{**e, "interval": "sequence"} for e in judged] + [{"name": "area", "metric": "auroc"}]
    audit["analyses"] = {"drift": {"calendar": {"audits": 4}, "shuffles": 4000, "monitor": watched, **drift}}
    return deployment.write("validation", validation), deployment.write("audit", audit)


def _above(value: float) -> dict[str, Any]:
    return {"bound": "lower", "op": ">", "value": value}


# --- skin lesions ---------------------------------------------------------------------------------------------------

BASELINE, MONTH = 180, 60


def _lesions(shared_real: Path, folder: Path) -> dict[str, Path]:
    """Case tables of a baseline and of three months, lesions in random order; the third month by another camera.

    Which camera took a picture, the public set does not say: the names are given here.
    """
    source = shared_real / "derm_ham10000"
    labels = pd.read_csv(source / "labels.csv", dtype=str, keep_default_na=False)
    labels = labels.drop_duplicates("lesion_id").sample(frac=1.0, random_state=4)
    labels = labels.rename(columns={"image_id": "case_id", "lesion_id": "patient_id"})
    labels["image"] = [str(source / name) for name in labels["image"]]
    labels["camera"] = "Known camera"
    columns = ["case_id", "patient_id", "image", "sex", "age", "camera", "malignant"]
    tables, at = {}, 0
    for name, n in (("baseline", BASELINE), ("january", MONTH), ("february", MONTH), ("march", MONTH)):
        rows = labels[at : at + n][columns].copy()
        if name == "march":
            rows["image"] = [_by_other_camera(Path(path), folder) for path in rows["image"]]
            rows["camera"] = "Other camera"
        rows.to_csv(folder / f"{name}.csv", index=False)
        tables[name], at = folder / f"{name}.csv", at + n
    return tables


def _by_other_camera(source: Path, folder: Path) -> str:
    image = read_image(source)
    for kind, value in OTHER_CAMERA:
        image = degrade(image, kind, value, seed=3, case_id=source.stem)
    path = folder / f"{source.stem}.png"
    Picture.fromarray(image.array.transpose(1, 2, 0)).save(path, compress_level=1)
    return str(path)


def _with_embedding(shared_real: Path, folder: Path) -> tuple[Path, Path]:
    """The delivered network with its last hidden layer as a second output, and the contract that says so."""
    import onnx

    made = onnx.load(str(shared_real / "models" / "derm_mnv2_7class" / "model.onnx"))
    hidden = made.graph.node[-1].input[0]
    made.graph.output.append(onnx.helper.make_tensor_value_info(hidden, onnx.TensorProto.FLOAT, ["b", 128]))
    onnx.save(made, str(folder / "device.onnx"))
    embedding = {"name": hidden, "meaning": "embedding", "size": 128}
    contract = {**CONTRACT, "outputs": [*CONTRACT["outputs"], embedding]}  # type: ignore[misc]
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    return folder / "device.onnx", folder / "contract.json"


@pytest.fixture(scope="module")
def lesions(shared_real: Path, tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> dict[str, Audited]:
    """Three months of lesions, audited in their order."""
    folder = tmp_path_factory.mktemp("lesions")
    device, contract = _with_embedding(shared_real, folder)
    package = ("--model", device, "--contract", contract, "--unsandboxed")  # in this process: a third of the time
    deployment = Deployment(cli=cli, folder=folder, package=package)
    common = {
        "task": {"kind": "binary", "reference": "malignant", "positive": 1, "score": "p_mel + p_bcc + p_akiec"},
        "operating_points": [{"name": "primary", "threshold": 0.2, "source": "as validated"}],
        "strata": ["sex", "camera"],
        "disclose": ["sex", "camera"],
    }
    age = {"column": "age", "kind": "numeric", "range": [0, 120]}
    drift = {
        "covariates": ["camera", "sex", age, *({"image": name} for name in QUALITY)],
        "embeddings": ["/Relu_output_0_*"],
    }
    limits = {"sensitivity": (0.5, 0.6), "specificity": (0.6, 0.65)}
    validation, audit = protocols(deployment, common, drift, limits)
    tables = _lesions(shared_real, folder)
    deployment.validate(validation, tables["baseline"])
    months = ("january", "february", "march")
    return {month: deployment.audit(audit, tables[month], month) for month in months}


def test_months_of_the_known_camera_raise_no_alarm(lesions: dict[str, Audited]) -> None:
    for month in (lesions["january"], lesions["february"]):
        assert month.alarms == set(), month.statuses
        assert month.statuses["Unseen groups of camera"] == "normal"
        assert month.first_seen == {}
    # Every month is an audit of its own, counts as evidence, and adds a line to the deployment's history.
    assert [m.outcome.json()["audit"]["audits"] for m in lesions.values()] == [1, 2, 3]
    assert all(m.outcome.json()["evidence"] for m in lesions.values())


def test_the_month_of_another_camera_alarms_and_says_what_changed(lesions: dict[str, Audited]) -> None:
    month = lesions["march"]
    changed = {"Input: camera", "Input: image:contrast", "Input: image:sharpness", "Input: embedding"}
    assert changed <= month.alarms, month.statuses
    assert month.statuses["Unseen groups of camera"] == "warning"
    assert month.statuses["Input: sex"] == month.statuses["Input: age"] == "normal", "the patients did not change"
    assert month.statuses["Output: usable output"] == "normal"
    share = {
        (f["stratum"]["camera"], f["condition"]): f["estimate"]["value"]
        for f in month.drift("share_of_cases")
        if "camera" in f["stratum"]
    }
    assert share["Other camera", None] == share["Known camera", "baseline"] == 1.0
    assert share["Other camera", "baseline"] == share["Known camera", None] == 0.0
    assert changed <= month.first_seen.keys()
    assert {month.first_seen[name] for name in changed} == {3}
    # What it does to the device: paler and softer lesions are called benign, and the audit is not met.
    assert month.outcome.json()["overall"] == "not_met"
    assert {"Output: score", "Performance: sensitivity"} <= month.alarms
    assert month.statuses["Performance: specificity"] == "normal"


def test_the_deployment_stands_as_its_last_month_says(lesions: dict[str, Audited], cli: Cli) -> None:
    folder = lesions["march"].run.parent
    stands = cli("audit", "--check", "--history", folder / "history.sqlite", "--json")
    assert stands.code == 1
    assert stands.json()["audits"] == 3
    assert cli("verify", folder / "march").code == 0


def test_cases_without_an_image_and_another_contract_are_refused(lesions: dict[str, Audited], cli: Cli) -> None:
    folder = lesions["march"].run.parent
    rows = (folder / "january.csv").read_text(encoding="utf-8").splitlines()
    fresh = [f"new{i}," + ",".join(row.split(",")[1:]) for i, row in enumerate(rows[1:12])]
    never = [*rows[:1], *fresh, "unseen,somebody,,male,50,Known camera,1"]
    (folder / "never.csv").write_text("\n".join(never) + "\n", encoding="utf-8")
    (folder / "fresh.csv").write_text("\n".join(never[:-1]) + "\n", encoding="utf-8")
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    contract["inputs"][0]["source_range"] = [0, 254]
    (folder / "other.json").write_text(json.dumps(contract), encoding="utf-8")
    held = ["--baseline", folder / "validation-run", "--model", folder / "device.onnx", "--unsandboxed"]

    def refused(window: str, contract: str) -> str:
        given = ["--window", folder / window, "--contract", folder / contract, "--out", folder / "refused"]
        done = cli("audit", folder / "audit.yaml", *held, *given, "--history", folder / "history.sqlite")
        assert done.code == 2, done.err
        return " ".join(done.err.split())

    said = refused("never.csv", "contract.json")
    assert "1 cases of the window have no image" in said
    assert "case unseen" in said
    assert "contract is not that of the baseline" in refused("fresh.csv", "other.json")
    stands = cli("audit", "--check", "--history", folder / "history.sqlite", "--json")
    assert stands.json()["audits"] == 3


# --- mammograms -----------------------------------------------------------------------------------------------------

READERS = "viper-readers"


def _mammograms(shared_real: Path, folder: Path) -> dict[str, Path]:
    """A validation on digital mammograms, two months of them, and a month of other women whose mammograms are on film.

    The recorded output is the mean score of the five radiologists who read a woman's images; the technique is real.
    """
    read = pd.read_csv(shared_real / "viper_mrmc" / "viperObs.csv")
    read = read[read["subStudyLabel"] == "challengeMedP"]
    cases = read.groupby(["caseID", "modalityID"], as_index=False).agg(
        score=("score", "mean"), cancer=("cancerStatus455", "first")
    )
    cases["case_id"] = cases["patient_id"] = "w" + cases["caseID"].astype(str)
    cases = cases.rename(columns={"modalityID": "technique"}).assign(model_digest=READERS)
    women = cases["case_id"].drop_duplicates().sample(frac=1.0, random_state=2).tolist()
    tables, at = {}, 0
    for name, n, technique in (
        ("baseline", 199, "FFDM"),
        ("january", 80, "FFDM"),
        ("february", 80, "FFDM"),
        ("march", 80, "SFM"),
    ):
        rows = cases[cases["case_id"].isin(women[at : at + n]) & (cases["technique"] == technique)]
        kept = ["case_id", "patient_id", "technique", "cancer"]
        logged = ["score", "model_digest"]
        if name == "baseline":
            rows[["case_id", *logged]].to_csv(folder / "outputs.csv", index=False)
        rows[kept if name == "baseline" else kept + logged].to_csv(folder / f"{name}.csv", index=False)
        tables[name], at = folder / f"{name}.csv", at + n
    return tables


def test_months_of_real_readings_alarm_when_the_technique_changes(shared_real: Path, tmp_path: Path, cli: Cli) -> None:
    deployment = Deployment(cli=cli, folder=tmp_path)
    common = {
        "task": {"kind": "binary", "reference": "cancer", "positive": 1, "score": "score", "probability": False},
        "operating_points": [{"name": "primary", "threshold": 110, "source": "as validated"}],
        "strata": ["technique"],
        "disclose": ["technique"],
    }
    limits = {"sensitivity": (0.3, 0.4), "specificity": (0.3, 0.35)}
    validation, audit = protocols(deployment, common, {"covariates": ["technique"]}, limits)
    tables = _mammograms(shared_real, tmp_path)
    deployment.validate(validation, tables["baseline"], tmp_path / "outputs.csv")
    months = {name: deployment.audit(audit, tables[name], name) for name in ("january", "february", "march")}
    assert months["january"].alarms == months["february"].alarms == set()
    film = months["march"]
    assert film.alarms == {"Input: technique"}, film.statuses
    assert film.statuses["Unseen groups of technique"] == "warning"
    assert film.first_seen.keys() == {"Unseen groups of technique", "Input: technique"}
    # Readers read film about as well: of women, calls and performance nothing is claimed.
    assert film.outcome.json()["overall"] != "not_met"
    found = {
        f["endpoint"]: f["estimate"]
        for f in film.evidence["findings"]
        if f["analysis"] == "performance" and not f["stratum"]
    }
    table = pd.read_csv(tables["march"])
    ill = table["cancer"] == 1
    assert found["sensitivity"]["numerator"] == (table["score"][ill] >= 110).sum()
    assert found["specificity"]["denominator"] == (~ill).sum()
