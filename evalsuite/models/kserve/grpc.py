"""KServe v2 over gRPC: tensors travel as raw bytes; every request has a deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ModelLoadError, ModelRunError
from evalsuite.models.address import Address
from evalsuite.models.kserve.served import (
    Answer,
    ConfigFacts,
    ModelFacts,
    ServerFacts,
    TensorFacts,
    as_array,
    said,
)

_MOST = 2**31 - 1
_TOO_LARGE = (
    "Many servers take messages of 4 MiB at most: raise their limit, set a smaller inference.batch_size, or use HTTP."
)
_CONTENTS = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip


class GrpcClient:
    """One channel to one server."""

    def __init__(self, address: Address) -> None:
        try:
            import grpc

            from evalsuite.models.kserve.proto import SERVICE, messages
        except ImportError:
            raise ModelLoadError("gRPC is not installed", hint="Install it: pip install 'evalsuite[kserve]'") from None
        self._grpc, self._address, self._messages = grpc, address, messages()
        self.timeout_s = address.timeout_s
        options = [
            ("grpc.max_receive_message_length", _MOST), ("grpc.max_send_message_length", _MOST),
            ("grpc.enable_http_proxy", 0),
        ]  # fmt: skip
        if address.is_encrypted:
            channel = grpc.secure_channel(address.server, grpc.ssl_channel_credentials(), options=options)
        else:
            channel = grpc.insecure_channel(address.server, options=options)
        self._calls = {
            name: channel.unary_unary(
                f"{SERVICE}/{name}",
                request_serializer=self._messages[f"{name}Request"].SerializeToString,
                response_deserializer=self._messages[f"{name}Response"].FromString,
            )
            for name in ("ServerMetadata", "ModelMetadata", "ModelConfig", "ModelInfer")
        }

    def server(self) -> ServerFacts:
        found = self._call("ServerMetadata")
        return ServerFacts(name=found.name, version=found.version, extensions=tuple(found.extensions))

    def metadata(self) -> ModelFacts:
        found = self._call("ModelMetadata", name=self._address.model, version=self._address.version)

        def tensors(listed: Any) -> tuple[TensorFacts, ...]:
            return tuple(TensorFacts(name=t.name, datatype=t.datatype, shape=tuple(t.shape)) for t in listed)

        return ModelFacts(
            name=found.name, versions=tuple(found.versions), platform=found.platform, inputs=tensors(found.inputs),
            outputs=tensors(found.outputs),
        )  # fmt: skip

    def config(self) -> ConfigFacts:
        found = self._call("ModelConfig", name=self._address.model, version=self._address.version).config
        return ConfigFacts(
            max_batch_size=found.max_batch_size,
            backend=found.backend,
            parameters={entry.key: entry.value.string_value for entry in found.parameters},
        )

    def infer(self, inputs: Mapping[str, NDArray[np.float32]], outputs: Sequence[str], *, id: str) -> Answer:
        tensor, wanted = self._messages["InferTensor"], self._messages["RequestedOutput"]
        found = self._call(
            "ModelInfer",
            model_name=self._address.model,
            model_version=self._address.version,
            id=id,
            inputs=[tensor(name=n, datatype="FP32", shape=a.shape) for n, a in inputs.items()],
            outputs=[wanted(name=n) for n in outputs],
            raw_input_contents=[a.astype("<f4", copy=False).tobytes() for a in inputs.values()],
        )
        raw = list(found.raw_output_contents)
        if raw and len(raw) != len(found.outputs):
            raise self._error(f"named {len(found.outputs)} outputs and sent {len(raw)}")
        tensors = {
            t.name: as_array(t.name, t.datatype, list(t.shape), raw[i] if raw else _listed(t))
            for i, t in enumerate(found.outputs)
        }
        return Answer(model=found.model_name, version=found.model_version, id=found.id, tensors=tensors)

    def _call(self, method: str, /, **fields: Any) -> Any:
        request = self._messages[f"{method}Request"](**fields)
        try:
            return self._calls[method](request, timeout=self.timeout_s)
        except self._grpc.RpcError as error:
            code = error.code().name if hasattr(error, "code") else type(error).__name__
            if code == "DEADLINE_EXCEEDED":
                raise ModelRunError(
                    f"model server {self._address.server} gave no complete answer within {self.timeout_s:g} s",
                    hint="Add ?timeout_s=SECONDS to the address, or set a smaller inference.batch_size.",
                    failure="timeout",
                ) from None
            details = error.details() if hasattr(error, "details") else ""
            hint = _TOO_LARGE if code == "RESOURCE_EXHAUSTED" else ""
            raise self._error(f"answered {code}: {said(details)}", hint=hint) from None

    def _error(self, what: str, *, hint: str = "") -> ModelRunError:
        return ModelRunError(f"model server {self._address.server} {what}", hint=hint, failure="remote")


def _listed(tensor: Any) -> Sequence[Any]:
    field = _CONTENTS.get(tensor.datatype)
    return list(getattr(tensor.contents, field)) if field is not None else ()
