"""torch.export packages (.pt2), loaded so that the file can bring numbers and a graph, and no code of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evalsuite.errors import ModelLoadError
from evalsuite.models.base import tensors_of
from evalsuite.models.code_guard import CodeRefused, no_code_from_files
from evalsuite.models.formats import Signature
from evalsuite.models.quiet import without_warnings

CONTRACT_FILE = "evalsuite_contract.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedNetwork:
    """An exported program and the callable made from it."""

    program: Any
    module: Any
    batch_limits: tuple[int, int | None]

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        return tensors_of(self.module(*inputs))

    def to(self, device: str) -> ExportedNetwork:
        from torch.export.passes import move_to_device_pass

        with without_warnings():
            moved = move_to_device_pass(self.program, device)
            return ExportedNetwork(
                program=moved, module=moved.module(check_guards=False), batch_limits=self.batch_limits
            )

    def with_threads(self, threads: int) -> ExportedNetwork:
        return self


def load(path: Path) -> tuple[ExportedNetwork, Mapping[str, bytes], Signature]:
    """Load a `.pt2` package on the processor, with `weights_only=True` for the whole of it.

    Returns
    -------
    network, extra, signature
        `extra` holds the package's own `evalsuite_contract.json` where it has one.

    Raises
    ------
    ModelLoadError
        If the file is damaged, from an unknown version, or would run code while loading (pickled objects, native
        libraries, Python expressions); then the message says so and what to export instead.
    """
    extra: dict[str, Any] = {CONTRACT_FILE: ""}
    quiet = [logging.getLogger(n) for n in ("torch.export", "torch._export", "torch.export.pt2_archive._package")]
    levels = [q.level for q in quiet]
    try:
        for logger in quiet:
            logger.setLevel(logging.CRITICAL)
        with without_warnings(), no_code_from_files():
            program = torch.export.load(path, extra_files=extra)
            # Guards are Python source from the file that would be executed; the suite checks shapes by the contract.
            program._guards_code = []
            module = program.module(check_guards=False)
    except CodeRefused as refused:
        raise ModelLoadError(
            f"{path.name} was refused: loading it would run code from the file ({refused})",
            hint="Export plain weights and operators with torch.export.save, without custom objects.",
        ) from None
    except Exception as error:  # torch's readers raise whatever a damaged part led to
        raise ModelLoadError(
            f"{path.name} cannot be loaded as torch.export package ({type(error).__name__}): "
            "damaged, truncated, or from another torch version",
            hint=f"This is torch {torch.__version__}.",
        ) from None
    finally:
        for logger, level in zip(quiet, levels, strict=True):
            logger.setLevel(level)
    found = {k: v if isinstance(v, bytes) else str(v).encode() for k, v in extra.items() if k == CONTRACT_FILE and v}
    network = ExportedNetwork(program=program, module=module, batch_limits=_batch_limits(program))
    return network, found, _signature(program)


def _batch_limits(program: Any) -> tuple[int, int | None]:
    shapes = [s for s in _shapes(program, program.graph_signature.user_inputs) if s]
    if not shapes:
        return 1, None
    first = shapes[0][0]
    if isinstance(first, int):
        return first, first
    bounds = program.range_constraints.get(first.node.expr)
    if bounds is None:
        return 1, None
    upper = int(bounds.upper) if bounds.upper.is_finite and int(bounds.upper) < 2**31 else None
    return max(1, int(bounds.lower)), upper


def _shapes(program: Any, names: Sequence[str]) -> list[tuple[Any, ...]]:
    nodes = {node.name: node for node in program.graph.nodes}
    found = []
    for name in names:
        value = nodes[name].meta.get("val") if name in nodes else None
        found.append(tuple(value.shape) if isinstance(value, torch.Tensor) else ())
    return found


def _signature(program: Any) -> Signature:
    def named(names: Sequence[str]) -> dict[str, tuple[int | None, ...]]:
        shapes = _shapes(program, names)
        return {
            str(n): tuple(s if isinstance(s, int) else None for s in shape)
            for n, shape in zip(names, shapes, strict=True)
        }

    signature = program.graph_signature
    return Signature(inputs=named(signature.user_inputs), outputs=named(signature.user_outputs))
