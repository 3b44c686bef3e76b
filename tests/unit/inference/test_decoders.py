"""The ring of decoders: every case once and in its place, and never more batches in memory than it says."""

from __future__ import annotations

import time

import numpy as np
import pytest

from evalsuite.inference import decoders
from evalsuite.inference.decoders import Decoders

DEPTH = 2


def batches_of(n: int, size: int) -> list[list[int]]:
    return [list(range(i, min(n, i + size))) for i in range(0, n, size)]


def image(i: int, *, side: int = 3) -> dict[str, np.ndarray]:
    return {"image": np.full((1, side, side), i % 251, np.uint8)}


@pytest.mark.parametrize("n_threads", [1, 3, 8])
@pytest.mark.parametrize(("n", "size"), [(1, 4), (64, 16), (157, 32), (9, 1)])
def test_every_case_is_read_once_and_lies_in_its_place(n, size, n_threads):
    read = []
    batches = batches_of(n, size)

    def reader(i):
        read.append(i)
        return image(i)

    with Decoders(batches, reader, n_threads=n_threads, depth=DEPTH) as ring:
        for k, batch in enumerate(batches):
            decoded = ring.get(k)
            (group,) = decoded.groups
            assert group.rows == tuple(range(len(batch)))
            assert group.inputs["image"][:, 0, 0, 0].tolist() == [i % 251 for i in batch]
            ring.release(k)
    assert sorted(read) == list(range(n))


def begun_unreleased(reader, *, least: int, n=80, size=4) -> int:
    """How many batches are begun while nobody takes one; waits until there are `least`."""
    started = set()

    def noted(i):
        started.add(i // size)
        return reader(i)

    batches = batches_of(n, size)
    with Decoders(batches, noted, n_threads=3, depth=DEPTH) as ring:
        until = time.monotonic() + 60
        while len(started) < least and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)  # for what would be begun beyond it
        seen = len(started)
        for k in range(len(batches)):
            ring.get(k)
            ring.release(k)
    assert len(started) == len(batches)
    return seen


def test_small_batches_make_the_ring_twice_as_deep_and_large_ones_do_not(monkeypatch):
    assert begun_unreleased(image, least=2 * DEPTH) == 2 * DEPTH
    monkeypatch.setattr(decoders, "SMALL", 4 * 9 * 2 * DEPTH - 1)
    assert begun_unreleased(image, least=DEPTH) == DEPTH


def test_a_ring_whose_size_is_not_known_is_not_deep():
    # one more may be begun before the first image that differs is seen
    assert begun_unreleased(lambda i: image(i, side=3 + i % 2), least=DEPTH) <= DEPTH + 1


def test_threads_take_less_and_less_towards_the_end(monkeypatch):
    taken = []
    claim = Decoders._claim

    def noted(self):
        found = claim(self)
        if found is not None:
            taken.append(len(found[1]))
        return found

    monkeypatch.setattr(Decoders, "_claim", noted)
    with Decoders(batches_of(64, 64), image, n_threads=2, depth=DEPTH) as ring:
        ring.get(0)
    assert taken[0] == decoders.CHUNK
    assert taken[-4:] == [1, 1, 1, 1]
    assert sum(taken) == 64
