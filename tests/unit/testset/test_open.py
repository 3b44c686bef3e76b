import dataclasses
import json
import os
import shutil

import pandas as pd
import pytest
from testset_making import lock, write_image, write_table

from evalsuite.errors import EvalsuiteError, InputError, LockError
from evalsuite.record import ledger
from evalsuite.record.canonical import canonical_json
from evalsuite.testset import lock_testset, manifest, open_reference, open_testset, verify_testset


@pytest.fixture(params=[False, True], ids=["in place", "copied"])
def copied(request):
    return request.param


@pytest.fixture
def made(table, tmp_path, copied):
    """A locked set and the folder its images lie in."""
    lock(table, tmp_path / "set", copy=copied)
    return tmp_path / "set", (tmp_path / "set" / "files" if copied else table.parent)


@pytest.fixture
def simple(tmp_path):
    """A locked set of two cases without images."""
    path = write_table(tmp_path / "data", [{"case_id": c, "patient_id": "p", "y": y} for c, y in ("a1", "b0")])
    lock(path, tmp_path / "set")
    return tmp_path / "set"


def status(path):
    return {c.name: c.status for c in verify_testset(path)}


def faults(path):
    with pytest.raises(LockError) as error:
        open_testset(path)
    assert error.value.exit_code == 3
    return str(error.value)


def test_an_untouched_set_opens(made):
    path, _ = made
    seen = []
    testset = open_testset(path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3_002_500, 3_002_500)
    assert testset.has_images
    assert len(testset.cases) == 4
    assert status(path) == {
        "lock": "holds",
        "case rows": "holds",
        "reference standard": "holds",
        "intake report": "holds",
        "files": "holds",
        "no extra files": "holds",
        "ledger": "holds",
        "ledger head": "absent",
        "signature": "absent",
    }


def test_a_changed_file_is_named_with_both_digests(made):
    path, images = made
    data = bytearray((images / "images" / "b.png").read_bytes())
    data[2_000_000] ^= 1
    (images / "images" / "b.png").write_bytes(data)
    text = faults(path)
    assert text.startswith("images/b.png differs from the locked copy: locked sha256 ")
    assert "test set set 1 (locked 2026-01-02T03:04:05Z)" in text
    assert "Restore" in text
    assert status(path)["files"] == "broken"
    assert open_testset(path, verify=False).has_images  # not hashed, as asked


def test_changed_missing_and_extra_files_are_all_named(made):
    path, images = made
    write_image(images / "images" / "a.png", 77)
    (images / "images" / "b.png").unlink()
    write_image(images / "series" / "s1" / "deep" / "x.bin", 5)
    write_image(path / "stray.txt", 6)
    text = faults(path)
    assert "differs from its lock in 4 places" in text
    assert "images/a.png differs from the locked copy" in text
    assert "images/b.png is missing" in text
    assert "series/s1/deep/x.bin is not part of the locked test set" in text
    assert "stray.txt is not part of the locked test set" in text


def test_sizes_and_absence_are_seen_without_hashing(made):
    path, images = made
    (images / "images" / "a.png").write_bytes(b"short")
    (images / "series" / "s1" / "0.bin").unlink()
    with pytest.raises(LockError, match="2 places"):
        open_testset(path, verify=False)


def test_a_file_beside_the_images_is_no_concern_unless_copied(made, copied):
    path, images = made
    write_image(images / "images" / "new.png", 5)
    if copied:
        assert "files/images/new.png is not part" in faults(path)
    else:
        assert open_testset(path).has_images


def test_a_file_replaced_by_a_folder_or_a_dangling_link(made):
    path, images = made
    (images / "images" / "a.png").unlink()
    (images / "images" / "a.png").mkdir()
    (images / "images" / "b.png").unlink()
    (images / "images" / "b.png").symlink_to("nowhere")
    text = faults(path)
    assert "images/a.png is missing" in text
    assert "images/b.png is missing" in text


def test_images_moved_away(table, tmp_path):
    lock(table, tmp_path / "set")
    for folder in ("data", "elsewhere"):
        shutil.move(tmp_path / folder, tmp_path / "new" / folder)
    assert "location.json" in faults(tmp_path / "set")
    (tmp_path / "set" / "location.json").write_bytes(
        canonical_json({"schema": "evalsuite/location/1", "root": "../new/data"})
    )
    assert open_testset(tmp_path / "set").has_images


@pytest.mark.parametrize("name", manifest.OWN_NAMES)
def test_every_own_file_is_needed(simple, name):
    (simple / name).unlink()
    assert name in faults(simple)
    assert "broken" in status(simple).values()


@pytest.mark.parametrize("name", manifest.OWN_NAMES)
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\xfe", b"null\n", b"PAR1"])
def test_own_files_replaced_by_nonsense(simple, name, data):
    (simple / name).write_bytes(data)
    faults(simple)
    assert "broken" in status(simple).values()


