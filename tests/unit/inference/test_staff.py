"""Workers go where the devices are, only where the model can have several, and never more than there are batches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from inference_fakes import FakeModel, make_hooks, make_testset

from evalsuite.errors import InputError
from evalsuite.inference import process
from evalsuite.inference.device import choose_device, choose_devices
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.inference.staff import hire, places


@dataclass(frozen=True, kw_only=True)
class Several(FakeModel):
    """A model that can be had more than once; `placed` keeps the device and threads of each."""

    placed: list[tuple[str, int]] = field(default_factory=list)

    def another(self) -> Several:
        return replace(self, batches=[])

    def to(self, device: str) -> Several:
        return replace(self, device=device)

    def with_threads(self, threads: int) -> Several:
        self.placed.append((self.device, threads))
        return self


def settings(**options) -> InferenceSettings:
    return InferenceSettings(**{"device": "cpu", "batch_size": 4, "shard_size": 8, "threads": 1, **options})


def test_several_workers_give_the_predictions_of_one_and_are_recorded(tmp_path):
    found = [
        predict(Several(), make_testset(30), settings=settings(workers=n), work=tmp_path / str(n), hooks=make_hooks())
        for n in (1, 3)
    ]
    assert found[0].digest == found[1].digest
    shards = [sorted(p.name for p in (tmp_path / str(n) / "shards").iterdir()) for n in (1, 3)]
    assert shards[0] == shards[1]
    assert [f.record["inference"]["workers"] for f in found] == [1, 3]
    assert found[1].record["inference"]["devices"] == ["cpu"]


def test_no_more_workers_than_batches(tmp_path):
    found = predict(Several(), make_testset(7), settings=settings(workers=9), work=tmp_path, hooks=make_hooks())
    assert found.record["inference"]["workers"] == 2


def test_the_cores_are_divided_between_the_workers(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(process, "usable_cores", lambda: 8)
    model = Several()
    predict(model, make_testset(30), settings=settings(workers=4, threads=None), work=tmp_path, hooks=make_hooks())
    assert model.placed == [("cpu", 2)] * 4


def test_one_worker_per_device_unless_said_otherwise():
    two = ["cuda:0", "cuda:1"]
    assert places(Several(), two, settings()) == (two, [])
    assert places(Several(), two, settings(workers=3)) == (["cuda:0", "cuda:1", "cuda:0"], [])
    staff = hire(Several(device="cuda:0"), two, settings(), threads=1, most=9)
    assert [worker.model.device for worker in staff] == two


@dataclass(frozen=True, kw_only=True)
class Remembering(Several):
    """As a model in the sandbox: it knows who was hired."""

    hired: dict[object, Several] = field(default_factory=dict)

    def another(self) -> Several:
        return Several()


def test_the_next_stage_of_a_run_hires_nobody_anew_unless_it_asks_for_something_else():
    model, three = Remembering(), ["cpu"] * 3
    first = hire(model, three, settings(), threads=1, most=9)
    second = hire(model, three, settings(), threads=1, most=9)
    assert [id(w.model) for w in first] == [id(w.model) for w in second]
    assert len({id(w.model) for w in first}) == 3
    other = hire(model, three, settings(), threads=2, most=9)
    assert {id(w.model) for w in first} & {id(w.model) for w in other} == {id(model)}


def test_a_model_of_this_process_has_one_worker_and_says_so(tmp_path):
    assert places(FakeModel(), ["cuda:0", "cuda:1"], settings())[0] == ["cuda:0"]
    assert "not used" in places(FakeModel(), ["cuda:0", "cuda:1"], settings())[1][0]
    with pytest.raises(InputError, match="has one worker; 2 are asked for"):
        predict(FakeModel(), make_testset(9), settings=settings(workers=2), work=tmp_path, hooks=make_hooks())


def test_devices_are_named_one_by_one_or_all_together(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert choose_devices("auto") == choose_devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert choose_devices("cuda:2,cuda:0") == ["cuda:2", "cuda:0"]
    assert choose_devices("cpu") == ["cpu"]
    assert choose_device("cuda:2,cuda:0") == "cuda:2"
    with pytest.raises(InputError, match="cuda:3"):
        choose_devices("cuda:0,cuda:3")
    for wrong in ("cuda:0,cuda:0", "cpu,cpu", "auto,cuda:1", "cuda:0,", "cpu,cuda"):
        with pytest.raises(InputError, match=r"inference\.device"):
            InferenceSettings(device=wrong)


@dataclass(frozen=True, kw_only=True)
class Tight(FakeModel):
    """Memory for ten cases."""

    def predict(self, batch):
        if len(next(iter(batch.values()))) > 10:
            raise MemoryError
        return super().predict(batch)


def test_the_batch_is_halved_until_it_fits_before_the_first_case():
    from evalsuite.inference.probe import fitting_batch

    def found(model, cases, size, **hooks):
        return fitting_batch(model, make_testset(cases).cases, make_hooks(**hooks), device="cpu", batch_size=size)

    tight = Tight()
    assert found(tight, 100, 64) == 8
    assert tight.batches == [8]
    assert found(FakeModel(), 100, 64) == 64
    assert found(FakeModel(), 9, 64) == 64  # what is never full is not tried full
    assert found(Tight(), 9, 64) == 64
    assert found(Tight(), 30, 64, fail=dict.fromkeys(range(30), "truncated")) == 64
