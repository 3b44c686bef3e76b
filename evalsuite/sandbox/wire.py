"""What this process and the sandboxed one say to each other: one JSON header and raw bytes, each of bounded length.

Nothing is pickled, and nothing of a message is used before it is checked: the other side may be hostile.
"""

from __future__ import annotations

import array
import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PREFIX = struct.Struct("<4sIQ")
_MAGIC = b"evs1"
MAX_HEADER = 2**20
MAX_PAYLOAD = 2**32
_MAX_FDS = 8


class WireError(Exception):
    """The other side does not keep to the form of a message; the text says how."""


class Closed(WireError):
    """The other side has gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as received: its header, its bytes, and file descriptors that came with it (the child's side only)."""

    header: Mapping[str, Any]
    payload: bytes = b""
    fds: tuple[int, ...] = ()


def send(
    channel: socket.socket,
    header: Mapping[str, Any],
    payload: bytes | memoryview = b"",
    *,
    fds: Sequence[int] = (),
    deadline: float | None = None,
) -> None:
    """Send one message, until `deadline` (of `time.monotonic`).

    Raises
    ------
    Closed, TimeoutError
        If the other side has gone, or does not read.
    ValueError
        If the header is too long, or holds numbers JSON has not.
    """
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode()
    if len(text) > MAX_HEADER:
        raise ValueError(f"a header of {len(text)} bytes is too long")
    first = _PREFIX.pack(_MAGIC, len(text), len(payload)) + text
    try:
        channel.settimeout(_left(deadline))
        attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = channel.sendmsg([first], attached)
        channel.settimeout(_left(deadline))
        channel.sendall(first[sent:])
        if payload:
            channel.settimeout(_left(deadline))
            channel.sendall(payload)
    except (BrokenPipeError, ConnectionError):
        raise Closed("the other side has gone") from None


def receive(
    channel: socket.socket, *, deadline: float | None = None, max_payload: int = MAX_PAYLOAD, with_fds: bool = False
) -> Message:
    """Receive one message, until `deadline`. Descriptors are dropped unless `with_fds`.

    Raises
    ------
    Closed, TimeoutError
        If the other side has gone, or has not said a whole message in time.
    WireError
        If what comes is no message, or longer than allowed.
    """
    fds: list[int] = []
    prefix = _read(channel, _PREFIX.size, deadline, fds if with_fds else None)
    magic, n_header, n_payload = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise WireError("what came is no message")
    if n_header > MAX_HEADER or n_payload > max_payload:
        raise WireError(f"a message of {n_header} + {n_payload} bytes is longer than allowed")
    text = _read(channel, n_header, deadline, None)
    try:
        header = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise WireError("the header of a message is not valid JSON") from None
    if not isinstance(header, dict):
        raise WireError("the header of a message is not a mapping")
    payload = _read(channel, n_payload, deadline, None) if n_payload else b""
    return Message(header=header, payload=bytes(payload), fds=tuple(fds))


def _read(channel: socket.socket, n: int, deadline: float | None, fds: list[int] | None) -> bytearray:
    found = bytearray(n)
    view = memoryview(found)
    done = 0
    while done < n:
        channel.settimeout(_left(deadline))
        try:
            if fds is None:
                got = channel.recv_into(view[done:])
            else:
                got, ancillary, _, _ = channel.recvmsg_into([view[done:]], socket.CMSG_SPACE(4 * _MAX_FDS))
                for level, kind, data in ancillary:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        fds.extend(array.array("i", data[: len(data) // 4 * 4]))
        except ConnectionError:
            raise Closed("the other side has gone") from None
        if got == 0:
            raise Closed("the other side has gone")
        done += got
    return found


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")
