"""A model in two sandboxed processes: the bytes of one, and both end together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from evalsuite.errors import IntegrityError, ModelRunError
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.sandbox.launcher import Bubblewrap
from evalsuite.sandbox.open import open_model
from evalsuite.testset.types import Case, LockedTestSet


def images(folder: Path, n: int) -> LockedTestSet:
    rng = np.random.default_rng(1)
    cases = []
    for i in range(n):
        path = folder / f"{i}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        cases.append(
            Case(
                case_id=f"c{i:03d}", patient_id=f"p{i}", study_id="", site="", acquired_at="", sample_weight=None,
                images={"image": (path,)},
            )
        )  # fmt: skip
    return LockedTestSet(
        path=folder, lock={}, root="0" * 64, digest="0" * 64, set_id="s", version="1", cases=tuple(cases),
        has_images=True,
    )  # fmt: skip


def test_two_processes_give_the_bytes_of_one_and_end_with_the_first(bubblewrap: Bubblewrap, tiny: Path, tmp_path: Path):
    testset = images(tmp_path, 30)
    model = open_model(tiny)
    try:
        found = [
            predict(
                model, testset, work=tmp_path / str(n),
                settings=InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1, workers=n),
            )
            for n in (1, 2)
        ]  # fmt: skip
        (other,) = model.session.others
    finally:
        model.close()
    shards = [{p.name: p.read_bytes() for p in (tmp_path / str(n) / "shards").iterdir()} for n in (1, 2)]
    assert shards[0] == shards[1]
    assert found[0].digest == found[1].digest
    assert [f.record["inference"]["workers"] for f in found] == [1, 2]
    assert found[1].record["inference"]["rerun"]["bitwise_equal"]
    with pytest.raises(ModelRunError, match="was closed"):
        other.predict_stored({"image": np.zeros((1, 3, 8, 8), np.uint8)})


def test_a_package_that_was_changed_meanwhile_gets_no_second_process():
    from types import SimpleNamespace

    from evalsuite.sandbox.model import SandboxedModel, _Session

    closed = []
    changed = SimpleNamespace(digest="b" * 64, contract_digest="c", close=lambda: closed.append(True))
    session = _Session()
    model = SimpleNamespace(name="m", digest="a" * 64, contract_digest="c", session=session, again=lambda: changed)
    with pytest.raises(IntegrityError, match="was changed while it was in use"):
        SandboxedModel.another(model)
    assert closed
