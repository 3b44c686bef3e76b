"""A served model as a network: every answer is checked against what the server said when the model was opened."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evalsuite.errors import ContractError, ModelLoadError, ModelRunError, Problem
from evalsuite.models.address import Address
from evalsuite.models.contract import Contract, parse_contract
from evalsuite.models.formats import Loaded, Located, Signature
from evalsuite.models.kserve.served import (
    CONTRACT_KEY,
    Client,
    ConfigFacts,
    ModelFacts,
    ServerFacts,
    TensorFacts,
    identity,
)

if TYPE_CHECKING:
    import torch

NOTE = (
    "The model ran on a server ({server} {version}, {platform}). Its digest is of what the server says about it (name, "
    "version, platform, inputs and outputs), not of its weights: a server can change them without saying so."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteNetwork:
    """A model on a server. What it runs on is the server's business; batches go to it from the processor."""

    client: Client
    address: Address
    facts: ModelFacts
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch_limits: tuple[int, int | None]
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def isolation(self) -> str:
        """No code of the model ran here."""
        return f"not needed: the model ran on the server {self.address.server}"

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        import torch

        arrays = {
            name: np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float32)
            for name, x in zip(self.inputs, inputs, strict=True)
        }
        # A request without an id is refused by some servers.
        id = f"evalsuite-{next(self.ids)}"
        answer = self.client.infer(arrays, self.outputs, id=id)
        if answer.id not in ("", id):
            raise self._error("answered another request than the one sent")
        missing = [name for name in self.outputs if name not in answer.tensors]
        if missing:
            raise self._error(f"gave {', '.join(answer.tensors) or 'no output'} and not {', '.join(missing)}")
        self._require_unchanged(answer.model, answer.version)
        return [torch.from_numpy(np.array(answer.tensors[name])) for name in self.outputs]

    def to(self, device: str) -> RemoteNetwork:
        if device != "cpu":
            raise ModelRunError(f"a served model takes no device {device}: the server chose its own")
        return self

    def with_threads(self, threads: int) -> RemoteNetwork:
        return self

    def _require_unchanged(self, model: str, version: str) -> None:
        """The model that answered is the one that was opened: asked after every answer, so after the last one too."""
        served = self.facts.versions
        if model not in ("", self.facts.name) or (version and served and version not in served):
            raise self._changed(f"{model or self.facts.name} version {version or 'unknown'} answered")
        if self.client.metadata() != self.facts:
            raise self._changed("its metadata are no longer what they were when it was opened")

    def _changed(self, what: str) -> ModelRunError:
        return ModelRunError(
            f"the model on {self.address.server} changed during the run: {what}",
            hint="Predictions of two models cannot be one run: keep the server as it is and start a new run.",
            failure="remote",
        )

    def _error(self, what: str) -> ModelRunError:
        return ModelRunError(f"model server {self.address.server} {what}", failure="protocol")


def load(located: Located, *, translate: bool) -> Loaded:
    """Ask the server what it serves.

    Raises
    ------
    ModelLoadError
        If it cannot be reached or does not serve the model.
    ContractError
        If it takes or gives something else than float32 inputs and numbers, or the contract it carries is faulty.
    """
    address = Address.parse(located.address)
    client = _client(address)
    server, model, config = _ask(client, address)
    problems = [_wrong_type(t) for t in model.inputs if t.datatype != "FP32"]
    if problems:
        raise ContractError(f"the server's model {address.model} does not take float32 inputs", problems=problems)
    text = config.parameters.get(CONTRACT_KEY)
    signature = None
    if model.inputs and model.outputs:
        signature = Signature(inputs=_shapes(model.inputs), outputs=_shapes(model.outputs))
    note = NOTE.format(
        server=server.name or "unnamed", version=server.version or "of unknown version",
        platform=model.platform or config.backend or "platform not said",
    )  # fmt: skip
    notes = (note,) if address.version else (note, _which(model))
    return Loaded(
        make=_maker(client, address, model, _limits(model, config)),
        contract=parse_contract(text, where=f"of {address.model} on the server") if text and translate else None,
        signature=signature,
        notes=notes,
        digest=identity(server, model, config),
        name=model.name or address.model,
        size_bytes=0,
    )


def _client(address: Address) -> Client:
    if address.is_grpc:
        from evalsuite.models.kserve.grpc import GrpcClient

        return GrpcClient(address)
    from evalsuite.models.kserve.http import HttpClient

    return HttpClient(address)


def _ask(client: Client, address: Address) -> tuple[ServerFacts, ModelFacts, ConfigFacts]:
    try:
        server = client.server()
        model = client.metadata()
        config = client.config() if "model_configuration" in server.extensions else ConfigFacts()
    except ModelRunError as error:
        raise ModelLoadError(
            f"{address} cannot be opened: {error.message}",
            hint=error.hint or "Check that the server is up, and the model's name as the server lists it.",
            failure=error.failure,
        ) from None
    return server, model, config


def _maker(
    client: Client, address: Address, model: ModelFacts, limits: tuple[int, int | None]
) -> Callable[[Contract], RemoteNetwork]:
    def make(contract: Contract) -> RemoteNetwork:
        """Names are the server's; a server that lists none is asked by the contract's."""
        return RemoteNetwork(
            client=client,
            address=address,
            facts=model,
            inputs=tuple(t.name for t in model.inputs) or tuple(i.name for i in contract.inputs),
            outputs=tuple(t.name for t in model.outputs) or tuple(o.name for o in contract.outputs),
            batch_limits=limits,
        )

    return make


def _wrong_type(tensor: TensorFacts) -> Problem:
    return Problem(what=f"the server takes {tensor.datatype}, a contract gives float32 (FP32)", where=tensor.name)


def _shapes(tensors: Sequence[TensorFacts]) -> dict[str, tuple[int | None, ...]]:
    return {t.name: tuple(n if n >= 0 else None for n in t.shape) for t in tensors}


def _limits(model: ModelFacts, config: ConfigFacts) -> tuple[int, int | None]:
    firsts = {t.shape[0] for t in model.inputs if t.shape}
    fixed = next((n for n in firsts if n > 0), None)
    if fixed is not None:
        return fixed, fixed
    return 1, config.max_batch_size or None


def _which(model: ModelFacts) -> str:
    if len(model.versions) == 1:
        return f"The server serves version {model.versions[0]} of the model; the address names none."
    listed = ", ".join(model.versions) or "no version"
    return f"The address names no version; the server lists {listed} and chooses itself."
