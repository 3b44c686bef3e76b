"""Bags: the layout of RFC 8493, the same bytes every time, and every meddling noticed."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from evalsuite.errors import IntegrityError
from evalsuite.record.bag import TAGS, check_bag, read_info, unpack_zip, write_tags, write_zip
from evalsuite.record.digest import sha256_file

FILES = {"a.txt": b"first", "runs/r1/b.bin": b"\x00\x01second", "runs/r1/empty": b"", "with %0A and space.txt": b"x"}


def make(folder: Path) -> Path:
    for name, data in FILES.items():
        (folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data" / name).write_bytes(data)
    write_tags(folder, {"Bag-Software-Agent": "test", "External-Identifier": "r1"})
    return folder


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return make(tmp_path / "bag")


def broken(bag: Path) -> str:
    return "; ".join(c.detail for c in check_bag(bag) if c.status == "broken")


def test_a_bag_as_written_holds(bag: Path) -> None:
    assert [c.status for c in check_bag(bag)] == ["holds", "holds"]
    assert read_info(bag)["Payload-Oxum"] == f"{sum(map(len, FILES.values()))}.{len(FILES)}"


def test_sha256sum_agrees(bag: Path) -> None:
    """Provenance: GNU coreutils, which knows nothing of this program; names with a percent sign are encoded for it."""
    (bag / "data" / "with %0A and space.txt").unlink()
    write_tags(bag, {})
    command = ["sha256sum", "--check", "--strict", "--quiet", "manifest-sha256.txt", "tagmanifest-sha256.txt"]
    done = subprocess.run(command, cwd=bag, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_layout_is_that_of_the_specification(bag: Path) -> None:
    """RFC 8493, 2.1.1 (bagit.txt), 2.1.3 (manifest lines, percent-encoded names), 2.2.1 (tag manifest)."""
    assert (bag / "bagit.txt").read_text() == "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    lines = (bag / "manifest-sha256.txt").read_text().splitlines()
    assert lines == sorted(lines, key=lambda line: line[66:])
    assert f"{sha256_file(bag / 'data' / 'with %0A and space.txt')}  data/with %250A and space.txt" in lines
    listed = [line[66:] for line in (bag / "tagmanifest-sha256.txt").read_text().splitlines()]
    assert listed == ["bag-info.txt", "bagit.txt", "manifest-sha256.txt"]


def test_the_same_payload_makes_the_same_bytes(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    for bag in (one, other):
        write_zip(bag, bag.with_suffix(".zip"))
    assert one.with_suffix(".zip").read_bytes() == other.with_suffix(".zip").read_bytes()


@pytest.mark.parametrize("name", [f"data/{n}" for n in FILES] + list(TAGS))
def test_a_changed_removed_or_renamed_file_is_noticed(bag: Path, name: str) -> None:
    file = bag / name
    before = file.read_bytes()
    file.write_bytes(before + b"!")
    assert broken(bag)
    file.write_bytes(before)
    assert not broken(bag)
    file.rename(file.with_name("renamed"))
    assert broken(bag)
    (file.with_name("renamed")).unlink()
    assert broken(bag)


def test_the_words_name_the_file(bag: Path) -> None:
    (bag / "data" / "a.txt").rename(bag / "data" / "z.txt")
    (bag / "data" / "extra").write_text("new")
    (bag / "note.txt").write_text("new")
    (bag / "data" / "runs" / "r1" / "b.bin").write_bytes(b"other")
    said = broken(bag)
    assert "renamed: data/a.txt is now data/z.txt" in said
    assert "extra: data/extra" in said
    assert "extra: note.txt" in said
    assert "changed: data/runs/r1/b.bin" in said


def test_a_link_is_noticed(bag: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    shutil.move(bag / "data" / "a.txt", outside)
    (bag / "data" / "a.txt").symlink_to(outside)
    assert "a link: data/a.txt" in broken(bag)


@pytest.mark.parametrize(
    "line", ["", "x" * 64 + "  data/a.txt", "0" * 64 + " data/a.txt", "0" * 64 + "  ../out", "0" * 64 + "  /etc/x"]
)
def test_a_manifest_in_another_form_is_refused(bag: Path, line: str) -> None:
    with (bag / "manifest-sha256.txt").open("a") as file:
        file.write(line + "\n")
    assert "line 5, is not in the form" in broken(bag)


def test_a_zip_comes_back_as_it_was(bag: Path, tmp_path: Path) -> None:
    write_zip(bag, tmp_path / "p.zip")
    (tmp_path / "into").mkdir()
    again = unpack_zip(tmp_path / "p.zip", tmp_path / "into")
    assert not broken(again)
    assert (again / "data" / "runs" / "r1" / "b.bin").read_bytes() == FILES["runs/r1/b.bin"]


def test_any_changed_byte_of_a_zip_is_noticed(bag: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "p.zip"
    write_zip(bag, zipped)
    data = zipped.read_bytes()
    for i in range(0, len(data), 23):
        zipped.write_bytes(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :])
        into = tmp_path / f"into{i}"
        into.mkdir()
        with pytest.raises(IntegrityError):
            unpack_zip(zipped, into)
    for other in (data[:-1], data + b"\0", b"\0" + data, b""):
        zipped.write_bytes(other)
        with pytest.raises(IntegrityError):
            unpack_zip(zipped, tmp_path / "into0")


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "bag/../../out.txt", "bag\\x", "alone"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    zipped = tmp_path / "p.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("bag/bagit.txt", "x")
        archive.writestr(name, "x")
    (tmp_path / "into").mkdir()
    with pytest.raises(IntegrityError):
        unpack_zip(zipped, tmp_path / "into")
    assert not (tmp_path / "out.txt").exists()


def test_a_zip_made_by_another_program_is_refused_with_a_way_out(bag: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "p.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in bag.rglob("*") if p.is_file()):
            archive.write(file, f"bag/{file.relative_to(bag)}")
    (tmp_path / "into").mkdir()
    with pytest.raises(IntegrityError, match="unpack it and verify the folder"):
        unpack_zip(zipped, tmp_path / "into")
