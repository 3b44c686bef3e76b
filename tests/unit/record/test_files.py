import errno
import os
from pathlib import Path

import pytest

from evalsuite.errors import OutputError
from evalsuite.record.files import atomic_write, read_whole, read_with_time, writing


def test_write_and_replace(tmp_path):
    path = tmp_path / "a.bin"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission"), (errno.EROFS, "read-only")]
)
def test_a_failed_write_keeps_the_old_file_and_says_why(tmp_path, monkeypatch, code, words):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("evalsuite.record.files.os.fsync", fail)
    with pytest.raises(OutputError, match=r"a\.bin") as error:
        atomic_write(path, b"new")
    assert words in error.value.hint
    assert error.value.exit_code == 2
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_missing_folder_and_folder_as_target(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        atomic_write(tmp_path / "none" / "a", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder"):
        atomic_write(tmp_path / "folder", b"")


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(KeyError), writing(tmp_path):
        raise KeyError("x")


def test_a_file_is_read_whole_whatever_its_size_says(tmp_path):
    path = tmp_path / "a"
    for content in (b"", b"x", bytes(range(256)) * 5000):
        path.write_bytes(content)
        assert read_whole(path) == content
    os.utime(path, (5, 7))
    assert read_with_time(path) == (content, 7.0)
    source = Path("/proc/self/status")  # says that it has no bytes
    if source.exists():
        assert read_whole(source).startswith(b"Name:")
    with pytest.raises(IsADirectoryError):
        read_whole(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_whole(tmp_path / "absent")


def test_a_file_that_comes_in_pieces_is_read_to_its_end(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abcdefgh")
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, n: read(descriptor, min(n, 3)))
    assert read_whole(tmp_path / "a") == b"abcdefgh"
