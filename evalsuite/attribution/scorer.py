"""The one number of each case whose movements a map shows, from what a network gives; every image pass is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from evalsuite.attribution.job import Job
from evalsuite.errors import ContractError, InputError, ModelRunError
from evalsuite.models.contract import Contract, OutputSpec
from evalsuite.protocol.expression import ScoreExpression, compile_score
from evalsuite.protocol.interpretability import Target

Forward = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]
_SMALLEST = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Which output, by its place in the contract, which of its channels, and in words."""

    output: int
    channels: tuple[int, ...]
    words: str


def resolve(target: Target, contract: Contract, score: str | Sequence[str] | None) -> Resolved:
    """What the target is of this network.

    Raises
    ------
    ContractError
        If the contract has no such output or class, or `task.score` is no sum of outputs and no classes are declared.
    """
    names = [o.name for o in contract.outputs]
    if target.output is not None and target.output not in names:
        raise ContractError(
            f"analyses.interpretability.target.output is {target.output}; the model gives {', '.join(names)}"
        )
    index, wanted = (0 if target.output is None else names.index(target.output)), target.classes
    if wanted is None:
        index, wanted = _of_score(contract, score, None if target.output is None else index)
    spec = contract.outputs[index]
    known = list(spec.classes) or [spec.name]
    missing = [c for c in wanted if c not in known]
    if missing:
        raise ContractError(
            f"output {spec.name} has no class {missing[0]}; it has {', '.join(known)}",
            hint="Correct analyses.interpretability.target.classes.",
        )
    if spec.meaning == "mask" and spec.decided == "labels":
        raise ContractError(
            f"output {spec.name} is made of whole numbers, which do not move by small amounts",
            hint="Package the model so that it gives the numbers its mask is decided from, or remove the methods.",
        )
    what = "voxels it called" if spec.meaning == "mask" else target.of.replace("_", " ")
    if spec.meaning == "value":
        what = "value"
    words = f"{what} of {' + '.join(wanted)} (output {spec.name})"
    return Resolved(output=index, channels=tuple(known.index(c) for c in wanted), words=words)


def _of_score(contract: Contract, score: str | Sequence[str] | None, only: int | None) -> tuple[int, list[str]]:
    """The output and classes that `task.score` adds up; of a mask every class but the first, which is what is left."""
    for i, spec in enumerate(contract.outputs):
        if spec.meaning == "mask" and (only == i or (only is None and _names_mask(score, spec))):
            return i, list(spec.classes[1:] if spec.decided == "argmax" and len(spec.classes) > 1 else spec.classes)
    # of several classes each with a score of its own, the first: the map is of one number
    formula = None if score is None else compile_score(score if isinstance(score, str) else score[0])
    if formula is not None and _is_sum(formula):
        for i, spec in enumerate(contract.outputs):
            columns = list(spec.columns)
            if (only is None or only == i) and set(formula.names) <= set(columns):
                known = list(spec.classes) or [spec.name]
                return i, [known[columns.index(n)] for n in formula.names]
    raise ContractError(
        "task.score is no sum of one output's columns, so that it does not say whose movements a map shows",
        hint="Declare analyses.interpretability.target.classes.",
    )


def _names_mask(score: str | Sequence[str] | None, spec: OutputSpec) -> bool:
    names = [score] if isinstance(score, str) else list(score or ())
    return names == [spec.name]


def _is_sum(formula: ScoreExpression) -> bool:
    import numpy as np

    names = formula.names
    points = np.vstack([np.zeros(len(names)), np.eye(len(names)), np.ones(len(names))])
    values = formula.evaluate({n: points[:, k] for k, n in enumerate(names)})
    return bool(np.array_equal(values, points.sum(axis=1)))


