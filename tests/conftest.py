"""Shared fixtures: reference figures and real data beside the checkout, where they are present; one torch thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
# How fast the machine is decides no test: an example may take as long as it takes.
settings.register_profile("evalsuite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("evalsuite")

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = CHECKOUT.parent / "shared"


def _folder(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"../shared/{name} is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Reference figures computed by independent implementations."""
    return _folder("golden")


@pytest.fixture(scope="session")
def shared_real() -> Path:
    """Real images, labels and models."""
    return _folder("real")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Root of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def sandbox_flags() -> tuple[str, ...]:
    """Options of a verb that opens a package: none where this machine has a sandbox, else the one to do without."""
    from evalsuite.errors import SandboxUnavailable
    from evalsuite.sandbox.launcher import require_bubblewrap

    try:
        require_bubblewrap()
    except SandboxUnavailable:
        return ("--unsandboxed",)
    return ()
