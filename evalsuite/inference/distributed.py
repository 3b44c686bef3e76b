"""A run on several workers: the driver plans, hands shards out, stores what comes back, and alone tries again."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalsuite.errors import ModelRunError
from evalsuite.inference import packaged
from evalsuite.inference.runners.base import Answer, Lease, Work, Workers
from evalsuite.inference.step import OutOfMemory
from evalsuite.inference.store import Shard, read_shard, write_shard

if TYPE_CHECKING:
    from evalsuite.testset.types import Case

log = logging.getLogger(__name__)

MAX_SHARDS_PER_LEASE = 4
MAX_LOSSES = 3
_POLL_S = 0.5


@dataclass(slots=True, kw_only=True)
class Totals:
    """What all workers together report: seconds per stage, seconds per case, workers lost, leases given."""

    seconds: dict[str, float] = field(default_factory=dict)
    latency: list[np.ndarray] = field(default_factory=list)
    warned: dict[str, None] = field(default_factory=dict)
    lost: int = 0
    leases: int = 0

    def add(self, answer: Answer) -> None:
        for stage, seconds in answer.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        if len(answer.latency):
            self.latency.append(answer.latency)
        self.warned |= dict.fromkeys(answer.warned)


def run_shards(
    plan: packaged.Plan,
    workers: Workers,
    *,
    folder: Path,
    digests: Mapping[str, str],
    outputs: tuple[str, ...],
    totals: Totals,
    on_case: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> tuple[list[Shard], int]:
    """All shards in order, and how many of them were there already: as `packaged.run_plan`, by workers.

    A shard is stored by this process only, once its answer is here. Where a worker is lost its shards are handed out
    again, one at a time, because one of them may be what it died of; the third loss on one shard ends the run.

    Raises
    ------
    Interrupted
        If `should_stop` said so, or on Ctrl-C; finished shards stay.
    OutOfMemory
        If a worker's memory does not hold a batch; finished shards stay.
    ModelRunError
        If workers died three times on one shard.
    EvalsuiteError
        Whatever a worker raised.
    """
    total = sum(map(len, plan.shards))
    found = [read_shard(folder, key, n=len(shard)) for key, shard in zip(plan.keys, plan.shards, strict=True)]
    done = sum(len(shard.reasons) for shard in found if shard is not None)
    n_resumed = sum(shard is not None for shard in found)
    todo = [i for i, shard in enumerate(found) if shard is None]
    if on_case is not None and done:
        on_case(done, total)
    try:
        for i, shard in computed(
            plan, todo, workers, digests=digests, outputs=outputs, totals=totals, should_stop=should_stop
        ):
            write_shard(folder, plan.keys[i], shard)
            found[i] = replace(shard, masks=())  # they are on disk
            done += len(shard.reasons)
            if on_case is not None:
                on_case(done, total)
    except KeyboardInterrupt:
        raise packaged.stopped(plan, folder) from None
    return [shard for shard in found if shard is not None], n_resumed


def computed(
    plan: packaged.Plan,
    todo: Sequence[int],
    workers: Workers,
    *,
    digests: Mapping[str, str],
    outputs: tuple[str, ...],
    totals: Totals,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, Shard]]:
    """The shards `todo` as they come back, each once."""
    waiting = deque(todo)
    suspects: deque[int] = deque()
    losses: dict[int, int] = {}
    missing = set(todo)
    while missing:
        if should_stop is not None and should_stop():
            raise KeyboardInterrupt
        while workers.idle() and (waiting or suspects):
            taken = _take(waiting, suspects, workers.size())
            workers.submit(
                Lease(
                    works=tuple(work_of(plan.shards[i], i, digests) for i in taken),
                    batch_size=plan.batch_size,
                    outputs=outputs,
                )
            )
            totals.leases += 1
        for outcome in workers.wait(_POLL_S):
            indices = [work.index for work in outcome.lease.works]
            if outcome.answer is None:
                totals.lost += 1
                log.warning("a worker was lost (%s); its %d shard(s) are handed out again", outcome.lost, len(indices))
                _count_losses(plan, indices, losses)
                suspects.extend(i for i in indices if i in missing)
                continue
            if outcome.answer.out_of_memory:
                raise OutOfMemory
            if outcome.answer.error is not None:
                raise outcome.answer.error
            totals.add(outcome.answer)
            for i in indices:
                if i in missing:  # a shard may have been computed twice: it counts once
                    missing.discard(i)
                    yield i, outcome.answer.shards[i]


def work_of(cases: Sequence[Case], index: int, digests: Mapping[str, str]) -> Work:
    """One shard with the locked digests of its files."""
    paths = {str(path) for case in cases for files in case.images.values() for path in files}
    return Work(index=index, cases=tuple(cases), digests={path: digests[path] for path in sorted(paths)})


def _take(waiting: deque[int], suspects: deque[int], workers: int) -> list[int]:
    if suspects:
        return [suspects.popleft()]
    n = max(1, min(MAX_SHARDS_PER_LEASE, len(waiting) // (2 * max(1, workers))))
    return [waiting.popleft() for _ in range(min(n, len(waiting)))]


def _count_losses(plan: packaged.Plan, indices: Sequence[int], losses: dict[int, int]) -> None:
    for i in indices:
        losses[i] = losses.get(i, 0) + 1
        if losses[i] >= MAX_LOSSES and len(indices) == 1:
            cases = plan.shards[i]
            raise ModelRunError(
                f"{losses[i]} workers were lost on the cases {cases[0].case_id} to {cases[-1].case_id}",
                hint="A model or an image that ends the process does this, and so does too little memory: "
                "run the same command with --runner local to see which.",
            )
