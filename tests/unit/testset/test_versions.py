"""Random draws, retired cases and versions."""

from __future__ import annotations

import pandas as pd
import pytest
from test_intake import scene, write_dicom, write_png
from testset_making import lock, write_table

from evalsuite.errors import CaseTableError, InputError, LockError
from evalsuite.record import ledger
from evalsuite.testset import Draw, open_testset, read_intake
from evalsuite.testset.selection import draw_cases


def pool(n: int, per_patient: int = 2) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(n)],
            "patient_id": [f"p{i // per_patient}" for i in range(n)],
            "site": ["A" if i // per_patient % 3 else "B" for i in range(n)],
        },
        dtype="str",
    )


def drawn(frame, **how):
    return draw_cases(frame, Draw(**how), case_column="case_id", patient_column="patient_id", table="t")


def test_a_draw_takes_patients_whole_and_repeats():
    frame = pool(200)
    found, record = drawn(frame, n=50, seed=7)
    assert len(found) == record["drawn_cases"] == 50
    assert set(found.groupby("patient_id").size()) == {2}
    again, second = drawn(frame, n=50, seed=7)
    assert again.equals(found)
    assert second == record
    assert not drawn(frame, n=50, seed=8)[0].equals(found)


def test_a_draw_does_not_depend_on_the_order_of_rows():
    frame = pool(100)
    mixed = frame.sample(frac=1, random_state=3).reset_index(drop=True)
    assert set(drawn(mixed, n=30, seed=1)[0]["case_id"]) == set(drawn(frame, n=30, seed=1)[0]["case_id"])


def test_in_a_growing_pool_the_old_patients_keep_their_rank():
    small, large = pool(100), pool(140)
    before = set(drawn(small, n=20, seed=1)[0]["case_id"])
    after = set(drawn(large, n=28, seed=1)[0]["case_id"])
    old = {c for c in after if int(c[1:]) < 100}
    assert old <= before or before <= old


def test_a_stratified_draw_keeps_the_shares():
    found, record = drawn(pool(300, per_patient=1), n=30, seed=2, by="site")
    assert found["site"].value_counts().to_dict() == {"A": 20, "B": 10}
    assert record["groups"] == [{"pool": 200, "wanted": 20, "drawn": 20}, {"pool": 100, "wanted": 10, "drawn": 10}]
    assert "A" not in str(record["groups"])


def test_draws_that_cannot_be():
    with pytest.raises(InputError, match="10 cases, 11 were to be drawn"):
        drawn(pool(10), n=11, seed=1)
    with pytest.raises(InputError, match="no column 'sites'"):
        drawn(pool(10), n=5, seed=1, by="sites")


@pytest.fixture
def first(tmp_path):
    rows = []
    for i in range(6):
        write_png(tmp_path / "d" / f"{i}.png", scene(i, side=32))
        rows.append({"case_id": f"c{i}", "image": f"{i}.png", "site": "A", "y": str(i % 2)})
    return write_table(tmp_path / "d", rows), lock(write_table(tmp_path / "d", rows), tmp_path / "v1", set_id="trial")


def test_a_version_lists_what_changed_in_both_ledgers(first, tmp_path):
    table, old = first
    text = table.read_text().replace("c1,1.png,A,1", "c1,1.png,A,0").replace("c2,2.png,A", "c2,2.png,B")
    text = text.replace("c5,5.png,A,1\n", "") + "c9,0.png,A,1\n"
    table.write_text(text)
    write_png(table.parent / "3.png", scene(33, side=32))
    (table.parent / "gone.csv").write_text("case_id,reason\nc4,scanner withdrawn\n")
    new = lock(table, tmp_path / "v2", set_version="2", supersedes=tmp_path / "v1", retire=table.parent / "gone.csv")
    found = new.lock["lineage"]
    assert found["supersedes"] == {"set_id": "trial", "version": "1", "root": old.root, "lock": old.digest}
    assert found["counts"] == {"kept": 4, "added": 1, "removed": 1, "retired": 1, "changed": 2, "relabelled": 1}
    assert (found["added"], found["removed"], found["retired"]) == (["c9"], ["c5"], ["c4"])
    assert (found["changed"], found["relabelled"]) == (["c2", "c3"], ["c1"])
    assert new.set_id == "trial"
    assert "c4" not in [c.case_id for c in new.cases]
    assert new.lock["retired"] == [{"case_id": "c4", "reason": "scanner withdrawn"}]
    entry = ledger.read(tmp_path / "v1" / "ledger.jsonl")[-1]
    assert (entry.action, entry.objects["superseded_by_root"]) == ("testset_superseded", new.root)
    assert "1 added, 1 removed, 1 retired, 2 changed, 1 relabelled" in entry.reason
    assert ledger.read(tmp_path / "v2" / "ledger.jsonl")[0].objects["supersedes_root"] == old.root
    with pytest.raises(LockError, match=r"3\.png differs"):
        open_testset(tmp_path / "v1")
    third = lock(table, tmp_path / "v3", set_version="3", supersedes=tmp_path / "v2")
    assert [c.case_id for c in third.cases] == [c.case_id for c in new.cases], "a retired case stays retired"


