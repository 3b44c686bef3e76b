import errno
import os

import pytest

from evalsuite.errors import OutputError
from evalsuite.record.files import atomic_write, writing


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
