"""A small server that speaks KServe v2 over HTTP and gRPC, and that can be told to misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

LENGTH = "Inference-Header-Content-Length"


@dataclass
class FakeServer:
    """One model, `predict`, with batches (n, *shape); `fault` names how the next answers are wrong."""

    predict: Callable[[np.ndarray], np.ndarray]
    fault: str = ""
    takes: str = "both"  # "json", "binary" or "both"
    says_binary: bool = True
    version: str = "1"
    max_batch_size: int = 0
    datatype: str = "FP32"
    contract: str = ""
    shape: tuple[int, ...] = (3, 8, 8)
    classes: int = 2
    most_bytes: int = 2**26
    fail_after: int | None = None  # answers "500" once so many requests were answered
    port: int = 0
    grpc_port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def server(self) -> dict[str, Any]:
        extensions = ["model_configuration"] + (["binary_tensor_data"] if self.says_binary else [])
        return {"name": "fake", "version": "0.1", "extensions": extensions}

    def metadata(self) -> dict[str, Any]:
        return {
            "name": "tiny",
            "versions": [self.version],
            "platform": "fake_platform",
            "inputs": [{"name": "image", "datatype": self.datatype, "shape": [-1, *self.shape]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, self.classes]}],
        }

    def config(self) -> dict[str, Any]:
        parameters = {"evalsuite_contract": {"string_value": self.contract}} if self.contract else {}
        return {"max_batch_size": self.max_batch_size, "backend": "fake", "parameters": parameters}

    def hang(self) -> None:
        """Until the test is over: a test of a time-out waits for its own deadline, never for this one."""
        self.released.wait(120)

    @property
    def http(self) -> str:
        return f"kserve+http://127.0.0.1:{self.port}/tiny"

    @property
    def grpc(self) -> str:
        return f"kserve+grpc://127.0.0.1:{self.grpc_port}/tiny"


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body) + (100 if fake.fault == "cut" else 0)))
            self.end_headers()
            if fake.fault == "drip":
                for i in range(len(body)):
                    self.wfile.write(body[i : i + 1])
                    self.wfile.flush()
                    if fake.released.wait(0.05):
                        return
            self.wfile.write(body)
            if fake.fault == "cut":
                self.close_connection = True

        def do_GET(self) -> None:
            found = {
                "/v2": fake.server, "/v2/models/tiny": fake.metadata, "/v2/models/tiny/config": fake.config,
                "/v2/models/tiny/versions/1": fake.metadata, "/v2/models/tiny/versions/1/config": fake.config,
            }.get(self.path)  # fmt: skip
            if found is None:
                self._send(404, b'{"error": "unknown model"}')
            else:
                self._send(200, json.dumps(found()).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            length = self.headers.get(LENGTH)
            form = "json" if length is None else "binary"
            if fake.takes not in ("both", form):
                self._send(400, json.dumps({"error": f"no {form} here"}).encode())
                return
            request = json.loads(body if length is None else body[: int(length)])
            fake.seen.append({**request, "form": form})
            tensor = request["inputs"][0]
            if length is None:
                batch = np.asarray(tensor["data"], np.float32).reshape(tensor["shape"])
            else:
                batch = np.frombuffer(body[int(length) :], np.float32).reshape(tensor["shape"])
            self._answer(request, fake.predict(batch), form)

        def _answer(self, request: dict[str, Any], y: np.ndarray, form: str) -> None:
            if fake.fault == "hang":
                fake.hang()
                self.close_connection = True
                return
            if fake.fault == "close":
                self.close_connection = True
                return
            if fake.fault == "500" or (fake.fail_after is not None and len(fake.seen) > fake.fail_after):
                self._send(500, b'{"error": "out of\\u0007 coffee"}')
                return
            if fake.fault == "rot":
                self._send(200, b"<html>")
                return
            y = y[:, :1] if fake.fault == "columns" else y[:-1] if fake.fault == "rows" else y
            y = y * np.float32(np.nan) if fake.fault == "nan" else y
            output: dict[str, Any] = {"name": "logits", "datatype": "FP32", "shape": list(y.shape)}
            raw = b""
            if fake.fault == "bytes":
                output |= {"datatype": "BYTES", "shape": [1], "data": ["x"]}
            elif fake.fault == "lie":
                output |= {"shape": [10**9, 2], "data": [0.0]}
            elif form == "binary":
                raw = y.astype("<f4").tobytes()[: -4 if fake.fault == "short" else None]
                output["parameters"] = {"binary_data_size": len(raw) + (4 if fake.fault == "beyond" else 0)}
            else:
                output["data"] = y.astype(float).tolist()
            if fake.fault == "name":
                output["name"] = "other"
            answer = {
                "model_name": "tiny",
                "model_version": "9" if fake.fault == "version" else fake.version,
                "id": "another" if fake.fault == "id" else request["id"],
                "outputs": [output],
            }
            head = json.dumps(answer).encode()
            if form == "binary" and "data" not in output:
                self._send(200, head + raw, **{LENGTH: str(len(head))})
            else:
                self._send(200, head)

    return Handler


def _grpc(fake: FakeServer) -> Any:
    import grpc

    from evalsuite.models.kserve.proto import messages

    m = messages()

    def server_metadata(_: Any, __: Any) -> Any:
        return m["ServerMetadataResponse"](**fake.server())

    def metadata(request: Any, context: Any) -> Any:
        if request.name != "tiny":
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown model")
        found = fake.metadata()
        tensors = {k: [m["TensorMetadata"](**t) for t in found[k]] for k in ("inputs", "outputs")}
        return m["ModelMetadataResponse"](**{**found, **tensors})

    def config(_: Any, __: Any) -> Any:
        entries = [
            m["ParametersEntry"](key=k, value=m["ModelParameter"](**v)) for k, v in fake.config()["parameters"].items()
        ]
        inner = m["ModelConfig"](max_batch_size=fake.max_batch_size, backend="fake", parameters=entries)
        return m["ModelConfigResponse"](config=inner)

    def infer(request: Any, context: Any) -> Any:
        fake.seen.append({"id": request.id})
        if fake.fault == "hang":
            fake.hang()
        if fake.fault == "500":
            context.abort(grpc.StatusCode.INTERNAL, "out of\x07 coffee\nsecond line")
        y = fake.predict(np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape))
        output = m["InferTensor"](name="logits", datatype="FP32", shape=y.shape)
        raw = [y.astype("<f4").tobytes()[: -4 if fake.fault == "short" else None]]
        if fake.fault == "listed":
            output.contents.fp32_contents.extend(y.ravel().tolist())
            raw = []
        return m["ModelInferResponse"](
            model_name="tiny", model_version="9" if fake.fault == "version" else fake.version, id=request.id,
            outputs=[output], raw_output_contents=raw,
        )  # fmt: skip

    methods = {
        "ServerMetadata": server_metadata, "ModelMetadata": metadata, "ModelConfig": config, "ModelInfer": infer,
    }  # fmt: skip
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=m[f"{name}Request"].FromString,
            response_serializer=m[f"{name}Response"].SerializeToString,
        )
        for name, call in methods.items()
    }
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", fake.most_bytes)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
    fake.grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server


@contextmanager
def running(fake: FakeServer, *, grpc: bool = True) -> Iterator[FakeServer]:
    """Serve on free ports of the loopback interface until the block ends."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    http.daemon_threads = True
    fake.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    remote = _grpc(fake) if grpc else None
    try:
        yield fake
    finally:
        fake.released.set()
        if remote is not None:
            remote.stop(None).wait(10)
        http.shutdown()
        http.server_close()
        thread.join(10)
        time.sleep(0)
