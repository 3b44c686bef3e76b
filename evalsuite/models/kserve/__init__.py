"""Models on a server that speaks KServe's open inference protocol, version 2: Triton, KServe, MLServer and others."""

from __future__ import annotations

from evalsuite.models.kserve.network import load

__all__ = ["load"]
