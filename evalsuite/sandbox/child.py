"""The program inside the sandbox: opens one package and answers batches until nobody asks any more.

It trusts what it is asked and nobody trusts what it answers: package code runs in this very process, so everything said
here is checked again on the other side.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import resource
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from evalsuite.errors import ContractError, EvalsuiteError, InputError, ModelError, ModelLoadError, ModelRunError
from evalsuite.sandbox.wire import Closed, Message, receive, send

_ERRORS = (ContractError, ModelLoadError, ModelRunError, InputError)
_MAX_TEXT = 2000


Operation: TypeAlias = "Callable[[State, Message], tuple[dict[str, Any], bytes]]"


@dataclass(slots=True, kw_only=True)
class State:
    """What this process holds: the model, mapped buffers by number, and what to undo at its end."""

    model: Any = None
    buffers: dict[int, mmap.mmap] = field(default_factory=dict)
    settings: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    warned: list[str] = field(default_factory=list)


def main(fd: int) -> None:
    """Answer what comes through the socket `fd`; leave when the other side has gone."""
    serve(fd, OPERATIONS)


def serve(fd: int, operations: Mapping[str, Operation]) -> None:
    """Answer each question with the operation it names."""
    channel = socket.socket(fileno=fd)
    state = State()
    while True:
        try:
            asked = receive(channel, with_fds=True)
        except Closed:
            os._exit(0)  # the package's own threads and exit handlers have no say in this
        payload = b""
        try:
            answer, payload = operations[asked.header["do"]](state, asked)
            answer["ok"] = True
        except Exception as error:
            answer = {"ok": False, "error": _told(error)}
        answer["id"] = asked.header["id"]
        send(channel, answer, payload)


def _limit(_: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    """Give up, for good and before the package is opened, what it may not use."""
    limits = asked.header["limits"]
    set_limits(limits)
    return {}, b""


def set_limits(limits: Mapping[str, int]) -> None:
    """Lower the kernel's limits of this process and all it starts; they cannot be raised again.

    `RLIMIT_NPROC` binds every account but root, and counts per sandbox since Linux 5.14; the launcher's filter and the
    watch hold beside it.
    """
    bounds = {
        resource.RLIMIT_DATA: limits["memory"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_CORE: 0,
    }
    if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (5, 14):
        bounds[resource.RLIMIT_NPROC] = limits["threads"]
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        value = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (value, value))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")  # where the machine itself runs out of memory, this process goes first


def _open(state: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    from evalsuite.models.contract import contract_to_json
    from evalsuite.models.open import open_model

    model: Any = open_model(asked.header["path"], contract=asked.header["contract"])
    state.model = model
    least, most = model.batch_limits
    return {
        "name": model.name,
        "format": model.format,
        "contract": contract_to_json(model.contract),
        "notes": list(model.notes),
        "batch_limits": [least, most],
    }, b""


def _inspect(_: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    from evalsuite.models.open import inspect_model

    return {"found": inspect_model(asked.header["path"], contract=asked.header["contract"])}, b""


def _to(state: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    state.model = state.model.to(asked.header["device"])
    least, most = state.model.batch_limits
    return {"device": state.model.device, "batch_limits": [least, most]}, b""


def _threads(state: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    from evalsuite.models.determinism import deterministic

    threads = int(asked.header["threads"])
    state.settings.close()
    state.warned = state.settings.enter_context(deterministic(seed=0, threads=threads))
    state.model = state.model.with_threads(threads)
    return {}, b""


def _numerics(state: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    from evalsuite.models.numerics import Numerics

    state.model = state.model.with_numerics(Numerics(**asked.header["numerics"]), threads=int(asked.header["threads"]))
    least, most = state.model.batch_limits
    return {"batch_limits": [least, most]}, b""


def _forward(state: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    import numpy as np
    import torch

    from evalsuite.models.determinism import seed_generators

    header = asked.header
    model = _model(state, asked)
    if header["seed"] is not None:
        seed_generators(header["seed"])
    with torch.inference_mode():
        found = model.predict(_batch(state, header, model))
    masks = {spec.name: found.pop(spec.name) for spec in model.contract.masks if spec.name in found}
    parts = [np.ascontiguousarray(values, dtype="<f8").tobytes() for values in found.values()]
    parts += [np.ascontiguousarray(labels, dtype=np.uint8).tobytes() for labels in masks.values()]
    said = [[name, list(labels.shape)] for name, labels in masks.items()]
    return {"columns": list(found), "masks": said, "warned": list(state.warned)}, b"".join(parts)


def _attribute(state: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    """Maps of a batch and what is measured of them; the network's derivatives never leave this process."""
    import numpy as np

    from evalsuite.attribution.job import Job, keys_of_values, names_of_maps
    from evalsuite.attribution.run import attribute
    from evalsuite.models.determinism import unfilled

    model = _model(state, asked)
    job = Job.from_json(asked.header["job"])
    batch = _batch(state, asked.header, model)
    inputs = [batch[spec.name] for spec in model.contract.inputs]
    with unfilled():
        found = attribute(model, inputs, job)
    parts = [np.ascontiguousarray(found.maps[name], dtype="<f4").tobytes() for name in names_of_maps(job.asked)]
    keys = keys_of_values(job.asked, inputs[0].ndim - 2)
    parts += [np.ascontiguousarray(found.values[key], dtype="<f8").tobytes() for key in keys]
    return {"passes": found.passes, "notes": found.notes, "warned": list(state.warned)}, b"".join(parts)


