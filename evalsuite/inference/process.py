"""How the processor's cores are shared out between the model and the decoders of its images."""

from __future__ import annotations

import os
from pathlib import Path

from evalsuite.models.environment import recommended_environment

__all__ = ["recommended_environment", "share_cores", "usable_cores"]

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))

_SHARED_BELOW = 4


def usable_cores() -> int:
    """Cores this process may use: its processor affinity, and the quota of its container where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, min(cores, round(quota))) if quota else max(1, cores)


def _quota() -> float | None:
    try:
        quota, period = _CGROUP_V2.read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = (path.read_text().strip() for path in _CGROUP_V1)
        except OSError:
            return None
    try:
        return float(quota) / float(period) if float(quota) > 0 else None
    except (ValueError, ZeroDivisionError):  # "max": no quota
        return None


def share_cores(*, on_cpu: bool, threads: int | None, decoders: int | None, workers: int = 1) -> tuple[int, int]:
    """Torch threads of each worker and image decoders that together use the cores and do not fight for them.

    On the processor the model is what takes long, so it gets all cores but one in eight, at least one; below four cores
    it gets all of them and one decoder shares, because a core set aside would lie idle most of the time (DenseNet121 on
    two cores: 8.4 against 6.5 images/s). With an accelerator the cores have nothing to do but decode.
    Several workers on the processor divide the cores between them, the decoder taking what they leave idle.
    `OMP_NUM_THREADS` caps torch's share where the user has set it. A number given explicitly is taken as it stands.
    """
    cores = usable_cores()
    if decoders is None:
        decoders = max(1, cores // 8) if on_cpu else max(1, cores - 1)
    if threads is None:
        wished = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
        threads = cores if on_cpu and (cores < _SHARED_BELOW or workers > 1) else max(1, cores - decoders)
        if on_cpu:
            threads = max(1, threads // workers)
        if wished.isdigit() and int(wished) > 0:
            threads = min(threads, int(wished))
    return threads, decoders
