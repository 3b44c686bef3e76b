"""A worker: the package the driver saw, files as locked, and answers instead of exceptions."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_engine_packages import SETTINGS, images, package

from evalsuite.errors import ImageError, IntegrityError, LockError
from evalsuite.inference.engine import predict
from evalsuite.inference.runners.base import Lease, Work
from evalsuite.inference.runners.worker import PackageWorker
from evalsuite.record.digest import sha256_file

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # how the tests make a package


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("worker")
    testset = images(folder)
    _, model = package(folder)
    worker = PackageWorker(
        path=str(folder / "small.ts"), contract=str(folder / "small.yaml"), digest=model.digest,
        contract_digest=model.contract_digest, settings=SETTINGS, binding={"x": "picture"},
    )  # fmt: skip
    return folder, testset, model, worker


def work_for(testset, start: int = 0, stop: int = 8, index: int = 5) -> Work:
    cases = testset.cases[start:stop]
    digests = {str(p): sha256_file(p) for case in cases for p in case.images["picture"]}
    return Work(index=index, cases=cases, digests=digests)


@pytest.fixture(scope="module")
def predictor(made):
    found = pickle.loads(pickle.dumps(made[3]))(None)
    yield found
    found.close()


def lease(*works: Work) -> Lease:
    return pickle.loads(pickle.dumps(Lease(works=works, batch_size=4, outputs=())))


def test_a_worker_answers_what_the_engine_answers(made, predictor, tmp_path):
    _, testset, model, _ = made
    whole = predict(model, testset, settings=SETTINGS, work=tmp_path)
    first, second = work_for(testset, 0, 8, 0), work_for(testset, 8, 13, 7)
    found = predictor.predict_shards(lease(first, second))
    assert found.error is None
    assert set(found.shards) == {0, 7}
    got = np.concatenate([found.shards[0].outputs["p_nv"], found.shards[7].outputs["p_nv"]])
    assert got.tolist() == whole.table["p_nv"].tolist()
    assert len(found.latency) == 13
    assert predictor.probe(first) == whole.outputs
    assert predictor.facts().policy["threads"] == 1


def test_a_file_that_is_not_as_locked_stops_the_worker_before_it_is_decoded(made, predictor):
    _, testset, *_ = made
    work = work_for(testset)
    changed = replace(work, digests={**work.digests, str(testset.cases[2].images["picture"][0]): "0" * 64})
    found = predictor.predict_shards(lease(changed))
    assert isinstance(found.error, LockError)
    assert "c002" in found.error.message
    assert pickle.loads(pickle.dumps(found)).error.message == found.error.message


def test_another_package_under_the_same_path_is_refused(made):
    with pytest.raises(IntegrityError, match="not the one of this run"):
        replace(made[3], digest="0" * 64)(None)


def test_errors_keep_everything_on_their_way_between_processes():
    error = ImageError("x cannot be read", code="truncated", hint="look")
    back = pickle.loads(pickle.dumps(error))
    assert (back.message, back.code, back.hint, back.problems) == ("x cannot be read", "truncated", "look", ())
