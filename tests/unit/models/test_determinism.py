"""Seeding a batch gives the numbers torch's own seeding gives, without what that costs."""

from __future__ import annotations

import random
import traceback

import numpy as np
import torch

from evalsuite.models.determinism import deterministic, seed_generators


def drawn() -> tuple[object, ...]:
    return random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()


def test_the_numbers_are_those_of_torchs_own_seeding():
    with deterministic(seed=1, threads=1):
        seed_generators(5)
        ours = drawn()
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)
        assert drawn() == ours
        seed_generators(6)
        assert drawn() != ours


def test_no_call_stack_is_written_down(monkeypatch):
    written = []
    monkeypatch.setattr(traceback, "format_stack", lambda *a, **k: written.append(a) or [])
    with deterministic(seed=1, threads=1):
        written.clear()
        seed_generators(5)
        if not torch.cuda.is_available():
            assert not written
