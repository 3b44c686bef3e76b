"""Small networks in packages, and a job to ask them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from evalsuite.attribution.job import Job
from evalsuite.attribution.run import scorer_of
from evalsuite.models.base import PackagedModel
from evalsuite.models.contract import build_contract
from evalsuite.models.python_package import PythonNetwork
from evalsuite.models.torchscript import TorchScriptNetwork
from evalsuite.protocol.interpretability import Interpretability

VALUE = {"name": "y", "meaning": "value"}
TWO = {"name": "y", "meaning": "logits", "classes": ["no", "yes"]}


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.arange(-4.0, 12.0).reshape(1, 1, 4, 4))

    def forward(self, x):
        return (x * self.w).flatten(1).sum(dim=1, keepdim=True)


class Pooled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 3, 3)
        self.relu = torch.nn.ReLU()
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x):
        a = self.conv(x)
        return self.fc(a.mean(dim=(2, 3)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A network that something else than torch computes: no derivatives, no parameters."""

    call: Any
    batch_limits: tuple[int, int | None] = (1, None)

    def run(self, inputs):
        return [self.call(*inputs)]

    def with_threads(self, threads):
        return self


def packaged(network, *, shape=(1, None, None), output=None) -> PackagedModel:
    contract = build_contract(
        {"inputs": [{"name": "image", "shape": list(shape), "normalise": "none"}], "outputs": [output or VALUE]},
        where="a test",
    )
    if isinstance(network, torch.nn.Module):
        network = PythonNetwork(call=network.eval(), name="network:build")
    return PackagedModel(
        name="net", format="python", digest="0" * 64, contract=contract, contract_digest="1" * 64, size_bytes=1,
        network=network,
    )  # fmt: skip


def scripted(network: torch.nn.Module) -> TorchScriptNetwork:
    """The network as TorchScript package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return TorchScriptNetwork(module=torch.jit.script(network.eval()))


def job(n: int = 1, *, channels=(0,), batch_size: int = 8, **asked) -> Job:
    block = {"methods": [{"method": "occlusion"}], "measures": [], **asked}
    return Job(
        asked=Interpretability.model_validate(block), seeds=tuple(range(7, 7 + n)), output=0, channels=channels,
        batch_size=batch_size, seed=3,
    )  # fmt: skip


def raw_map(network, image, method: dict, *, output=None, **settings) -> torch.Tensor:
    """What one method says of these images, signed and by channel."""
    from evalsuite.attribution.maps import attributions

    model = packaged(network, shape=(image.shape[1], *[None] * (image.ndim - 2)), output=output)
    task = job(len(image), methods=[method], **settings)
    scorer = scorer_of(model, [image], task)
    scorer.see()
    return attributions(task.asked.methods[0], scorer, model.network, seeds=task.seeds, seed=task.seed)[0]
