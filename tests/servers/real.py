"""Starts Triton or MLServer on free ports of the loopback interface, with one ONNX model, and ends it again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
START_S = 300.0

TRITON_MODEL = """
import numpy as np, onnxruntime
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = args["model_repository"] + "/1/model.onnx"
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        name = self.session.get_inputs()[0].name
        answers = []
        for request in requests:
            image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
            logits = self.session.run(None, {name: image})[0]
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("logits", logits)]))
        return answers
"""
MLSERVER_MODEL = """
import numpy as np, onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Served(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        image = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        logits = self.session.run(None, {self.session.get_inputs()[0].name: image})[0]
        output = NumpyCodec.encode_output(name="logits", payload=logits)
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id, outputs=[output])
"""  # noqa: E501


@dataclass(frozen=True, kw_only=True)
class Served:
    """Addresses of one model: by HTTP and by gRPC."""

    http: str
    grpc: str
    process: subprocess.Popen[bytes]


def environment(name: str) -> Path | None:
    """The environment of a server, or None where `make kserve` has not made it."""
    place = Path(os.environ.get("EVALSUITE_KSERVE_ENV") or CHECKOUT / ".kserve-env") / name
    return place if (place / ".ready").is_file() else None


@contextlib.contextmanager
def triton(home: Path, onnx: Path, *, shape: Sequence[int], classes: int, work: Path) -> Iterator[Served]:
    """Triton's own server program, from the wheel, with its Python backend."""
    (site,) = home.glob("lib/python3.*/site-packages")
    server = site / "pytriton" / "tritonserver"
    backends = work / "backends"
    shutil.copytree(server / "backends", backends)
    stub = server / "python_backend_stubs" / site.parent.name.removeprefix("python") / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    model = work / "models" / "served"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").write_text(TRITON_MODEL)
    shutil.copy(onnx, model / "1" / "model.onnx")
    (model / "config.pbtxt").write_text(
        'name: "served"\nbackend: "python"\nmax_batch_size: 16\n'
        f'input [{{name: "image", data_type: TYPE_FP32, dims: {list(shape)}}}]\n'
        f'output [{{name: "logits", data_type: TYPE_FP32, dims: [{classes}]}}]\n'
    )
    http, grpc = _free_ports(2)
    command = [
        server / "bin" / "tritonserver", f"--model-repository={work / 'models'}", f"--backend-directory={backends}",
        "--http-address=127.0.0.1", f"--http-port={http}", "--grpc-address=127.0.0.1", f"--grpc-port={grpc}",
        "--allow-metrics=false", "--exit-timeout-secs=5",
    ]  # fmt: skip
    environment = {**_plain(), "PATH": f"{home / 'bin'}:/usr/bin:/bin"}
    environment["LD_LIBRARY_PATH"] = str(site / "nvidia_pytriton.libs")
    with _running(command, environment, work, http, grpc) as served:
        yield served


@contextlib.contextmanager
def mlserver(home: Path, onnx: Path, *, shape: Sequence[int], classes: int, work: Path) -> Iterator[Served]:
    """MLServer with a small runtime of its own around ONNX Runtime."""
    http, grpc, metrics = _free_ports(3)
    (work / "served.py").write_text(MLSERVER_MODEL)
    settings = {
        "name": "served", "implementation": "served.Served", "parameters": {"uri": str(onnx.resolve()), "version": "3"},
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, *shape]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, classes]}],
    }  # fmt: skip
    (work / "model-settings.json").write_text(json.dumps(settings))
    server = {
        "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0,
        "metrics_dir": str(work), "grpc_max_message_length": 2**30,
    }  # fmt: skip
    (work / "settings.json").write_text(json.dumps(server))
    environment = {**_plain(), "PATH": f"{home / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(work)}
    with _running([home / "bin" / "mlserver", "start", work], environment, work, http, grpc) as served:
        yield served


def _plain() -> dict[str, str]:
    return {"HOME": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [s.getsockname()[1] for s in made]


@contextlib.contextmanager
def _running(
    command: Sequence[object], environment: dict[str, str], work: Path, http: int, grpc: int
) -> Iterator[Served]:
    with (work / "server.log").open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)), env=environment, cwd=work, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait(process, http, work / "server.log")
        yield Served(
            http=f"kserve+http://127.0.0.1:{http}/served", grpc=f"kserve+grpc://127.0.0.1:{grpc}/served",
            process=process,
        )  # fmt: skip
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text(errors='replace')[-2000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/models/served/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise RuntimeError(f"the server is not ready: {log.read_text(errors='replace')[-2000:]}")
