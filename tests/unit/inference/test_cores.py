"""Cores are shared out, not fought for; the advice for the process needs no torch."""

from __future__ import annotations

import subprocess
import sys

from evalsuite.inference import process
from evalsuite.inference.process import recommended_environment, share_cores


def test_threads_and_decoders_use_the_cores_together(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for n in (4, 8, 16, 64):
        monkeypatch.setattr(process, "usable_cores", lambda n=n: n)
        for on_cpu in (True, False):
            assert sum(share_cores(on_cpu=on_cpu, threads=None, decoders=None)) == n
    monkeypatch.setattr(process, "usable_cores", lambda: 2)
    assert share_cores(on_cpu=True, threads=None, decoders=None) == (2, 1)
    assert share_cores(on_cpu=False, threads=None, decoders=None) == (1, 1)
    monkeypatch.setattr(process, "usable_cores", lambda: 1)
    assert share_cores(on_cpu=True, threads=None, decoders=None) == (1, 1)
    assert share_cores(on_cpu=True, threads=5, decoders=7) == (5, 7)


def test_the_users_own_thread_limit_is_kept(monkeypatch):
    monkeypatch.setattr(process, "usable_cores", lambda: 16)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert share_cores(on_cpu=True, threads=None, decoders=None)[0] == 2


def test_advice_is_text_and_loads_no_torch():
    assert recommended_environment()["OMP_WAIT_POLICY"] == "PASSIVE"
    code = (
        "import sys; from evalsuite.inference.process import recommended_environment as r;"
        "import evalsuite.inference.engine, evalsuite.inference.predictions;"
        "assert all(isinstance(v, str) for v in r().values());"
        "assert not {'torch', 'pandas', 'monai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
