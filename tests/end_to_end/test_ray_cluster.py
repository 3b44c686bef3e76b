"""Three nodes of a real Ray cluster on this machine give the bytes of one process, also when a worker dies."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed (extra ray)")

from evalsuite.errors import InputError
from evalsuite.inference.engine import predict
from evalsuite.inference.predictions import write_predictions
from evalsuite.inference.remote import Cluster
from evalsuite.inference.runners.ray_runner import RayRunner
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import open_model
from evalsuite.testset import open_testset
from tests.campaigns.cluster import kill_a_worker, three_nodes
from tests.campaigns.packaged_study import make_packaged_study
from tests.campaigns.study import command

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings are not ours to judge
SETTINGS = InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1, decoders=1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = make_packaged_study(tmp_path_factory.mktemp("ray") / "study", cases=400, loops=40)
    command(made.lock())
    return made


@pytest.fixture(scope="module")
def cluster():
    with three_nodes() as found:
        yield found


def bytes_of(study, work: Path, **options) -> tuple[bytes, dict]:
    model = open_model(study.model, contract=study.contract)
    found = predict(model, open_testset(study.testset), settings=SETTINGS, work=work, **options)
    write_predictions(found, work / "predictions.parquet")
    return (work / "predictions.parquet").read_bytes(), dict(found.record["inference"])


def test_a_worker_that_is_killed_changes_no_byte(study, cluster, tmp_path):
    alone, _ = bytes_of(study, tmp_path / "alone")
    runner = RayRunner(address=cluster.address)
    on = Cluster(runner=runner, model_path=study.model, contract=study.contract)

    def kill_soon() -> None:
        while len(list((tmp_path / "ray/shards").glob("*.parquet"))) < 2:
            time.sleep(0.01)
        kill_a_worker()

    killer = threading.Thread(target=kill_soon, daemon=True)
    killer.start()
    shared, record = bytes_of(study, tmp_path / "ray", cluster=on)
    assert shared == alone
    assert record["runner"]["workers_lost"] == 1
    names = {p.name for p in (tmp_path / "ray/shards").iterdir()}
    assert names == {p.name for p in (tmp_path / "alone/shards").iterdir()}


def test_a_cluster_that_is_not_there_is_an_error_in_words(study, tmp_path):
    on = Cluster(runner=RayRunner(address="127.0.0.1:1"), model_path=study.model, contract=study.contract)
    with pytest.raises(InputError, match="cannot be reached"):
        bytes_of(study, tmp_path, cluster=on)
