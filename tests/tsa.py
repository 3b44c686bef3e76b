"""A timestamp authority on loopback, made with `openssl ts`, for the tests that need one."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

_CONFIG = """
[tsa]
default_tsa = tsa1
[tsa1]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True)
class Tsa:
    """Address and certificate of a running authority."""

    url: str
    certificate: Path


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_authority(folder: Path, name: str = "Test TSA") -> Path:
    """Key, self-signed certificate and configuration; returns the certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
    (folder / "req.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN={name}"),
        *("-config", folder / "req.cnf", "-keyout", folder / "tsa.key", "-out", folder / "tsa.pem"),
        *("-addext", "extendedKeyUsage=critical,timeStamping"),
    )
    return folder / "tsa.pem"


@contextmanager
def running_tsa(folder: Path) -> Iterator[Tsa]:
    """Serve the authority in `folder` until the block ends."""
    certificate = make_authority(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query, reply = folder / "query.tsq", folder / "reply.tsr"
            query.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            made = ("ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", query, "-out", reply)
            openssl(*made)
            body = {"/garbage": b"<html>", "/other": _other(folder)}.get(self.path, reply.read_bytes())
            self.send_response(500 if self.path == "/fails" else 200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Tsa(url=f"http://127.0.0.1:{server.server_address[1]}/tsa", certificate=certificate)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _other(folder: Path) -> bytes:
    """A good timestamp of something else."""
    openssl("ts", "-query", "-data", folder / "serial", "-sha256", "-cert", "-out", folder / "other.tsq")
    made = ("ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", folder / "other.tsq")
    openssl(*made, "-out", folder / "other.tsr")
    return (folder / "other.tsr").read_bytes()
