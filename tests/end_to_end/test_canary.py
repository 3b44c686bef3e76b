"""Names planted in DICOM headers, file names and free text: they must come out nowhere.

One exception is by contract and tested as such: the lock must name the files it binds (`SET/testset.lock.json` and its
copy in the run), and a message about a changed file names it. Nothing else may.
"""

from __future__ import annotations

import gzip
import io
import shutil
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.people import make_ca, make_person

from .conftest import Outcome, protocol_text

pytestmark = [
    pytest.mark.full_pdf,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # how the test makes a package
]

IN_HEADERS = ("ZQHEADERNAME", "ZQPATIENTID", "ZQREFERRER", "ZQINSTITUTION", "ZQCOMMENT", "ZQPRIVATE", "19330217")
IN_FILE_NAMES = ("ZQFILENAME",)
IN_CELLS = ("ZQFREETEXT", "ZQCLINICALNOTE")
EVERY = (*IN_HEADERS, *IN_FILE_NAMES, *IN_CELLS)
CONTRACT = """\
schema: evalsuite/model/1
name: small
task: binary
inputs:
  - {name: x, shape: [1, 16, 16], colour: L, source_range: [0, 255]}
outputs:
  - {name: y, meaning: probabilities, activation: none, classes: [disease]}
"""
N = 24


class Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x.mean(dim=(2, 3)))


def write_dicom(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16), dtype=np.uint8)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", f"1.2.3.{seed}"
    data.Modality, data.Manufacturer = "DX", "ACME"
    data.PatientName, data.PatientID, data.PatientBirthDate = "ZQHEADERNAME^Jane", f"ZQPATIENTID{seed}", "19330217"
    data.ReferringPhysicianName, data.InstitutionName = "ZQREFERRER^A", "ZQINSTITUTION"
    data.ImageComments, data.PatientAge = "ZQCOMMENT seen by Dr", "040Y"
    data.PixelSpacing = [0.0, 0.0]
    data.private_block(0x0099, "ZQPRIVATE", create=True).add_new(1, "LO", "ZQPRIVATE")
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)


def texts(path: Path) -> bytes:
    """A file's bytes, and whatever is packed inside: PDF text and attachments, Parquet cells, SQLite, archives."""
    data = path.read_bytes()
    parts = [path.name.encode(), data]
    if data[:4] == b"%PDF":
        import pikepdf

        with pikepdf.open(io.BytesIO(data)) as pdf:
            parts += [bytes(spec.get_file().read_bytes()) for spec in pdf.attachments.values()]
        if reader := shutil.which("pdftotext"):  # glyphs are numbers; report.html beside it has the same text anyway
            parts.append(subprocess.run([reader, path, "-"], capture_output=True, check=True).stdout)
    elif data[:4] == b"PAR1":
        import pyarrow.parquet as pq

        table = pq.read_table(io.BytesIO(data))
        parts += [repr(table.to_pydict()).encode(), repr(table.schema.metadata).encode()]
    elif data[:2] == b"\x1f\x8b":
        parts.append(gzip.decompress(data))
    elif data[:15] == b"SQLite format 3":
        with sqlite3.connect(path) as base:
            parts.append("\n".join(base.iterdump()).encode())
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts += [archive.read(name) for name in archive.namelist()]
    return b"\n".join(parts)


