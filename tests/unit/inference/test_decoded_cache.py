"""The decoded cache changes the time a run takes and nothing else; damage and strangers are noticed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import FakeModel, make_hooks, make_testset

from evalsuite.errors import ImageError, InputError
from evalsuite.inference.cache import DecodedCache

CASES = make_testset(6).cases
FILES = {f"image/{i}.png": f"{i:064x}" for i in range(5)}  # the last case's file is not in the lock
SETTINGS = {"inputs": ["contract"]}


def reader(read: list[str]):
    """A reader that notes what it read and makes up three kinds of arrays."""

    def images(case):
        i = int(case.case_id[1:])
        read.append(case.case_id)
        if i == 3:
            raise ImageError("damaged", code="truncated")
        return {
            "a": np.full((2, 3), i, np.uint8),
            "b": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4) + i),
            "c": np.array([[i * 1000]], ">u2"),
        }

    return images


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.decoded"))


def fill(folder: Path, **options):
    read: list[str] = []
    cache = DecodedCache(folder, **{"files": FILES, "settings": SETTINGS, **options})
    return cache, cache.reader(reader(read)), read


def test_a_second_reading_comes_from_the_cache_and_is_equal(tmp_path):
    _, first, _ = fill(tmp_path / "cache")
    before = [first(case) for case in CASES if case.case_id != "c003"]
    again, second, read = fill(tmp_path / "cache")
    after = [second(case) for case in CASES if case.case_id != "c003"]
    assert read == ["c005"]
    assert again.facts == {"hits": 4, "stored": 0, "not_stored": 0, "damaged": 0}
    for one, other in zip(before, after, strict=True):
        assert list(one) == list(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
            assert one[name].dtype == other[name].dtype


def test_an_image_that_cannot_be_read_is_not_cached(tmp_path):
    for _ in range(2):
        _, images, read = fill(tmp_path / "cache")
        with pytest.raises(ImageError, match="damaged"):
            images(CASES[3])
        assert read == ["c003"]
    assert entries(tmp_path / "cache") == []


@pytest.mark.parametrize("change", [{"files": dict.fromkeys(FILES, "f" * 64)}, {"settings": {"inputs": ["other"]}}])
def test_another_file_or_other_settings_share_no_entry(tmp_path, change):
    fill(tmp_path / "cache")[1](CASES[0])
    _, images, read = fill(tmp_path / "cache", **change)
    images(CASES[0])
    assert read == ["c000"]


def test_no_bit_of_an_entry_can_change_unnoticed(tmp_path):
    _, images, _ = fill(tmp_path / "cache")
    expected = images(CASES[1])
    (path,) = entries(tmp_path / "cache")
    whole = path.read_bytes()
    cache, images, read = fill(tmp_path / "cache")
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        assert all(np.array_equal(expected[name], found) for name, found in images(CASES[1]).items())
    for content in (b"", whole[:10], whole[:-1], whole + b"\0"):
        path.write_bytes(content)
        images(CASES[1])
    assert len(read) == len(whole) + 4
    assert cache.facts["hits"] == 0
    assert path.read_bytes() == whole


def test_a_sound_entry_under_another_name_is_not_taken(tmp_path):
    _, images, _ = fill(tmp_path / "cache")
    images(CASES[0])
    images(CASES[1])
    one, other = entries(tmp_path / "cache")
    other.write_bytes(one.read_bytes())
    cache, images, _ = fill(tmp_path / "cache")
    for i in (0, 1):
        assert (images(CASES[i])["a"] == i).all()
    assert cache.facts["damaged"] == 1


def test_the_size_is_bounded_and_the_longest_unused_goes_first(tmp_path):
    _, images, _ = fill(tmp_path / "cache")
    for i in (0, 1, 2, 4):
        images(CASES[i])
    sizes = [path.stat().st_size for path in entries(tmp_path / "cache")]
    assert len(sizes) == 4
    for i, path in enumerate(entries(tmp_path / "cache")):
        os.utime(path, (1000 + i, 1000 + i))
    kept = entries(tmp_path / "cache")[2:]
    small, images, read = fill(tmp_path / "cache", limit=sum(sizes[2:]) + 1)
    assert entries(tmp_path / "cache") == kept
    for i in (0, 1, 2, 4):
        images(CASES[i])
    assert entries(tmp_path / "cache") == kept
    assert len(read) == 2
    assert small.facts == {"hits": 2, "stored": 0, "not_stored": 2, "damaged": 0}


def test_a_folder_others_may_write_to_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(InputError, match="not yours alone"):
        fill(tmp_path / "open")


def test_a_run_with_a_cache_ends_with_the_same_bytes_and_says_so(tmp_path):
    from evalsuite.inference.engine import predict
    from evalsuite.inference.settings import InferenceSettings

    folder = tmp_path / "set"
    (folder / "image").mkdir(parents=True)
    names = [f"image/{i}.png" for i in range(9)]
    testset = replace(
        make_testset(9),
        path=folder,
        lock={"copied": False, "files": [{"path": n, "size": 1, "sha256": f"{i:064x}"} for i, n in enumerate(names)]},
    )
    (folder / "location.json").write_text('{"schema": "evalsuite/location/1", "root": "."}')
    cases = [replace(c, images={"image": (folder / names[i],)}) for i, c in enumerate(testset.cases)]
    testset = replace(testset, cases=tuple(cases))
    read: list[int] = []
    hooks = replace(make_hooks(before=read.append, fail={4: "truncated"}), decoding={"how": "made up"})
    found = {}
    for name, cache in (("without", None), ("filling", tmp_path / "cache"), ("filled", tmp_path / "cache")):
        read.clear()
        settings = InferenceSettings(device="cpu", batch_size=4, threads=1, decoders=2, cache=cache)
        found[name] = predict(FakeModel(), testset, settings=settings, work=tmp_path / name, hooks=hooks)
    assert found["without"].digest == found["filling"].digest == found["filled"].digest
    assert found["without"].record["inference"]["cache"] is None
    assert found["filling"].record["inference"]["cache"]["stored"] == 8
    seen = found["filled"].record["inference"]
    assert seen["cache"]["hits"] == 8  # those of the run, not those of the probe before it
    assert found["filling"].record["inference"]["cache"]["hits"] <= 8
    assert seen["cache"]["stored"] == 0
    assert seen["rerun"]["bitwise_equal"]
    # the batch that is run a second time is read from the files
    assert 1 <= len([i for i in read if i != 4]) <= 4
