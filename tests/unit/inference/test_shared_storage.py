"""A set whose images lie in shared storage: the same predictions, the same refusals, nothing left on this machine."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest
from inference_fakes import CONTRACT, FakeModel

from evalsuite.errors import InputError, LockError
from evalsuite.inference.decoders import read_one
from evalsuite.inference.engine import predict
from evalsuite.inference.hooks import bind_inputs, default_hooks
from evalsuite.inference.settings import InferenceSettings
from evalsuite.inference.slides import TiledCase
from evalsuite.inference.sources import checked
from evalsuite.record.shared import is_url, read_bytes, url_of
from evalsuite.testset import open_testset
from evalsuite.testset.lock import lock_testset
from evalsuite.testset.places import locked_digests

SETTINGS = InferenceSettings(device="cpu", batch_size=2, threads=1, decoders=2)
N = 5


@pytest.fixture
def stored(tmp_path: Path):
    """A set with its images on this machine, the same set with them in a store, and that store."""
    rng = np.random.default_rng(4)
    rows = ["case_id,patient_id,image,truth"]
    for i in range(N):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 256, (4, 4), dtype=np.uint8))
        rows.append(f"c{i},p{i},{i}.png,{i % 2}")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    here, there = tmp_path / "here", tmp_path / "there"
    lock_testset(tmp_path / "cases.csv", here, copy=True, actor="a", utc="2026-01-01T00:00:00.000Z")
    shutil.copytree(here, there)
    store = fsspec.filesystem("memory")
    place = f"/{tmp_path.name}/set"
    store.put(str(there / "files"), place, recursive=True)
    shutil.rmtree(there / "files")
    at(there, f"memory:/{place}")
    yield here, there, place
    store.rm(f"/{tmp_path.name}", recursive=True)


def at(folder: Path, root: str) -> None:
    (folder / "location.json").write_text(json.dumps({"schema": "evalsuite/location/1", "root": root}))


def bytes_at(path: str) -> bytes:
    found: bytes = fsspec.filesystem("memory").cat_file(path)
    return found


def test_addresses_survive_being_paths():
    for url in ("s3://bucket/derm/1.png", "abfs://c@account.dfs.core.windows.net/x", "https://host:8000/x"):
        assert is_url(url)
        assert is_url(Path(url))
        assert url_of(Path(url)) == url
    for path in ("/data/s3:/x", "images/1.png", "c:x", "/a//b"):
        assert not is_url(path)


def test_the_same_predictions_and_no_copy_left(stored, tmp_path, monkeypatch):
    here, there, _ = stored
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    found = {}
    for name, folder in (("here", here), ("there", there)):
        model = FakeModel(contract=CONTRACT)
        found[name] = predict(model, open_testset(folder), settings=SETTINGS, work=tmp_path / name)
    assert found["there"].table.equals(found["here"].table)
    assert set(found["there"].table["status"]) == {"ok"}
    assert found["there"].record["inference"]["rerun"]["bitwise_equal"] is True
    assert {p.name for p in (tmp_path / "here/shards").iterdir()} == {
        p.name for p in (tmp_path / "there/shards").iterdir()
    }
    assert not list(scratch.glob("evalsuite-*"))


def test_a_second_run_takes_decoded_images_from_the_cache_of_this_machine(stored, tmp_path):
    _, there, _ = stored
    cached = InferenceSettings(device="cpu", batch_size=2, threads=1, decoders=1, cache=tmp_path / "cache")
    for hits in (0, N):
        found = predict(FakeModel(), open_testset(there), settings=cached, work=tmp_path / f"work-{hits}")
        assert found.record["inference"]["cache"]["hits"] >= hits


def test_what_differs_or_is_missing_there_is_named(stored):
    _, there, place = stored
    store = fsspec.filesystem("memory")
    image = bytes_at(f"{place}/3.png")
    store.pipe_file(f"{place}/3.png", image[:-1] + b"x")
    with pytest.raises(LockError, match=r"3\.png differs from the locked copy: locked sha256"):
        open_testset(there)
    store.pipe_file(f"{place}/3.png", image + b"x")
    with pytest.raises(LockError, match=rf"3\.png differs from the locked copy: {len(image)} bytes, found"):
        open_testset(there, verify=False)
    store.rm(f"{place}/3.png")
    with pytest.raises(LockError, match=r"3\.png is missing"):
        open_testset(there)


def test_an_image_that_changes_after_the_check_stops_the_run(stored, tmp_path):
    _, there, place = stored
    testset = open_testset(there)
    fsspec.filesystem("memory").pipe_file(f"{place}/2.png", bytes_at(f"{place}/1.png"))
    with pytest.raises(LockError, match="case c2 differs from the locked copy"):
        predict(FakeModel(), testset, settings=SETTINGS, work=tmp_path / "work")


def test_a_store_that_fails_is_a_fault_of_the_machine_and_no_failed_case(stored, monkeypatch):
    _, there, place = stored
    testset = open_testset(there)
    hooks = checked(default_hooks(FakeModel(), bind_inputs(CONTRACT, testset.cases)), locked_digests(testset))
    store = fsspec.filesystem("memory")

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("https://host/?token=secret")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "open", fails)
        with pytest.raises(InputError, match=r"images of case c0 .*shared storage failed \(RuntimeError\)") as caught:
            read_one(hooks.read, testset.cases[0])
        assert "secret" not in str(caught.value)
    store.rm(f"{place}/0.png")
    with pytest.raises(InputError, match="not in the shared storage"):
        read_one(hooks.read, testset.cases[0])


@pytest.mark.parametrize("root", ["nosuchstore://bucket/x", "file:///data/x"])
def test_a_scheme_nobody_reads_is_said_once(stored, root):
    _, there, _ = stored
    at(there, root)
    with pytest.raises(InputError, match="cannot be read here") as caught:
        open_testset(there)
    assert not caught.value.problems


def test_a_slide_stays_as_long_as_it_is_open(stored):
    _, there, _ = stored
    testset = open_testset(there)
    seen: list[Path] = []

    class Open(TiledCase):
        def __init__(self, case) -> None:
            seen.append(case.images["image"][0])

    hooks = default_hooks(FakeModel(), bind_inputs(CONTRACT, testset.cases))
    hooks = checked(type(hooks)(read=hooks.read, normalise=hooks.normalise, tiles=Open), locked_digests(testset))
    slide = hooks.tiles(testset.cases[0])
    assert seen[0].read_bytes() == read_bytes(testset.cases[0].images["image"][0])
    del slide
    assert not seen[0].exists()