@dataclass(slots=True, kw_only=True)
class Scorer:
    """A network, images it was shown, and one number for every changed version of them.

    `inputs` are in the contract's order (n, channel, *spatial); maps are of the first. `called` holds which voxels the
    unchanged images' masks hold, and stays as it is whatever is done to image or network.
    """

    forward: Forward
    spec: OutputSpec
    job: Job
    inputs: list[torch.Tensor]
    counts: Counter[str] = field(default_factory=Counter)
    purpose: str = "clean"
    clean: torch.Tensor | None = None
    called: torch.Tensor | None = None

    @property
    def image(self) -> torch.Tensor:
        return self.inputs[0]

    @property
    def n(self) -> int:
        return int(self.image.shape[0])

    @property
    def spatial(self) -> tuple[int, ...]:
        return tuple(self.image.shape[2:])

    def for_(self, purpose: str) -> Scorer:
        """The same, whose passes are counted under this name; both count in one place."""
        return replace(self, purpose=purpose)

    def see(self) -> None:
        """Show the unchanged images once and keep the answers; of masks also which voxels they called."""
        parts, masks = [], []
        with torch.no_grad():
            for rows in self.chunks(self.n):
                self.count(len(rows))
                raw = self.raw([x[rows] for x in self.inputs])
                if self.spec.meaning == "mask" and self.called is None:
                    masks.append(_called(raw, self.spec, self.job.channels))
                    parts.append(reduced(raw, self.spec, self.job, masks[-1]))
                else:
                    called = None if self.called is None else self.called[rows]
                    parts.append(reduced(raw, self.spec, self.job, called))
        self.clean = torch.cat(parts)
        if masks:
            self.called = torch.cat(masks)

    def renewed(self, *, forward: Forward | None = None, image: torch.Tensor | None = None) -> Scorer:
        """With another network or image; what the masks called stays what the unchanged ones had."""
        inputs = self.inputs if image is None else [image, *self.inputs[1:]]
        return replace(self, forward=forward or self.forward, inputs=inputs, clean=None)

    def chunks(self, n: int) -> list[torch.Tensor]:
        """Numbers 0 … n − 1 in batches."""
        return batches(n, self.job.batch_size)

    def count(self, n: int) -> None:
        self.counts[self.purpose] += n

    def raw(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """The output that the target is of."""
        outputs = self.forward(inputs)
        return outputs[self.job.output].float()

    def of(self, image: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The number (m,) of changed images (m, channel, *spatial), `rows` (m,) saying which ones they were."""
        self.count(int(image.shape[0]))
        others = [x[rows] for x in self.inputs[1:]]
        called = None if self.called is None else self.called[rows]
        return reduced(self.raw([image, *others]), self.spec, self.job, called)

    def values(self, image: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """As `of`, of one batch and without derivatives."""
        with torch.no_grad():
            return self.of(image, rows)


def batches(n: int, size: int) -> list[torch.Tensor]:
    """Numbers 0 … n − 1, `size` at a time."""
    return list(torch.split(torch.arange(n), size))


def reduced(raw: torch.Tensor, spec: OutputSpec, job: Job, called: torch.Tensor | None) -> torch.Tensor:
    """From what the network gives (n, channel, …) to one number per case (n,).

    Raises
    ------
    ModelRunError
        If the output has not the channels of its contract.
    """
    of, channels = job.asked.target.of, list(job.channels)
    wanted = len(spec.classes) or 1
    if raw.ndim == 1:
        raw = raw[:, None]
    if raw.shape[1] != wanted:
        raise ModelRunError(f"output {spec.name} has {raw.shape[1]} channels, its contract names {wanted}")
    if spec.meaning == "mask":
        assert called is not None, "the unchanged images were shown first"
        return (raw[:, channels] * called).flatten(1).sum(dim=1)
    if raw.ndim > 2 and raw[0, 0].numel() > 1:  # several places per case: (n, class, place)
        every = raw.flatten(2)[:, channels].sum(dim=1)
        return every.amax(dim=1) if job.asked.target.places == "strongest" else every.sum(dim=1)
    x = raw.flatten(1)
    if spec.meaning == "value" or of == "logits":
        return x[:, channels].sum(dim=1)
    if of == "probabilities":
        p = torch.softmax(x, 1) if spec.activation == "softmax" else x
        p = torch.sigmoid(x) if spec.activation == "sigmoid" else p
        return p[:, channels].sum(dim=1)
    return _log_odds(x, spec, channels)


def _log_odds(x: torch.Tensor, spec: OutputSpec, channels: list[int]) -> torch.Tensor:
    rest = [k for k in range(x.shape[1]) if k not in channels]
    if spec.meaning == "logits" or spec.activation == "sigmoid":
        return x[:, channels].sum(dim=1)
    if spec.activation == "softmax":
        if not rest:
            raise InputError("the classes of analyses.interpretability.target are all there are: their sum is always 1")
        return torch.logsumexp(x[:, channels], 1) - torch.logsumexp(x[:, rest], 1)
    p = x[:, channels].sum(dim=1).clamp(_SMALLEST, 1 - _SMALLEST)
    return torch.log(p) - torch.log1p(-p)


def _called(raw: torch.Tensor, spec: OutputSpec, channels: Sequence[int]) -> torch.Tensor:
    """Which voxels belong to each class of the target, (n, class, *spatial) of 0 and 1."""
    if spec.decided == "argmax":
        best = raw.argmax(dim=1, keepdim=True)
        return torch.cat([best == c for c in channels], dim=1).float()
    assert spec.threshold is not None, "the contract was checked"
    p = torch.sigmoid(raw) if spec.activation == "sigmoid" else raw
    return (p[:, list(channels)] >= spec.threshold).float()


def as_share(target: Target, spec: OutputSpec, values: Any, clean: Any) -> Any:
    """Answers on a scale that can be averaged over cases: probabilities where they are log odds, else shares of the
    unchanged image's own answer (NaN where that is 0)."""
    import numpy as np

    if spec.meaning == "probabilities" and target.of == "log_odds":
        return 1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0)))
    if spec.meaning == "probabilities" and target.of == "probabilities":
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(clean) > 0, values / np.where(clean == 0, 1.0, clean), np.nan)
