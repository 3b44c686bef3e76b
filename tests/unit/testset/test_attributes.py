import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from testset_making import lock, write_image, write_table

from evalsuite.errors import CaseTableError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset import open_reference
from evalsuite.testset.attributes import attribute_problems, collect


def write_dicom(path, **attributes):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    dataset.PatientName = "CANARY^NAME"
    dataset.PatientID = "CANARYID"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)


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
    (data / "s").mkdir(parents=True)
    write_dicom(
        data / "a.dcm", Manufacturer="ACME", Modality="DX", KVP="80", Exposure="5", DistanceSourceToDetector="9"
    )
    write_dicom(data / "b", Manufacturer="Other")
    write_image(data / "c.png", 1)
    write_dicom(data / "s" / "2", Manufacturer="second")
    write_dicom(data / "s" / "1", Manufacturer="first")
    (data / "e.dcm").write_bytes(b"not DICOM at all")
    rows = [{"case_id": c, "image": c, "y": "1"} for c in ("a.dcm", "b", "c.png", "s", "e.dcm")]
    return write_table(data, rows)


def test_attributes_become_sealed_columns(table, tmp_path):
    locked = lock(table, tmp_path / "set", protocol=protocol("dicom:DistanceSourceToDetector", "dicom:Manufacturer"))
    frame = open_reference(locked)
    assert frame["dicom:Manufacturer"].tolist() == ["ACME", "Other", "", "first", ""]
    assert frame["dicom:DistanceSourceToDetector"].tolist() == ["9", "", "", "", ""]
    assert locked.lock["columns"]["dicom"][-1] == "dicom:DistanceSourceToDetector"
    found = locked.lock["attributes"]
    assert (found["n_dicom"], found["n_unreadable"]) == (4, 1)
    assert found["present"]["dicom:Manufacturer"] == 3
    assert found["present"]["dicom:KVP"] == 1
    assert found["present"]["dicom:Grid"] == 0


def test_no_identifier_enters_the_set(table, tmp_path):
    lock(table, tmp_path / "set")
    for path in (tmp_path / "set").iterdir():
        assert b"CANARY" not in path.read_bytes()
    assert "CANARY" not in open_reference(lock(table, tmp_path / "other")).to_csv()


def test_identifiers_and_unknown_attributes_are_refused(table, tmp_path):
    with pytest.raises(CaseTableError) as error:
        lock(table, tmp_path / "set", protocol=protocol("dicom:PatientName", "dicom:Manufacterer"))
    assert "PatientName" in error.value.problems[0].what
    assert "Manufacterer" in error.value.problems[1].what
    assert error.value.problems[1].hint == "did you mean 'Manufacturer'?"
    assert attribute_problems([]) == []


def test_a_protocol_that_needs_dicom_and_a_table_that_has_none(tmp_path):
    path = write_table(tmp_path, [{"case_id": "a", "y": "1"}])
    with pytest.raises(CaseTableError, match="names no DICOM file"):
        lock(path, tmp_path / "set", protocol=protocol("dicom:Manufacturer"))
    path = write_table(tmp_path, [{"case_id": "a", "y": "1", "dicom:Manufacturer": "ACME"}])
    locked = lock(path, tmp_path / "set", protocol=protocol("dicom:Manufacturer"))
    assert open_reference(locked)["dicom:Manufacturer"].tolist() == ["ACME"]


def test_a_column_of_the_name_of_an_attribute(table, tmp_path):
    table.write_text(table.read_text().replace(",y", ",dicom:Modality"))
    with pytest.raises(CaseTableError, match="'dicom:Modality'"):
        lock(table, tmp_path / "set")


def test_without_dicom_there_are_no_columns(table):
    assert collect([["c.png"], []], {}, ["KVP"]).columns == {}