@pytest.mark.parametrize("name", ["testset.lock.json", "cases.parquet", "reference.parquet", "ledger.jsonl"])
def test_every_flipped_bit_is_seen(simple, name):
    data = (simple / name).read_bytes()
    step = max(1, len(data) // 150)
    for i in range(0, len(data), step):
        flipped = bytearray(data)
        flipped[i] ^= 1 << (i % 8)
        (simple / name).write_bytes(flipped)
        with pytest.raises(LockError):
            open_testset(simple)
    (simple / name).write_bytes(data)
    assert open_testset(simple)


def test_no_edit_of_the_lock_goes_unseen(simple):
    file = simple / "testset.lock.json"
    lock_data = json.loads(file.read_text())
    for key in lock_data:
        for value in (None, 1, "x", [], {}, [{}], {"digest": 1}, [{"path": 1}], True):
            if lock_data[key] == value:
                continue
            file.write_bytes(canonical_json({**lock_data, key: value}))
            with pytest.raises(LockError):
                open_testset(simple)
        file.write_bytes(canonical_json({k: v for k, v in lock_data.items() if k != key}))
        with pytest.raises(LockError):
            open_testset(simple)


def test_a_forged_time_or_name_disagrees_with_the_ledger(simple):
    file = simple / "testset.lock.json"
    forged = {**json.loads(file.read_text()), "created_utc": "2020-01-01T00:00:00Z"}
    file.write_bytes(canonical_json(forged))
    assert "does not begin with this lock" in faults(simple)


def test_reordered_spacing_of_the_lock_is_seen(simple):
    file = simple / "testset.lock.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=1))
    assert "not in the form it was written in" in faults(simple)


def test_the_ledger_may_grow(simple):
    ledger.append(
        simple / "ledger.jsonl", action="opened", actor="a", role="r", utc="2026-02-01T00:00:00Z", reason="", objects={}
    )
    assert open_testset(simple)


@pytest.mark.parametrize("root", [None, 1, "", "\0", []])
def test_a_location_that_says_nothing(simple, root):
    (simple / "location.json").write_text(json.dumps({"schema": "evalsuite/location/1", "root": root}))
    assert "location.json" in faults(simple)


def test_what_is_no_test_set(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="not a locked test set") as error:
            open_testset(path)
        assert "evalsuite lock" in error.value.hint
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError):
        verify_testset(tmp_path / "file")


def test_the_reference_is_compared_when_it_is_opened(simple):
    testset = open_testset(simple)
    frame = pd.read_parquet(simple / "reference.parquet")
    frame["y"] = "1"
    frame.to_parquet(simple / "reference.parquet")
    with pytest.raises(LockError, match=r"reference\.parquet differs"):
        open_reference(testset)
    (simple / "reference.parquet").unlink()
    with pytest.raises(LockError, match=r"reference\.parquet is missing"):
        open_reference(testset)


def test_no_message_carries_a_cell(table, tmp_path):
    table.write_text(table.read_text().replace("H1", "CANARY"))
    lock(table, tmp_path / "set")
    (tmp_path / "set" / "cases.parquet").write_bytes(b"PAR1" + b"CANARY" * 20)
    assert "CANARY" not in faults(tmp_path / "set")


def test_a_locked_set_is_a_value(simple):
    testset = open_testset(simple)
    with pytest.raises(dataclasses.FrozenInstanceError):
        testset.root = "x"
    assert testset == open_testset(simple)


def test_a_series_that_is_the_folder_of_the_table_or_above(tmp_path):
    for series in (".", ".."):
        data = tmp_path / series.replace(".", "d") / "data"
        write_image(data / "x" / "1.bin", 1)
        path = write_table(data, [{"case_id": "a", "image": series, "y": "1"}])
        testset = lock(path, tmp_path / f"set{len(series)}")
        names = [p.name for p in testset.cases[0].images["image"]]
        assert names == ["cases.csv", "1.bin"]
        assert open_testset(testset.path).root == testset.root


def test_a_linked_folder_inside_a_series_is_said_not_skipped(table, tmp_path):
    (table.parent / "series" / "s1" / "link").symlink_to(table.parent / "images")
    with pytest.raises(EvalsuiteError, match="series/s1/link"):
        lock(table, tmp_path / "set")


def test_a_linked_set_opens(simple, tmp_path):
    (tmp_path / "link").symlink_to(simple)
    assert open_testset(tmp_path / "link").root == open_testset(simple).root


def test_relative_paths(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("a/b")
    made = lock_testset("data/cases.csv", "a/b/set", actor="a", utc="2026-01-01T00:00:00Z")
    monkeypatch.chdir(tmp_path / "a")
    assert open_testset("b/set").root == made.root


def test_a_table_that_was_opened_is_nobody_elses_to_change(simple):
    testset = open_testset(simple)
    first = open_reference(testset)
    name = first.columns[-1]
    before = first[name].tolist()
    first[name] = "changed"
    assert open_reference(testset)[name].tolist() == before


def test_a_table_that_was_opened_is_compared_anew(simple):
    open_reference(open_testset(simple))
    file = simple / manifest.REFERENCE_NAME
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(LockError, match="differs from the locked copy"):
        open_testset(simple)
