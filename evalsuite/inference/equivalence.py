"""Whether another number format or backend may stand in for the package's own: both answer the same sample of cases.

The comparison is made before the test set is run, on cases drawn by the protocol's seed, and is kept in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import InputError, ModelRunError
from evalsuite.inference.store import Shard

if TYPE_CHECKING:
    from evalsuite.inference.hooks import Hooks
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.models.numerics import Numerics
    from evalsuite.testset.types import Case

N_COMPARED = 64
LARGE_COMPARED = 4  # volumes or slides: each takes as long as hundreds of images
#: What the device decides, by operating point, from its outputs: (n,) or (n, outputs) each.
Decide = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def sample(cases: Sequence[Case], *, seed: int, most: int = N_COMPARED) -> tuple[Case, ...]:
    """Up to `most` cases, drawn by the seed, in the order of the set."""
    drawn = np.random.default_rng(seed).choice(len(cases), size=min(most, len(cases)), replace=False)
    return tuple(cases[i] for i in sorted(drawn.tolist()))


def admit(
    model: Any,
    cases: Sequence[Case],
    hooks: Hooks,
    settings: InferenceSettings,
    *,
    device: str,
    batch_size: int,
    threads: int,
    n_decoders: int,
    decide: Decide | None,
) -> tuple[Any, dict[str, Any]]:
    """The model as the settings ask for it, and the comparison that admits it. `model` must not be used any more.

    Raises
    ------
    InputError
        If the package does not offer it, does not run so, or its answers are not the package's.
    OutOfMemory
        If memory does not hold a batch.
    """
    from evalsuite.inference import packaged
    from evalsuite.inference.crew import Worker

    large = model.contract.is_volume or model.contract.tiled is not None
    drawn = sample(cases, seed=settings.seed, most=LARGE_COMPARED if large else N_COMPARED)
    plan = packaged.Plan(shards=(drawn,), keys=("",), batch_size=batch_size)

    def answers(of: Any) -> Shard:
        found = packaged.predict_shards(
            plan, [0], [Worker(model=of, device=device)], hooks,
            n_decoders=n_decoders, clock=packaged.Clock(), outputs=(), seed=settings.seed,
        )  # fmt: skip
        with closing(found):
            return next(found)[1]

    own = answers(model)
    asked = model.with_numerics(settings.numerics, threads=threads)
    try:
        other = answers(asked)
    except ModelRunError as error:  # as packaged it has just answered the same cases
        raise InputError(
            f"the model does not run with {settings.numerics}: {error.message}",
            hint="torch.compile needs a C++ compiler on this machine, and a sandbox that lets it start; docs/engine.md."
            if settings.backend == "compile"
            else "Leave precision, backend and memory_format out of the protocol's inference.",
        ) from error
    return asked, compare(own, other, settings.numerics, decide)


def compare(own: Shard, other: Shard, numerics: Numerics, decide: Decide | None) -> dict[str, Any]:
    """How far the answers to the same cases are apart, for the record.

    A difference is absolute for values up to 1 in size (probabilities), relative to the package's own value beyond.

    Raises
    ------
    InputError
        If an answer is off by more than the tolerance, or only one of the two has an answer.
    """
    names = tuple(own.outputs)
    if tuple(other.outputs) != names or own.reasons != other.reasons:
        raise _refused(numerics, "it does not answer the same cases with the same outputs")
    ok = np.array([reason is None for reason in own.reasons], dtype=bool)
    if not ok.any():
        raise _refused(numerics, "not one case of the sample has an answer to compare")
    first = {name: own.outputs[name][ok] for name in names}
    second = {name: other.outputs[name][ok] for name in names}
    by_output = {
        name: float((np.abs(first[name] - second[name]) / np.maximum(1.0, np.abs(first[name]))).max()) for name in names
    }
    largest = max(by_output.values())
    if largest > numerics.tolerance:
        raise _refused(
            numerics,
            f"an output differs by {largest:.2g} from the package's own on {int(ok.sum())} cases, "
            f"at most {numerics.tolerance:.0e} is admitted",
        )
    flips = None
    if decide is not None:
        before, after = decide(first), decide(second)
        flips = {
            name: int((before[name] != after[name]).reshape(len(before[name]), -1).any(axis=1).sum()) for name in before
        }
    return {
        "precision": numerics.precision,
        "backend": numerics.backend,
        "memory_format": numerics.memory_format,
        "n": int(ok.sum()),
        "tolerance": numerics.tolerance,
        "max_abs_difference": largest,
        "by_output": by_output,
        "flips": flips,
    }


def _refused(numerics: Numerics, why: str) -> InputError:
    return InputError(
        f"the model run with {numerics} is not equivalent to the model as packaged: {why}",
        hint="Leave precision, backend and memory_format out of the protocol's inference; the model then runs as "
        "packaged.",
    )
