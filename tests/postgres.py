"""A PostgreSQL of the tests' own: a fresh cluster in a temporary folder, reached by a socket in it, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    """The server's programs: on the path, or where Debian keeps them."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def _account() -> str | None:
    """The server refuses to run as root: an account without rights, where the tests do."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    pytest.skip("PostgreSQL does not run as root, and there is no other account")


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """URL of a database in a new cluster. Skips, with the reason, where PostgreSQL cannot be started."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="es-pg-", dir="/tmp"))  # a short path: sockets have a limit
    try:
        if account is not None:
            owner = pwd.getpwnam(account)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        data = folder / "data"
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}

        def call(*command: str) -> None:
            done = subprocess.run(
                command, user=account, env=environment, cwd=folder, capture_output=True, text=True, timeout=60
            )
            if done.returncode != 0:
                pytest.skip(f"PostgreSQL does not start here: {done.stderr.strip()[-200:]}")

        call(initdb, "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
        call(pg_ctl, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://tester@/postgres?host={folder}"
        finally:
            call(pg_ctl, "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