def test_a_new_version_does_not_make_its_cases_fresh(first, tmp_path):
    table, _ = first
    kept = tmp_path / "v1" / "ledger.jsonl"
    for run, cases in (("a", "1-2"), ("b", "2-6")):
        said = {"run": run, "cases": cases}
        ledger.append(kept, action="run_started", actor="x", role="operator", utc="t", reason="", objects=said)
    table.write_text(table.read_text().replace("c0,0.png,A,0\n", "") + "c9,0.png,A,1\n")
    new = lock(table, tmp_path / "v2", supersedes=tmp_path / "v1")
    assert [c.case_id for c in new.cases] == ["c1", "c2", "c3", "c4", "c5", "c9"]
    assert ledger.read(tmp_path / "v2" / "ledger.jsonl")[0].objects["used"] == "2:1;1:2-5"
    lock(table, tmp_path / "v3", supersedes=tmp_path / "v2")
    assert ledger.read(tmp_path / "v3" / "ledger.jsonl")[0].objects["used"] == "2:1;1:2-5"


def test_retired_cases_need_a_reason(first, tmp_path):
    table, _ = first
    bad = tmp_path / "r.csv"
    bad.write_text("case_id,reason\nc1,\nc2,x\nc2,y\n")
    with pytest.raises(InputError) as error:
        lock(table, tmp_path / "v2", retire=bad)
    assert len(error.value.problems) == 2
    bad.write_text("case_id,reason\n" + "".join(f"c{i},old\n" for i in range(6)))
    with pytest.raises(CaseTableError, match="every case is retired"):
        lock(table, tmp_path / "v2", retire=bad)
    assert not (tmp_path / "v2").exists()


def test_a_lock_records_its_draw(first, tmp_path):
    found = lock(first[0], tmp_path / "v2", draw=Draw(n=3, seed=11))
    assert len(found.cases) == 3
    assert found.lock["draw"]["pool_cases"] == 6
    assert found.lock["counts"]["files"] == 3, "files of the rest of the pool are no part of the set"


@pytest.fixture
def series(tmp_path):
    for i, z in enumerate((4, 0, 2, 8)):
        write_dicom(
            tmp_path / "d" / "s" / f"{i}.dcm", scene(i, side=16), SeriesInstanceUID="1.2.3", StudyInstanceUID="1.2",
            ImagePositionPatient=[0, 0, z], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], SOPInstanceUID=f"1.2.3.{i}",
        )  # fmt: skip
    return write_table(tmp_path / "d", [{"case_id": "c", "image": "s", "y": "1"}])


def test_a_series_is_read_in_the_order_of_its_positions(series, tmp_path):
    found = lock(series, tmp_path / "set")
    assert [p.name for p in found.cases[0].images["image"]] == ["1.dcm", "2.dcm", "0.dcm", "3.dcm"]
    assert found.lock["counts"]["files"] == 4
    row = next(r for r in read_intake(found)["rows"] if r["check"] == "series")
    assert row["outcome"] == "problem"
    assert row["summary"] == "1 series of 1: 1 gap: 1 slice missing by the usual distance"
    assert row["cases"] == ["c"]


def test_an_extra_file_in_a_series_is_named(series, tmp_path):
    lock(series, tmp_path / "set")
    (series.parent / "s" / "extra.dcm").write_bytes(b"x")
    with pytest.raises(LockError, match=r"s/extra\.dcm is not part of the locked test set"):
        open_testset(tmp_path / "set")
