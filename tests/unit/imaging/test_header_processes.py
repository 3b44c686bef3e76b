"""Headers read by other processes are those read by this one, whatever becomes of the processes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from evalsuite.imaging import header_processes
from evalsuite.imaging.header_processes import HeaderTask, read_chunk, read_headers

TASK = HeaderTask(
    today=date(2026, 1, 1), pseudonyms={"p1"}, keywords=("Manufacturer", "PatientAge"), with_attributes={"f1", "f2"}
)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Five files: three whole, one damaged, one that is not there."""
    for i in range(3):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID, data.Modality = "1.2.840.10008.5.1.4.1.1.2", f"1.2.{i}", "CT"
        data.PatientID, data.PatientName, data.Manufacturer, data.PatientAge = f"p{i}", "DOE^JANE", "ACME", "999Y"
        data.private_block(0x0099, "ACME", create=True).add_new(1, "LO", "x")
        data.save_as(tmp_path / f"f{i}", enforce_file_format=True)
    no_syntax = b"\x02\x00\x10\x00UI\x04\x001.29" + b"\x28\x00\x10\x00US\x03\x00\x01\x00\x00"
    (tmp_path / "f3").write_bytes(bytes(128) + b"DICM" + no_syntax)
    return {f"f{i}": str(tmp_path / f"f{i}") for i in range(5)}


def test_the_number_of_processes_changes_nothing(places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_processes, "_CHUNK", 2)
    told: list[str] = []
    found = read_headers(places, TASK, on_read=told.extend, workers=2)
    assert sorted(told) == list(places)
    assert found == read_headers(places, TASK, on_read=lambda names: None, workers=0)
    first = found["f1"]
    assert isinstance(first, header_processes.Header)
    assert (first.attributes, first.identifiers, first.n_private) == (
        {"Manufacturer": "ACME", "PatientAge": "999Y"},
        ("PatientName",),
        2,
    )
    assert "PatientAge is implausible" in first.implausible
    assert not found["f0"].attributes  # type: ignore[union-attr]  # not among those with attributes
    assert found["f3"] is None
    assert found["f4"] == "No such file or directory"


def test_a_process_that_ends_early_leaves_nothing_unread(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("/bin/false", "/no/such/program"):
        monkeypatch.setattr(header_processes.sys, "executable", program)
        found = read_headers(places, TASK, on_read=lambda names: None, workers=1)
        assert list(found.values()) == read_chunk(list(places.items()), TASK)


def test_few_headers_start_no_process(places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_processes.subprocess, "Popen", None)
    assert set(read_headers(places, TASK, on_read=lambda names: None)) == set(places)
    assert read_headers({}, TASK, on_read=lambda names: None) == {}
    worth = header_processes._worth
    assert [worth(n, 64) for n in (0, 1_999, 2_000, 5_000, 10**6)] == [0, 0, 4, 10, 16]
    assert [worth(10**6, cpus) for cpus in (1, 2)] == [0, 2]
