"""A model in memory and a test set without files, small enough that every answer is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evalsuite.errors import ImageError
from evalsuite.inference.hooks import Hooks
from evalsuite.models.contract import Contract, InputSpec, OutputSpec, contract_digest
from evalsuite.testset.types import Case, LockedTestSet

CONTRACT = Contract(
    task="binary",
    inputs=(InputSpec(shape=(1, 4, 4), colour="L"),),
    outputs=(OutputSpec(classes=("malignant",), activation="none"),),
)


def make_testset(n: int, columns: Sequence[str] = ("image",)) -> LockedTestSet:
    """A set of `n` cases c000, c001, … whose image files do not exist."""
    cases = tuple(
        Case(
            case_id=f"c{i:03d}",
            patient_id=f"p{i // 2}",
            study_id="",
            site="",
            acquired_at="",
            sample_weight=None,
            images={column: (Path(f"{column}/{i}.png"),) for column in columns},
        )
        for i in range(n)
    )
    return LockedTestSet(
        path=Path("set"), lock={}, root="r" * 64, digest="d" * 64, set_id="s", version="1", cases=cases, has_images=True
    )


@dataclass(frozen=True, kw_only=True)
class FakeModel:
    """Answers with the mean of the image; `batches` keeps the size of every batch it was given."""

    contract: Contract = CONTRACT
    name: str = "fake"
    format: str = "fake"
    digest: str = "m" * 64
    device: str = "cpu"
    batches: list[int] = field(default_factory=list)
    answer: Callable[[np.ndarray], np.ndarray] | None = None
    fail_after: int | None = None
    error: Exception | None = None

    @property
    def contract_digest(self) -> str:
        return contract_digest(self.contract)

    def to(self, device: str) -> FakeModel:
        return self

    def with_threads(self, threads: int) -> FakeModel:
        return self

    def predict(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        x = np.asarray(next(iter(batch.values())), dtype=np.float64)
        self.batches.append(len(x))
        if self.error is not None and len(self.batches) > (self.fail_after or 0):
            raise self.error
        means = x.reshape(len(x), -1).mean(axis=1)
        values = means if self.answer is None else self.answer(means)
        return dict.fromkeys(self.contract.columns, values)


def value_of(i: int) -> float:
    """The answer of `FakeModel` for case i with the hooks of `make_hooks`."""
    return (i % 200 + 1) / 255


def make_hooks(
    read: Callable[[int], np.ndarray] | None = None,
    fail: Mapping[int, str] | None = None,
    before: Callable[[int], None] | None = None,
) -> Hooks:
    """Hooks that make up the image of case i: all pixels (i % 200) + 1."""

    def read_case(case: Case) -> dict[str, np.ndarray]:
        i = int(case.case_id[1:])
        if before is not None:
            before(i)
        if fail and i in fail:
            raise ImageError("not an image", code=fail[i])
        image = read(i) if read else np.full((1, 4, 4), i % 200 + 1, dtype=np.uint8)
        return {"image": image}

    return Hooks(read=read_case, normalise=lambda _, tensor: tensor.double() / 255)
