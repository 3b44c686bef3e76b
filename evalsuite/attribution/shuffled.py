"""A network with shuffled parameters, for a test: a map that stays as it was does not show what was learnt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from evalsuite.errors import ContractError


def parameters_of(network: Any) -> list[torch.nn.Parameter]:
    """The network's parameters in the order of their definition; empty where it has none that can be reached."""
    from evalsuite.models.numeric_network import module_of

    module = module_of(network)
    return [] if module is None else list(module.parameters())


@contextmanager
def fixed(network: Any) -> Iterator[None]:
    """Within: no derivatives by the parameters are kept, which nobody asks for and which cost memory and time."""
    changed = [p for p in parameters_of(network) if p.requires_grad]
    for p in changed:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in changed:
            p.requires_grad_(True)


@contextmanager
def shuffled(network: Any, *, share: float, seed: int) -> Iterator[None]:
    """Within: the values of each of the last `share` of the parameters are in an order drawn by the seed.

    Every parameter keeps its values, so that sums and spreads stay as they were trained, and loses what they were for.

    Raises
    ------
    ContractError
        If the package's parameters cannot be reached (a frozen TorchScript file, a runtime of its own).
    """
    every = parameters_of(network)
    chosen = [p for p in every[len(every) - round(share * len(every)) :] if p.numel() > 1]
    if not chosen:
        raise ContractError(
            "the parameters of this package cannot be shuffled: its format holds them where they cannot be reached"
        )
    generator = torch.Generator().manual_seed(seed % 2**63)
    kept = [p.detach().clone() for p in chosen]
    try:
        with torch.no_grad():
            for p, own in zip(chosen, kept, strict=True):
                order = torch.randperm(p.numel(), generator=generator).to(p.device)
                p.copy_(own.reshape(-1)[order].reshape(own.shape))
        yield
    finally:
        with torch.no_grad():
            for p, own in zip(chosen, kept, strict=True):
                p.copy_(own)
