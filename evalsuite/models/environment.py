"""The few settings of a process, read once at its start, that decide how fast a model runs in it."""

from __future__ import annotations


def recommended_environment() -> dict[str, str]:
    """Environment variables worth setting before torch is imported (the command line re-executes itself with them).

    - Idle OpenMP threads sleep instead of spinning: on a busy machine spinning costs a factor of twenty.
    - glibc keeps freed buffers instead of returning them to the system after every layer: twice the rate at batch 32.
    - cuBLAS gets the fixed workspace that its deterministic algorithms need.

    Variables the user has set himself belong to the user: apply these with ``os.environ.setdefault``.
    """
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "MALLOC_TRIM_THRESHOLD_": "4294967296",
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TOP_PAD_": "268435456",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
