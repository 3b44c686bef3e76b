"""Messages between the two processes, the text shown of them, and the memory they share."""

from __future__ import annotations

import gc
import os
import socket
import time

import numpy as np
import pytest

from evalsuite.errors import InputError
from evalsuite.sandbox.policy import Limits, available_memory
from evalsuite.sandbox.shared import SharedMemory, View
from evalsuite.sandbox.text import clean, clean_json, clean_lines
from evalsuite.sandbox.wire import Closed, WireError, receive, send


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_message_arrives_as_it_was_sent_with_its_bytes_and_files(ends) -> None:
    one, other = ends
    file = os.memfd_create("x")
    send(one, {"do": "forward", "α": [1, None, "é"]}, b"\x00\x01", fds=[file])
    found = receive(other, with_fds=True)
    assert (dict(found.header), found.payload) == ({"do": "forward", "α": [1, None, "é"]}, b"\x00\x01")
    assert os.fstat(found.fds[0]).st_ino == os.fstat(file).st_ino
    for fd in (file, *found.fds):
        os.close(fd)


def test_silence_ends_with_the_deadline_and_a_closed_end_is_told_apart(ends) -> None:
    one, other = ends
    with pytest.raises(TimeoutError):
        receive(other, deadline=time.monotonic() + 0.01)
    one.sendall(b"evs1")  # the beginning of a message that never ends
    with pytest.raises(TimeoutError):
        receive(other, deadline=time.monotonic() + 0.01)
    one.close()
    with pytest.raises(Closed):
        receive(other)
    with pytest.raises(Closed):
        send(other, {}, b"x" * 2**20)


def test_numbers_json_does_not_have_and_payloads_nobody_wants_are_refused(ends) -> None:
    one, other = ends
    with pytest.raises(ValueError, match="JSON"):
        send(one, {"x": float("nan")})
    send(one, {}, b"12345")
    with pytest.raises(WireError, match="longer than allowed"):
        receive(other, max_payload=4)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain text, π ≈ 3", "plain text, π ≈ 3"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x07\x00", "?[31mred??"),
        ("a\u202eb\u200bc\ud800", "a?b?c?"),
        ("x" * 600, "x" * 499 + "…"),
        (42, "42"),
    ],
)
def test_text_of_a_package_prints_as_itself(said: object, shown: str) -> None:
    assert clean(said) == shown
    assert clean(clean(said)) == shown


def test_json_of_a_package_is_cleaned_all_through_and_bounded() -> None:
    assert clean_json({"a\x1b": ["b\x07", 1, None, True]}) == {"a?": ["b?", 1, None, True]}
    nested: object = "x"
    for _ in range(40):
        nested = [nested]
    with pytest.raises(ValueError, match="deep"):
        clean_json(nested)
    with pytest.raises(ValueError, match="many"):
        clean_json(list(range(20_000)))
    assert clean_lines("a\r\nb\x1b\n") == "a\nb?\n"


def test_shared_arrays_are_found_where_they_lie_and_others_are_copied() -> None:
    memory = SharedMemory()
    view = View(memory)
    batch = memory.allocate((4, 3, 2), np.uint16)
    batch[:] = np.arange(24).reshape(4, 3, 2)
    place = view.place("x", batch[1:3])
    assert (place.offset, place.shape, place.dtype) == (12, (2, 3, 2), "<u2")
    elsewhere = view.place("x", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert elsewhere.buffer.number != place.buffer.number
    new, gone = view.news([place, elsewhere])
    assert ({b.number for b in new}, gone) == ({place.buffer.number, elsewhere.buffer.number}, [])
    assert view.news([place]) == ([], [])
    number = place.buffer.number
    del batch, place, new
    gc.collect()
    assert memory.find(np.zeros(1)) is None
    assert view.news([]) == ([], [number])


def test_the_other_side_can_neither_write_to_nor_shorten_a_shared_buffer() -> None:
    import mmap

    memory = SharedMemory()
    array = memory.allocate((4096,), np.uint8)
    place = memory.find(array)
    assert place is not None
    with pytest.raises(PermissionError):
        mmap.mmap(place.buffer.fd, 4096)
    with pytest.raises(PermissionError):
        os.pwrite(place.buffer.fd, b"x", 0)
    for size in (0, 8192):
        with pytest.raises(PermissionError):
            os.ftruncate(place.buffer.fd, size)
    seen = mmap.mmap(place.buffer.fd, 4096, prot=mmap.PROT_READ)
    array[7] = 9
    assert seen[7] == 9


def test_limits_are_positive_and_memory_is_a_share_of_the_machine() -> None:
    with pytest.raises(InputError, match="batch_s"):
        Limits(batch_s=0)
    with pytest.raises(InputError, match="not negative"):
        Limits(processes=-1)
    whole = available_memory(read=lambda path: "max\n")
    assert available_memory(read=lambda path: "1000000\n") == 1_000_000
    assert 0 < Limits().memory <= whole
    assert Limits(memory_bytes=5).memory == 5
