"""Several workers give the bytes that one gives, in order, and stop together."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import FakeModel, make_hooks, make_testset, value_of

from evalsuite.errors import ContractError
from evalsuite.inference import packaged
from evalsuite.inference.crew import Worker
from evalsuite.inference.store import shard_path


def run(folder: Path, models, *, n=57, hooks=None, **options):
    plan = packaged.make_plan(
        make_testset(n).cases, batch_size=4, shard_size=12, model=models[0], testset="r", policy={"p": 1}
    )
    shards, _ = packaged.run_plan(
        plan, [Worker(model=model, device="cpu") for model in models], hooks or make_hooks(fail={9: "truncated"}),
        folder=folder, n_decoders=3, clock=packaged.Clock(), outputs=("p_malignant",), seed=3,
        **{"on_case": None, "should_stop": None, **options},
    )  # fmt: skip
    return shards, [shard_path(folder, key).read_bytes() for key in plan.keys]


def slow(delays):
    """An answer that takes its time, another for every call."""

    def answer(means: np.ndarray) -> np.ndarray:
        time.sleep(next(delays))
        return means

    return answer


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    rng = np.random.default_rng(0)
    _, one = run(tmp_path / "1", [FakeModel()])
    for n in (2, 3, 7):
        crew = [FakeModel(answer=slow(iter(rng.uniform(0, 0.01, 99)))) for _ in range(n)]
        shards, several = run(tmp_path / str(n), crew)
        assert several == one
        assert sum(len(model.batches) > 0 for model in crew) > 1
    values = np.concatenate([shard.outputs["p_malignant"] for shard in shards])
    np.testing.assert_allclose(values, [np.nan if i == 9 else value_of(i) for i in range(57)], atol=1e-12)


def test_cases_are_reported_in_order_while_a_worker_lags(tmp_path):
    first = threading.Event()

    def late(means: np.ndarray) -> np.ndarray:
        if means[0] == value_of(0):
            first.wait(30)
        elif means[0] == value_of(16):
            first.set()
        return means

    seen = []
    run(tmp_path, [FakeModel(answer=late) for _ in range(2)], on_case=lambda done, _: seen.append(done))
    assert seen == [*range(4, 57, 4), 57]


def test_an_error_of_one_worker_ends_all_and_leaves_no_thread(tmp_path):
    before = threading.active_count()
    broken = FakeModel(error=ContractError("the model lies"), fail_after=1)
    with pytest.raises(ContractError, match="lies"):
        run(tmp_path, [FakeModel(answer=slow(iter([0.002] * 99))), broken])
    assert threading.active_count() == before


def test_a_model_that_changes_its_outputs_is_refused(tmp_path):
    class Changing(FakeModel):
        def predict(self, batch):
            found = super().predict(batch)
            return {"p_other": found["p_malignant"]} if len(self.batches) == 3 else found

    with pytest.raises(ContractError, match="gave the outputs p_other after p_malignant"):
        run(tmp_path, [Changing()])


def test_files_are_asked_for_before_their_turn(tmp_path):
    asked, read, late = [], [], []

    def ahead(cases):
        asked.extend(case.case_id for case in cases)
        late.extend(case.case_id for case in cases if int(case.case_id[1:]) in read)

    hooks = make_hooks(before=read.append)
    run(tmp_path, [FakeModel()], hooks=type(hooks)(read=hooks.read, normalise=hooks.normalise, ahead=ahead))
    assert sorted(asked) == [f"c{i:03d}" for i in range(16, 57)]
    assert not late
