"""What computed the numbers: Python, operating system, processor, package versions, and any accelerator in use."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from evalsuite.record.digest import usable_cpus

_OPTIONAL = ("onnxruntime", "onnx")  # extras that compute numbers when they are installed
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def environment(*, torch: bool = False, person: bool = False) -> dict[str, Any]:
    """Describe the software and hardware of this process, without host name.

    Parameters
    ----------
    torch
        Load torch to describe it and CUDA; otherwise they are described only where torch is loaded already.
    person
        Add the user's login name under `user`.

    Returns
    -------
    dict
        `python`, `implementation`, `platform` (os, machine, libc), `cpu`, `n_cpu`, `packages` (name to version: what
        evalsuite needs, directly or not, and is installed), `torch` (None, or version, cuda, cudnn, threads, devices).
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": {
            "os": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "libc": " ".join(platform.libc_ver()).strip(),
        },
        "cpu": _cpu_name(),
        "n_cpu": usable_cpus(),
        "packages": packages(),
        "torch": _describe_torch() if torch or "torch" in sys.modules else None,
    }
    if person:
        import getpass

        found["user"] = getpass.getuser()
    return found


def packages(root: str = "evalsuite") -> dict[str, str]:
    """Installed packages that `root` needs, directly or not, with their versions, sorted by name."""
    versions: dict[str, str] = {}
    pending = [root, *_OPTIONAL]
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in versions:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        versions[name] = distribution.version
        for requirement in distribution.requires or ():
            spec, _, marker = requirement.partition(";")
            match = _NAME.match(spec)
            if match and "extra" not in marker:
                pending.append(match.group())
    return dict(sorted(versions.items()))


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def _describe_torch() -> dict[str, Any] | None:
    try:
        import torch
    except ImportError:
        return None
    devices = []
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if devices else None,  # type: ignore[no-untyped-call]
        "threads": torch.get_num_threads(),
        "devices": devices,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }
