"""Seeding a batch gives the numbers torch's own seeding gives, without what that costs."""

from __future__ import annotations

import random
import subprocess
import sys
import traceback

import numpy as np
import torch

from evalsuite.models.determinism import deterministic, seed_generators, unfilled


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


def test_the_algorithms_are_those_of_torchs_own_switch_and_the_compiler_is_not_loaded():
    script = (
        "import sys, torch\n"
        "from evalsuite.models.determinism import choose_algorithms, deterministic\n"
        "said = lambda: (torch.are_deterministic_algorithms_enabled(),\n"
        "                torch.is_deterministic_algorithms_warn_only_enabled())\n"
        "with deterministic(seed=0, threads=1):\n"
        "    within = said()\n"
        "assert within == (True, True) and said() == (False, False), (within, said())\n"
        "choose_algorithms(deterministic=True, warn_only=False)\n"
        "assert said() == (True, False)\n"
        "with deterministic(seed=0, threads=1):\n"
        "    pass\n"
        "assert said() == (True, False)\n"
        "assert 'torch._inductor' not in sys.modules\n"
        "choose_algorithms(deterministic=True, warn_only=True, compiler=True)\n"
        "assert sys.modules['torch._inductor.config'].deterministic and said() == (True, True)\n"
        "with deterministic(seed=0, threads=1):\n"
        "    pass\n"
        "assert sys.modules['torch._inductor.config'].deterministic\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_memory_is_filled_before_it_is_written_but_not_where_maps_are_made():
    with deterministic(seed=1, threads=1):
        assert torch.empty(64).isnan().all()
        with unfilled():
            assert not torch.utils.deterministic.fill_uninitialized_memory
        assert torch.empty(64).isnan().all()
