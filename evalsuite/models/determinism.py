"""The same numbers from run to run: seeds, deterministic algorithms, and recognising that memory ran out."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import numpy as np
import torch

_MAX_WARNINGS = 5


@contextmanager
def deterministic(*, seed: int, threads: int) -> Iterator[list[str]]:
    """Within: seeded, deterministic algorithms, no TF32, `threads` torch threads; after: everything as it was.

    An operation that has no deterministic form warns instead of stopping the run (a validated model is run as it is);
    the list handed out collects those warnings, and the rerun tolerance measures what they amount to.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, cuda.allow_tf32)
    algorithms = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    n_threads = torch.get_num_threads()
    states = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    collected: list[str] = []
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def collect(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if "deterministic" not in str(message):
                shown(message, category, filename, lineno, file, line)
            elif len(collected) < _MAX_WARNINGS:
                collected.append(str(message).splitlines()[0])

        warnings.filterwarnings("always", message=".*deterministic")
        warnings.showwarning = collect
        try:
            seed_generators(batch_seed(seed, ""))
            choose_algorithms(deterministic=True, warn_only=True)
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, cuda.allow_tf32 = True, False, False, False
            torch.set_num_threads(threads)
            yield collected
        finally:
            torch.set_num_threads(n_threads)
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, cuda.allow_tf32 = before
            choose_algorithms(deterministic=algorithms[0], warn_only=algorithms[1])
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])


def choose_algorithms(*, deterministic: bool, warn_only: bool, compiler: bool = False) -> None:
    """Have torch use deterministic algorithms, or not; `compiler` tells torch.compile too.

    `torch.use_deterministic_algorithms` loads the compiler in order to tell it, which takes 1.6 s and 800 modules;
    where nothing has been compiled, torch's other switch for the same thing does.
    """
    if compiler or "torch._dynamo" in sys.modules:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    else:
        torch.set_deterministic_debug_mode(("warn" if warn_only else "error") if deterministic else "default")


@contextmanager
def unfilled() -> Iterator[None]:
    """Within: memory is not filled before it is written, which `deterministic` does and which costs some 4 % of a pass.

    For what is asked of a model after its predictions: a network that reads memory it never wrote has given NaN there.
    A setting of the whole process: not for several threads at a time.
    """
    setting: Any = torch.utils.deterministic
    before = setting.fill_uninitialized_memory
    setting.fill_uninitialized_memory = False
    try:
        yield
    finally:
        setting.fill_uninitialized_memory = before


def batch_seed(seed: int, case_id: str) -> int:
    """The seed of the batch that begins with this case; it tells nothing of the case."""
    return int.from_bytes(hashlib.sha256(f"{seed} {case_id}".encode()).digest()[:4], "big")


def seed_generators(number: int) -> None:
    """Seed Python's, numpy's and torch's generators: of the processor, and of every CUDA device where there is one.

    The numbers drawn are those after `torch.manual_seed`, which is not called: once per batch it would write down the
    call stack for each kind of accelerator that is absent, reading files meanwhile (0.2 ms, and a wait for the
    interpreter's lock at every file while other threads decode).
    """
    random.seed(number)
    np.random.seed(number)
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(number)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this exception, or what caused it, says that memory ran out."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        if (
            isinstance(cause, MemoryError | torch.OutOfMemoryError)
            or "out of memory" in text
            or "can't allocate memory" in text
            or "failed to allocate memory" in text
        ):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