def _refusals(state: State, asked: Message) -> tuple[dict[str, Any], bytes]:
    """Why this package cannot be asked for each of these methods, and then for the test by parameters; None where it
    can."""
    from evalsuite.attribution.run import refusals
    from evalsuite.protocol.interpretability import Method

    return {"refused": refusals([Method.model_validate(m) for m in asked.header["methods"]], state.model)}, b""


def _model(state: State, asked: Message) -> Any:
    """The model as it is asked for, with new buffers mapped."""
    from evalsuite.models.contract import build_contract

    _map(state, asked.header, asked.fds)
    if "contract" in asked.header:
        return replace(state.model, contract=build_contract(asked.header["contract"], where="asked for"))
    return state.model


def _batch(state: State, header: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The batch that lies in shared memory, on the model's device and as its network takes it."""
    from evalsuite.models.preprocess import normalise

    specs = {spec.name: spec for spec in model.contract.inputs}
    batch = {}
    pinned = str(model.device).startswith("cuda")
    for said in header["inputs"]:
        stored = _tensor(state.buffers[said["buffer"]], said, pinned=pinned)
        tensor = stored.to(model.device, non_blocking=pinned)
        batch[said["name"]] = normalise(tensor, specs[said["name"]]) if header["stored"] else tensor
    return batch


def _map(state: State, header: Mapping[str, Any], fds: tuple[int, ...]) -> None:
    for number in header["drop"]:
        if (old := state.buffers.pop(number, None)) is not None:
            with contextlib.suppress(BufferError):  # package code may have kept a view: it keeps what it had
                old.close()
    for said, fd in zip(header["map"], fds, strict=True):
        state.buffers[said["buffer"]] = mmap.mmap(fd, said["bytes"], flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        os.close(fd)


def _tensor(buffer: mmap.mmap, said: Mapping[str, Any], *, pinned: bool) -> Any:
    """A copy of the array that lies in the buffer: the package may write to its input, and the buffer is read-only.

    Page-locked where it goes on to a CUDA device, which then fetches it at the full rate of the bus.
    """
    import math

    import numpy as np
    import torch

    shape, dtype = tuple(said["shape"]), np.dtype(said["dtype"])
    array = np.frombuffer(buffer, dtype=dtype, count=math.prod(shape), offset=said["offset"])
    if not pinned:
        return torch.from_numpy(array.reshape(shape).copy())
    kept = torch.empty(shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=True)
    kept.numpy()[...] = array.reshape(shape)
    return kept


def _told(error: BaseException) -> dict[str, Any]:
    """An error as plain text: the suite's own as they are, a package's by its kind and last line."""
    if isinstance(error, MemoryError) or _out_of_memory(error):
        return {"type": "memory", "message": type(error).__name__}
    if isinstance(error, EvalsuiteError):
        kind = next((k.__name__ for k in _ERRORS if isinstance(error, k)), "ModelRunError")
        failure = error.failure if isinstance(error, ModelError) else "error"
        problems = [[p.what[:_MAX_TEXT], p.where[:_MAX_TEXT], p.hint[:_MAX_TEXT]] for p in error.problems[:100]]
        return {
            "type": kind, "message": error.message[:_MAX_TEXT], "hint": error.hint[:_MAX_TEXT], "problems": problems,
            "failure": failure, "caused": error.__cause__ is not None,
        }  # fmt: skip
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return {"type": "exception", "message": f"{type(error).__name__}: {lines[-1][:300] if lines else 'no message'}"}


def _out_of_memory(error: BaseException) -> bool:
    if "torch" not in sys.modules:
        return False
    from evalsuite.models.determinism import is_out_of_memory

    if not is_out_of_memory(error):
        return False
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    return True


OPERATIONS: Mapping[str, Operation] = {
    "limit": _limit, "open": _open, "inspect": _inspect, "to": _to, "threads": _threads,
    "numerics": _numerics, "forward": _forward, "attribute": _attribute, "refusals": _refusals,
}  # fmt: skip
