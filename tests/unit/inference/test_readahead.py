"""Files are asked of the disk before their turn, and those already in memory are left alone."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from inference_fakes import make_testset

from evalsuite.inference import readahead
from evalsuite.inference.readahead import read_ahead, some_of

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice on files")


@pytest.fixture
def cases(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for path in paths:
        path.write_bytes(b"x")
    return [replace(c, images={"image": (p,)}) for c, p in zip(make_testset(10).cases, paths, strict=True)]


@pytest.fixture
def advised(monkeypatch):
    found: list[str] = []
    monkeypatch.setattr(readahead, "_advise", found.append)
    return found


def test_the_first_the_last_and_two_between():
    assert some_of(range(10)) == [0, 3, 6, 9]
    assert [some_of(range(n)) for n in range(5)] == [[], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_one_file_that_is_not_in_memory_has_all_asked_for(cases, advised, monkeypatch):
    monkeypatch.setattr(readahead, "_in_memory", lambda path: path.name != "6.png")
    read_ahead(cases)
    assert advised == [str(case.images["image"][0]) for case in cases]


def test_files_in_memory_are_not_asked_for(cases, advised, monkeypatch):
    monkeypatch.setattr(readahead, "_in_memory", lambda path: True)
    read_ahead(cases)
    read_ahead([])
    assert advised == []


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the system does not say what is in memory")
def test_a_read_that_would_have_to_wait_says_not_in_memory(cases, advised, monkeypatch):
    def waits(*_):
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", waits)
    read_ahead(cases[:3])
    assert len(advised) == 3


def test_files_that_are_not_there_are_left_to_the_reader(cases):
    for case in cases:
        case.images["image"][0].unlink()
    read_ahead(cases)
