"""The messages of KServe's gRPC service that are needed to describe a model and to ask it for predictions.

Field numbers are those of open_inference_grpc.proto (github.com/kserve/open-inference-protocol, Apache-2.0) and, for
ModelConfig, of Triton's model_config.proto (github.com/triton-inference-server/common, BSD-3). They are built here so
that no code generated for one version of protobuf ties the suite to it; fields left out are skipped when read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "string": _FIELD.TYPE_STRING, "bytes": _FIELD.TYPE_BYTES, "bool": _FIELD.TYPE_BOOL, "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64, "uint32": _FIELD.TYPE_UINT32, "uint64": _FIELD.TYPE_UINT64,
    "float": _FIELD.TYPE_FLOAT, "double": _FIELD.TYPE_DOUBLE,
}  # fmt: skip
# message → field → (number, type); a type ending in * is repeated, another message's name is that message
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string"), "extensions": (3, "string*")},
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*")},
    "ModelMetadataResponse": {
        "name": (1, "string"), "versions": (2, "string*"), "platform": (3, "string"), "inputs": (4, "TensorMetadata*"),
        "outputs": (5, "TensorMetadata*"),
    },
    "ModelConfigRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelParameter": {"string_value": (1, "string")},
    "ParametersEntry": {"key": (1, "string"), "value": (2, "ModelParameter")},
    "ModelConfig": {
        "name": (1, "string"), "platform": (2, "string"), "max_batch_size": (4, "int32"),
        "parameters": (14, "ParametersEntry*"), "backend": (17, "string"),
    },
    "ModelConfigResponse": {"config": (1, "ModelConfig")},
    "InferTensorContents": {
        "bool_contents": (1, "bool*"), "int_contents": (2, "int32*"), "int64_contents": (3, "int64*"),
        "uint_contents": (4, "uint32*"), "uint64_contents": (5, "uint64*"), "fp32_contents": (6, "float*"),
        "fp64_contents": (7, "double*"), "bytes_contents": (8, "bytes*"),
    },
    "InferTensor": {
        "name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*"),
        "contents": (5, "InferTensorContents"),
    },
    "RequestedOutput": {"name": (1, "string")},
    "ModelInferRequest": {
        "model_name": (1, "string"), "model_version": (2, "string"), "id": (3, "string"),
        "inputs": (5, "InferTensor*"), "outputs": (6, "RequestedOutput*"), "raw_input_contents": (7, "bytes*"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"), "model_version": (2, "string"), "id": (3, "string"),
        "outputs": (5, "InferTensor*"), "raw_output_contents": (6, "bytes*"),
    },
}  # fmt: skip
PACKAGE = "inference"
SERVICE = f"/{PACKAGE}.GRPCInferenceService"


@cache
def messages() -> Mapping[str, Any]:
    """Message class by name, in a pool of their own: another client library in the process may have registered its."""
    file = descriptor_pb2.FileDescriptorProto(name="evalsuite_kserve.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            plain = kind.removesuffix("*")
            label = _FIELD.LABEL_REPEATED if kind.endswith("*") else _FIELD.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if plain in _KINDS:
                made.type = _KINDS[plain]
            else:
                made.type = _FIELD.TYPE_MESSAGE
                made.type_name = f".{PACKAGE}.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES
    }
