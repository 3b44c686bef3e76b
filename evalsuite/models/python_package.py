"""Python source with a named entry point, and weights as safetensors: a folder that holds all the network needs.

    evalsuite-model.yaml    entry_point: network:build
    network.py              def build() -> torch.nn.Module
    model.safetensors       the state of that module (optional)

Opening it runs the package's Python, so it happens in the sandbox.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evalsuite.errors import ModelLoadError, ModelRunError
from evalsuite.models.base import tensors_of
from evalsuite.models.formats import Loaded, Located
from evalsuite.models.quiet import without_warnings

NOTE = "Python code of the package was run: {entry_point}."
_HINT = "The function takes no arguments and returns a torch.nn.Module, or any callable from tensors to tensors."


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonNetwork:
    """A module or callable made by the package's own code; tensors in contract order in and out."""

    call: Any
    name: str
    device: str = "cpu"
    batch_limits: tuple[int, int | None] = (1, None)

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        return tensors_of(self.call(*inputs))

    def to(self, device: str) -> PythonNetwork:
        if not isinstance(self.call, torch.nn.Module):
            if device == "cpu":
                return self
            raise ModelRunError(f"{self.name} is no torch.nn.Module and stays on the processor")
        return PythonNetwork(call=self.call.to(torch.device(device)), name=self.name, device=device)

    def with_threads(self, threads: int) -> PythonNetwork:
        return self


def load(located: Located) -> Loaded:
    """Import the entry point, call it, and load the weights into what it returns.

    Raises
    ------
    ModelLoadError
        If module or function do not exist or fail, the module is not one of the package's own files, or the weights do
        not fit the network exactly.
    """
    settings = located.settings or {}
    entry_point = str(settings.get("entry_point", ""))
    module_name, _, function = entry_point.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), function)):
        raise ModelLoadError(f"entry_point {entry_point!r} is not module:function", hint="entry_point: network:build")
    weights = _weights_file(located.path, settings.get("weights"))
    with _importing_from(located.path), without_warnings():
        made = _make(located.path, module_name, function)
    if weights is not None:
        _fill(made, weights)
    if isinstance(made, torch.nn.Module):
        with contextlib.suppress(NotImplementedError):  # what torch.export's modules say to it: they stay as exported
            made.eval()
    elif not callable(made):
        raise ModelLoadError(f"{entry_point} returned a {type(made).__name__}, which cannot be called", hint=_HINT)
    network = PythonNetwork(call=made, name=entry_point)
    return Loaded(network=network, notes=(NOTE.format(entry_point=entry_point),), name=located.path.name)


def _make(folder: Path, module_name: str, function: str) -> Any:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the package's own code raised
        raise ModelLoadError(
            f"module {module_name} of {folder.name} cannot be imported: {_said(error)}",
            hint="The package's folder holds its own modules; what they import must be installed here.",
        ) from error
    origin = getattr(module, "__file__", None)
    if origin is None or not Path(origin).resolve().is_relative_to(folder.resolve()):
        raise ModelLoadError(
            f"module {module_name} is not a file of the package {folder.name}: another one of that name is installed",
            hint="Give the package's module a name of its own.",
        )
    try:
        factory = getattr(module, function)
    except AttributeError:
        raise ModelLoadError(f"module {module_name} has no {function}", hint=_HINT) from None
    try:
        return factory()
    except Exception as error:  # see above
        raise ModelLoadError(f"{module_name}:{function} failed: {_said(error)}", hint=_HINT) from error


def _said(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """The folder first on the import path; afterwards its modules are forgotten, so that another package may have
    modules of the same names, and nothing was written into the folder.
    """
    before, wrote = set(sys.modules), sys.dont_write_bytecode
    place = str(folder.resolve())
    sys.path.insert(0, place)
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = wrote
        if place in sys.path:
            sys.path.remove(place)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and Path(origin).is_relative_to(place):
                del sys.modules[name]


def _weights_file(folder: Path, named: object) -> Path | None:
    if named is not None:
        path = folder / str(named)
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise ModelLoadError(f"weights {named} are not a file of the package {folder.name}")
        return path
    found = sorted(folder.glob("*.safetensors"))
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise ModelLoadError(f"{folder.name} holds several weight files: {names}", hint="Name one: weights: FILE")
    return found[0] if found else None


def _fill(made: Any, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not isinstance(made, torch.nn.Module):
        raise ModelLoadError(f"{path.name} is there, but the entry point returned no torch.nn.Module to load it into")
    try:
        state = load_file(str(path))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelLoadError(f"{path.name} is no safetensors file, or damaged ({type(error).__name__})") from None
    own = made.state_dict()
    faults = [f"{k} is missing" for k in own if k not in state]
    faults += [f"{k} is not of the network" for k in state if k not in own]
    faults += [
        f"{k} is {list(state[k].shape)}, the network has {list(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ModelLoadError(f"{path.name} does not fit the network: {'; '.join(faults[:5])}{more}")
    made.load_state_dict(state)
