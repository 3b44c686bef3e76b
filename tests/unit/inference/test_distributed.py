"""The driver of a cluster: every shard once, whatever becomes of the workers. The workers here are made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from inference_fakes import FakeModel, make_hooks, make_testset, value_of

from evalsuite.errors import InputError, Interrupted, LockError, ModelRunError
from evalsuite.inference import remote
from evalsuite.inference.crew import Worker
from evalsuite.inference.device import numeric_policy
from evalsuite.inference.engine import predict
from evalsuite.inference.packaged import Clock, Plan, predict_shards
from evalsuite.inference.predictions import write_predictions
from evalsuite.inference.runners.base import Answer, Facts, Lease, Outcome, Work
from evalsuite.inference.runners.worker import require_same
from evalsuite.inference.settings import InferenceSettings

SETTINGS = InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1, decoders=1, repeat=True)
POLICY = numeric_policy(device="cpu", settings=SETTINGS, batch_size=0, threads=1, outputs_format="fake")
FACTS = Facts(
    node="here", device="cpu", device_name="made up", threads=1, decoders=1, versions={}, notes=(),
    policy={name: value for name, value in POLICY.items() if name != "batch_size"},
)  # fmt: skip


def answer(lease: Lease) -> Answer:
    """What an honest worker answers."""
    plan = Plan(shards=tuple(w.cases for w in lease.works), keys=("",) * len(lease.works), batch_size=lease.batch_size)
    shards = predict_shards(
        plan, range(len(lease.works)), [Worker(model=FakeModel(), device="cpu")], make_hooks(), n_decoders=1,
        clock=Clock(), outputs=lease.outputs, seed=0,
    )  # fmt: skip
    return Answer(shards={lease.works[i].index: shard for i, shard in shards}, seconds={"predict": 1.0})


@dataclass
class MadeUpWorkers:
    """Workers that answer at once, in the reverse order of asking; `fate` may say what else becomes of a lease."""

    workers: int = 2
    fate: Callable[[int, Lease], Outcome | None] = lambda n, lease: None
    given: list[Lease] = field(default_factory=list)
    at_work: list[tuple[int, Lease]] = field(default_factory=list)

    def facts(self) -> Facts:
        return FACTS

    def probe(self, work: Work) -> tuple[str, ...]:
        return ("p_malignant",)

    def size(self) -> int:
        return self.workers

    def idle(self) -> int:
        return self.workers - len(self.at_work)

    def submit(self, lease: Lease) -> None:
        self.at_work.append((len(self.given), lease))
        self.given.append(lease)

    def wait(self, seconds: float) -> list[Outcome]:
        n, lease = self.at_work.pop()
        return [self.fate(n, lease) or Outcome(lease=lease, answer=answer(lease))]


@dataclass
class MadeUpRunner:
    made: MadeUpWorkers
    name: str = "made up"

    @contextmanager
    def start(self, make, *, threads, gpu, most, should_stop) -> Iterator[MadeUpWorkers]:
        yield self.made


@pytest.fixture(autouse=True)
def _no_files(monkeypatch):
    class Any(dict):
        def __missing__(self, key: str) -> str:
            return "0" * 64

    monkeypatch.setattr(remote, "locked_digests", lambda testset: Any())


def run(work: Path, workers: MadeUpWorkers, *, n: int = 61, settings=SETTINGS, **options):
    cluster = remote.Cluster(runner=MadeUpRunner(workers), model_path=Path("model"))
    return predict(FakeModel(), make_testset(n), settings=settings, work=work, cluster=cluster, **options)


def file_bytes(predictions, path: Path) -> bytes:
    write_predictions(predictions, path)
    return path.read_bytes()


def test_a_cluster_gives_the_bytes_of_one_process(tmp_path):
    alone = predict(FakeModel(), make_testset(61), settings=SETTINGS, work=tmp_path / "a", hooks=make_hooks())
    workers = MadeUpWorkers(workers=3)
    shared = run(tmp_path / "b", workers)
    assert file_bytes(shared, tmp_path / "b.parquet") == file_bytes(alone, tmp_path / "a.parquet")
    assert shared.table["p_malignant"].tolist() == pytest.approx([value_of(i) for i in range(61)])
    record = shared.record["inference"]
    assert record["runner"] == {"name": "made up", "workers": 3, "leases": len(workers.given) - 1, "workers_lost": 0}
    assert record["rerun"]["bitwise_equal"] is True
    assert record["shards"] == 8


def test_the_shards_of_a_lost_worker_are_handed_out_again_one_at_a_time(tmp_path):
    def fate(n: int, lease: Lease) -> Outcome | None:
        return Outcome(lease=lease, answer=None, lost="node") if n == 1 else None

    workers = MadeUpWorkers(fate=fate)
    found = run(tmp_path, workers, n=300)
    assert found.table["p_malignant"].tolist() == pytest.approx([value_of(i) for i in range(300)])
    lost = [work.index for work in workers.given[1].works]
    assert len(lost) > 1
    again = [lease for lease in workers.given[2:] if lease.works[0].index in lost]
    assert [len(lease.works) for lease in again] == [1] * len(lost)
    counts = Counter(w.index for lease in workers.given for w in lease.works if w.index >= 0)
    assert all(counts[i] == (2 if i in lost else 1) for i in range(1, 38))
    assert found.record["inference"]["runner"]["workers_lost"] == 1


def test_a_shard_that_kills_every_worker_ends_the_run_in_words_that_name_its_cases(tmp_path):
    def fate(n: int, lease: Lease) -> Outcome | None:
        dies = any(work.index == 3 for work in lease.works)
        return Outcome(lease=lease, answer=None, lost="crash") if dies else None

    workers = MadeUpWorkers(fate=fate)
    with pytest.raises(ModelRunError, match="3 workers were lost on the cases c024 to c031"):
        run(tmp_path, workers)
    assert run(tmp_path, MadeUpWorkers()).record["inference"]["resumed_shards"] > 0


def test_an_error_of_a_worker_ends_the_run_as_it_is(tmp_path):
    error = LockError("an image of case c007 differs")
    workers = MadeUpWorkers(fate=lambda n, lease: Outcome(lease=lease, answer=Answer(error=error)))
    with pytest.raises(LockError, match="c007"):
        run(tmp_path, workers)


def test_memory_that_does_not_hold_a_batch_halves_it_for_all_workers(tmp_path):
    def fate(n: int, lease: Lease) -> Outcome | None:
        return Outcome(lease=lease, answer=Answer(out_of_memory=True)) if lease.batch_size > 8 else None

    settings = replace(SETTINGS, batch_size=None)
    found = run(tmp_path, MadeUpWorkers(fate=fate), settings=settings)
    assert found.record["inference"]["batch_size"] == 8
    with pytest.raises(ModelRunError, match="does not hold a batch of 32"):
        run(tmp_path / "given", MadeUpWorkers(fate=fate), settings=replace(settings, batch_size=32))


def test_a_stopped_cluster_goes_on_in_this_process_and_the_other_way_round(tmp_path):
    asked = iter([False] * 4 + [True] * 9)
    with pytest.raises(Interrupted, match="128 of 300 cases are stored"):
        run(tmp_path, MadeUpWorkers(workers=1), n=300, should_stop=lambda: next(asked))
    alone = {"settings": SETTINGS, "work": tmp_path, "hooks": make_hooks()}
    asked = iter([False] * 10 + [True] * 9)
    with pytest.raises(Interrupted, match="168 of 300 cases are stored"):
        predict(FakeModel(), make_testset(300), should_stop=lambda: next(asked), **alone)
    resumed = run(tmp_path, MadeUpWorkers(), n=300)
    assert resumed.record["inference"]["resumed_shards"] == 21
    assert resumed.table["p_malignant"].tolist() == pytest.approx([value_of(i) for i in range(300)])


def test_workers_that_compute_otherwise_are_refused_by_name():
    policy = {"threads": 1, "versions": {"torch": "2.13.0", "numpy": "2.4"}}
    other = replace(FACTS, node="there", policy={**policy, "versions": {"torch": "2.12.0", "numpy": "2.4"}})
    with pytest.raises(InputError, match=r"here and there .*versions torch: 2\.13\.0 and 2\.12\.0"):
        require_same(replace(FACTS, policy=policy), other)
    require_same(FACTS, replace(FACTS, node="there"))


def test_recorded_predictions_need_no_cluster(tmp_path):
    cluster = remote.Cluster(runner=MadeUpRunner(MadeUpWorkers()), model_path=Path("model"))
    with pytest.raises(InputError, match="nothing for a cluster to do"):
        predict(FakeModel(format="recorded"), make_testset(3), settings=SETTINGS, work=tmp_path, cluster=cluster)


def test_another_precision_is_refused_on_a_cluster(tmp_path):
    with pytest.raises(InputError, match="compared with the package's own in one process"):
        run(tmp_path, MadeUpWorkers(), settings=replace(SETTINGS, precision="bfloat16"))
