"""Addresses of models on a server: kserve+grpc://host:port/model, and what may follow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from evalsuite.errors import InputError

SCHEMES = ("kserve+http", "kserve+https", "kserve+grpc", "kserve+grpcs")
# A path keeps one of the two slashes of an address; both spellings are the same address.
_START = re.compile(r"([a-z][a-z0-9]*\+[a-z]+):/{1,2}(?=[^/])")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_HINT = "Write kserve+grpc://HOST:PORT/MODEL or kserve+http://HOST:PORT/MODEL, /versions/N after it for one version."
DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a model is served.

    `version` is empty where the server chooses. `timeout_s` is the longest one request may take, `encoding` how tensors
    travel over HTTP ("auto" asks the server).
    """

    scheme: str
    host: str
    port: int
    model: str
    version: str = ""
    timeout_s: float = DEFAULT_TIMEOUT_S
    encoding: str = "auto"

    @classmethod
    def parse(cls, text: str | Path) -> Address:
        """Read an address; InputError says what is wrong with it."""
        text = str(text)
        start = _START.match(text)
        if start is None or start[1] not in SCHEMES:
            raise InputError(f"{text} is no address of a served model", hint=_HINT)
        scheme = start[1]
        rest, _, query = text[start.end() :].partition("?")
        server, _, path = rest.partition("/")
        host = _HOST.fullmatch(server)
        parts = [unquote(p) for p in path.strip("/").split("/")] if path.strip("/") else []
        if parts[:2] == ["v2", "models"]:
            parts = parts[2:]
        if host is None or (host[2] and not 0 < int(host[2]) < 65536):
            raise InputError(f"{text} names no host and port", hint=_HINT)
        if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1] != "versions") or not all(parts):
            raise InputError(f"{text} names no model", hint=_HINT)
        found: dict[str, str] = dict(parse_qsl(query, keep_blank_values=True))
        unknown = set(found) - {"timeout_s", "encoding"}
        if unknown or found.get("encoding", "auto") not in ("auto", "json", "binary"):
            raise InputError(f"{text}: after the ? stand timeout_s=SECONDS and encoding=json|binary only", hint=_HINT)
        port = int(host[2]) if host[2] else _default_port(scheme)
        version = parts[2] if len(parts) == 3 else ""
        return cls(
            scheme=scheme, host=host[1].strip("[]"), port=port, model=parts[0], version=version,
            timeout_s=_seconds(found.get("timeout_s"), text), encoding=found.get("encoding", "auto"),
        )  # fmt: skip

    @property
    def format(self) -> str:
        """Name of the model format."""
        return "kserve"

    @property
    def is_grpc(self) -> bool:
        return self.scheme.startswith("kserve+grpc")

    @property
    def is_encrypted(self) -> bool:
        return self.scheme.endswith("s")

    @property
    def server(self) -> str:
        """ "host:port", as an error message names the server."""
        return f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"

    def __str__(self) -> str:
        version = f"/versions/{quote(self.version, safe='')}" if self.version else ""
        return f"{self.scheme}://{self.server}/{quote(self.model, safe='')}{version}"


def _default_port(scheme: str) -> int:
    return {"kserve+http": 8000, "kserve+https": 443, "kserve+grpc": 8001, "kserve+grpcs": 443}[scheme]


def _seconds(text: str | None, where: str) -> float:
    try:
        seconds = DEFAULT_TIMEOUT_S if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise InputError(f"{where}: timeout_s is a number of seconds above 0", hint=_HINT)
    return seconds


def is_address(path: str | Path) -> bool:
    """Whether this is meant as an address rather than a path."""
    return _START.match(str(path)) is not None


def shown(path: str | Path) -> str:
    """How a record names where a model was: the address without its options, or the absolute path."""
    return str(Address.parse(path)) if is_address(path) else str(Path(path).resolve())
