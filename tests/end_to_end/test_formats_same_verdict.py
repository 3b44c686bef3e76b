"""One real model in every package format: the same scores within 5e-5, the same verdict on the same images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

import evalsuite as es
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import open_model
from evalsuite.testset import open_testset
from tests.derm_formats import container, every_format

from .conftest import protocol_text
from .test_real_data import DERM

N_CASES = 24
TOLERANCE = 5e-5  # of a probability, in float32 over backends (docs/models.md)
SETTINGS = InferenceSettings(device="cpu", batch_size=12, threads=1, decoders=1, repeat=False)


def test_every_format_gives_the_same_scores_and_the_same_verdict(shared_real, tmp_path, cli, monkeypatch):
    source, models = shared_real / "derm_ham10000", shared_real / "models" / "derm_mnv2_7class"
    frame = pd.read_csv(source / "labels.csv", dtype=str, keep_default_na=False)
    # half of them malignant, so that both rates can be estimated
    chosen = pd.concat([group.head(N_CASES // 2) for _, group in frame.groupby("malignant")]).sort_index()
    chosen["image"] = [str(source / name) for name in chosen["image"]]
    chosen.to_csv(tmp_path / "cases.csv", index=False)
    (tmp_path / "protocol.yaml").write_text(protocol_text(**{**DERM, "strata": []}))
    locked = cli("lock", tmp_path / "cases.csv", "--protocol", tmp_path / "protocol.yaml", "--out", tmp_path / "set")
    assert locked.code == 0, locked.err
    protocol, testset = es.load_protocol(tmp_path / "protocol.yaml"), open_testset(tmp_path / "set")
    delivered = pd.read_csv(source / "predictions_derm_mnv2_7class.csv").set_index("image_id")

    scores: dict[str, np.ndarray] = {}
    verdicts: dict[str, tuple] = {}

    def judge(name: str, path: Path | str, contract: Path | None) -> None:
        # in this process: that the sandbox changes no bit is tested elsewhere, and each of its children costs seconds
        made = predict(open_model(path, contract=contract), testset, settings=SETTINGS, work=tmp_path / f"w-{name}")
        assert (made.table["status"] == "ok").all(), name
        scores[name] = made.table[[f"p_{c}" for c in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")]].to_numpy()
        verdict = es.judge(protocol, es.evaluate(protocol, testset, made))
        verdicts[name] = (verdict.overall, *((c.endpoint, c.outcome) for c in verdict.criteria))
        if name == "torchscript":
            made.table.drop(columns=["reason", "condition"]).to_csv(tmp_path / "recorded.csv", index=False)

    with every_format(models, tmp_path) as found:
        judge("torchscript", *_place(found.made.pop("TorchScript")))
        for name, package in found.made.items():
            judge(name, *_place(package))
        judge("recorded predictions", tmp_path / "recorded.csv", None)
        package, runtimes = container(models / "model.onnx", tmp_path)
        monkeypatch.setenv("PATH", str(runtimes), prepend=os.pathsep)
        judge("container, stand-in runtime", package, None)

    assert len(scores) >= 10
    wanted = delivered.loc[ids_of(testset), [f"p_{c}" for c in ("mel",)]].to_numpy()[:, 0]
    np.testing.assert_allclose(scores["torchscript"][:, 4], wanted, atol=1e-4)
    for name, score in scores.items():
        np.testing.assert_allclose(score, scores["torchscript"], atol=TOLERANCE, rtol=0, err_msg=name)
        assert verdicts[name] == verdicts["torchscript"], name
    assert verdicts["torchscript"][0] in ("met", "not_met", "inconclusive")
    assert len(set(scores["torchscript"][:, 4])) == N_CASES  # the images differ, and so do their scores


def ids_of(testset) -> list[str]:
    return [case.case_id for case in testset.cases]


def _place(package) -> tuple[Path | str, Path | None]:
    return package.path, package.contract
