"""What a benchmark's processes used, and what the rest of the machine did: on a busy machine no figure is one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Wall seconds, processor seconds of this process and those below it and of everybody else, and the sum of the
    highest resident sizes of these processes in bytes."""

    wall_s: float
    own_s: float
    others_s: float
    peak_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def watched(call: Callable[[], Any]) -> tuple[Watched, Any]:
    """Call it and watch; processes it needs should be there before and still be there after it. Linux only."""
    own, busy, started = _own(), _busy(), time.perf_counter()
    found = call()
    wall = time.perf_counter() - started
    own, busy = _own() - own, _busy() - busy
    return Watched(wall_s=wall, own_s=own, others_s=max(0.0, busy - own), peak_bytes=_peak()), found


def _busy() -> float:
    """Seconds that the machine's cores were not idle since it was started."""
    user, nice, system, _, _, interrupts, soft, *_ = map(
        int, (_PROC / "stat").read_text().partition("\n")[0].split()[1:]
    )
    return (user + nice + system + interrupts + soft) / _TICKS


def _family() -> list[int]:
    """This process and all below it."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and (fields := _fields(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [os.getpid()]
    for pid in found:  # grows while it is gone through
        found.extend(children.get(pid, []))
    return found


def _fields(pid: int) -> list[str]:
    """The fields of a process after its name; none where it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _own() -> float:
    rows = [_fields(pid) for pid in _family()]
    return sum(int(f[11]) + int(f[12]) for f in rows if f) / _TICKS


def _peak() -> int:
    total = 0
    for pid in _family():
        try:
            lines = (_PROC / str(pid) / "status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return total
