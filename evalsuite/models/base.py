"""The one interface behind every package format: images in, named columns of numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import EvalsuiteError, ModelRunError
from evalsuite.models.contract import Contract, InputSpec
from evalsuite.models.folder_model import FolderModel

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from evalsuite.models.numerics import Numerics

    Batch: TypeAlias = Mapping[str, NDArray[np.generic] | torch.Tensor]


class Network(Protocol):
    """What a format's loader returns: tensors in contract order in, tensors in contract order out, nothing else."""

    @property
    def batch_limits(self) -> tuple[int, int | None]:
        """Smallest and largest batch the package accepts; None where there is no largest."""
        ...

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]: ...

    def to(self, device: str) -> Network: ...

    def with_threads(self, threads: int) -> Network: ...


class Model(Protocol):
    """A packaged model as the engine sees it."""

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def contract(self) -> Contract: ...
    @property
    def contract_digest(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def batch_limits(self) -> tuple[int, int | None]: ...
    def to(self, device: str) -> Model: ...
    def with_threads(self, threads: int) -> Model: ...
    def predict(self, batch: Batch) -> dict[str, NDArray[Any]]: ...
    def keep_log(self, path: Path) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """A network with its contract, from any package format.

    `digest` covers every byte of the package, `contract_digest` the contract as the suite understood it. `notes` are
    facts a reader of the report must know.
    """

    name: str
    format: str
    digest: str
    contract: Contract
    contract_digest: str
    notes: tuple[str, ...] = ()
    size_bytes: int
    network: Network
    device: str = "cpu"

    @property
    def batch_limits(self) -> tuple[int, int | None]:
        """Smallest and largest batch the package accepts; `predict` splits and fills batches to fit."""
        return self.network.batch_limits

    @property
    def sandbox(self) -> str:
        """For the record: what kept the model's code apart; "none" where it ran in this process."""
        return getattr(self.network, "isolation", "none")

    def to(self, device: str) -> PackagedModel:
        """The same model on another device ("cpu", "cuda", "cuda:1").

        Raises
        ------
        ModelRunError
            If the device does not exist here, or the package's backend cannot use it.
        """
        if device == self.device:
            return self
        try:
            return replace(self, network=self.network.to(device), device=device)
        except EvalsuiteError:
            raise
        except Exception as error:  # torch raises RuntimeError, AssertionError and its own types for a missing device
            raise ModelRunError(f"model {self.name} cannot be moved to {device}: {type(error).__name__}") from None

    def with_threads(self, threads: int) -> PackagedModel:
        """The same model using `threads` processor threads where its backend keeps its own (ONNX); else itself."""
        return replace(self, network=self.network.with_threads(threads))

    def with_numerics(self, numerics: Numerics, *, threads: int) -> PackagedModel:
        """The same model in another number format or by another program; this one must not be used any more.

        Raises
        ------
        InputError
            If the package, the device or the environment does not offer it.
        """
        from evalsuite.models.numeric_network import with_numerics

        network = with_numerics(self.network, numerics, contract=self.contract, device=self.device, threads=threads)
        return replace(self, network=network)

    def keep_log(self, path: Path) -> None:
        """Nothing to keep: what a package in this process prints goes where this process prints."""

    def close(self) -> None:
        """Nothing to end: the network goes when nobody uses it any more."""

    def predict(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Parameters
        ----------
        batch
            Input name to float32 array or tensor (n, channels, *spatial), already in the contract's value range.

        Returns
        -------
        dict
            Column name to (n,) float64, after the contract's activation; values may be NaN or infinite. Masks are
            labels under the name of their output, see `evalsuite.models.postprocess.to_outputs`.

        Raises
        ------
        ModelRunError
            If the network fails, or what it gives does not fit its contract.
        ValueError
            If an input is missing or has the wrong number of channels or size.
        """
        import torch

        from evalsuite.models.postprocess import to_outputs

        inputs = [_as_input(batch, spec, self.device) for spec in self.contract.inputs]
        n = inputs[0].shape[0]
        try:
            with torch.inference_mode():
                outputs = self._run(inputs, n)
        except torch.OutOfMemoryError:
            raise
        except (
            RuntimeError,
            ValueError,
            TypeError,
            IndexError,
            KeyError,
            AttributeError,
        ) as error:
            if _out_of_memory(error):
                raise
            raise ModelRunError(
                f"model {self.name} failed on a batch of {n}: {_first_line(error)}",
                hint="Check the contract's input shape, and that the package runs on this device.",
            ) from error
        return to_outputs(outputs, self.contract, n=n)

    def raw(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """What the network itself gives, before any activation: tensors in contract order, with their derivatives where
        the caller keeps those. Raises whatever the package raises.
        """
        return self._run(inputs, inputs[0].shape[0])

    def _run(self, inputs: list[torch.Tensor], n: int) -> list[torch.Tensor]:
        window = self.contract.sliding_window
        if window is None:
            return _run_within_limits(self.network, inputs, n)
        from evalsuite.models.sliding import run_through_windows

        return run_through_windows(lambda x: _run_within_limits(self.network, [x], x.shape[0]), inputs[0], window)


def _as_input(batch: Batch, spec: InputSpec, device: str) -> torch.Tensor:
    import torch

    if spec.name not in batch:
        raise ValueError(f"the batch lacks input {spec.name!r}; it has {', '.join(batch) or 'none'}")
    value = batch[spec.name]
    tensor = torch.as_tensor(value).to(device=device, dtype=torch.float32)
    fits = tensor.ndim == len(spec.shape) + 1 and all(
        want is None or want == have for want, have in zip(spec.shape, tensor.shape[1:], strict=True)
    )
    if not fits:
        wanted = ["n", *("any" if s is None else s for s in spec.shape)]
        raise ValueError(f"input {spec.name} has shape {list(tensor.shape)}, the contract says {wanted}")
    return tensor


def _run_within_limits(network: Network, inputs: list[torch.Tensor], n: int) -> list[torch.Tensor]:
    import torch

    least, most = network.batch_limits
    step = most or max(n, 1)
    parts: list[Sequence[torch.Tensor]] = []
    for start in range(0, n, step):
        chunk = [x[start : start + step] for x in inputs]
        size = chunk[0].shape[0]
        if size < least:  # a package of fixed batch size: repeat the last case and drop its copies again
            chunk = [torch.cat([x, x[-1:].expand(least - size, *x.shape[1:])]) for x in chunk]
        outputs = network.run(chunk)
        padded = chunk[0].shape[0]
        parts.append([y[:size] if y.ndim and y.shape[0] == padded else y for y in outputs])
    if len(parts) == 1:
        return list(parts[0])
    return [torch.cat(list(same)) for same in zip(*parts, strict=True)]


def _out_of_memory(error: Exception) -> bool:
    # On the processor torch reports it as a plain RuntimeError; the engine halves the batch and starts the stage again.
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else 'no message'}"


def tensors_of(output: Any) -> list[torch.Tensor]:
    """The tensors a network returned: one, a sequence, or a mapping in its own order.

    Raises
    ------
    TypeError
        If it returned anything else.
    """
    import torch

    values: list[Any]
    if isinstance(output, torch.Tensor):
        values = [output]
    elif isinstance(output, Mapping):
        values = list(output.values())
    elif isinstance(output, list | tuple):
        values = list(output)
    else:
        values = [output]
    for value in values:
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"the network gives a {type(value).__name__} where a tensor is expected")
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPredictions:
    """Predictions made elsewhere, a model like any other.

    `table` has case_id, rater, condition, status (text; condition is "" where there is none) and then `outputs` as
    float64: NaN where a cell is empty, infinite where it says so. Rows are in the file's order.
    `place` names the columns that say where a mark lies, in a table with one row per mark; empty in other tables.
    `files` holds the columns that name files below `folder` (masks), `file_digests` the SHA-256 of those that exist.
    """

    name: str
    digest: str
    table: pd.DataFrame
    contract: Contract
    contract_digest: str
    model_digests: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    size_bytes: int
    place: tuple[str, ...] = ()
    folder: Path = Path()
    files: Mapping[str, pd.Series] = field(default_factory=dict)
    file_digests: Mapping[str, str] = field(default_factory=dict)
    format: str = "recorded"

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.contract.columns

    def keep_log(self, path: Path) -> None:
        """Nothing to keep: nothing runs."""

    def close(self) -> None:
        """Nothing to end: nothing runs."""


AnyModel: TypeAlias = Model | RecordedPredictions | FolderModel
