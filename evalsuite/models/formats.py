"""What the suite must know of a package format: how to recognise it, how to open it, and what opening it executes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalsuite.registry import MODELS, components

if TYPE_CHECKING:
    from evalsuite.models.base import Network
    from evalsuite.models.contract import Contract
    from evalsuite.models.folder_model import FolderRunner
    from evalsuite.models.glance import Glance

#: Where the model's own code runs: not at all, in the process that opened it (so: in the sandbox's child), as a process
#: or container of its own, or on a server.
Runs = Literal["nowhere", "here", "apart", "remote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A package as found: its format, the files that make it up, the file or folder to open, or the address.

    `settings` is what the package's own contract file says, as plain values, where it names code to run.
    """

    path: Path
    format: str
    files: tuple[Path, ...] = ()
    address: str = ""
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Names and shapes as the package states them, batch first; None where a size is free, () where nothing is said."""

    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: Mapping[str, tuple[int | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An opened package: a network that takes batches, or a runner that takes folders of cases.

    `make` stands in for a network that can only be made once the contract is agreed upon.

    `contract` is the package's own, where it states one. `digest` is given only where the package has no bytes here:
    a digest of what the server says about the model.
    """

    network: Network | None = None
    make: Callable[[Contract], Network] | None = None
    runner: FolderRunner | None = None
    contract: Contract | None = None
    signature: Signature | None = None
    notes: tuple[str, ...] = ()
    digest: str = ""
    name: str = ""
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFormat:
    """One package format; what a plugin of the group `evalsuite.models` provides.

    Parameters
    ----------
    name
        As it appears in model.json and in `evalsuite list models`; equal to the entry point's name.
    what, files
        What it is and what it looks like on disk, in a few words each.
    executes
        What opening and running such a package executes, for `evalsuite inspect`.
    runs
        Where that happens; everything that runs "here" is opened in the sandbox's child process.
    recognise
        Whether a path is such a package, by content; must not execute anything of it.
    load
        Open it. The second argument is False where a contract was given explicitly: the package's own is then not read.
        Raises `ModelLoadError` where the package is damaged, `ContractError` where its own contract is faulty.
    needs
        Distributions it needs beyond the suite's own, and the extra that installs them.
    executes_in
        A sentence made from the package itself (e.g. naming the Python module), where that says more than `executes`.
    """

    name: str
    what: str
    files: str
    executes: str
    runs: Runs = "here"
    recognise: Callable[[Glance], bool]
    load: Callable[[Located, bool], Loaded]
    needs: tuple[str, ...] = ()
    extra: str = ""
    executes_in: Callable[[Located], str] | None = None


BUILT_IN: Mapping[str, str] = {
    name: f"evalsuite.models.builtin:{attribute}"
    for name, attribute in (
        ("torchscript", "TORCHSCRIPT"),
        ("torch.export", "EXPORTED"),
        ("aotinductor", "AOTINDUCTOR"),
        ("onnx", "ONNX"),
        ("monai-bundle", "BUNDLE"),
        ("mlflow", "MLFLOW"),
        ("python", "PYTHON"),
        ("command", "COMMAND"),
        ("container", "CONTAINER"),
        ("kserve", "KSERVE"),
        ("recorded", "RECORDED"),
    )
}


@cache
def formats() -> Mapping[str, ModelFormat]:
    """Every format by name, built-in ones first.

    Raises
    ------
    InputError
        If a plugin cannot be imported, or two have one name.
    """
    return {name: found.load(ModelFormat) for name, found in components(MODELS, BUILT_IN).items()}


def origin_of(name: str) -> str:
    """ "evalsuite", or the plugin distribution and version that brings the format."""
    return components(MODELS, BUILT_IN)[name].origin
