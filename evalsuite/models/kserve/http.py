"""KServe v2 over HTTP: JSON, or JSON with the tensors' bytes after it (the protocol's binary extension)."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ModelRunError
from evalsuite.models.address import Address
from evalsuite.models.kserve.served import Answer, ConfigFacts, ModelFacts, ServerFacts, as_array, said, tensor_facts

_LENGTH = "Inference-Header-Content-Length"
_MOST = 2**31  # bytes of one response
_CHUNK = 2**20


class Refused(ModelRunError):
    """The server answered with an error."""


class HttpClient:
    """One connection, kept open; opened again where the server closed it between two requests."""

    def __init__(self, address: Address) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._address = address
        self.timeout_s = address.timeout_s
        self._base = f"/v2/models/{quote(address.model, safe='')}" + (
            f"/versions/{quote(address.version, safe='')}" if address.version else ""
        )
        self._binary: bool | None = {"auto": None, "json": False, "binary": True}[address.encoding]

    def __del__(self) -> None:
        self._close()

    def server(self) -> ServerFacts:
        found = self._get("/v2")
        extensions = found.get("extensions") or ()
        listed = tuple(map(str, extensions)) if isinstance(extensions, list) else ()
        if self._binary is None and "binary_tensor_data" in listed:
            self._binary = True
        return ServerFacts(name=str(found.get("name", "")), version=str(found.get("version", "")), extensions=listed)

    def metadata(self) -> ModelFacts:
        found = self._get(self._base)
        versions = found.get("versions") or ()
        return ModelFacts(
            name=str(found.get("name", "")),
            versions=tuple(map(str, versions)) if isinstance(versions, list) else (),
            platform=str(found.get("platform", "")),
            inputs=tensor_facts(found.get("inputs"), "inputs"),
            outputs=tensor_facts(found.get("outputs"), "outputs"),
        )

    def config(self) -> ConfigFacts:
        found = self._get(self._base + "/config")
        parameters = found.get("parameters") or {}
        try:
            return ConfigFacts(
                max_batch_size=int(found.get("max_batch_size", 0)),
                backend=str(found.get("backend", "")),
                parameters={str(k): str(v["string_value"]) for k, v in parameters.items()},
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            raise self._error("gave a model configuration that cannot be read") from None

    def infer(self, inputs: Mapping[str, NDArray[np.float32]], outputs: Sequence[str], *, id: str) -> Answer:
        if self._binary is not None:
            return self._infer(inputs, outputs, id=id, binary=self._binary)
        # The server did not say which form it takes: some take JSON only, some bytes only.
        try:
            answer = self._infer(inputs, outputs, id=id, binary=False)
            self._binary = False
        except Refused as refused:
            try:
                answer = self._infer(inputs, outputs, id=id, binary=True)
            except Refused:
                raise refused from None
            self._binary = True
        return answer

    def _infer(
        self, inputs: Mapping[str, NDArray[np.float32]], outputs: Sequence[str], *, id: str, binary: bool
    ) -> Answer:
        described: list[dict[str, Any]] = []
        raw: list[bytes] = []
        for name, array in inputs.items():
            tensor: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(array.shape)}
            if binary:
                raw.append(array.astype("<f4", copy=False).tobytes())
                tensor["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                tensor["data"] = array.astype(np.float64).ravel().tolist()
            described.append(tensor)
        asked = [{"name": n, **({"parameters": {"binary_data": True}} if binary else {})} for n in outputs]
        head = json.dumps({"id": id, "inputs": described, "outputs": asked}).encode()
        headers = {"Content-Type": "application/octet-stream" if binary else "application/json"}
        if binary:
            headers[_LENGTH] = str(len(head))
        reply, length = self._request("POST", self._base + "/infer", b"".join([head, *raw]), headers)
        return self._answer(reply, length)

    def _answer(self, body: bytes, length: int | None) -> Answer:
        if length is not None and not 0 <= length <= len(body):
            raise self._error(f"sent {len(body)} bytes and announced a header of {length}")
        data = self._json(body if length is None else body[:length])
        rest = memoryview(b"" if length is None else body[length:])
        tensors: dict[str, NDArray[Any]] = {}
        try:
            for output in data["outputs"]:
                name, kind, shape = str(output["name"]), str(output["datatype"]), output["shape"]
                size = (output.get("parameters") or {}).get("binary_data_size")
                if size is None:
                    tensors[name] = as_array(name, kind, shape, _flat(output["data"]))
                    continue
                if not isinstance(size, int) or not 0 <= size <= len(rest):
                    raise self._error(f"announced {size} bytes for output {name}; {len(rest)} are left")
                tensors[name] = as_array(name, kind, shape, bytes(rest[:size]))
                rest = rest[size:]
        except (TypeError, KeyError, AttributeError):
            raise self._error("gave a response without readable outputs") from None
        if len(rest):
            raise self._error(f"sent {len(rest)} bytes more than it announced")
        return Answer(
            model=str(data.get("model_name") or ""),
            version=str(data.get("model_version") or ""),
            id=str(data.get("id") or ""),
            tensors=tensors,
        )

    def _get(self, path: str) -> dict[str, Any]:
        return self._json(self._request("GET", path, None, {})[0])

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            raise self._error("gave a response that is not JSON") from None
        if not isinstance(data, dict):
            raise self._error("gave a response that is no JSON object")
        return data

    def _request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[bytes, int | None]:
        deadline = time.monotonic() + self.timeout_s
        reused = self._connection is not None
        try:
            return self._exchange(method, path, body, headers, deadline)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self._close()
            if not reused:
                raise self._error("closed the connection without an answer") from error
        # An idle connection the server had closed: a prediction may be asked for twice, it changes nothing there.
        try:
            return self._exchange(method, path, body, headers, deadline)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self._close()
            raise self._error("closed the connection without an answer") from error

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline: float
    ) -> tuple[bytes, int | None]:
        try:
            connection = self._open(deadline)
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            reply = self._read(response, connection, deadline)
        except TimeoutError:
            self._close()
            raise self._late() from None
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            raise
        except (http.client.HTTPException, OSError, ValueError) as error:
            self._close()
            raise self._error(f"cannot be reached or broke off ({type(error).__name__})") from None
        if response.status != 200:
            what = f"model server {self._address.server} answered {response.status}: {_reason(reply)}"
            raise Refused(what, failure="remote")
        text = response.getheader(_LENGTH)
        if text is not None and not text.isdigit():
            raise self._error("announced a header without a length")
        return reply, int(text) if text is not None else None

    def _open(self, deadline: float) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._address.is_encrypted else http.client.HTTPConnection
            self._connection = kind(self._address.host, self._address.port)
        left = max(deadline - time.monotonic(), 0.001)
        self._connection.timeout = left
        if self._connection.sock is None:
            self._connection.connect()  # which also switches off Nagle's delay
        wire: socket.socket = self._connection.sock
        wire.settimeout(left)
        return self._connection

    def _read(
        self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection, deadline: float
    ) -> bytes:
        parts, size = [], 0
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if connection.sock is not None:
                connection.sock.settimeout(left)
            part = response.read1(_CHUNK)
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > _MOST:
                self._close()
                raise self._error(f"sent more than {_MOST >> 20} MiB in one response")
        announced = response.getheader("Content-Length")
        if announced is not None and announced.isdigit() and int(announced) != size:
            raise http.client.IncompleteRead(b"")
        response.close()  # read1 leaves it open at the announced length, and the connection would take no more requests
        return b"".join(parts)

    def _late(self) -> ModelRunError:
        return ModelRunError(
            f"model server {self._address.server} gave no complete answer within {self.timeout_s:g} s",
            hint="Add ?timeout_s=SECONDS to the address, or set a smaller inference.batch_size.",
            failure="timeout",
        )

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _error(self, what: str) -> ModelRunError:
        return ModelRunError(f"model server {self._address.server} {what}", failure="remote")


def _flat(data: Any) -> Any:
    """Some servers nest the numbers as the shape says, some do not."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        data = [number for row in data for number in row]
    return data


def _reason(body: bytes) -> str:
    try:
        data = json.loads(body)
        return said(data.get("error") or data.get("detail") or data)
    except (ValueError, RecursionError, AttributeError):
        return said(body[:400].decode("utf-8", "replace"))