def leaks(folder: Path) -> list[str]:
    """ "file: canary" for every canary in any file below `folder`."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        text = texts(path)
        found += [f"{path.relative_to(folder)}: {c}" for c in EVERY if c.encode().lower() in text.lower()]
    return found


class Recorder:
    """The command line, with everything it says kept."""

    def __init__(self, cli: Callable[..., Outcome]) -> None:
        self._cli = cli
        self.said: list[tuple[str, str]] = []

    def __call__(self, *arguments: object) -> Outcome:
        outcome = self._cli(*arguments)
        self.said.append((str(arguments[0]), outcome.out + outcome.err))
        return outcome

    def leaks(self, canaries: tuple[str, ...] = EVERY) -> list[str]:
        return [f"{verb}: {c}" for verb, text in self.said for c in canaries if c.lower() in text.lower()]


@pytest.fixture
def planted(tmp_path: Path, cli: Callable[..., Outcome]) -> tuple[Path, Recorder]:
    """A study whose headers, file names and free text name people; some of its images are damaged."""
    data = tmp_path / "data"
    data.mkdir()
    rows = ["case_id,patient_id,image,truth,sex,age,referrer,remark"]
    for i in range(N):
        name = f"ZQFILENAME_{i}.dcm"
        write_dicom(data / name, i)
        rows.append(f"c{i},p{i},{name},{i % 2},{'f' if i % 3 else 'm'},{40 + i},ZQFREETEXT {i},ZQCLINICALNOTE")
    whole = (data / "ZQFILENAME_3.dcm").read_bytes()
    (data / "ZQFILENAME_3.dcm").write_bytes(whole[:-100])  # cut off
    (data / "ZQFILENAME_4.dcm").write_bytes(whole.replace(b"MONOCHROME2", b"MONOCHROME9"))
    (data / "ZQFILENAME_5.dcm").write_bytes(whole[:200] + b"\xff" * 50 + whole[250:])
    cv2.imwrite(str(data / "ZQFILENAME_6.png"), np.zeros((16, 16), np.uint8))
    (data / "cases.csv").write_text("\n".join(rows) + "\n")
    text = yaml.safe_load(protocol_text())
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    torch.jit.trace(Mean().eval(), torch.zeros(2, 1, 16, 16)).save(str(tmp_path / "small.ts"))
    (tmp_path / "small.yaml").write_text(CONTRACT)
    return tmp_path, Recorder(cli)


def test_a_whole_study_tells_no_name(planted: tuple[Path, Recorder], sandbox_flags: tuple[str, ...]) -> None:
    base, run = planted
    model = ("--model", base / "small.ts", "--contract", base / "small.yaml")
    assert (
        run("lock", base / "data" / "cases.csv", "--protocol", base / "protocol.yaml", "--out", base / "set").code == 0
    )
    assert run("lock", base / "data" / "cases.csv", "--out", base / "x", "--strict").code == 2
    run("inspect", base / "set")
    run("inspect", base / "set", "--json")
    frozen = run(
        "freeze", base / "protocol.yaml", "--testset", base / "set", *model, "--unsandboxed", "--out", base / "frozen"
    )
    assert frozen.code == 0, frozen.err
    done = run("run", base / "frozen", "--testset", base / "set", *model, *sandbox_flags, "--out", base / "run")
    assert done.code == 1, done.err
    for verb in ("verify", "inspect", "score"):
        assert run(verb, base / "run").code in (0, 1), verb
    assert run("verify", base / "set").code == 0
    author = make_person(base / "author.p12", "A. Author", make_ca(base / "ca"))
    assert run("sign", base / "run", "--role", "author", "--key", author).code == 0
    for view, role in (("developer", "operator"), ("assessor", "reviewer")):
        outcome = run("export", base / "run", "--view", view, "--role", role, "--out", base / view)
        assert outcome.code == 0, outcome.err
    assert run.leaks() == []
    assert leaks(base / "developer") == []
    assert [line.rpartition("/")[2] for line in leaks(base / "assessor")] == ["testset.lock.json: ZQFILENAME"]
    assert leaks(base / "run") == ["testset.lock.json: ZQFILENAME"]
    # The rows hold paths and what the protocol does not seal; the lock binds the files by name.
    kept = {"cases.parquet", "testset.lock.json"}
    assert {line.split(":")[0] for line in leaks(base / "set")} <= kept
    assert not [line for line in leaks(base / "set") if any(line.endswith(c) for c in IN_HEADERS)]
    assert leaks(base / "frozen") == []


def test_without_a_protocol_free_text_is_sealed_and_told_nowhere_else(planted: tuple[Path, Recorder]) -> None:
    base, run = planted
    assert run("lock", base / "data" / "cases.csv", "--out", base / "set", "--json").code == 0
    run("inspect", base / "set")
    assert run.leaks() == []
    found = leaks(base / "set")
    assert "reference.parquet: ZQFREETEXT" in found, "sealed with the reference standard"
    assert not [x for x in found if x.split(":")[0] in ("intake.json", "ledger.jsonl", "location.json")]


def test_broken_inputs_tell_no_name_from_headers_or_cells(planted: tuple[Path, Recorder]) -> None:
    base, run = planted
    table = base / "data" / "cases.csv"
    assert run("lock", table, "--out", base / "set").code == 0
    text = table.read_text()
    for broken in (
        text.replace("c1,", "c0,", 1),
        text.replace("referrer", "truth"),
        text + "c99,p9,nowhere.dcm,ZQFREETEXT\n",
        text.replace("truth", "reference_status"),
        text.replace(",sex,", ",sample_weight,"),
    ):
        (base / "data" / "broken.csv").write_text(broken)
        assert run("lock", base / "data" / "broken.csv", "--out", base / "other").code == 2
    named = protocol_text(strata=[{"name": "who", "column": "dicom:PatientName"}])
    (base / "named.yaml").write_text(named)
    assert run("lock", table, "--protocol", base / "named.yaml", "--out", base / "other").code == 2
    (base / "data" / "development.csv").write_text("patient_id\nZQPATIENTID1\n")
    shared = ("--development", base / "data" / "development.csv", "--strict")
    assert run("lock", table, "--out", base / "other", *shared).code == 2
    (base / "data" / "ZQFILENAME_7.dcm").write_bytes(b"another")
    assert run("verify", base / "set").code == 3
    assert "ZQFILENAME_7.dcm" in run.said[-1][1], "a changed file is named"
    assert run.leaks((*IN_HEADERS, *IN_CELLS)) == []
    assert [x for x in run.leaks(IN_FILE_NAMES) if not x.startswith("verify")] == []


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    """The search itself: text inside a PDF's streams, in Parquet and in SQLite."""
    import pandas as pd

    pd.DataFrame({"a": ["ZQFREETEXT"]}).to_parquet(tmp_path / "a.parquet", compression="zstd")
    with sqlite3.connect(tmp_path / "b.sqlite") as base:
        base.execute("create table t (x text)")
        base.execute("insert into t values ('ZQCOMMENT')")
    base.close()
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"ZQPRIVATE"))
    assert leaks(tmp_path) == ["a.parquet: ZQFREETEXT", "b.sqlite: ZQCOMMENT", "c.gz: ZQPRIVATE"]
