import sys
import types

import pytest
from testset_making import lock, write_image, write_table

from evalsuite.errors import CaseTableError, ImageError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset import open_reference
from evalsuite.testset.attributes import attribute_problems, collect, is_dicom


def header(**attributes):
    return b"\0" * 128 + b"DICM" + "".join(f"{k}={v};" for k, v in attributes.items()).encode()


@pytest.fixture
def fake_dicom(monkeypatch):
    """A reader for files that hold `Keyword=value;` after the DICOM mark."""
    module = types.ModuleType("evalsuite.imaging.dicom")
    module.STANDARD_ATTRIBUTES = ("Manufacturer", "Modality")
    module.FORBIDDEN_ATTRIBUTES = frozenset({"PatientName"})

    def read_attributes(path, keywords):
        text = path.read_bytes()[132:].decode()
        if "damaged" in text:
            raise ImageError("damaged")
        pairs = dict(part.split("=") for part in text.split(";") if part)
        return {k: pairs[k] for k in keywords if k in pairs}

    module.read_attributes = read_attributes
    monkeypatch.setitem(sys.modules, "evalsuite.imaging.dicom", module)


def protocol(*columns):
    return StudyProtocol(
        schema="evalsuite/protocol/1",
        id="p",
        version="1",
        title="t",
        kind="standalone",
        intended_use={},
        task={"kind": "binary", "reference": "y", "score": "p"},
        unit={},
        endpoints=[{"name": "auroc", "metric": "auroc"}],
        strata=[{"name": c, "column": c} for c in columns],
        seed=1,
    )


@pytest.fixture
def table(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.dcm").write_bytes(header(Manufacturer="ACME", Modality="DX", KVP="80"))
    (data / "b").write_bytes(header(Manufacturer="Other"))
    write_image(data / "c.png", 1)
    (data / "s").mkdir()
    (data / "s" / "2").write_bytes(header(Manufacturer="second"))
    (data / "s" / "1").write_bytes(header(Manufacturer="first"))
    (data / "e.dcm").write_bytes(header(damaged=1))
    rows = [{"case_id": c, "image": c, "y": "1"} for c in ("a.dcm", "b", "c.png", "s", "e.dcm")]
    return write_table(data, rows)


def test_attributes_become_sealed_columns(table, tmp_path, fake_dicom):
    locked = lock(table, tmp_path / "set", protocol=protocol("dicom:KVP", "dicom:Manufacturer"))
    frame = open_reference(locked)
    assert frame["dicom:Manufacturer"].tolist() == ["ACME", "Other", "", "first", ""]
    assert frame["dicom:KVP"].tolist() == ["80", "", "", "", ""]
    assert locked.lock["columns"]["dicom"] == ["dicom:Manufacturer", "dicom:Modality", "dicom:KVP"]
    assert locked.lock["attributes"] == {
        "n_dicom": 4,
        "n_unreadable": 1,
        "present": {"dicom:KVP": 1, "dicom:Manufacturer": 3, "dicom:Modality": 1},
    }


def test_identifiers_and_unknown_attributes_are_refused(table, tmp_path, fake_dicom):
    with pytest.raises(CaseTableError) as error:
        lock(table, tmp_path / "set", protocol=protocol("dicom:PatientName", "dicom:Manufacterer"))
    assert [p.what for p in error.value.problems] == [
        "dicom:PatientName identifies a person and is never read",
        "'Manufacterer' is not a DICOM attribute",
    ]
    assert error.value.problems[1].hint == "did you mean 'Manufacturer'?"
    assert attribute_problems([]) == []


def test_a_protocol_that_needs_dicom_and_a_table_that_has_none(tmp_path, fake_dicom):
    path = write_table(tmp_path, [{"case_id": "a", "y": "1"}])
    with pytest.raises(CaseTableError, match="names no DICOM file"):
        lock(path, tmp_path / "set", protocol=protocol("dicom:Manufacturer"))
    path = write_table(tmp_path, [{"case_id": "a", "y": "1", "dicom:Manufacturer": "ACME"}])
    locked = lock(path, tmp_path / "set", protocol=protocol("dicom:Manufacturer"))
    assert open_reference(locked)["dicom:Manufacturer"].tolist() == ["ACME"]


def test_a_column_of_the_name_of_an_attribute(table, tmp_path, fake_dicom):
    table.write_text(table.read_text().replace(",y", ",dicom:Modality"))
    with pytest.raises(CaseTableError, match="'dicom:Modality'"):
        lock(table, tmp_path / "set")


def test_dicom_is_told_by_mark_or_ending(table):
    assert is_dicom(table.parent / "b")
    assert is_dicom(table.parent / "none.DCM")
    assert not is_dicom(table.parent / "c.png")
    assert not is_dicom(table.parent / "none")


def test_no_dicom_loads_no_reader(table):
    assert collect([[table.parent / "c.png"], []], ["KVP"]).columns == {}
